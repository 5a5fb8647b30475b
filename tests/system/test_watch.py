"""News of the network: what is told, and what is not."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from lab.host import Host
from lab.lab import Lab
from tests.system.hosts import BOTH, MEMBER, WG0, add_interface, delete_interface, inside, tool
from wireguard_mesh.netlink.codec import Message, attribute, u32
from wireguard_mesh.netlink.records import (
    IFF_LOWER_UP,
    IFF_UP,
    RTM_DELADDR,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
)
from wireguard_mesh.system import watch
from wireguard_mesh.system.interface import LinkEvent
from wireguard_mesh.system.linux import LinuxSystem

DEADLINE = 10.0  # seconds
OWN_PORT = 4242


@pytest.fixture
def host(lab: Lab) -> Iterator[Host]:
    with inside(lab) as host:
        yield host


class Watcher:
    """Collects what is told."""

    def __init__(self) -> None:
        self.seen: list[LinkEvent] = []
        self.news = asyncio.Event()

    async def collect(self, events: AsyncIterator[LinkEvent]) -> None:
        async for event in events:
            self.seen.append(event)
            self.news.set()

    async def until(self, event: LinkEvent) -> None:
        async with asyncio.timeout(DEADLINE):
            while event not in self.seen:
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def watching(system: LinuxSystem) -> AsyncIterator[Watcher]:
    watcher = Watcher()
    task = asyncio.create_task(watcher.collect(system.watch(WG0)))
    await asyncio.sleep(0)  # it subscribes in its first step
    try:
        yield watcher
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.lab
async def test_what_others_change_is_told(host: Host, tmp_path: Path) -> None:
    add_interface()
    system = LinuxSystem(tmp_path)
    await system.apply(MEMBER)
    for command, event in (
        ("address add 192.0.2.99/24 dev eth0", LinkEvent.ADDRESSES),
        ("route add 198.51.100.0/24 via 192.0.2.2", LinkEvent.ROUTES),
        ("link set wg0 down", LinkEvent.INTERFACE),
    ):
        async with watching(system) as watcher:
            tool("ip", *command.split())
            await watcher.until(event)
    async with watching(system) as watcher:
        delete_interface()
        await watcher.until(LinkEvent.INTERFACE)
    async with watching(system) as watcher:
        add_interface()
        await watcher.until(LinkEvent.INTERFACE)
    await system.close()


@pytest.mark.lab
async def test_our_own_changes_of_addresses_routes_and_rules_are_not_told(host: Host, tmp_path: Path) -> None:
    add_interface()
    system = LinuxSystem(tmp_path)
    await system.apply(MEMBER)
    async with watching(system) as watcher:
        await system.apply(BOTH)
        await system.apply(MEMBER)
        tool("ip", "route", "add", "198.51.100.0/24", "via", "192.0.2.2")  # marks the end
        await watcher.until(LinkEvent.ROUTES)
        assert LinkEvent.INTERFACE not in watcher.seen
    await system.close()


@pytest.mark.lab
async def test_a_burst_comes_as_one_event_and_an_overrun_as_all(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = LinuxSystem(tmp_path)
    async with watching(system) as watcher:
        batch = [f"address add 192.0.2.{number}/24 dev eth0" for number in range(50, 80)]
        host.machine.ip(*batch)
        await watcher.until(LinkEvent.ADDRESSES)
        assert watcher.seen.count(LinkEvent.ADDRESSES) == 1
    original = socket.socket.bind

    def with_little_room(self: socket.socket, address: object) -> None:
        self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        original(self, address)  # type: ignore[arg-type]  # whatever the caller gave

    monkeypatch.setattr(socket.socket, "bind", with_little_room)
    async with watching(system) as watcher:
        host.machine.ip(*(command.replace(" add ", " del ") for command in batch))
        for event in LinkEvent:
            await watcher.until(event)
    await system.close()


def link(index: int, name: str, flags: int, port: int = 0, mtu: int = 1500) -> Message:
    payload = struct.pack("=BxHiII", 0, 1, index, flags, 0) + attribute(3, name.encode() + b"\0") + u32(4, mtu)
    return Message(RTM_NEWLINK, 0, 0, port, payload)


def address(kind: int, index: int, last: int, port: int = 0) -> Message:
    return Message(kind, 0, 0, port, struct.pack("=BBBBi", 2, 24, 0, 0, index) + attribute(1, bytes((192, 0, 2, last))))


def route(index: int, table: int, port: int = 0) -> Message:
    header = struct.pack("=BBBBBBBBI", 2, 24, 0, 0, 0, 3, 0, 1, 0)
    return Message(
        RTM_NEWROUTE, 0, 0, port, header + attribute(1, bytes((10, 0, 0, 0))) + u32(4, index) + u32(15, table)
    )


def test_what_repeats_is_no_news() -> None:
    news = watch.LinkNews(WG0, OWN_PORT, index=7)
    up = IFF_UP | IFF_LOWER_UP
    assert news.event(link(2, "eth0", up)) is LinkEvent.ADDRESSES
    assert news.event(link(2, "eth0", up)) is None
    assert news.event(link(2, "eth0", IFF_UP)) is LinkEvent.ADDRESSES
    assert news.event(address(RTM_NEWADDR, 2, 1)) is LinkEvent.ADDRESSES
    assert news.event(address(RTM_NEWADDR, 2, 1)) is None
    assert news.event(address(RTM_DELADDR, 2, 1)) is LinkEvent.ADDRESSES
    assert news.event(address(RTM_NEWADDR, 2, 1)) is LinkEvent.ADDRESSES


def test_what_is_ours_is_no_news() -> None:
    news = watch.LinkNews(WG0, OWN_PORT, index=7)
    assert news.event(address(RTM_NEWADDR, 7, 1)) is None
    assert news.event(address(RTM_DELADDR, 7, 1)) is LinkEvent.INTERFACE, "somebody took our address"
    assert news.event(address(RTM_DELADDR, 7, 2, OWN_PORT)) is None
    assert news.event(route(7, 254)) is None
    assert news.event(route(2, 254, OWN_PORT)) is None
    assert news.event(route(2, 254)) is LinkEvent.ROUTES
    assert news.event(route(2, 51820)) is None, "another table"
    assert news.event(Message(99, 0, 0, 0, b"")) is None


@pytest.mark.parametrize(("prefix", "event"), [("2001:db8::", LinkEvent.ROUTES), ("fe80::", None)])
def test_a_route_that_every_link_has_is_no_news(prefix: str, event: LinkEvent | None) -> None:
    header = struct.pack("=BBBBBBBBI", socket.AF_INET6, 64, 0, 0, 0, 2, 0, 1, 0)
    destination = attribute(1, ip_address(prefix).packed)
    message = Message(RTM_NEWROUTE, 0, 0, 0, header + destination + u32(4, 2) + u32(15, 254))
    assert watch.LinkNews(WG0, OWN_PORT).event(message) is event
