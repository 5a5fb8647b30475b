import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

import pytest

from tests.client.conftest import WG0, until
from tests.samples import private_key
from wireguard_mesh.client import clock
from wireguard_mesh.client.dial import Dialer
from wireguard_mesh.client.links import Links
from wireguard_mesh.core.engine import Engine
from wireguard_mesh.core.wanted import ETHERNET_MTU, Settings
from wireguard_mesh.model.errors import Unavailable
from wireguard_mesh.model.hosts import LocalAddress
from wireguard_mesh.model.names import InterfaceName
from wireguard_mesh.model.servers import ServerAddress
from wireguard_mesh.system.fake import FakeSystem
from wireguard_mesh.system.interface import LinkEvent


def lan(address: str) -> LocalAddress:
    return LocalAddress(
        interface=InterfaceName("eth0"), address=ip_address(address), prefix=ip_network("192.0.2.0/24"), mtu=1500
    )


@dataclass
class Made:
    """Links on a host in memory, and what they said."""

    host: str = "203.0.113.1"
    remembered: tuple[str, ...] = ()
    system: FakeSystem = field(default_factory=FakeSystem)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = Engine(Settings(interface=WG0, private_key=private_key(1)))
        known = [ip_address(text) for text in self.remembered]
        self.links = Links(
            self.system,
            self.engine,
            Dialer(ServerAddress("http", self.host, 8080), remembered=known),
            clock.now,
            on_change=lambda: self.said.append("change"),
            on_moved=lambda: self.said.append("moved"),
        )

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.links.watch())
        await asyncio.sleep(0)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


async def test_tells_the_engine_of_addresses_and_of_the_path_to_the_server() -> None:
    made = Made()
    made.system.addresses = [lan("192.0.2.1")]
    made.system.mtus = {ip_address("203.0.113.1"): 1400}
    await made.links.look()
    assert made.engine.local == (lan("192.0.2.1"),)
    assert made.engine.link_mtu == 1400


@pytest.mark.parametrize(("remembered", "mtu"), [((), ETHERNET_MTU), (("203.0.113.7",), 1300)])
async def test_where_the_server_has_a_name_its_last_address_counts(remembered: tuple[str, ...], mtu: int) -> None:
    made = Made(host="vpn.example.com", remembered=remembered)
    made.system.mtus = {ip_address("203.0.113.7"): 1300}
    await made.links.look()
    assert made.engine.link_mtu == mtu


async def test_says_whether_addresses_are_others() -> None:
    made = Made()
    async with made.watching():
        made.system.emit(WG0, LinkEvent.ROUTES)
        await until(lambda: made.said == ["change"])
        made.system.addresses = [lan("192.0.2.1")]
        made.system.emit(WG0, LinkEvent.ADDRESSES)
        await until(lambda: made.said == ["change", "change", "moved"])


async def test_a_fault_ends_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    made = Made()
    faults: list[Exception] = [Unavailable("no netlink"), RuntimeError("ours")]

    async def fail() -> list[LocalAddress]:
        if faults:
            raise faults.pop(0)
        return [lan("192.0.2.1")]

    monkeypatch.setattr(made.system, "local_addresses", fail)
    async with made.watching():
        for _ in range(3):
            made.system.emit(WG0, LinkEvent.ADDRESSES)
        await until(lambda: "moved" in made.said)
    assert "cannot be read: no netlink" in caplog.text
    assert "could not be followed" in caplog.text
