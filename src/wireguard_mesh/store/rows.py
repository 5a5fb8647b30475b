"""One peer as a row of its table, and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec

from wireguard_mesh.core.snapshot import Record
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import Hostname, PeerId
from wireguard_mesh.model.networks import MeshNetwork
from wireguard_mesh.model.peers import Peer


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
        "endpoints": msgspec.json.encode([str(endpoint) for endpoint in peer.endpoints]).decode(),
        "exit_node": peer.exit_node,
        "online": peer.online,
        "signed": record.signed,
        "version": record.version,
        "revision": peer.revision,
        "created": record.created,
    }


def _endpoints(texts: str) -> Iterator[Endpoint]:
    for text in msgspec.json.decode(texts, type=list[str]):
        # One that an older version took: the peer says its endpoints anew.
        with suppress(InvalidValue):
            yield Endpoint.parse(text)
