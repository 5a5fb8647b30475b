"""The file `server.json`: the server's identity and settings, for its owner only."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from wireguard_mesh.model.errors import InvalidValue, Unavailable
from wireguard_mesh.model.keys import KEY_LENGTH
from wireguard_mesh.model.networks import DEFAULT_IPV4_NETWORK
from wireguard_mesh.protocol.codec import Decoder
from wireguard_mesh.protocol.relay_keys import RelayKey

DEFAULT_FILE: Final = Path("~/.config/wireguard-mesh/server.json")
DEFAULT_LISTEN: Final = ":8080"
_PRIVATE_FILE: Final = 0o600
_PRIVATE_FOLDER: Final = 0o700


class ServerFile(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the file holds; fields that are not ours are kept. Durations in seconds."""

    listen_addr: str = DEFAULT_LISTEN
    network_cidr: str = str(DEFAULT_IPV4_NETWORK)
    private_key: str = ""
    public_key: str = ""
    db_path: str = ""
    heartbeat_timeout: float | None = None
    cleanup_interval: float | None = None
    quarantine: float | None = None
    registration_burst: float | None = None
    registration_rate: float | None = None
    connections_per_source: float | None = None
    udp: bool | None = None
    relay_address: str = ""
    relay_key: str = ""


_decoder: Final[Decoder[ServerFile]] = Decoder(ServerFile)


def read_file(path: Path) -> ServerFile | None:
    """What the file holds, None if there is none. Raises `InvalidValue`, `Unavailable`."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror}", "choose a file of yours with -config") from None
    try:
        return _decoder.decode(data)
    except InvalidValue as error:
        raise InvalidValue(
            f"{path} is damaged: {error.message}",
            "it holds the server's identity: repair it, or move it away to start anew",
        ) from None


def write_file(path: Path, fields: Mapping[str, Any]) -> None:
    """Put it in place of the file, whole or not at all. Raises `Unavailable`."""
    text = msgspec.json.format(msgspec.json.encode(fields), indent=2) + b"\n"
    try:
        path.parent.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        # A temporary file is made for its owner only, and takes the place of the old one whole or not at all.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
            try:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), _PRIVATE_FILE)
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise Unavailable(f"cannot write {path}: {error.strerror}", "choose a file of yours with -config") from None


def fields_of(path: Path) -> dict[str, Any]:
    """All fields of a file that `read_file` understood, also those that are not ours; none if there is no file."""
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Any]) if path.exists() else {}


def relay_key_of(path: Path) -> RelayKey | None:
    """The key that makes machines relays of this mesh; None: none may be one. Raises `InvalidValue`, `Unavailable`."""
    contents = read_file(path)
    if contents is None or not contents.relay_key:
        return None
    try:
        return RelayKey.parse(contents.relay_key)
    except InvalidValue as error:
        raise InvalidValue(
            f"{path}: relay_key: {error.message}", "make another one: vpn-server relay-key -new"
        ) from None


def make_relay_key(path: Path, random: Callable[[int], bytes] = os.urandom) -> RelayKey:
    """A new key in a file that stands, in place of any other. Raises `InvalidValue`, `Unavailable`."""
    key = RelayKey(random(KEY_LENGTH))
    write_file(path, {**fields_of(path), "relay_key": key.to_text()})
    return key
