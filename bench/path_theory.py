"""Which path a pair must end up with, derived from what RFC 4787 says of the NATs before both ends.

Both ends know the other's *reflexive* address: the mapping through which a third party, the relay, hears it. Both send
to that, again and again, so whatever filters in answer to what was sent is open for what was sent to. Then:

1. A packet of A leaves from A's reflexive address if A's mapping is the same for all destinations (section 4.1,
   endpoint-independent); otherwise from the same address and another port.
2. It passes the NAT of B, at B's reflexive address, if that mapping is open for where it comes from (section 5): for
   all if B's filtering is endpoint-independent; for all ports of A's address if it is address-dependent; only for A's
   reflexive address itself if it is address- and port-dependent. The last two are opened by what B sends to A, and that
   goes through the same mapping of B only if B's mapping is endpoint-independent.
3. One packet that passes in either direction is enough: the end that gets it answers to where it came from, through a
   mapping that its own NAT has open for it, and WireGuard follows an authenticated packet's source (its paper, 6.5).

A NAT behind a NAT is as good as the worse of both in mapping and in filtering. A pair whose both ends have IPv6 needs
none of this: nothing is translated, and a firewall is opened by the first packet out (RFC 6092). Without UDP nothing
but the relay is left.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from lab.places import CGNAT, PUBLIC, UDP_BLOCKED, V6_FIREWALL


class Mapping(IntEnum):
    """RFC 4787 section 4.1, the better the less."""

    ENDPOINT_INDEPENDENT = 0
    ADDRESS_AND_PORT_DEPENDENT = 1


class Filtering(IntEnum):
    """RFC 4787 section 5, the better the less."""

    ENDPOINT_INDEPENDENT = 0
    ADDRESS_DEPENDENT = 1
    ADDRESS_AND_PORT_DEPENDENT = 2


class Expected(StrEnum):
    """Where a pair ends up."""

    DIRECT = "direct"
    RELAY = "relay"


@dataclass(frozen=True, slots=True)
class Access:
    """What stands between a machine and the internet. `has_ipv6`: it has an address of its own there."""

    mapping: Mapping = Mapping.ENDPOINT_INDEPENDENT
    filtering: Filtering = Filtering.ADDRESS_AND_PORT_DEPENDENT
    has_ipv6: bool = False
    has_udp: bool = True

    def behind(self, other: "Access") -> "Access":
        """With one more NAT on the way."""
        return Access(
            max(self.mapping, other.mapping),
            max(self.filtering, other.filtering),
            self.has_ipv6 and other.has_ipv6,
            self.has_udp and other.has_udp,
        )


_EASY: Final = Access()
ACCESS: Final = {
    PUBLIC: Access(filtering=Filtering.ENDPOINT_INDEPENDENT, has_ipv6=True),
    "easy": _EASY,
    "port-changing": _EASY,  # which port it is does not matter
    "full-cone": Access(filtering=Filtering.ENDPOINT_INDEPENDENT),
    "address-filtering": Access(filtering=Filtering.ADDRESS_DEPENDENT),
    "hard": Access(Mapping.ADDRESS_AND_PORT_DEPENDENT),
    CGNAT: _EASY.behind(_EASY),
    "short": _EASY,  # as long as something is sent more often than it forgets
    V6_FIREWALL: Access(Mapping.ADDRESS_AND_PORT_DEPENDENT, has_ipv6=True),
    UDP_BLOCKED: Access(has_udp=False),
}


def expected(one: str, other: str) -> Expected:
    """For two machines in two places of these kinds (`lab.places.KINDS`)."""
    near, far = ACCESS[one], ACCESS[other]
    if not (near.has_udp and far.has_udp):
        return Expected.RELAY
    if near.has_ipv6 and far.has_ipv6:
        return Expected.DIRECT
    return Expected.DIRECT if _passes(near, far) or _passes(far, near) else Expected.RELAY


def _passes(sender: Access, receiver: Access) -> bool:
    """Whether a packet to the receiver's reflexive address gets to it."""
    if receiver.filtering is Filtering.ENDPOINT_INDEPENDENT:
        return True
    if receiver.mapping is not Mapping.ENDPOINT_INDEPENDENT:
        return False  # what it sends to us opens another mapping
    if receiver.filtering is Filtering.ADDRESS_DEPENDENT:
        return True
    return sender.mapping is Mapping.ENDPOINT_INDEPENDENT


def expected_behind_one(*, is_one_segment: bool, has_hairpin: bool) -> Expected:
    """For two machines behind the same easy NAT: on one segment they need it not, otherwise it must send back what
    comes from inside for its own outer address (RFC 4787 section 6)."""
    return Expected.DIRECT if is_one_segment or has_hairpin else Expected.RELAY
