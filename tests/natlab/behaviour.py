"""What a router does to UDP, in the words of RFC 4787 (IPv4) and RFC 6092 (IPv6)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

# What Linux does with a mapping over which packets went both ways (nf_conntrack_udp_timeout_stream).
TIMEOUT: Final = 120.0  # seconds
# RFC 4787 REQ-5 asks for at least 120 s; home routers with 30 s are common all the same.
SHORT_TIMEOUT: Final = 30.0  # seconds


class Mapping(Enum):
    """Which destinations share a mapping (RFC 4787 section 4.1)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address- and port-dependent"


class Filtering(Enum):
    """Who outside may answer to a mapping (RFC 4787 section 5)."""

    NONE = "endpoint-independent"
    ADDRESS = "address-dependent"
    ADDRESS_AND_PORT = "address- and port-dependent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """`translates`: it is an IPv4 NAT; otherwise it routes IPv4 both ways. `keeps_port`: a mapping has the inner port
    while that is free. `hairpin`: what inside sends to a mapping outside comes back in, from the sender's mapping.
    `incoming_refreshes`: packets from outside keep a mapping alive too, as in Linux (RFC 4787 REQ-6 leaves it open).
    `firewalls_ipv6`: IPv6 from outside passes only in answer to what went out (address and port).
    """

    translates: bool = True
    mapping: Mapping = Mapping.ENDPOINT_INDEPENDENT
    filtering: Filtering = Filtering.ADDRESS_AND_PORT
    timeout: float = TIMEOUT
    keeps_port: bool = True
    hairpin: bool = False
    incoming_refreshes: bool = True
    firewalls_ipv6: bool = True
    udp_blocked: bool = False


PLAIN: Final = Behaviour(translates=False, firewalls_ipv6=False)
EASY: Final = Behaviour()
HAIRPIN: Final = replace(EASY, hairpin=True)
PORT_CHANGING: Final = replace(EASY, keeps_port=False)
ADDRESS_FILTERING: Final = replace(EASY, filtering=Filtering.ADDRESS)
FULL_CONE: Final = replace(EASY, filtering=Filtering.NONE)
HARD: Final = replace(EASY, mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT, keeps_port=False)
SHORT: Final = replace(EASY, timeout=SHORT_TIMEOUT)
UDP_BLOCKED: Final = replace(EASY, udp_blocked=True)

KINDS: Final = {
    "plain": PLAIN,
    "easy": EASY,
    "hairpin": HAIRPIN,
    "port-changing": PORT_CHANGING,
    "address-filtering": ADDRESS_FILTERING,
    "full-cone": FULL_CONE,
    "hard": HARD,
    "short": SHORT,
    "udp-blocked": UDP_BLOCKED,
}
