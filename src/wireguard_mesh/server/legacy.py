"""Takes over the peers of a `peers.json`, which servers before this one kept, with their ids and addresses."""

from __future__ import annotations

from codecs import BOM_UTF8
from dataclasses import dataclass
from datetime import datetime
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import Any, Final

import msgspec

from wireguard_mesh.core.snapshot import Changes, Record, Snapshot
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue, MeshError, Unavailable
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import hostname_from, parse_peer_id
from wireguard_mesh.model.networks import MeshNetwork
from wireguard_mesh.model.peers import Peer
from wireguard_mesh.protocol.api import MAX_TEXT
from wireguard_mesh.protocol.codec import Decoder

_SQLITE_SUFFIX: Final = ".db"
_LOOK: Final = 64
_SQLITE_MAGIC: Final = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html
_JSON_SUFFIX: Final = ".json"


class _Entry(msgspec.Struct, frozen=True, kw_only=True):
    # The fields of `GET /peers`; what another program left out has the usual value.
    public_key: str
    virtual_ip: str
    id: str = ""
    endpoint: str = ""
    hostname: str = ""
    os: str = ""
    exit_node: bool = False
    last_heartbeat: str = ""


_entries: Final[Decoder[list[_Entry]]] = Decoder(list[_Entry])


@dataclass(frozen=True, slots=True)
class Legacy:
    """A JSON file of peers, and where the database that takes its place lies."""

    source: Path
    database: Path
    peers: tuple[_Entry, ...]


def find_legacy(path: Path) -> Legacy | None:
    """What lies at `path`, if that is JSON and not a database.

    Raises `InvalidValue` for JSON that is no list of peers, `Unavailable` if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_LOOK)
            if start.startswith(_SQLITE_MAGIC) or not (
                start.removeprefix(BOM_UTF8).lstrip().startswith((b"{", b"[")) or path.suffix == _JSON_SUFFIX
            ):
                return None
            data = (start + file.read()).removeprefix(BOM_UTF8)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror}", "choose another database with -db") from None
    database = path.with_suffix(_SQLITE_SUFFIX)
    if database == path:
        database = path.with_name(path.name + _SQLITE_SUFFIX)
    try:
        # An empty file, and null, are how no peers were written.
        peers = _entries.decode(msgspec.json.encode(_listed(msgspec.json.decode(data.strip() or b"[]"))))
    except RecursionError:
        raise InvalidValue(f"{path} is no list of peers", "repair it, or name another one with -db") from None
    except (InvalidValue, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidValue(
            f"{path} is neither a database nor a list of peers: {error}", "repair it, or name another one with -db"
        ) from None
    return Legacy(path, database, tuple(peers))


def take_over(legacy: Legacy, snapshot: Snapshot) -> tuple[Changes, list[tuple[PublicKey, float]]]:
    """The rows for an empty database, and when each peer was last heard (Unix seconds).

    Raises `InvalidValue` that names the peer for one that cannot be taken over: better none than only some.
    """
    revision = snapshot.revision + 1
    records = []
    heard = []
    for position, entry in enumerate(legacy.peers, 1):
        try:
            record = _record(entry, snapshot.network, revision)
        except MeshError as error:
            raise InvalidValue(f"{legacy.source}, peer {position}: {error.message}", error.hint) from None
        records.append(record)
        heard.append((record.peer.public_key, _moment(entry.last_heartbeat)))
    for what, values in (
        ("key", [record.peer.public_key for record in records]),
        ("id", [record.peer.id for record in records]),
        ("address", [record.number for record in records]),
    ):
        if len(set(values)) != len(values):
            raise InvalidValue(f"{legacy.source}: two peers have one {what}", "remove one of them")
    return Changes(snapshot.sequence + 1, revision, snapshot.purged, added=tuple(records)), heard


def _listed(document: Any) -> Any:
    if isinstance(document, dict) and "peers" in document:
        document = document["peers"]
    if isinstance(document, dict):
        document = [{"id": name, **entry} if isinstance(entry, dict) else entry for name, entry in document.items()]
    if not isinstance(document, list):
        return [] if document is None else document
    return [_without_nulls(entry) if isinstance(entry, dict) else entry for entry in document]


def _without_nulls(entry: dict[Any, Any]) -> dict[Any, Any]:
    return {name: value for name, value in entry.items() if value is not None}


def _record(entry: _Entry, network: MeshNetwork, revision: int) -> Record:
    peer_id = parse_peer_id(entry.id)
    try:
        address = IPv4Address(entry.virtual_ip.partition("/")[0])
    except AddressValueError:
        raise InvalidValue(f"{entry.virtual_ip!r} is no IPv4 address") from None
    number = network.number_of(address)
    peer = Peer(
        id=peer_id,
        public_key=PublicKey.from_base64(entry.public_key),
        hostname=hostname_from(entry.hostname),
        os="".join(character for character in entry.os if character.isprintable())[:MAX_TEXT],
        ipv4=network.ipv4_address(number),
        ipv6=network.ipv6_address(number),
        endpoints=_endpoints(entry.endpoint),
        exit_node=entry.exit_node,
        online=False,
        revision=revision,
    )
    return Record(peer=peer, number=number, signed=False)


def _endpoints(text: str) -> tuple[Endpoint, ...]:
    try:
        return (Endpoint.parse(text),) if text else ()
    except InvalidValue:
        return ()  # the peer says its endpoint anew with its next heartbeat


def _moment(text: str) -> float:
    try:
        return max(0.0, datetime.fromisoformat(text).timestamp())  # year 1 is how some programs write "never"
    except (ValueError, OverflowError):
        return 0.0
