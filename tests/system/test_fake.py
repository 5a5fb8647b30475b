"""The fake host's handles."""

import asyncio
from ipaddress import ip_address, ip_network

import pytest

from tests.system.hosts import EXIT_NODE, MEMBER, WG0
from wireguard_mesh.model.errors import Conflict, NotFound, Unavailable
from wireguard_mesh.model.hosts import LocalAddress
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.system.fake import FakeSystem
from wireguard_mesh.system.interface import LinkEvent, System


async def test_it_keeps_what_is_applied_until_it_is_undone() -> None:
    system = FakeSystem()
    seam: System = system
    await seam.prepare(WG0)
    assert await seam.owns(WG0, has_key=False)
    assert not await seam.owns(WG0, has_key=True)
    assert await seam.apply(MEMBER) is None
    assert await seam.owns(WG0, has_key=True)
    assert system.applied == {WG0: MEMBER}
    system.exit_fault = Unavailable("no nft")
    assert await seam.apply(MEMBER) is None
    assert await seam.apply(EXIT_NODE) is system.exit_fault
    assert await seam.undo(WG0)
    assert not await seam.undo(WG0)
    assert not system.applied
    assert not await seam.owns(WG0, has_key=False)
    assert system.count == {"prepare": 1, "apply": 3, "undo": 2}
    await seam.close()
    assert system.closed


async def test_it_raises_as_linux_does() -> None:
    system = FakeSystem(any_interface=False)
    assert not await system.exists(WG0)
    with pytest.raises(NotFound):
        await system.apply(MEMBER)
    system.interfaces.add(WG0)
    assert await system.exists(WG0)
    system.local_routes.add(ip_network("10.100.7.0/24"))
    with pytest.raises(Conflict, match="-network"):
        await system.apply(MEMBER)
    system.local_routes.clear()
    system.fail("apply", Unavailable("not now"))
    with pytest.raises(Unavailable):
        await system.apply(MEMBER)
    await system.apply(MEMBER)


async def test_it_answers_what_it_was_told() -> None:
    system = FakeSystem()
    local = LocalAddress(
        interface=InterfaceName("eth0"), address=ip_address("192.0.2.1"), prefix=ip_network("192.0.2.0/24"), mtu=1500
    )
    system.addresses = [local]
    system.mtus[ip_address("192.0.2.9")] = 1280
    assert await system.local_addresses() == [local]
    assert await system.path_mtu(ip_address("192.0.2.9")) == 1280
    assert await system.path_mtu(ip_address("192.0.2.8")) == 1500


async def test_events_reach_those_who_watch_that_interface() -> None:
    system = FakeSystem()
    events = aiter(system.watch(WG0))
    first = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    system.emit(InterfaceName("wg1"), LinkEvent.ROUTES)
    system.emit(WG0, LinkEvent.ADDRESSES)
    assert await first is LinkEvent.ADDRESSES
