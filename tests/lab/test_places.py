"""Which pairs of places WireGuard itself can connect by hole punching, once each end knows how the other is seen.

All pairs are tried at once, with wireguard-go as it comes. What is expected follows from RFC 4787: a packet to the
address as which a third party saw the other gets through if the other's mapping is the same for all destinations, or if
its own is and the other's filter lets in any port of the address that it spoke to.
"""

import time
from collections.abc import Iterable

import pytest

from lab import Host, Lab
from lab.places import CGNAT, PUBLIC, V6_FIREWALL, Places

pytestmark = pytest.mark.lab

_PAIRS = {
    ("easy", "easy"): True,
    ("easy", "hard"): False,
    ("hard", "hard"): False,
    ("full-cone", "hard"): True,
    ("address-filtering", "hard"): True,
    ("port-changing", "port-changing"): True,
    (CGNAT, "easy"): True,
    (CGNAT, "hard"): False,
    (PUBLIC, "hard"): True,
}
_LISTEN_PORT = 51820
_KEEPALIVE = 1  # seconds
_LEARN_SECONDS = 10.0
# WireGuard sends an initiation each 5 s (REKEY_TIMEOUT, section 6.1 of its paper); the second one finds an open way.
_PUNCH_SECONDS = 12.0


class _Machine:
    """A host with wireguard-go, which an observer in the internet has as a peer."""

    def __init__(self, host: Host, number: int) -> None:
        self.host = host
        self.address = f"10.9.0.{number}"
        host.run("wireguard-go", "wg0")
        self._private = host.run("wg", "genkey").stdout
        self.key = host.run("wg", "pubkey", text=self._private).stdout.strip()
        host.run("wg", "set", "wg0", "listen-port", _LISTEN_PORT, "private-key", "/dev/stdin", text=self._private)
        host.run("sh", "-c", f"ip address add {self.address}/16 dev wg0 && ip link set wg0 up")

    def add(self, peer: "_Machine", endpoint: str = "") -> None:
        words = ["endpoint", endpoint, "persistent-keepalive", _KEEPALIVE] if endpoint else []
        self.host.run("wg", "set", "wg0", "peer", peer.key, "allowed-ips", f"{peer.address}/32", *words)

    def seen(self) -> dict[str, str]:
        """The endpoint of each peer by its key."""
        lines = self.host.run("wg", "show", "wg0", "endpoints").stdout.splitlines()
        return dict(line.split("\t") for line in lines if not line.endswith("(none)"))

    def spoken_to(self) -> set[str]:
        """Keys of the peers with which a handshake came about."""
        lines = self.host.run("wg", "show", "wg0", "latest-handshakes").stdout.splitlines()
        return {key for key, moment in (line.split("\t") for line in lines) if moment != "0"}


def _observed(observer: _Machine, machines: Iterable[_Machine]) -> dict[str, str]:
    """As whom the observer sees each of them, by key."""
    wanted = {machine.key for machine in machines}
    deadline = time.monotonic() + _LEARN_SECONDS
    while wanted > observer.seen().keys():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return observer.seen()


@pytest.mark.slow
def test_hole_punching_works_for_the_pairs_for_which_it_should(lab: Lab) -> None:
    places = Places(lab)
    observer = _Machine(places.public("observer"), 1)
    pairs: dict[tuple[str, str], tuple[_Machine, _Machine]] = {}
    for number, kinds in enumerate(_PAIRS):
        one, other = (
            _Machine(places.host(f"{end}{number}", kind), 2 + 2 * number + end) for end, kind in enumerate(kinds)
        )
        pairs[kinds] = one, other
    machines = [machine for pair in pairs.values() for machine in pair]
    for machine in machines:
        observer.add(machine)
        machine.add(observer, f"{observer.host.ipv4}:{_LISTEN_PORT}")
    seen = _observed(observer, machines)
    for one, other in pairs.values():
        one.add(other, seen[other.key])
        other.add(one, seen[one.key])
    deadline = time.monotonic() + _PUNCH_SECONDS
    while (met := _met(pairs)) != _PAIRS and time.monotonic() < deadline:
        time.sleep(0.2)
    assert met == _PAIRS
    time.sleep(max(0.0, deadline - time.monotonic()))  # those that must not meet are given the same time
    assert _met(pairs) == _PAIRS


def _met(pairs: dict[tuple[str, str], tuple[_Machine, _Machine]]) -> dict[tuple[str, str], bool]:
    return {kinds: other.key in one.spoken_to() for kinds, (one, other) in pairs.items()}


def test_two_firewalls_for_ipv6_are_passed_by_sending_from_both_ends(lab: Lab) -> None:
    places = Places(lab)
    one, other = (_Machine(places.host(f"a{number}", V6_FIREWALL), number) for number in (2, 3))
    one.add(other, f"[{other.host.ipv6}]:{_LISTEN_PORT}")
    other.add(one, f"[{one.host.ipv6}]:{_LISTEN_PORT}")
    deadline = time.monotonic() + _PUNCH_SECONDS
    while other.key not in one.spoken_to():
        assert time.monotonic() < deadline
        time.sleep(0.1)
