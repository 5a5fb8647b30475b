"""The path to one peer whose tunnel lives: by relay or direct, and how one becomes the other.

**From relay to direct** nobody asks anybody. A probe points WireGuard at a candidate, sends one packet, and points it
back (`core.probes`). If the packet arrives, the other end's WireGuard follows it (paper, section 2.1), so its next look
finds the peer at an address that is no relay's: that is the proof, and it answers there, which moves this end as well.
A NAT lets the packet in only if something left it for the sender before. So both ends probe: at once when a tunnel
stands and the candidates are known, again and again with pauses that double, and from the beginning when either end's
candidates or NAT change.

What a flow sends while WireGuard points at a candidate is lost if that one does not work. An end that sends a flow
therefore only opens its NAT, by *punching*: a packet from the same socket which costs the flow nothing. The other end
sends little, and its packet is the one that arrives. Only now and then the sender tries itself, because behind a hard
NAT no other than its own packet can find the way.

Packets that are still on their way by relay would move an end back. As long as the other end sends a flow, packets are
repeated for some milliseconds, so that more arrive directly than by relay: then the flow itself goes directly, and what
it carries keeps both ends there. The end that finds itself upgraded does the same once more.

**From direct to relay** an end goes when data remains unanswered for `SUSPECT_AFTER` or nothing comes for longer than
keepalives allow. The relay works in any case, and the other end follows the packets that come by it; if it does not
know the session, `core.renewals` has another one made when there is proof that this one carries nothing. If the direct
path was well, the next probe finds it again at no cost; each time the patience grows, and so does the time that is then
spent on the relay, so that a path which works one way only does not flap.

**From relay to relay** an end goes when its own one is dead. Where it is a matter of taste one end decides, and only
when that costs nothing: the other relay knows the session, or WireGuard would make another one anyhow.
"""

from __future__ import annotations

from typing import Final, Protocol

from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.probes import Probe, ProbeKind
from wireguard_mesh.core.renewals import Renewals
from wireguard_mesh.core.rounds import Rounds
from wireguard_mesh.core.trials import Trials, wall_time
from wireguard_mesh.core.tunnels import Tunnel
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.keys import PublicKey
from wireguard_mesh.model.paths import Candidate, CandidateKind, PathKind, PathReport
from wireguard_mesh.model.relays import NatClass, RelayId

BURST: Final = 24  # times that candidates are repeated against a flow that comes by relay
COSTLY_BURST: Final = 8  # the same by an end that sends a flow too
CONFIRM_BURST: Final = 48  # the same for the one that works
HOLD: Final = 0.6  # seconds in which a new direct path is defended against what is still on its way by relay
MAX_CONFIRMS: Final = 4  # times in that
# Seconds after an upgrade at which the answer is repeated: the other end may have been just about to point WireGuard
# back, which undoes what the answer did, and whoever is direct already would never answer its later probes.
ANSWERS: Final = (0.02, 0.06, 0.15, 0.4)
# Seconds after a probe at which the device is looked at.
LOOKS: Final = (0.01, 0.015, 0.02, 0.03, 0.045, 0.07, 0.1, 0.15, 0.3)
SUSPECT_AFTER: Final = 5.0  # seconds that an answer to data is overdue; doubled each time
LONGEST_SUSPICION: Final = 60.0
SILENCE: Final = 35.0  # seconds without any sign of life: a keepalive of 25 s and WireGuard's timeout of 10 s
FIRST_STAY: Final = 10.0  # seconds on the relay after the second time; three times as long each time
LONGEST_STAY: Final = 300.0
_DOUBLINGS: Final = 16  # beyond all limits anyhow, and no power that overflows
CALM: Final = 600.0  # seconds after which a direct path is as good as one that never failed
_NEVER: Final = float("-inf")
_FOREVER: Final = float("inf")

RelayWay = tuple[RelayId, Endpoint]


