"""Places from which machines join, each with its kind of access to the internet, in one call.

    places = Places(lab)
    server = places.public("server")
    laptop = places.host("laptop", "easy")
    cafe = places.place("udp-blocked")
    phone = cafe.host("phone")
    cafe.router.allow_udp()

All homes have the same IPv4 prefix, as most homes in the world have: an address in it says nothing about who has it.
"""

from dataclasses import dataclass

from lab import nat
from lab.errors import LabError
from lab.host import Host
from lab.lab import Lab
from lab.network import Switch
from lab.router import Router

PUBLIC = "public"
CGNAT = "cgnat"
UDP_BLOCKED = "udp-blocked"
V6_FIREWALL = "v6-firewall"

_INTERNET = ("203.0.113.0/24", "2001:db8:ffff::/64")  # RFC 5737, RFC 3849
_CARRIER = "100.64.0.0/24"  # RFC 6598
_HOME = "192.168.1.0/24"
# What stands between for a kind of place that is no kind of router of its own.
_ROUTERS = {CGNAT: "easy", UDP_BLOCKED: "easy", V6_FIREWALL: "hard"}

KINDS = (PUBLIC, *(kind for kind in nat.KINDS if kind != nat.PLAIN), *_ROUTERS)
"""`public`: no router. `cgnat`: two easy NATs deep. `udp-blocked`: an easy NAT that drops UDP until `allow_udp`.
`v6-firewall`: IPv6 through a stateful firewall, and for IPv4 a hard NAT. The others are kinds of router."""


@dataclass(frozen=True, slots=True)
class Place:
    """A segment, and the routers between it and the internet, the nearest first."""

    lab: Lab
    segment: Switch
    routers: tuple[Router, ...]

    @property
    def router(self) -> Router:
        """The nearest router. Raises `LabError` in a public place."""
        if not self.routers:
            raise LabError("a public place has no router")
        return self.routers[0]

    def host(self, name: str) -> Host:
        """A new machine here."""
        return self.lab.host(name, self.segment)


class Places:
    """The internet of a lab, and the places around it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.internet = lab.switch("internet", *_INTERNET)
        self._made = 0

    def public(self, name: str) -> Host:
        """A machine in the internet itself, with both families."""
        return self.lab.host(name, self.internet)

    def host(self, name: str, kind: str) -> Host:
        """A machine in a new place of that kind (`KINDS`)."""
        return self.place(kind).host(name)

    def place(self, kind: str, carrier: Place | None = None) -> Place:
        """A new place of that kind; its nearest router is in the internet, or behind the carrier's."""
        if kind not in KINDS:
            raise LabError(f"no kind of place is named {kind!r}; there are {', '.join(KINDS)}")
        if kind == PUBLIC:
            return Place(self.lab, self.internet, ())
        if kind == CGNAT and carrier is None:
            carrier = self.carrier()
        self._made += 1
        prefixes = [_HOME]
        if kind == V6_FIREWALL:
            prefixes.append(f"2001:db8:{self._made:x}::/64")
        home = self.lab.switch(f"home{self._made}", *prefixes)
        outside = carrier.segment if carrier else self.internet
        router = self.lab.router(f"router{self._made}", home, outside, _ROUTERS.get(kind, kind))
        if kind == UDP_BLOCKED:
            router.block_udp()
        return Place(self.lab, home, (router, *(carrier.routers if carrier else ())))

    def carrier(self, kind: str = "easy") -> Place:
        """A carrier's network, whose NAT is of that kind of router: homes are made behind it by `place`."""
        self._made += 1
        segment = self.lab.switch(f"carrier{self._made}", _CARRIER)
        return Place(self.lab, segment, (self.lab.router(f"carrier-router{self._made}", segment, self.internet, kind),))
