"""Why the path to a peer is what it is, and what would help: from the status of this machine to sentences.

Two machines behind NATs reach each other if each knows the address and port that the other's NAT uses for it. An easy
NAT uses one for all, so a relay can tell it; a hard NAT uses another for each, which nobody can know beforehand. So two
hard ones do not meet, and a hard one meets an easy one only if that lets in strangers (RFC 4787, sections 4 and 5).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from wireguard_mesh.core import path_words
from wireguard_mesh.core.advising import advice
from wireguard_mesh.core.pairs import HERE, Pair
from wireguard_mesh.core.path_words import age
from wireguard_mesh.model.paths import CandidateKind, PathKind, Trial
from wireguard_mesh.model.relays import NatClass
from wireguard_mesh.protocol.diagnosis import Explanation
from wireguard_mesh.protocol.status import PeerStatus, State, Status

_DIRECT: Final = {
    CandidateKind.LAN: "Both machines are in one network.",
    CandidateKind.IPV6: "Both machines have IPv6, which needs no NAT; firewalls on the way let answers in.",
    CandidateKind.MAPPED: "The router of {peer} forwards this port to it.",
    CandidateKind.REFLEXIVE: "Each NAT lets in what answers to packets from inside, and both ends sent one.",
    CandidateKind.HOST: "{peer} can be reached at this address of its own.",
    CandidateKind.DOUBTFUL: "{peer} answered at this address, though this machine has it too, or no way there.",
    CandidateKind.SEEN: "{peer} was heard from this address, which it did not name, and WireGuard follows it.",
}


def explain(status: Status, peer: PeerStatus, wall: float) -> Explanation:
    """All of it, for one peer of the status. `wall` is now, in Unix seconds."""
    pair = Pair(status, peer, wall)
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
        advice=tuple(advice(pair)),
    )


def _summary(pair: Pair) -> str:
    peer, path = pair.peer, pair.peer.path
    since = f" (for {age(pair.wall - path.since)})" if path.since is not None else ""
    if path.kind is PathKind.DIRECT:
        return f"Packets to {peer.hostname} go directly to {path.endpoint}{since}."
    if path.kind is PathKind.RELAY:
        return f"Packets to {peer.hostname} go by the relay {path.relay or path.endpoint}{since}."
    return f"There is no path to {peer.hostname} now." if peer.online else f"{peer.hostname} is offline."


def _ends(pair: Pair) -> Iterator[str]:
    own, peer = pair.status.nat, pair.peer
    yield _end(HERE, pair.own_nat, own.reflexive, own.mapped)
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
    return path_words.listed(map(str, items))


def _candidate(trial: Trial, pair: Pair) -> str:
    told = path_words.trial(trial, pair.peer.path, pair.wall)
    return f"{trial.endpoint}, {path_words.CANDIDATE[trial.kind]}: {told}"


# Why


def _reasons(pair: Pair) -> Iterator[str]:
    path = pair.peer.path
    if path.kind is PathKind.DIRECT:
        yield _DIRECT[path.candidate or CandidateKind.SEEN].format(peer=pair.peer.hostname)
    elif not pair.peer.online and path.kind is PathKind.NONE:
        yield _why_offline(pair)
    elif pair.status.state is State.JOINING:
        yield "The mesh is not up here yet."
    elif pair.status.state is State.UP:
        if path.kind is PathKind.NONE:
            yield _why_none(pair)
        elif pair.silent_relay is not None:
            yield f"That relay does not answer this machine now: what is sent to {pair.peer.hostname} may be lost."
        yield _why_not_direct(pair)


def _why_offline(pair: Pair) -> str:
    peer = pair.peer
    if peer.latest_handshake:
        return f"The server does not hear it, and its tunnel was last renewed {pair.ago(peer.latest_handshake)}."
    return "The server does not hear it, and this machine never had a tunnel to it."


def _why_none(pair: Pair) -> str:
    name, relays = pair.peer.hostname, pair.status.relays
    if not relays:
        return "The mesh has no relay, so packets can go directly only."
    if pair.is_without_relay:
        ids = ", ".join(relay.id for relay in relays)
        return f"This machine reaches no relay ({ids}), so packets can go directly only."
    return f"This machine reaches a relay, but {name} does not answer by it: it has gone, or reaches no relay itself."


def _why_not_direct(pair: Pair) -> str:
    name = pair.peer.hostname
    if pair.own_nat is NatClass.BLOCKED:
        return f"No relay answers this machine by UDP, so packets to {name} go to a relay over TCP, in a WebSocket."
    if pair.peer.nat is NatClass.BLOCKED:
        return f"No relay answers {name} by UDP, so packets to and from it go by a relay over TCP, in a WebSocket."
    if not pair.trials:
        return f"No address is known at which {name} could be called directly from here."
    if pair.without_ipv6 is not None:
        four, six = (HERE, name) if pair.without_ipv6 == HERE else (name, HERE)
        return f"There is no direct way between IPv4 and IPv6: {four} has IPv4 only, {six} has IPv6 only."
    fallen = max((trial for trial in pair.trials if trial.last_heard), key=_last_heard, default=None)
    if fallen is not None and fallen.last_heard is not None:
        ago = pair.ago(fallen.last_heard)
        return f"There was a direct path by {fallen.endpoint}, from where nothing was heard any more: the last {ago}."
    if pair.is_probing:
        return f"The addresses of {name} are just being tried."
    return _why_silent(pair)


def _last_heard(trial: Trial) -> float:
    return trial.last_heard or 0.0


def _why_silent(pair: Pair) -> str:
    name = pair.peer.hostname
    if pair.nats == {NatClass.HARD}:
        return (
            "Both ends are behind hard NATs, which use a new port for each destination, so neither knows at which port "
            "to call the other."
        )
    if pair.nats == {NatClass.EASY, NatClass.HARD}:
        hard, _ = pair.hard()
        easy = HERE if hard == name else name
        return (
            f"The NAT of {hard} is hard: it uses a port for {easy} that nobody knows beforehand. The NAT of {easy} is "
            "easy, but lets in only those whom it called at their very port."
        )
    if NatClass.PUBLIC in pair.nats:
        public = "This machine" if pair.own_nat is NatClass.PUBLIC else name
        return f"{public} has a public address, but what is sent to it does not arrive: a firewall drops it."
    if pair.shared_address is not None:
        return (
            f"Both ends are behind the same NAT ({pair.shared_address}), which does not send "
            "packets back inside, and they do not reach each other at their inner addresses."
        )
    if pair.nats == {NatClass.EASY}:
        return "Both NATs are easy, so it should work, but nothing came back: a firewall at one of the ends drops UDP."
    return "None of the addresses at which it might be reached answers."


def _circumstances(pair: Pair) -> Iterator[str]:
    status, peer = pair.status, pair.peer
    if status.state is State.STOPPED:
        yield f"No agent runs here for {status.interface}: this is what disk and device tell, and nothing new is tried."
    elif not status.server.reachable and status.server.since:
        yield (
            f"The server has not answered for {age(pair.wall - status.server.since)}, so what is known of "
            f"{peer.hostname} may be old."
        )
    if not peer.online and peer.path.kind is not PathKind.NONE:
        yield f"The server does not hear {peer.hostname}, but its tunnel lives."
    if peer.path.kind is not PathKind.DIRECT and peer.path.next_probe is not None:
        left = int(peer.path.next_probe - pair.wall)
        yield f"Direct addresses are tried again {f'in {age(left)}' if left > 0 else 'now'}."