class Relaying(Protocol):
    """What relays can do for one pair now."""

    def at(self, endpoint: Endpoint) -> RelayId | None:
        """The relay that forwards what is sent there; None: it is a peer's own address."""

    def works(self, relay: RelayId) -> bool:
        """Whether that relay is reached from here."""

    def choice(self) -> RelayWay | None:
        """The pair's relay, and where it is reached; None: no relay works."""


class Path:
    """One peer's. All times are monotonic seconds."""

    __slots__ = (
        "_answers", "_away", "_confirm_due", "_confirms", "_hold_until", "_is_elected", "_is_moved", "_is_stranded",
        "_moved_at", "_probed_at", "_retreats", "_rounds", "_stay_until", "_suspects_at", "_trials", "endpoint", "kind",
        "relay", "renewals", "since", "target",
    )  # fmt: skip

    def __init__(self, *, is_elected: bool) -> None:
        self.kind = PathKind.NONE
        self.endpoint: Endpoint | None = None
        self.relay: RelayId | None = None
        self.since = _NEVER
        self.target: Endpoint | None = None
        """Where WireGuard is to send from now on; None: leave it where it is."""
        self.renewals = Renewals(is_elected=is_elected)
        self._is_elected = is_elected
        self._rounds = Rounds(is_elected=is_elected)
        self._trials = Trials()
        self._probed_at = _NEVER
        self._answers = 0  # how often the answer to an upgrade was repeated
        self._away: tuple[Endpoint, ...] = ()  # where a probe that is under way may have left WireGuard
        self._confirm_due = False
        self._confirms = 0
        self._hold_until = _NEVER
        self._is_moved = False
        self._is_stranded = False
        self._moved_at = _NEVER
        self._retreats = 0
        self._stay_until = _NEVER
        self._suspects_at = _FOREVER

    # Events

    def offer(self, candidates: tuple[Candidate, ...], nats: tuple[NatClass, NatClass], now: Instant) -> None:
        """The peer may be reached at these directly, best first; `nats`: what stands before this machine, and before
        the peer. If that is news, they are tried at once."""
        rounds = self._rounds
        if (candidates, nats) == (rounds.candidates, rounds.nats):
            return
        rounds.candidates, rounds.nats = candidates, nats
        self._trials.keep(candidates)
        if self.kind is PathKind.RELAY or self._is_improvable():
            rounds.hurry(self._stay_until, now)

    def moved(self, now: Instant) -> None:
        """This machine's network is another: nothing that was found out holds."""
        self._is_moved = True
        self._moved_at = now.monotonic
        self._retreats = 0
        self._stay_until = _NEVER
        if self.kind is PathKind.RELAY:
            self._rounds.hurry(self._stay_until, now)

    def died(self) -> None:
        """The tunnel no longer lives."""
        self.kind, self.endpoint, self.relay, self.target = PathKind.NONE, None, None, None
        self._rounds.stop()
        self.renewals.stop()
        self._confirm_due = self._is_moved = False
        self._away = ()

    def observe(self, endpoint: Endpoint, tunnel: Tunnel, relaying: Relaying, now: Instant, *, is_kept: bool) -> None:
        """The tunnel lives, and WireGuard sends to `endpoint`, which was not set by anybody but this machine's path.
        `is_kept`: keepalives are expected."""
        if endpoint in self._away and endpoint != self.endpoint:
            self.target = self.endpoint  # a probe did not come to its end
            return
        self._away = ()
        if self.target is not None and endpoint not in (self.target, self.endpoint):
            self.target = None  # WireGuard followed the peer meanwhile
        relay = relaying.at(endpoint)
        self.renewals.seen(relay, tunnel)
        if self.target is not None and endpoint != self.target:
            return
        self.target = None
        if relay is not None:
            self._observe_relay(endpoint, relay, tunnel, relaying, now)
        else:
            self._observe_direct(endpoint, tunnel, relaying, now, is_kept=is_kept)

    def _observe_relay(
        self, endpoint: Endpoint, relay: RelayId, tunnel: Tunnel, relaying: Relaying, now: Instant
    ) -> None:
        if self.kind is PathKind.DIRECT and self._is_defended(tunnel, now):
            self._confirms += 1
            self._confirm_due = True
            return
        if self.kind is not PathKind.RELAY:
            was_upgraded = self.kind is PathKind.DIRECT and now.monotonic < self._hold_until + HOLD
            self._become(PathKind.RELAY, endpoint, relay, now)
            if was_upgraded:  # it did not last
                self._rounds.resume(now)
            else:
                self._rounds.hurry(self._stay_until, now)
        self._confirm_due = False
        self.endpoint, self.relay = endpoint, relay
        works = relaying.works(relay)
        if not works and not self._is_stranded:
            self._rounds.hurry(self._stay_until, now)
        self._is_stranded = not works
        choice = relaying.choice()
        if choice is None:
            self.renewals.stop()
        elif choice[1] == endpoint or (works and choice[0] != relay and not self._prefers(choice[0], tunnel, now)):
            self.renewals.consider(tunnel, now)
        else:
            self.target = choice[1]
            self.renewals.left(choice[0], now, is_proven=not works or choice[0] != relay)

    def _prefers(self, relay: RelayId, tunnel: Tunnel, now: Instant) -> bool:
        """Whether the pair is to go to that relay, though its own one works."""
        is_free = self.renewals.knows(relay) or (tunnel.is_old(now) and not tunnel.is_busy)
        return self._is_elected and is_free

    def _observe_direct(
        self, endpoint: Endpoint, tunnel: Tunnel, relaying: Relaying, now: Instant, *, is_kept: bool
    ) -> None:
        self.renewals.stop()
        if now.monotonic < self._stay_until:
            choice = relaying.choice()
            if choice is not None:
                self.target = choice[1]
                return
        if self.kind is not PathKind.DIRECT or endpoint != self.endpoint:
            # The first look may find a session direct that began by relay: the other end does not know yet.
            is_heard = self._rounds.nats != (NatClass.UNKNOWN, NatClass.UNKNOWN)  # so there are relays
            if self.kind is PathKind.RELAY or (self.kind is PathKind.NONE and is_heard):
                self._hold_until = now.monotonic + HOLD
                self._confirms = self._answers = 0
                self._confirm_due = True
            self._become(PathKind.DIRECT, endpoint, None, now)
            self._trials.heard(endpoint, now)
            self._rounds.stop()
            if self._is_improvable():
                self._rounds.hurry(self._stay_until, now)
        elif now.monotonic < self._hold_until:
            # What is due stays so: there may be two looks before anything can be sent.
            self._confirm_due |= self._repeats_answer(now) or tunnel.receives_much
        else:
            self._confirms = 0
        self._doubt_direct(tunnel, relaying, now, is_kept=is_kept)

    def _repeats_answer(self, now: Instant) -> bool:
        """Whether one of `ANSWERS` became due since this was asked last."""
        age = now.monotonic - (self._hold_until - HOLD)
        before, self._answers = self._answers, sum(age >= moment for moment in ANSWERS)
        return self._answers > before

    def _is_defended(self, tunnel: Tunnel, now: Instant) -> bool:
        """Whether packets that came by relay were on their way for long, so that the path is direct all the same."""
        return self._confirms < MAX_CONFIRMS and (now.monotonic < self._hold_until or tunnel.receives_much)

    def _doubt_direct(self, tunnel: Tunnel, relaying: Relaying, now: Instant, *, is_kept: bool) -> None:
        if self._is_moved and tunnel.heard_since(self._moved_at):
            self._is_moved = False
        patience = 2.0**self._retreats
        suspicion = min(LONGEST_SUSPICION, SUSPECT_AFTER * patience)
        self._suspects_at = tunnel.unanswered_at + tunnel.answer_time + suspicion
        is_silent = is_kept and tunnel.silent_for(now) >= SILENCE * patience
        if not (self._is_moved or now.monotonic >= self._suspects_at or is_silent):
            if now.monotonic >= self.since + CALM:
                self._retreats = 0
            return
        choice = relaying.choice()
        if choice is None:
            return
        self.target = choice[1]
        self.renewals.left(choice[0], now, is_proven=is_silent)
        self._hold_until, self._confirms = _NEVER, MAX_CONFIRMS  # it is not to be defended
        if self._is_moved:
            self._is_moved = False
            return
        self._retreats = min(_DOUBLINGS, self._retreats + 1)
        if self._retreats > 1:
            self._stay_until = now.monotonic + min(LONGEST_STAY, FIRST_STAY * 3.0 ** (self._retreats - 2))

    def _become(self, kind: PathKind, endpoint: Endpoint, relay: RelayId | None, now: Instant) -> None:
        if kind is not self.kind:
            self.since = now.monotonic
        self.kind, self.endpoint, self.relay = kind, endpoint, relay

    # Probing

    def _is_improvable(self) -> bool:
        """Whether the path is direct, though by a detour: both ends seem to be on one link."""
        if self.kind is not PathKind.DIRECT:
            return False
        near = self._rounds.near()
        return bool(near) and self.endpoint not in near

    def due_at(self) -> float:
        """When `probe` has something to send; what confirms a path goes before all else."""
        return _NEVER if self._confirm_due else self._rounds.due_at

    def probe(self, key: PublicKey, tunnel: Tunnel, now: Instant) -> Probe | None:
        """What to send now; it counts as under way, until `probed`."""
        home = self.endpoint
        assert home is not None, "a path without an endpoint is never due"
        if self._confirm_due:
            self._confirm_due = False
            targets = (home,) * (CONFIRM_BURST if tunnel.receives_much else 1)
            return self._send(Probe(public_key=key, kind=ProbeKind.PULSE, targets=targets, home=home), now)
        kind = self._kind(tunnel)
        targets = self._rounds.targets(
            is_near_only=self.kind is PathKind.DIRECT, is_at_stake=kind is ProbeKind.PULSE and tunnel.sends_much
        )
        self._rounds.begin(now)
        if not targets:
            return None
        for target in targets:
            self._trials.tried(target, now)
        if kind is ProbeKind.PULSE and tunnel.receives_much:
            targets = targets * (COSTLY_BURST if tunnel.sends_much else BURST)
        is_unheard = not tunnel.heard_since(self._moved_at)
        probe = Probe(public_key=key, kind=kind, targets=targets, home=home, calls_home=is_unheard)
        return self._send(probe, now)

    def _send(self, probe: Probe, now: Instant) -> Probe:
        self._probed_at = now.monotonic
        self._away = probe.targets if probe.kind is ProbeKind.PULSE else ()
        return probe

    def probed(self) -> None:
        """What was under way is sent, and WireGuard points home."""
        self._away = ()

    def _kind(self, tunnel: Tunnel) -> ProbeKind:
        is_sender = tunnel.sends_most(is_elected=self._is_elected)
        return ProbeKind.PUNCH if is_sender and not self._rounds.sender_tries() else ProbeKind.PULSE

    # Answers

    def look_at(self, now: Instant) -> float:
        """When to look at the device for the sake of this path."""
        if self._confirm_due:
            return now.monotonic
        age = now.monotonic - self._probed_at + LOOKS[0] / 2  # one that was a little early is not repeated
        answer = next((self._probed_at + look for look in LOOKS if look > age), _FOREVER)
        due = self._rounds.due_at
        suspicion = self._suspects_at if self.kind is PathKind.DIRECT else _FOREVER
        return max(now.monotonic, min(answer, due, suspicion))

    def report(self, relay: RelayId | None, now: Instant) -> PathReport:
        """For people. `relay`: the one of the pair."""
        kinds = {candidate.endpoint: candidate.kind for candidate in self._rounds.candidates}
        is_direct = self.kind is PathKind.DIRECT and self.endpoint is not None
        return PathReport(
            kind=self.kind,
            endpoint=self.endpoint,
            candidate=kinds.get(self.endpoint, CandidateKind.SEEN) if is_direct and self.endpoint else None,
            relay=self.relay or relay,
            since=wall_time(self.since, now) if self.kind is not PathKind.NONE else None,
            trials=self._trials.report(self._rounds.candidates, now),
            next_probe=wall_time(self._rounds.due_at, now),
        )
