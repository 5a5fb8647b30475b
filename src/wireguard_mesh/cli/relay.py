"""`vpn-relay`: runs a relay alone, for a mesh whose server is elsewhere."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import click

from wireguard_mesh import __version__
from wireguard_mesh.cli import errors
from wireguard_mesh.cli.commands import Command
from wireguard_mesh.cli.flags import DEFAULT_FOLDER, LEVELS, Parsed
from wireguard_mesh.model.errors import InvalidValue, Unavailable
from wireguard_mesh.model.names import MAX_LABEL, hostname_from
from wireguard_mesh.model.relays import OWN_RELAY, RelayId, parse_relay_id
from wireguard_mesh.model.servers import ServerAddress

PROGRAM: Final = "vpn-relay"
ENVIRONMENT: Final = "VPN_RELAY"
DEFAULT_LISTEN: Final = ":8080"  # the number that vpn-server has
KEY_VARIABLE: Final = f"{ENVIRONMENT}_KEY"
_EVERYWHERE: Final = ("", "::", "0.0.0.0")
_KEY_FLAGS: Final = ("-key", "--key")
_KEY_FILE_LIMIT: Final = 4096  # bytes
_READABLE: Final = "%(asctime)s %(levelname)s %(message)s"
_EPILOG: Final = (
    "Each flag may be given in the environment, as VPN_RELAY_SERVER, VPN_RELAY_KEY_FILE and so on. Server, key and "
    "name are kept, so that later starts need no flags. No privilege is needed."
)

F = TypeVar("F", bound=Callable[..., Any])


def _flag(name: str, **settings: Any) -> Callable[[F], F]:
    variable = f"{ENVIRONMENT}_{name.upper().replace('-', '_')}"
    return click.option(f"-{name}", f"--{name}", envvar=variable, **settings)


@click.command(
    cls=Command,
    name=PROGRAM,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-help", "--help", "-h"], "max_content_width": 100},
)
@click.version_option(__version__, "-version", "--version", prog_name=PROGRAM)
@_flag("server", metavar="URL", type=Parsed("server", ServerAddress.parse), help="the coordination server of the mesh")
@_flag(
    "key",
    metavar="KEY",
    help="the mesh's relay key, which 'vpn-server relay-key' prints. Others on this machine may see it for a moment: "
    "better in a file, or in VPN_RELAY_KEY",
)
@_flag("key-file", metavar="FILE", type=click.Path(path_type=Path), help="a file with the relay key, - for the input")
@_flag(
    "name", metavar="ID", type=Parsed("name", parse_relay_id), help="name in the map. Default this machine's host name"
)
@_flag(
    "listen",
    metavar="[HOST]:PORT",
    default=DEFAULT_LISTEN,
    show_default=False,
    help=f"UDP address to relay on; the port after it is used, too. Default {DEFAULT_LISTEN}",
)
@_flag(
    "address",
    metavar="HOST",
    multiple=True,
    help="where others reach this relay, once for IPv4 and once for IPv6. Default the address that it listens on, or "
    "those of this machine",
)
@_flag(
    "config",
    metavar="DIR|FILE",
    type=click.Path(path_type=Path),
    help=f"folder of relay.json, or that file. Default {DEFAULT_FOLDER}",
)
@click.option(
    "-trust-new-server-key",
    "--trust-new-server-key",
    "is_new_server",
    is_flag=True,
    help="take the server for the right one though its key is another than before",
)
@_flag("log-level", type=click.Choice(LEVELS), default="info", help="Default info")
def cli(config: Path | None, listen: str, address: tuple[str, ...], log_level: str, **given: Any) -> None:
    """Relay packets for a WireGuard mesh, for peers that do not reach each other, and show them their addresses."""
    logging.basicConfig(level=log_level.upper(), format=_READABLE, stream=sys.stderr)
    # Imported only now, so that help and version answer at once.
    from wireguard_mesh.client import clock, relay_station
    from wireguard_mesh.client.locks import Lock
    from wireguard_mesh.client.relay_addresses import Addresses
    from wireguard_mesh.client.relay_state import Given, RelayFolder, settle
    from wireguard_mesh.server.listening import ListenAddress

    place = ListenAddress.parse(listen)
    folder = RelayFolder.at((config or Path(DEFAULT_FOLDER)).expanduser().absolute())
    # Who listens on one address only is reached there.
    addresses = Addresses.parse(address or ([] if place.host in _EVERYWHERE else [place.host]))
    folder.make()
    with Lock(folder.lock_path, f"a relay with the identity of {folder.path} runs already", "stop it first"):
        state = settle(
            folder,
            Given(
                id=given["name"],
                server=given["server"],
                relay_key=_relay_key(given["key"], given["key_file"]),
                is_new_server=given["is_new_server"],
            ),
            _own_name,
            os.urandom,
        )
        _hide_key()
        relay_station.run(
            relay_station.StationOptions(
                folder=folder,
                state=state,
                host=place.host,
                port=place.port,
                addresses=addresses,
                log_level=log_level.upper(),
            ),
            clock.now,
        )


def main() -> NoReturn:
    """The entry point."""
    errors.run(cli, PROGRAM)


def _own_name() -> RelayId:
    name = hostname_from(socket.gethostname(), "relay")[:MAX_LABEL].strip("-.")
    if name == OWN_RELAY:
        raise InvalidValue(f"{name!r} is the name of the server's own relay", "give this one another: -name ID")
    return parse_relay_id(name)


def _relay_key(text: str | None, file: Path | None) -> Any:
    """The relay key, if one is given. Raises `InvalidKey`, or `Unavailable` for a file that cannot be read."""
    from wireguard_mesh.protocol.relay_keys import RelayKey

    if text and file is not None:
        raise InvalidValue("the relay key is given twice", "give -key or -key-file")
    if file is not None:
        text = _read(file)
    return RelayKey.parse(text) if text else None


def _read(file: Path) -> str:
    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as opened:
            return opened.read(_KEY_FILE_LIMIT).decode("ascii", "replace")
    except OSError as error:
        raise Unavailable(f"{file} cannot be read ({error.strerror})", "see -key-file") from None


def _hide_key() -> None:
    """Everybody on a machine may read the flags of a process, and what it inherits its children have too. The key is on
    disk by now, so where it was a flag this process begins anew without it."""
    os.environ.pop(KEY_VARIABLE, None)
    words = without_key(sys.orig_argv)
    if words != sys.orig_argv:
        os.execv(sys.executable, words)


def without_key(words: list[str]) -> list[str]:
    """A command line without the relay key."""
    kept: list[str] = []
    is_value = False
    for word in words:
        if is_value:
            is_value = False
        elif word in _KEY_FLAGS:
            is_value = True
        elif not word.startswith(tuple(f"{flag}=" for flag in _KEY_FLAGS)):
            kept.append(word)
    return kept
