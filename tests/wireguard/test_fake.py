"""The fake behaves as the real backends do, and its handles work."""

import pytest

from tests.samples import public_key
from tests.wireguard.contract import CHECKS, NAME, joining
from wireguard_mesh.model.devices import BackendKind, DeviceChange
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import Conflict, Unavailable
from wireguard_mesh.wireguard.fake import FakeBackend
from wireguard_mesh.wireguard.interface import Backend


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("kind", BackendKind)
async def test_contract(check: object, kind: BackendKind) -> None:
    assert callable(check)
    backend: Backend = FakeBackend(kind)
    await check(backend)


async def test_faults_come_as_often_as_asked_and_change_nothing() -> None:
    backend = FakeBackend()
    backend.fail("create", Unavailable("not now"), times=2)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await backend.create(NAME, 1420)
    assert not backend.devices
    await backend.create(NAME, 1420)
    assert backend.mtus == {NAME: 1420}
    assert backend.count["create"] == 3


async def test_a_foreign_interface_is_in_the_way() -> None:
    backend = FakeBackend()
    backend.foreign.add(NAME)
    with pytest.raises(Conflict):
        await backend.create(NAME, 1420)
    assert await backend.read(NAME) is None


async def test_a_peer_is_seen() -> None:
    backend = FakeBackend()
    await backend.create(NAME, 1420)
    change = DeviceChange(peers=(joining(1),))
    await backend.apply(NAME, change)
    roamed = Endpoint.parse("198.51.100.1:7")
    backend.see_peer(NAME, public_key(1), latest_handshake=5.0, endpoint=roamed, received_bytes=6, sent_bytes=7)
    device = await backend.read(NAME)
    assert device is not None
    peer = device.peers[public_key(1)]
    assert (peer.latest_handshake, peer.endpoint, peer.received_bytes, peer.sent_bytes) == (5.0, roamed, 6, 7)
    assert backend.changes == [change]
    backend.kill(NAME)
    assert await backend.read(NAME) is None
    await backend.close()
    assert backend.closed
