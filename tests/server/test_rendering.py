"""Answers made of kept pieces are the same as those made anew."""

from __future__ import annotations

import msgspec
import pytest

from tests.core.samples import public_key
from tests.server.conftest import Server
from wireguard_mesh.model.peers import MapVersion
from wireguard_mesh.protocol import api, seed
from wireguard_mesh.protocol.codec import encode
from wireguard_mesh.server import rendering
from wireguard_mesh.server.rendering import Renderer


async def test_a_map_is_encoded_as_its_type_says(server: Server) -> None:
    for number in (1, 2, 3):
        await server.join(number, endpoints=[f"192.0.2.{number}:1"])
    renderer = Renderer(server.mesh)
    for since in (None, MapVersion("epoch1", 1), MapVersion("epoch1", 3)):
        update = server.mesh.map(public_key(1), since)
        for _ in range(2):
            assert renderer.update(update) == encode(update)
            assert api.map_update.decode(renderer.update(update)) == update
    whole = server.mesh.map(public_key(1), None)
    me = whole.upsert[0]
    for given in (whole, None):
        expected = api.RegisterResponse(peer_id=me.id, me=me, map=given, heartbeat_seconds=30.0, offline_seconds=120.0)
        assert renderer.registration(me, given, 30.0, 120.0) == encode(expected)


async def test_pieces_follow_their_peers(server: Server) -> None:
    await server.join(1)
    await server.join(2)
    renderer = Renderer(server.mesh)

    def expected() -> bytes:
        records = sorted(server.mesh.snapshot.records.values(), key=lambda record: record.number)
        entries = [seed.peer_entry(record.peer, server.mesh.last_heard(record.peer.public_key)) for record in records]
        return encode(seed.PeersResponse(peers=tuple(entries)))

    assert renderer.peer_list("") == renderer.peer_list("") == expected()
    server.time.pass_by(5)
    await server.signed(1, "POST", "/v1/heartbeat", {})
    assert renderer.peer_list("") == expected()
    await server.join(2, exit_node=True)
    assert renderer.peer_list("") == expected()
    update = server.mesh.map(public_key(1), None)
    assert renderer.update(update) == encode(update)
    await server.signed(2, "DELETE", "/v1/peer")
    assert renderer.peer_list("") == expected()
    assert renderer.peer_list("nobody") == expected()


async def test_pieces_of_peers_that_left_are_forgotten_without_anybody_listing_all(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "_GONE_KEPT", 0)
    renderer = Renderer(server.mesh)
    await server.join(1)
    for seed_of_peer in range(2, 6):
        await server.join(seed_of_peer)
        renderer.update(server.mesh.map(public_key(1), None))
        await server.signed(seed_of_peer, "DELETE", "/v1/peer")
    assert len(renderer._peers) <= 3


def test_the_encoded_types_have_the_fields_of_the_protocol() -> None:
    def fields(kind: type[msgspec.Struct]) -> list[str]:
        return [field.name for field in msgspec.structs.fields(kind)]

    assert fields(rendering._EncodedUpdate) == fields(api.MapUpdate)
    assert fields(rendering._EncodedRegistration) == fields(api.RegisterResponse)
