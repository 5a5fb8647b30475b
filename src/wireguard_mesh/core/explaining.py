"""Why the path to a peer is what it is, and what would help: from the status of this machine to sentences.

Two machines behind NATs reach each other if each knows the address and port that the other's NAT uses for it. An easy
NAT uses one for all, so a relay can tell it; a hard NAT uses another for each, which nobody can know beforehand. So two
hard ones do not meet, and a hard one meets an easy one only if that lets in strangers (RFC 4787, sections 4 and 5).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from wireguard_mesh.core import path_words
from wireguard_mesh.core.path_words import age
from wireguard_mesh.model.endpoints import Address
from wireguard_mesh.model.paths import CandidateKind, Outcome, PathKind, Trial
from wireguard_mesh.model.relays import NatClass
from wireguard_mesh.protocol.diagnosis import Explanation
from wireguard_mesh.protocol.status import PeerStatus, State, Status, UdpState

DEFAULT_PORT: Final = 51820
FEW_TIMES: Final = 3  # that an address is tried within a second or so, before it means anything that it is silent
_DIRECT: Final = {
    CandidateKind.LAN: "Both machines are in one network.",
    CandidateKind.IPV6: "Both machines have IPv6, which needs no NAT; firewalls on the way let answers in.",
    CandidateKind.MAPPED: "The router of {peer} forwards this port to it.",
    CandidateKind.REFLEXIVE: "Each NAT lets in what answers to packets from inside, and both ends sent one.",
    CandidateKind.HOST: "{peer} can be reached at this address of its own.",
    CandidateKind.DOUBTFUL: "{peer} answered at this address, though this machine has it too, or no way there.",
    CandidateKind.SEEN: "{peer} was heard from this address, which it did not name, and WireGuard follows it.",
}
_FORWARD: Final = "forward UDP port {port} to it in its router, or switch on port mapping there (PCP, NAT-PMP or UPnP)"


@dataclass(frozen=True, slots=True)
class _Pair:
    """Both ends of the pair. `wall` is now, in Unix seconds."""

    status: Status
    peer: PeerStatus
    wall: float

    @property
    def own_nat(self) -> NatClass:
        if self.status.nat.kind is NatClass.UNKNOWN and self.status.udp is UdpState.BLOCKED:
            return NatClass.BLOCKED
        return self.status.nat.kind

    @property
    def nats(self) -> frozenset[NatClass]:
        return frozenset((self.own_nat, self.peer.nat))

    @property
    def own_port(self) -> int:
        return self.status.listen_port or DEFAULT_PORT

    @property
    def peer_port(self) -> int:
        own = [trial.endpoint.port for trial in self.peer.path.trials if trial.kind is not CandidateKind.REFLEXIVE]
        return own[0] if own else DEFAULT_PORT

    def hard(self) -> tuple[str, int]:
        """The end whose NAT is hard, this machine first, and its port."""
        if self.own_nat is NatClass.HARD:
            return "this machine", self.own_port
        return self.peer.hostname, self.peer_port

    @property
    def trials(self) -> tuple[Trial, ...]:
        return self.peer.path.trials

    def ago(self, moment: float) -> str:
        return f"{age(self.wall - moment)} ago"


def explain(status: Status, peer: PeerStatus, wall: float) -> Explanation:
    """All of it, for one peer of the status. `wall` is now, in Unix seconds."""
    pair = _Pair(status, peer, wall)
    return Explanation(
        peer=peer.id,
        hostname=peer.hostname,
        nat=pair.own_nat,
        peer_nat=peer.nat,
        path=peer.path,
        summary=_summary(pair),
        ends=tuple(_ends(pair)),
        candidates=tuple(_candidate(trial, pair) for trial in pair.trials),
        why=(*_reasons(pair), *_circumstances(pair)),
        advice=tuple(_advice(pair)),
    )


def _summary(pair: _Pair) -> str:
    peer, path = pair.peer, pair.peer.path
    since = f", since {age(pair.wall - path.since)}" if path.since is not None else ""
    if path.kind is PathKind.DIRECT:
        return f"Packets to {peer.hostname} go directly to {path.endpoint}{since}."
    if path.kind is PathKind.RELAY:
        return f"Packets to {peer.hostname} go by the relay {path.relay or path.endpoint}{since}."
    return f"There is no path to {peer.hostname} now." if peer.online else f"{peer.hostname} is offline."


def _ends(pair: _Pair) -> Iterator[str]:
    own, peer = pair.status.nat, pair.peer
    yield _end("this machine", pair.own_nat, own.reflexive, own.mapped)
    found = {
        kind: tuple(trial.endpoint for trial in pair.trials if trial.kind is kind)
        for kind in (CandidateKind.REFLEXIVE, CandidateKind.MAPPED)
    }
    yield _end(peer.hostname, peer.nat, found[CandidateKind.REFLEXIVE], found[CandidateKind.MAPPED])


def _end(name: str, nat: NatClass, reflexive: tuple[object, ...], mapped: tuple[object, ...]) -> str:
    words = [f"{name} {path_words.NAT[nat]}"]
    if reflexive:
        words.append(f"relays hear it from {_listed(reflexive)}")
    if mapped:
        words.append(f"its router forwards {_listed(mapped)} to it")
    return "; ".join(words)


def _listed(items: tuple[object, ...]) -> str:
    return " and ".join(map(str, items))


def _candidate(trial: Trial, pair: _Pair) -> str:
    told = path_words.trial(trial, pair.peer.path, pair.wall)
    return f"{trial.endpoint}, {path_words.CANDIDATE[trial.kind]}: {told}"


# Why


def _reasons(pair: _Pair) -> Iterator[str]:
    path = pair.peer.path
    if path.kind is PathKind.DIRECT:
        yield _DIRECT[path.candidate or CandidateKind.SEEN].format(peer=pair.peer.hostname)
    elif not pair.peer.online and path.kind is PathKind.NONE:
        yield _why_offline(pair)
    else:
        if path.kind is PathKind.NONE:
            yield _why_none(pair)
        yield _why_not_direct(pair)


def _why_offline(pair: _Pair) -> str:
    peer = pair.peer
    if peer.latest_handshake:
        return f"The server does not hear it, and its tunnel was last renewed {pair.ago(peer.latest_handshake)}."
    return "The server does not hear it, and this machine never had a tunnel to it."


def _why_none(pair: _Pair) -> str:
    name, relays = pair.peer.hostname, pair.status.relays
    if pair.status.state is not State.UP:
        return "The mesh is not up here."
    if not relays:
        return "The mesh has no relay, so packets can go directly only."
    if not any(relay.reachable for relay in relays):
        ids = ", ".join(relay.id for relay in relays)
        return f"This machine reaches no relay ({ids}), so packets can go directly only."
    return f"This machine reaches a relay, but {name} does not answer by it: it has gone, or reaches no relay itself."


def _why_not_direct(pair: _Pair) -> str:
    name = pair.peer.hostname
    if pair.own_nat is NatClass.BLOCKED:
        return f"No UDP gets out of this machine's network, so packets to {name} go by a relay, over WebSocket."
    if pair.peer.nat is NatClass.BLOCKED:
        return f"No UDP gets out of the network of {name}, so packets to and from it go by a relay, over WebSocket."
    if not pair.trials:
        return f"{name} names no address at which it could be called directly."
    fallen = max((trial for trial in pair.trials if trial.last_heard), key=_last_heard, default=None)
    if fallen is not None and fallen.last_heard is not None:
        ago = pair.ago(fallen.last_heard)
        return f"There was a direct path by {fallen.endpoint}, from where nothing was heard any more: the last {ago}."
    if is_probing(pair.peer):
        return f"The addresses of {name} are just being tried."
    return _why_silent(pair)


def _last_heard(trial: Trial) -> float:
    return trial.last_heard or 0.0


def is_probing(peer: PeerStatus) -> bool:
    """Whether it is too early to say that nothing answers."""
    return all(
        trial.outcome in {Outcome.UNTRIED, Outcome.WAITING} and trial.times <= FEW_TIMES for trial in peer.path.trials
    )


def _why_silent(pair: _Pair) -> str:
    name = pair.peer.hostname
    if pair.nats == {NatClass.HARD}:
        return (
            "Both ends are behind hard NATs, which use a new port for each destination, so neither knows at which port "
            "to call the other."
        )
    if pair.nats == {NatClass.EASY, NatClass.HARD}:
        hard, _ = pair.hard()
        easy = "this machine" if hard == name else name
        return (
            f"The NAT of {hard} is hard: it uses a port for {easy} that nobody knows beforehand. The NAT of {easy} is "
            "easy, but lets in only those whom it called at their very port."
        )
    if NatClass.PUBLIC in pair.nats:
        public = "This machine" if pair.own_nat is NatClass.PUBLIC else name
        return f"{public} has a public address, but what is sent to it does not arrive: a firewall drops it."
    if shared_address(pair.status, pair.peer) is not None:
        return (
            f"Both ends are behind the same NAT ({shared_address(pair.status, pair.peer)}), which does not send "
            "packets back inside, and they do not reach each other at their inner addresses."
        )
    if pair.nats == {NatClass.EASY}:
        return "Both NATs are easy, so it should work, but nothing came back: a firewall at one of the ends drops UDP."
    return "None of the addresses at which it might be reached answers."


def shared_address(status: Status, peer: PeerStatus) -> Address | None:
    """The outer address of a NAT that both are behind, or None."""
    own = {endpoint.address for endpoint in status.nat.reflexive}
    trials = [trial for trial in peer.path.trials if trial.kind is CandidateKind.REFLEXIVE]
    return next((trial.endpoint.address for trial in trials if trial.endpoint.address in own), None)


def _circumstances(pair: _Pair) -> Iterator[str]:
    status, peer = pair.status, pair.peer
    if status.state is State.STOPPED:
        yield "No agent runs here: this is what disk and device tell, and nothing new is tried."
    elif not status.server.reachable and status.server.since:
        yield (
            f"The server does not answer since {age(pair.wall - status.server.since)}, so what is known of "
            f"{peer.hostname} may be old."
        )
    if not peer.online and peer.path.kind is not PathKind.NONE:
        yield f"The server does not hear {peer.hostname}, but its tunnel lives."
    if peer.path.kind is not PathKind.DIRECT and peer.path.next_probe is not None:
        yield f"Direct addresses are tried again in {age(peer.path.next_probe - pair.wall)}."


# What would help


def _advice(pair: _Pair) -> Iterator[str]:
    path, status, peer = pair.peer.path, pair.status, pair.peer
    if status.state is State.STOPPED:
        yield "Start the agent here: vpn-client up"
        return
    if path.kind is PathKind.DIRECT:
        return
    if not peer.online:
        yield f"See whether vpn-client runs on {peer.hostname} and reaches the server: vpn-client status"
        return
    if path.kind is PathKind.NONE and status.relays and not any(relay.reachable for relay in status.relays):
        at = sorted({str(address) for relay in status.relays for address in relay.addresses})
        yield f"Let UDP out to the relays ({', '.join(at) or 'at the server'}), and see: vpn-client netcheck"
    yield from _advice_for_direct(pair)


def _advice_for_direct(pair: _Pair) -> Iterator[str]:
    name = pair.peer.hostname
    if pair.own_nat is NatClass.BLOCKED:
        yield "Let UDP out of this machine's network, at least to the relays; see: vpn-client netcheck"
    elif pair.peer.nat is NatClass.BLOCKED:
        yield f"Let UDP out of the network of {name}, at least to the relays; see there: vpn-client netcheck"
    elif not pair.trials or is_probing(pair.peer):
        return
    elif NatClass.PUBLIC in pair.nats:
        is_own = pair.own_nat is NatClass.PUBLIC
        where, port = ("this machine", pair.own_port) if is_own else (name, pair.peer_port)
        yield f"Open UDP port {port} in the firewall of {where}."
    elif pair.nats == {NatClass.HARD}:
        ports = f"{pair.own_port} (here) or {pair.peer_port} (there)"
        yield f"On one of the two, {_FORWARD.format(port=pair.own_port if pair.own_port == pair.peer_port else ports)}."
        yield "Or give both machines IPv6."
    elif pair.nats == {NatClass.EASY, NatClass.HARD}:
        hard, port = pair.hard()
        yield f"On {hard}, {_FORWARD.format(port=port)}; on the other it helps as well."
        yield "Or give both machines IPv6."
    elif shared_address(pair.status, pair.peer) is not None:
        yield "Let the two reach each other inside: no client isolation on the Wi-Fi, a route between their networks."
    else:
        yield f"Open UDP port {pair.peer_port} in the firewall of {name}, or {pair.own_port} here."
