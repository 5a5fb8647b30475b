"""What a router does to the packets between its inside and its outside, as nftables rules.

Each kind is a function from the names of the two interfaces to rules; `KINDS` names them. A NAT router has a
firewall: were a packet from outside, come before its answer was sent, let in, conntrack would keep it and
map the way out to another port.
"""

from collections.abc import Callable

PLAIN = "plain"

# Protocol numbers (IANA): nft looks names up in /etc/protocols, which a minimal Debian does not have.
_ICMP = 1
_ICMPV6 = 58


def easy(inside: str, outside: str) -> str:
    """Endpoint-independent mapping that keeps the port; filtering by address and port (RFC 4787)."""
    return f"""table ip lab_nat {{
        chain postrouting {{
            type nat hook postrouting priority srcnat;
            oifname {outside} masquerade
        }}
    }}
    {_firewall(inside, outside)}"""


def _firewall(inside: str, outside: str) -> str:
    """Let nothing in from outside that was not asked for from inside, IPv6 too."""
    return f"""table inet lab_firewall {{
        chain input {{
            type filter hook input priority filter;
            iifname {outside} meta l4proto {{ {_ICMP}, {_ICMPV6} }} accept
            iifname {outside} ct state new drop
        }}
        chain forward {{
            type filter hook forward priority filter;
            iifname {outside} oifname {inside} ct status dnat accept
            iifname {outside} ct state new drop
        }}
    }}"""


KINDS: dict[str, Callable[[str, str], str]] = {
    PLAIN: lambda _inside, _outside: "",
    "easy": easy,
}
