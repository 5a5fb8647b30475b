"""Tries by which protocols the router forwards ports, for ports of its own, and gives them back: WireGuard's mapping,
which an agent keeps, is not touched."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Address
from typing import Final

from wireguard_mesh.client.mapping_ways import NatPmp, Pcp, Upnp, Way
from wireguard_mesh.client.port_mapping import SHORTEST
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.errors import MeshError
from wireguard_mesh.protocol.pcp import NONCE_LENGTH
from wireguard_mesh.protocol.status import PortMapping
from wireguard_mesh.system.gateway import default_gateway

PATIENCE: Final = 5.0  # seconds for each protocol, all at the same time; UPnP takes two or three
_NO_GATEWAY: Final = "there is no IPv4 gateway to ask"
_NOBODY: Final = "no router answers to PCP, NAT-PMP or UPnP"


async def try_port_mapping(gateway: IPv4Address | None = None, ways: Sequence[Way] | None = None) -> PortMapping:
    """What the router says: all protocols by which it forwards, and the address of the first. `gateway` None: that of
    the default route."""
    asked = gateway or default_gateway()
    if asked is None:
        return PortMapping(problem=_NO_GATEWAY)
    all_ways = ways if ways is not None else (Pcp(os.urandom(NONCE_LENGTH)), NatPmp(), Upnp())
    answers = await asyncio.gather(*(_try(way, asked) for way in all_ways))
    given = [answer for answer in answers if answer.endpoint is not None]
    if given:
        return PortMapping(protocol=", ".join(answer.protocol for answer in given), endpoint=given[0].endpoint)
    return PortMapping(problem=next((answer.problem for answer in answers if answer.problem), _NOBODY))


async def _try(way: Way, gateway: IPv4Address) -> PortMapping:
    # One port for each: a router may take two protocols' requests for the same port for a conflict.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("0.0.0.0", 0))
        port: int = held.getsockname()[1]
        try:
            async with asyncio.timeout(PATIENCE):
                mapped = await way.ask(gateway, port, 0, SHORTEST)
                if mapped is None:
                    return PortMapping()
                endpoint: Endpoint = mapped.endpoint()
        except TimeoutError:
            return PortMapping()
        except (MeshError, OSError) as error:
            return PortMapping(problem=f"{way.name}: {error}")
        with suppress(TimeoutError, MeshError, OSError):  # it ends by itself soon
            async with asyncio.timeout(PATIENCE):
                await way.ask(gateway, port, endpoint.port, 0)
        return PortMapping(protocol=way.name, endpoint=endpoint)
