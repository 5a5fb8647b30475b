"""Routers: hosts with the interfaces `lan` and `wan` that forward between them."""

from collections.abc import Iterable

from lab import conntrack, nat
from lab.errors import LabError
from lab.host import Host
from lab.network import Route, Switch

LAN, WAN = "lan", "wan"
_UDP_TABLE = "lab_udp"
_REBOOT_TABLE = "lab_reboot"
# Before connection tracking: what is dropped here keeps no mapping alive.
_DROPPED = "type filter hook prerouting priority raw;"


class Router(Host):
    """A machine between two segments, made by `Lab.router`."""

    kind: str = nat.PLAIN

    @property
    def ends(self) -> nat.Ends:
        """Its interfaces and its address outside."""
        return nat.Ends(LAN, WAN, self.links[1].ipv4)

    def begin(self, kind: str, inside: Switch, outside: Switch) -> None:
        """Forward from now on; the hosts of both segments get their routes."""
        if kind not in nat.KINDS:
            raise LabError(f"no kind of router is named {kind!r}; there are {', '.join(nat.KINDS)}")
        self.kind = kind
        self.sysctl({"ipv4.ip_forward": 1, "ipv6.conf.all.forwarding": 1})
        self._load()
        lan, wan = self.links
        for own in lan.addresses:
            inside.add_route(Route("default", own.ip))
        for own, outer in ((own, outer) for own in lan.addresses for outer in wan.addresses):
            if own.version == outer.version and (kind == nat.PLAIN or own.version == 6):
                outside.add_route(Route(str(own.network), outer.ip))

    def forget(self) -> None:
        """Reboot: every mapping is lost, and all that the firewall knew. Packets of that moment are lost too."""
        self.nft(f"table inet {_REBOOT_TABLE} {{ chain everything {{ {_DROPPED} drop; }}; }}")
        self._load()
        conntrack.flush(self.machine)
        self.nft(f"delete table inet {_REBOOT_TABLE}")

    def block_udp(self) -> None:
        """Drop all UDP, both ways and in both families; everything else passes as before."""
        self.nft(f"table inet {_UDP_TABLE} {{ chain everything {{ {_DROPPED} meta l4proto udp drop; }}; }}")

    def allow_udp(self) -> None:
        """Undo `block_udp`."""
        self.nft(f"delete table inet {_UDP_TABLE}")

    def _load(self) -> None:
        """The rules of its kind in place of those that are there, all at once; sets begin empty."""
        made = nat.KINDS[self.kind]
        rules = made.rules(self.ends)
        self.nft("\n".join(_replaced(rules)) + "\n" + rules)
        self.sysctl(made.settings)


def _replaced(rules: str) -> Iterable[str]:
    """Commands that delete each table of these rules, be it there or not."""
    for line in rules.splitlines():
        words = line.split()
        if words[:1] == ["table"]:
            table = " ".join(words[1:3])
            yield f"table {table} {{}}"
            yield f"delete table {table}"
