"""What a router does to the packets between its inside and its outside, as nftables rules.

Each kind is a function from the router's interfaces to rules, and settings of its connection tracking; `KINDS` names
them. Mapping and filtering are meant as in RFC 4787. A NAT router has a firewall: were a packet from outside, come
before its answer was sent, let in, conntrack would keep it and map the way out to another port.

Kinds that let in what conntrack would not (`full-cone`, `address-filtering`, `hairpin`) find the machine by its port,
which the NAT keeps: two machines behind one must not use the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address

PLAIN = "plain"
PROXY_PORT = 3128  # the one port to which TCP passes a `proxied` router; Squid's
MAPPING_SECONDS = 120  # nf_conntrack_udp_timeout_stream, as Linux has it
SHORT_MAPPING_SECONDS = 30

# Protocol numbers (IANA): nft looks names up in /etc/protocols, which a minimal Debian does not have.
_ICMP = 1
_ICMPV6 = 58


@dataclass(frozen=True, slots=True)
class Ends:
    """A router's interfaces, and its IPv4 address outside."""

    inside: str
    outside: str
    address: IPv4Address


@dataclass(frozen=True, slots=True)
class Kind:
    """`rules` are nftables'; `settings` are sysctls below `net.`."""

    rules: Callable[[Ends], str]
    settings: Mapping[str, int] = field(default_factory=dict)


def easy(ends: Ends) -> str:
    """Endpoint-independent mapping that keeps the port; filtering by address and port."""
    return _translation(ends, "masquerade") + _firewall(ends)


def hard(ends: Ends) -> str:
    """Address- and port-dependent mapping: another random port for each destination. Filtering likewise."""
    return _translation(ends, "masquerade fully-random") + _firewall(ends)


def port_changing(ends: Ends) -> str:
    """Endpoint-independent mapping to another port; filtering by address and port.

    conntrack takes a new port from a range by chance, but for a source that has one it takes that again.
    """
    change = f"meta l4proto udp oifname {ends.outside} masquerade to :20000-29999"
    return _translation(ends, "masquerade", first=change) + _firewall(ends)


def full_cone(ends: Ends) -> str:
    """Endpoint-independent mapping and filtering: who knows the mapping may use it."""
    admitted = f"iifname {ends.outside} meta l4proto udp dnat to udp dport map @mapped"
    return _translation(ends, "masquerade", admitted=admitted) + _firewall(ends)


def address_filtering(ends: Ends) -> str:
    """Endpoint-independent mapping; an address that was spoken to may answer from any port."""
    admitted = f"iifname {ends.outside} ip saddr . udp dport @spoken dnat to udp dport map @mapped"
    return _translation(ends, "masquerade", admitted=admitted) + _firewall(ends)


def hairpin(ends: Ends) -> str:
    """As `easy`, and what inside sends to a mapping comes back in, from the sender's own mapping (RFC 4787 REQ-9)."""
    admitted = f"iifname {ends.inside} ip daddr {ends.address} meta l4proto udp dnat to udp dport map @mapped"
    turned = f"iifname {ends.inside} oifname {ends.inside} ct status dnat snat to {ends.address}"
    return _translation(ends, "masquerade", first=turned, admitted=admitted) + _firewall(ends)


def proxied(ends: Ends) -> str:
    """As `easy`, but nothing passes except TCP to `PROXY_PORT`."""
    return (
        easy(ends)
        + f"""table inet lab_proxied {{
        chain forward {{
            type filter hook forward priority filter - 1;
            iifname {ends.inside} tcp dport {PROXY_PORT} accept
            iifname {ends.outside} tcp sport {PROXY_PORT} accept
            drop
        }}
    }}
    """
    )


def _translation(ends: Ends, rule: str, first: str = "", admitted: str = "") -> str:
    """`rule` for all that leaves, after the rule `first`; `admitted` is what else is let in from outside.

    `mapped` has the inner address of each port, `spoken` who was spoken to from which port. Both are written in the
    forward hook, since the hooks of NAT see but the first packet of a connection.
    """
    seconds = MAPPING_SECONDS
    return f"""table ip lab_nat {{
        map mapped {{ type inet_service : ipv4_addr; flags dynamic,timeout; timeout {seconds}s; }}
        set spoken {{ type ipv4_addr . inet_service; flags dynamic,timeout; timeout {seconds}s; }}
        chain forward {{
            type filter hook forward priority filter;
            iifname {ends.inside} meta l4proto udp update @mapped {{ udp sport : ip saddr }}
            iifname {ends.inside} meta l4proto udp update @spoken {{ ip daddr . udp sport }}
        }}
        chain prerouting {{
            type nat hook prerouting priority dstnat;
            {admitted}
        }}
        chain postrouting {{
            type nat hook postrouting priority srcnat;
            {first}
            oifname {ends.outside} {rule}
        }}
    }}
    """


def _firewall(ends: Ends) -> str:
    """Let nothing in from outside that was not asked for from inside, IPv6 too."""
    return f"""table inet lab_firewall {{
        chain input {{
            type filter hook input priority filter;
            iifname {ends.outside} meta l4proto {{ {_ICMP}, {_ICMPV6} }} accept
            iifname {ends.outside} ct state new drop
        }}
        chain forward {{
            type filter hook forward priority filter;
            iifname {ends.outside} oifname {ends.inside} ct status dnat accept
            iifname {ends.outside} ct state new drop
        }}
    }}
    """


_SHORT_TIMEOUTS = {
    "netfilter.nf_conntrack_udp_timeout": SHORT_MAPPING_SECONDS,
    "netfilter.nf_conntrack_udp_timeout_stream": SHORT_MAPPING_SECONDS,
}

KINDS: dict[str, Kind] = {
    PLAIN: Kind(lambda _ends: ""),
    "easy": Kind(easy),
    "hard": Kind(hard),
    "port-changing": Kind(port_changing),
    "full-cone": Kind(full_cone),
    "address-filtering": Kind(address_filtering),
    "hairpin": Kind(hairpin),
    "short": Kind(easy, _SHORT_TIMEOUTS),
    "proxied": Kind(proxied),
}
