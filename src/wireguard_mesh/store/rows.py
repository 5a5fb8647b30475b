"""A peer or relay as a row of its table, and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import msgspec

from wireguard_mesh.core.snapshot import Record
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import Hostname, PeerId
from wireguard_mesh.model.networks import MeshNetwork
from wireguard_mesh.model.peers import Peer
from wireguard_mesh.model.relays import NatClass, Relay, RelayDistance
from wireguard_mesh.protocol.codec import Decoder, encode

_relay: Final[Decoder[Relay]] = Decoder(Relay)


def record_of(row: Any, network: MeshNetwork) -> Record:
    """The record of a row. Raises `ValueError` or `msgspec.MsgspecError` for what nobody wrote so."""
    peer = Peer(
        id=PeerId(row.id),
        public_key=PublicKey.from_base64(row.public_key),
        hostname=Hostname(row.hostname),
        os=row.os,
        ipv4=network.ipv4_address(row.number),
        ipv6=network.ipv6_address(row.number),
        endpoints=tuple(_endpoints(row.endpoints)),
        mapped=tuple(_endpoints(row.mapped)),
        reflexive=tuple(_endpoints(row.reflexive)),
        nat=NatClass(row.nat),
        distances=msgspec.json.decode(row.distances, type=tuple[RelayDistance, ...]),
        exit_node=row.exit_node,
        online=row.online,
        revision=row.revision,
    )
    return Record(peer=peer, number=row.number, signed=row.signed, version=row.version, created=row.created)


def peer_row(record: Record) -> dict[str, Any]:
    """The row of a record, without when it was last seen."""
    peer = record.peer
    return {
        "id": peer.id,
        "public_key": peer.public_key.to_base64(),
        "number": record.number,
        "hostname": peer.hostname,
        "os": peer.os,
        "endpoints": _texts(peer.endpoints),
        "mapped": _texts(peer.mapped),
        "reflexive": _texts(peer.reflexive),
        "nat": peer.nat.value,
        "distances": msgspec.json.encode(peer.distances).decode() if peer.distances else "[]",
        "exit_node": peer.exit_node,
        "online": peer.online,
        "signed": record.signed,
        "version": record.version,
        "revision": peer.revision,
        "created": record.created,
    }


def relay_of(row: Any) -> Relay:
    """The relay of a row. Raises `InvalidValue` for what nobody wrote so."""
    return _relay.decode(row.record)


def relay_row(relay: Relay) -> dict[str, Any]:
    """The row of a relay, without when it was last seen."""
    return {"id": relay.id, "record": encode(relay).decode()}


def _texts(endpoints: tuple[Endpoint, ...]) -> str:
    # Most have none: so much is written for each of ten thousand peers.
    return msgspec.json.encode([str(endpoint) for endpoint in endpoints]).decode() if endpoints else "[]"


def _endpoints(texts: str) -> Iterator[Endpoint]:
    for text in msgspec.json.decode(texts, type=list[str]):
        # One that an older version took: the peer says its endpoints anew.
        with suppress(InvalidValue):
            yield Endpoint.parse(text)
