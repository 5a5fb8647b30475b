"""The journal: what an agent of ours set in the host for one interface, written before it is done.

One file an interface in the runtime directory, mode 0600, gone after a reboot as the changes are. It holds no secrets.
An entry says enough to see whether it stands, to make it and to take it back, by an agent that knows nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterable
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Final

import msgspec

from wireguard_mesh.model.errors import Unavailable
from wireguard_mesh.model.hosts import InterfaceAddress
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.networks import Prefix

FORMAT: Final = 1
SUFFIX: Final = ".journal.json"
MAX_SIZE: Final = 4 * 1024 * 1024  # bytes
_DIRECTORY_MODE: Final = 0o755  # the agent's socket is beside it, for every user to ask for the status
_FILE_MODE: Final = 0o600
_SYSCTL_PATH: Final = re.compile(r"net/ipv[46]/(?:[A-Za-z0-9_=+.@:-]+/)*[a-z_]+")
_log = logging.getLogger(__name__)


class AddressEntry(msgspec.Struct, frozen=True, kw_only=True, tag="address"):
    """An address of the interface. `text` as the file has it."""

    text: str

    @property
    def address(self) -> InterfaceAddress:
        """The address with its prefix length. Raises `ValueError` if a file has nonsense there."""
        return ip_interface(self.text)

    @property
    def identity(self) -> tuple[object, ...]:
        """What two entries about the same thing share."""
        return ("address", self.text)


class RouteEntry(msgspec.Struct, frozen=True, kw_only=True, tag="route"):
    """A route by the interface. `text` as the file has it."""

    text: str
    table: int

    @property
    def destination(self) -> Prefix:
        """The route's prefix. Raises `ValueError` if a file has nonsense there."""
        return ip_network(self.text)

    @property
    def identity(self) -> tuple[object, ...]:
        """See `AddressEntry.identity`."""
        return ("route", self.text, self.table)


class RuleEntry(msgspec.Struct, frozen=True, kw_only=True, tag="rule"):
    """One of the two policy rules of exit routing, of IP version `version`.

    With `fwmark`: packets without it look up `table`. Without: `table` is looked up, its default route ignored.
    """

    version: int
    table: int
    fwmark: int | None
    priority: int

    @property
    def identity(self) -> tuple[object, ...]:
        """See `AddressEntry.identity`: the same rule at another priority is the same rule."""
        return ("rule", self.version, self.table, self.fwmark)


class SysctlEntry(msgspec.Struct, frozen=True, kw_only=True, tag="sysctl"):
    """A setting below /proc/sys. It is taken back to `previous` if it then has the value `expected`.

    `value` is what it is set to; None if it is only a side effect of another entry that undoing that one does not mend.
    """

    path: str
    value: str | None
    expected: str
    previous: str
    purpose: str

    @property
    def identity(self) -> tuple[object, ...]:
        """See `AddressEntry.identity`."""
        return ("sysctl", self.path)


class FirewallEntry(msgspec.Struct, frozen=True, kw_only=True, tag="firewall"):
    """A table of nftables, wholly ours. `rules` is the nft text that makes it anew in one go."""

    table: str
    rules: str

    @property
    def identity(self) -> tuple[object, ...]:
        """See `AddressEntry.identity`."""
        return ("firewall", self.table)


Entry = AddressEntry | RouteEntry | RuleEntry | SysctlEntry | FirewallEntry


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file's form."""

    format: int
    interface: str
    link: int | None = None  # the interface's index, which no other gets; None: it is being made
    entries: tuple[Entry, ...]


_decoder: Final = msgspec.json.Decoder(_Document)


class Journal:
    """One interface's journal. What is in `entries` was set by us, or was about to be when we were stopped."""

    def __init__(self, directory: Path, interface: InterfaceName) -> None:
        self._directory = directory
        self._interface = interface
        self._path = directory / f"{interface}{SUFFIX}"
        self.entries: tuple[Entry, ...] = ()
        self.link: int | None = None
        self.exists = self._load()

    def _load(self) -> bool:
        try:
            with self._path.open("rb") as file:
                data = file.read(MAX_SIZE + 1)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise Unavailable(f"cannot read {self._path}: {error.strerror}") from None
        try:
            document = _parse(data)
        except (ValueError, msgspec.DecodeError):  # msgspec's ValidationError is a DecodeError
            aside = self._path.with_name(self._path.name + ".broken")
            with contextlib.suppress(OSError):  # it stays where it is, and the next one written replaces it
                self._path.replace(aside)
            _log.warning(
                "the journal of changes to this machine cannot be understood and was put aside; what it held must be "
                "undone by hand or by a reboot file=%s",
                aside,
            )
            return False
        self.entries, self.link = document.entries, document.link
        return True

    def write(self, entries: Iterable[Entry], link: int | None = None) -> None:
        """Have these on disk, all or none, before anything else is done. `link`: the index of the interface, None if
        it is yet to be made. Raises `Unavailable`."""
        document = _Document(format=FORMAT, interface=self._interface, link=link, entries=tuple(entries))
        if self.exists and (document.entries, link) == (self.entries, self.link):
            return
        draft = self._path.with_name(self._path.name + ".new")
        try:
            self._directory.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _FILE_MODE)
            with os.fdopen(descriptor, "wb") as file:
                file.write(msgspec.json.encode(document))
            draft.replace(self._path)  # /run is in memory: it needs no sync
        except OSError as error:
            raise Unavailable(
                f"cannot write {self._path}: {error.strerror}", "changes need to be noted first"
            ) from None
        self.entries, self.link = document.entries, link
        self.exists = True

    def forget(self) -> None:
        """Remove the file: nothing of ours is left."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        self.entries, self.link = (), None
        self.exists = False


def _parse(data: bytes) -> _Document:
    if len(data) > MAX_SIZE:
        raise ValueError("too long")
    document = _decoder.decode(data)
    if document.format != FORMAT:
        raise ValueError("of another version")
    for entry in document.entries:
        match entry:
            case AddressEntry():
                ip_interface(entry.text)
            case RouteEntry():
                ip_network(entry.text)
            case SysctlEntry() if not _SYSCTL_PATH.fullmatch(entry.path) or ".." in entry.path.split("/"):
                raise ValueError("no setting of the network")
            case _:
                pass
    return document


def journaled_interfaces(directory: Path) -> frozenset[InterfaceName]:
    """The names of all interfaces that have a journal."""
    try:
        names = [path.name for path in directory.iterdir()]
    except OSError:
        return frozenset()
    return frozenset(InterfaceName(name.removesuffix(SUFFIX)) for name in names if name.endswith(SUFFIX))
