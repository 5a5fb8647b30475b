"""Which peer, if any, carries this machine's internet traffic."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from ipaddress import ip_address
from typing import Final

import msgspec

from wireguard_mesh.model.errors import InvalidValue
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.names import MAX_HOSTNAME
from wireguard_mesh.model.peers import Peer

_BLOCKED: Final = "no internet ('vpn-client set -use-exit-node off' ends that)"


class ExitMode(StrEnum):
    """`auto`: any that works. `off`: none. `peer`: that one and no other."""

    AUTO = "auto"
    OFF = "off"
    PEER = "peer"


class ExitPolicy(msgspec.Struct, frozen=True):
    """What the user asked for: `auto`, `off`, or a peer by name, id or address."""

    mode: ExitMode = ExitMode.AUTO
    peer: str = ""

    @classmethod
    def parse(cls, text: str) -> ExitPolicy:
        """Raises `InvalidValue`."""
        word = text.strip().lower()
        if word in {ExitMode.AUTO, ExitMode.OFF}:
            return cls(ExitMode(word))
        if not word or len(word) > MAX_HOSTNAME or not word.isprintable() or word.startswith("-"):
            raise InvalidValue("the exit node is 'auto', 'off', or a peer's name, id or address")
        return cls(ExitMode.PEER, word)

    def __str__(self) -> str:
        return self.peer if self.mode is ExitMode.PEER else self.mode.value


class ExitDecision(msgspec.Struct, frozen=True):
    """`routed`: internet traffic goes into the tunnel, to the peer of `key`; without a key it goes nowhere.

    `problem` says to a person why it is not as asked, or is "".
    """

    routed: bool = False
    key: PublicKey | None = None
    problem: str = ""


def matches(peer: Peer, name: str) -> bool:
    """Whether `name` (lower case: a host name or its first label, an id, an address) means this peer."""
    if name in {peer.id, peer.hostname, peer.hostname.partition(".")[0]}:
        return True
    try:
        return ip_address(name) in (peer.ipv4, peer.ipv6)
    except ValueError:
        return False


def choose(
    policy: ExitPolicy,
    peers: Iterable[Peer],
    current: ExitDecision,
    *,
    offers: bool,
    usable: Callable[[Peer], bool],
) -> ExitDecision:
    """Decide anew. `current` is the last decision, kept while it serves; `offers`: this machine is an exit node itself;
    `usable` says whether a tunnel to that peer stands.

    Who names a peer wants no other way out: as long as that one cannot carry the traffic, for whatever reason, it goes
    nowhere.
    """
    if policy.mode is ExitMode.OFF:
        return ExitDecision()
    if policy.mode is ExitMode.PEER:
        return _named(policy.peer, list(peers), current, offers=offers)
    if offers:
        return ExitDecision()
    able = [peer for peer in peers if peer.exit_node and peer.online and usable(peer)]
    if any(peer.public_key == current.key for peer in able):
        return ExitDecision(routed=True, key=current.key)
    best = min(able, key=lambda peer: peer.ipv4, default=None)
    return ExitDecision() if best is None else ExitDecision(routed=True, key=best.public_key)


def _named(name: str, peers: list[Peer], current: ExitDecision, *, offers: bool) -> ExitDecision:
    if offers:
        return ExitDecision(problem="this machine is an exit node itself, so it uses no other")
    found = [peer for peer in peers if matches(peer, name)]
    able = [peer for peer in found if peer.exit_node]
    if not able:
        problem = f"{name} offers no exit node" if found else f"no peer is called {name}"
        return ExitDecision(routed=True, problem=f"{problem}, so there is {_BLOCKED}")
    if len(able) > 1:
        kept = next((peer for peer in able if peer.public_key == current.key), None)
        if kept is None:
            problem = f"{len(able)} exit nodes are called {name}: use the id; until then there is {_BLOCKED}"
            return ExitDecision(routed=True, problem=problem)
        able = [kept]
    (peer,) = able
    problem = "" if peer.online else f"the exit node {name} is offline, so there is {_BLOCKED} until it is back"
    return ExitDecision(routed=True, key=peer.public_key, problem=problem)
