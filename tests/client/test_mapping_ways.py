"""Asking routers for mappings: a real one (miniupnpd) in the lab, and ones that are silent, lie or refuse."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import cast

import pytest

from lab.host import Host
from lab.lab import Lab
from lab.machine import ROOT
from lab.router import Router
from tests.client.real_mapping import NONCE
from wireguard_mesh.client import mapping_ways
from wireguard_mesh.client.mapping_ways import NatPmp, Pcp, Upnp
from wireguard_mesh.protocol import pcp
from wireguard_mesh.protocol.pcp import Mapped, MappingRefused

GATEWAY = IPv4Address("127.0.0.1")
PORT = 51820
PMP_ADDRESS = b"\0\x80\0\0" + bytes(4) + bytes((198, 51, 100, 7))
PMP_MAP = b"\0\x81\0\0" + bytes(4) + PORT.to_bytes(2, "big") + (40000).to_bytes(2, "big") + (600).to_bytes(4, "big")

# With a real router

# miniupnpd takes no address for public that is reserved, as those for documentation are; nothing leaves the lab.
OUTSIDE = "11.0.0.0/24"
TABLE = """table inet filter {
    chain forward { type filter hook forward priority filter - 1; jump miniupnpd; }
    chain miniupnpd { }
    chain prerouting { type nat hook prerouting priority dstnat; jump prerouting_miniupnpd; }
    chain prerouting_miniupnpd { }
    chain postrouting { type nat hook postrouting priority srcnat; jump postrouting_miniupnpd; }
    chain postrouting_miniupnpd { }
}
"""
SETTINGS = """ext_ifname=wan
listening_ip=lan
enable_upnp=yes
enable_natpmp=yes
min_lifetime=60
max_lifetime=86400
secure_mode=yes
http_port=0
uuid=00000000-0000-0000-0000-000000000000
upnp_table_name=filter
upnp_nat_table_name=filter
"""


def start_miniupnpd(router: Router) -> None:
    """Have the router forward ports for who asks."""
    router.nft(TABLE)
    router.path("~/miniupnpd.conf").write_text(SETTINGS)
    daemon = router.start("miniupnpd", "-d", "-f", router.path("~/miniupnpd.conf"), "-P", router.path("~/pid"))
    daemon.wait_for("Listening for NAT-PMP/PCP")


def ask(host: Host, way: str, lifetime: int, port: int = PORT) -> str:
    done = host.run(
        sys.executable, "-m", "tests.client.real_mapping", way, port, PORT, lifetime, env={"PYTHONPATH": str(ROOT)}
    )
    return done.stdout


@contextmanager
def listening(host: Host, port: int) -> Iterator[socket.socket]:
    with host.machine.network():
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("", port))
    with sock:
        sock.settimeout(5)
        yield sock


@pytest.mark.lab
@pytest.mark.parametrize("way", ["pcp", "nat-pmp", pytest.param("upnp", marks=pytest.mark.slow)])
def test_a_real_router_forwards_until_it_is_told_not_to(lab: Lab, way: str) -> None:
    home, internet = lab.switch("home", "192.168.1.0/24"), lab.switch("internet", OUTSIDE)
    laptop, printer, outside = lab.host("laptop", home), lab.host("printer", home), lab.host("outside", internet)
    router = lab.router("router", home, internet, kind="easy")
    assert ask(laptop, way, 600) == "nobody"
    start_miniupnpd(router)
    outer = str(router.links[1].ipv4)
    assert ask(laptop, way, 600) == f"{outer}:{PORT} 600"
    with listening(laptop, PORT) as inner, listening(outside, 0) as sender:
        sender.sendto(b"hello", (outer, PORT))
        assert inner.recv(10) == b"hello"
        other, _, lifetime = ask(printer, way, 600).partition(" ")
        assert other not in ("", f"{outer}:{PORT}"), "one port is forwarded to one machine"
        assert lifetime == "600"
        assert ask(laptop, way, 600) == f"{outer}:{PORT} 600", "it is asked again for the same"
        ask(laptop, way, 0)
        assert str(PORT) not in _forwarded_to(router, laptop)
        assert _forwarded_to(router, printer), "the other machine's stays"


def _forwarded_to(router: Router, host: Host) -> str:
    rules = router.run("nft", "list", "chain", "inet", "filter", "prerouting_miniupnpd").stdout
    return "\n".join(line for line in rules.splitlines() if f"to {host.ipv4}:" in line)


# With routers in memory


class Gateway(asyncio.DatagramProtocol):
    """Answers each request with what `answers` makes of it."""

    def __init__(self, answers: Callable[[bytes], list[bytes]]) -> None:
        self._answers = answers
        self.heard: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # which in Python 3.11 it is in all but name

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.append(data)
        for answer in self._answers(data):
            self._transport.sendto(answer, addr)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping_ways, "TRIES", (0.05, 0.05))


Answers = Callable[[bytes], list[bytes]]
StartGateway = Callable[[Answers], Awaitable[Gateway]]


@pytest.fixture
async def gateway(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StartGateway]:
    """Starts a gateway that answers so, on loopback."""
    opened: list[asyncio.DatagramTransport] = []

    async def start(answers: Answers) -> Gateway:
        transport, made = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: Gateway(answers), local_addr=(str(GATEWAY), 0)
        )
        opened.append(transport)
        monkeypatch.setattr(pcp, "PORT", transport.get_extra_info("sockname")[1])
        return made

    yield start
    for transport in opened:
        transport.close()


def pcp_answer(request: bytes, result: int = 0) -> bytes:
    """As RFC 6887 has it, out of the request."""
    head = b"\2\x81\0" + bytes([result]) + (600).to_bytes(4, "big") + bytes(16)
    return head + request[24:42] + (40000).to_bytes(2, "big") + bytes(10) + b"\xff\xff\xc6\x33\x64\7"


async def test_pcp_takes_its_own_answer_among_others(gateway: StartGateway) -> None:
    made = await gateway(lambda data: [b"junk", PMP_MAP, pcp_answer(data)])
    assert await Pcp(NONCE).ask(GATEWAY, PORT, 0, 600) == Mapped(IPv4Address("198.51.100.7"), 40000, 600)
    assert made.heard == [pcp.pcp_request(NONCE, GATEWAY, PORT, 0, 600)]


async def test_pcp_is_told_that_only_nat_pmp_is_spoken(gateway: StartGateway) -> None:
    made = await gateway(lambda _: [b"\0\x81\0\1" + bytes(4)])
    assert await Pcp(NONCE).ask(GATEWAY, PORT, 0, 600) is None
    assert len(made.heard) == 1


async def test_a_refusal(gateway: StartGateway) -> None:
    await gateway(lambda data: [pcp_answer(data, result=8)])
    with pytest.raises(MappingRefused, match="no room"):
        await Pcp(NONCE).ask(GATEWAY, PORT, 0, 600)


async def test_a_silent_router_is_asked_a_few_times(gateway: StartGateway) -> None:
    made = await gateway(lambda _: [])
    assert await Pcp(NONCE).ask(GATEWAY, PORT, 0, 600) is None
    assert await NatPmp().ask(GATEWAY, PORT, 0, 600) is None
    assert len(made.heard) == 4


async def test_nat_pmp(gateway: StartGateway) -> None:
    made = await gateway(lambda data: [PMP_ADDRESS if len(data) == 2 else PMP_MAP])
    assert await NatPmp().ask(GATEWAY, PORT, 40000, 600) == Mapped(IPv4Address("198.51.100.7"), 40000, 600)
    assert made.heard[1] == pcp.pmp_map_request(PORT, 40000, 600)
    await NatPmp().ask(GATEWAY, PORT, 40000, 0)
    assert made.heard[3] == pcp.pmp_map_request(PORT, 0, 0), "as RFC 6886 wants it to remove one"


async def test_nat_pmp_that_knows_its_address_only(gateway: StartGateway) -> None:
    await gateway(lambda data: [PMP_ADDRESS] if len(data) == 2 else [])
    assert await NatPmp().ask(GATEWAY, PORT, 0, 600) is None


async def test_without_a_way_to_the_gateway_nobody_is_asked() -> None:
    nowhere = IPv4Address("255.255.255.255")  # broadcast, which a socket must ask for
    assert await Pcp(NONCE).ask(nowhere, PORT, 0, 600) is None
    assert await Upnp().ask(nowhere, PORT, 0, 600) is None


# UPnP in its process


def upnp_says(monkeypatch: pytest.MonkeyPatch, folder: Path, program: str) -> None:
    """The process runs this instead."""
    (folder / "upnp_stand_in.py").write_text(f"import sys, time\n{program}\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(mapping_ways, "MODULE", "upnp_stand_in")


async def test_upnp_maps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answer = '{"address": "198.51.100.7", "port": 40000, "lifetime": 600}'
    upnp_says(monkeypatch, tmp_path, f"assert sys.argv[1:] == ['127.0.0.1', '5', '40000', '600']\nprint('{answer}')")
    assert await Upnp().ask(GATEWAY, 5, 40000, 600) == Mapped(IPv4Address("198.51.100.7"), 40000, 600)


async def test_upnp_finds_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    upnp_says(monkeypatch, tmp_path, "assert sys.argv[3] == '5', 'the same port is liked best'\nprint('{}')")
    assert await Upnp().ask(GATEWAY, 5, 0, 600) is None


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("""print('{"refused": "it is full"}')""", "it is full"),
        ("""print('{"address": "nonsense", "port": 5, "lifetime": 5}')""", "names no address"),
        ("raise SystemExit(1)", "broke off"),
        ("print('{' * 10000)", "broke off"),
        ("time.sleep(60)", "no end"),
    ],
)
async def test_upnp_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str, reason: str) -> None:
    if "sleep" in program:
        monkeypatch.setattr(mapping_ways, "UPNP_SECONDS", 0.2)
    upnp_says(monkeypatch, tmp_path, program)
    with pytest.raises(MappingRefused, match=reason):
        await Upnp().ask(GATEWAY, 5, 0, 600)
