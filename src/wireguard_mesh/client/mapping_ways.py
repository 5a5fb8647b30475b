"""The ways to ask a router for a mapping: PCP, NAT-PMP, UPnP.

Each asks the gateway of the default route by IPv4, never longer than some seconds, and believes of an answer only what
can be true. UPnP is a library's, which blocks and parses what any machine of the network sends: it runs in a process of
its own that ends with its answer (`client.upnp_process`).
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address
from typing import Final, Protocol, TypeVar

import msgspec

from wireguard_mesh.client.upnp_process import MODULE, Answer
from wireguard_mesh.protocol import pcp
from wireguard_mesh.protocol.pcp import Mapped, MappingRefused

T = TypeVar("T")

TRIES: Final = (0.25, 0.5, 1.0, 2.0)  # seconds that each request is waited for; RFC 6886 section 3.1 starts likewise
UPNP_SECONDS: Final = 15.0  # for finding the router, and two or three requests to it
MAX_ANSWER: Final = 4096  # bytes


class Way(Protocol):
    """A protocol for mappings. `name` as `protocol.status.PortMapping` has it."""

    name: str

    async def ask(self, gateway: IPv4Address, port: int, external_port: int, lifetime: int) -> Mapped | None:
        """Have `external_port` (0: any) forwarded to our UDP `port` for `lifetime` seconds; 0: no longer.

        None: nobody there speaks it. Raises `MappingRefused`.
        """


class Pcp:
    """RFC 6887. `nonce`: 12 bytes, the same for as long as this machine has the same identity."""

    name = "pcp"

    def __init__(self, nonce: bytes) -> None:
        self._nonce = nonce

    async def ask(self, gateway: IPv4Address, port: int, external_port: int, lifetime: int) -> Mapped | None:
        """See `Way`."""

        def read(datagram: bytes) -> Mapped | bool | None:
            return pcp.is_without_pcp(datagram) or pcp.read_pcp(datagram, self._nonce, port)

        answer = await _exchange(
            gateway, lambda own: pcp.pcp_request(self._nonce, own, port, external_port, lifetime), read
        )
        return answer if isinstance(answer, Mapped) else None


class NatPmp:
    """RFC 6886."""

    name = "nat-pmp"

    async def ask(self, gateway: IPv4Address, port: int, external_port: int, lifetime: int) -> Mapped | None:
        """See `Way`."""
        address = await _exchange(gateway, lambda _: pcp.pmp_address_request(), pcp.read_pmp_address)
        if address is None:
            return None
        request = pcp.pmp_map_request(port, external_port if lifetime else 0, lifetime)
        mapped = await _exchange(gateway, lambda _: request, lambda datagram: pcp.read_pmp_map(datagram, port))
        return None if mapped is None else Mapped(address, *mapped)


class Upnp:
    """UPnP's Internet Gateway Device, versions 1 and 2."""

    name = "upnp"

    async def ask(self, gateway: IPv4Address, port: int, external_port: int, lifetime: int) -> Mapped | None:
        """See `Way`. The router is found by multicast on the link that leads to `gateway`."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((str(gateway), pcp.PORT))
            except OSError:
                return None
            own = probe.getsockname()[0]
        answer = await _run(own, str(port), str(external_port or port), str(lifetime))
        if answer.refused:
            raise MappingRefused(answer.refused)
        try:
            return Mapped(IPv4Address(answer.address), answer.port, answer.lifetime) if answer.address else None
        except ValueError:
            raise MappingRefused("the router names no address that it is reached at") from None


async def _exchange(
    gateway: IPv4Address, request: Callable[[IPv4Address], bytes], read: Callable[[bytes], T | None]
) -> T | None:
    """What `read` makes of the first datagram from the gateway that it makes something of."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        # Connected, so nobody else's answers are read, and a port that nobody listens at is told at once.
        with suppress(OSError):
            sock.connect((str(gateway), pcp.PORT))
            datagram = request(IPv4Address(sock.getsockname()[0]))
            for seconds in TRIES:
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await loop.sock_sendall(sock, datagram)
                        while True:
                            answer = read(await loop.sock_recv(sock, pcp.MAX_SIZE))
                            if answer:
                                return answer
    return None


async def _run(*arguments: str) -> Answer:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        MODULE,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(UPNP_SECONDS):
            said = await process.stdout.read(MAX_ANSWER)
            await process.wait()
        return msgspec.json.decode(said, type=Answer)
    except (TimeoutError, msgspec.DecodeError):
        return Answer(refused="UPnP came to no end, or broke off")
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
