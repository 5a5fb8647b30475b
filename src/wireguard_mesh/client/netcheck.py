"""Tries what the network around this machine lets through: UDP to the relays, and HTTP to the server.

The same for an agent and for a command without one; what only an agent knows is given to it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from wireguard_mesh.client.clock import Clock
from wireguard_mesh.client.control import Control
from wireguard_mesh.client.mapping_trial import try_port_mapping
from wireguard_mesh.client.relay_probe import Probed, probe
from wireguard_mesh.core.netchecking import family_check, nat_of, udp_of, vantage_checks
from wireguard_mesh.core.proxies import Proxy
from wireguard_mesh.model.endpoints import Address, Endpoint
from wireguard_mesh.model.errors import MeshError
from wireguard_mesh.model.keys import PrivateKey
from wireguard_mesh.model.relays import Relay
from wireguard_mesh.protocol.carrying import MAX_MESSAGE, TARGET
from wireguard_mesh.protocol.diagnosis import Netcheck, WebCheck
from wireguard_mesh.protocol.status import NatStatus

WEB_TIMEOUT: Final = 12.0  # seconds for the whole of HTTP

TryWebSocket = Callable[[], Awaitable[None]]
"""Raises `MeshError` if a WebSocket does not work."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is to be tried, and what is known.

    `local`: this machine's addresses; `nat`: what the map says of WireGuard's own socket; `proxy`: the HTTP proxy to
    the server; `try_websocket` None: there is nothing that it could be tried with.
    """

    private_key: PrivateKey
    control: Control
    relays: tuple[Relay, ...]
    local: tuple[Address, ...]
    nat: NatStatus
    proxy: Proxy | None = None
    try_websocket: TryWebSocket | None = None


async def netcheck(around: Surroundings, clock: Clock) -> Netcheck:
    """Try it all; takes some seconds. What fails is part of what is found."""
    mapping = asyncio.create_task(try_port_mapping())
    try:
        web = await _check_web(around)
        server = around.control.http.dialer.remembered
        probed = await probe(
            around.private_key, around.relays, _one_of_each_family(server), clock, around.control.clock_offset
        )
        port_mapping = await mapping
    finally:
        mapping.cancel()
    checks = vantage_checks(probed.samples)
    udp = udp_of(checks, is_online=web.reachable)
    reached = server[0] if web.reachable and around.proxy is None and server else None
    return Netcheck(
        udp=udp,
        ipv4=family_check(4, around.local, checks, reached),
        ipv6=family_check(6, around.local, checks, reached),
        nat=nat_of(checks, _own(around.local, probed), udp),
        wireguard=around.nat,
        vantage_points=checks,
        port_mapping=port_mapping,
        web=web,
        problems=tuple(_problems(around)),
    )


def _one_of_each_family(addresses: Sequence[Address]) -> list[Address]:
    """The first of IPv4 and of IPv6; the others may be old."""
    first: dict[int, Address] = {}
    for address in addresses:
        first.setdefault(address.version, address)
    return list(first.values())


async def open_once(control: Control) -> None:
    """Open a WebSocket as for packets, and close it. Raises `MeshError`."""
    # Only here, for it takes 4 MB that few agents need.
    from wireguard_mesh.client.web_socket import KEY_BYTES, open_web_socket

    async with open_web_socket(control, TARGET, os.urandom(KEY_BYTES), MAX_MESSAGE):
        pass


def _own(local: tuple[Address, ...], probed: Probed) -> list[Endpoint]:
    return [Endpoint(address, probed.ports[address.version]) for address in local if address.version in probed.ports]


def _problems(around: Surroundings) -> list[str]:
    if around.relays:
        return []
    return ["the map has no relay, or none is known yet: UDP cannot be tried"]


async def _check_web(around: Surroundings) -> WebCheck:
    started = perf_counter()
    try:
        async with asyncio.timeout(WEB_TIMEOUT):
            await around.control.server_info()
    except (MeshError, TimeoutError) as error:
        return WebCheck(proxy=_shown(around.proxy), problem=str(error) or "no answer in time")
    milliseconds = round((perf_counter() - started) * 1000, 3)
    works, problem = await _check_websocket(around)
    return WebCheck(
        reachable=True, milliseconds=milliseconds, websocket=works, proxy=_shown(around.proxy), problem=problem
    )


def _shown(proxy: Proxy | None) -> str:
    return f"http://{proxy}" if proxy is not None else ""


async def _check_websocket(around: Surroundings) -> tuple[bool | None, str]:
    if around.try_websocket is None:
        return None, ""
    try:
        async with asyncio.timeout(WEB_TIMEOUT):
            await around.try_websocket()
    except (MeshError, TimeoutError) as error:
        return False, str(error) or "no answer in time"
    return True, ""
