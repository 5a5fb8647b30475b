"""Relays: where WireGuard packets are forwarded, and from where a machine's NAT is looked at."""

from __future__ import annotations

import re
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NewType

import msgspec

from wireguard_mesh.model.endpoints import MAX_PORT, Endpoint
from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.keys import PublicKey

RelayId = NewType("RelayId", str)
OWN_RELAY: Final = RelayId("server")
"""The relay of a coordination server that serves its mesh alone; its first vantage point has the server's own key."""

MAX_RELAYS: Final = 16  # of one mesh: an agent keeps a WireGuard session with each vantage point of each
_ID: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?")


class NatClass(StrEnum):
    """What stands between a machine and the internet, as far as two vantage points can tell.

    `public`: nothing that changes addresses. `easy`: one mapping for all destinations (RFC 4787,
    endpoint-independent). `hard`: another mapping for each. `blocked`: UDP does not get through. `unknown`: not seen.
    """

    UNKNOWN = "unknown"
    PUBLIC = "public"
    EASY = "easy"
    HARD = "hard"
    BLOCKED = "blocked"


class VantagePoint(msgspec.Struct, frozen=True):
    """One UDP port of a relay, with the WireGuard key that answers there."""

    public_key: PublicKey
    port: int


class Relay(msgspec.Struct, frozen=True, kw_only=True):
    """A relay as the map names it: two vantage points on its addresses, the first of which forwards too.

    Neither address: it is reached where the coordination server is. `web`: datagrams are carried to it over the
    coordination server's WebSocket too.
    """

    id: RelayId
    vantage_points: tuple[VantagePoint, ...]
    ipv4: IPv4Address | None = None
    ipv6: IPv6Address | None = None
    web: bool = False

    @property
    def public_key(self) -> PublicKey:
        """Who it is: the key of its first vantage point, by which it signs its requests too."""
        return self.vantage_points[0].public_key

    def endpoints(self, number: int) -> tuple[Endpoint, ...]:
        """Where vantage point `number` is reached, IPv4 first; none where the server is not known yet."""
        port = self.vantage_points[number].port
        return tuple(Endpoint(address, port) for address in (self.ipv4, self.ipv6) if address is not None)

    def check(self) -> None:
        """To be called before others are told of it. Raises `InvalidValue` for a port that is none, and for an address
        that is not one of one machine."""
        for number, point in enumerate(self.vantage_points):
            if not 0 < point.port <= MAX_PORT:
                raise InvalidValue(f"a UDP port is from 1 to {MAX_PORT}")
            self.endpoints(number)


class RelayDistance(msgspec.Struct, frozen=True):
    """The round trip between a peer and a relay, in milliseconds."""

    relay: RelayId
    milliseconds: int


def parse_relay_id(text: str) -> RelayId:
    """A relay's name: a DNS label or name in lower case. Raises `InvalidValue`."""
    if not _ID.fullmatch(text):
        raise InvalidValue("a relay's name has a-z, 0-9, dots and hyphens, at most 63", "for example fra-1")
    return RelayId(text)
