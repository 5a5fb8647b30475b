"""One path by itself. Pairs of them, with WireGuard and NATs between, are in test_members."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.samples import public_key
from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.paths import (
    ANSWERS,
    BURST,
    CALM,
    CONFIRM_BURST,
    COSTLY_BURST,
    FIRST_STAY,
    HOLD,
    LOOKS,
    MAX_CONFIRMS,
    SILENCE,
    SUSPECT_AFTER,
    Path,
    RelayWay,
)
from wireguard_mesh.core.probes import MAX_CANDIDATES, Probe, ProbeKind
from wireguard_mesh.core.renewals import FOLLOW, PROOF, SETTLE
from wireguard_mesh.core.rounds import FIRST_PAUSE, HOPELESS_PAUSE, LONGEST_PAUSE
from wireguard_mesh.core.tunnels import BUSY_RATE, KEEPALIVE_TIMEOUT, REKEY_AFTER_TIME, Tunnel
from wireguard_mesh.model.devices import ObservedPeer
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.paths import Candidate, CandidateKind, Outcome, PathKind
from wireguard_mesh.model.relays import NatClass, RelayId

EPOCH = 1_000_000.0
KEY = public_key(2)
RELAY, OTHER_RELAY = Endpoint.parse("203.0.113.1:8080"), Endpoint.parse("203.0.113.9:8080")
CARRIER = Endpoint.parse("127.0.0.1:4000")
NAMES = {RELAY: RelayId("a"), CARRIER: RelayId("a"), OTHER_RELAY: RelayId("b")}
LAN, FAR, SITE, ODD = (
    Candidate(Endpoint.parse("192.168.1.2:51820"), CandidateKind.LAN),
    Candidate(Endpoint.parse("198.51.100.2:51820"), CandidateKind.REFLEXIVE),
    Candidate(Endpoint.parse("10.1.2.3:51820"), CandidateKind.HOST),
    Candidate(Endpoint.parse("172.17.0.2:51820"), CandidateKind.DOUBTFUL),
)
EASY = (NatClass.EASY, NatClass.EASY)
HARD = (NatClass.HARD, NatClass.HARD)
FOREVER = math.inf


def at(seconds: float) -> Instant:
    return Instant(seconds, EPOCH + seconds)


@dataclass
class Relays:
    """What relays can do for the pair."""

    chosen: RelayWay | None = (RelayId("a"), RELAY)
    working: set[str] = field(default_factory=lambda: {"a", "b"})

    def at(self, endpoint: Endpoint) -> RelayId | None:
        return NAMES.get(endpoint)

    def works(self, relay: RelayId) -> bool:
        return relay in self.working

    def choice(self) -> RelayWay | None:
        return self.chosen


class Bench:
    """A path, with the tunnel that it is of."""

    def __init__(
        self,
        *candidates: Candidate,
        nats: tuple[NatClass, NatClass] = EASY,
        is_elected: bool = False,
    ) -> None:
        self.path = Path(is_elected=is_elected)
        self.tunnel = Tunnel()
        self.relays = Relays()
        self.sent, self.received = 100, 100
        self.handshake = EPOCH + 1
        self.is_kept = True
        self.path.offer(candidates, nats, at(0))

    def look(self, seconds: float, endpoint: Endpoint, *, sent: int = 0, received: int = 0) -> None:
        """`sent`, `received`: bytes since the look before."""
        self.sent += sent
        self.received += received
        seen = ObservedPeer(
            public_key=KEY,
            endpoint=endpoint,
            latest_handshake=self.handshake,
            received_bytes=self.received,
            sent_bytes=self.sent,
        )
        self.tunnel.observe(seen, at(seconds))
        self.path.observe(endpoint, self.tunnel, self.relays, at(seconds), is_kept=self.is_kept)

    def probe(self, seconds: float) -> Probe | None:
        """What is sent, if it is due."""
        if self.path.due_at() > seconds:
            return None
        probe = self.path.probe(KEY, self.tunnel, at(seconds))
        self.path.probed()
        return probe

    def probes(self, start: float, seconds: float) -> list[tuple[float, Probe]]:
        """All that is sent in this time, with nothing to see but the relay, or whatever it is now."""
        found: list[tuple[float, Probe]] = []
        now = start
        while self.path.due_at() <= start + seconds:
            now = max(now, self.path.due_at())
            probe = self.probe(now)
            if probe is not None:
                found.append((now, probe))
        return found


def by_relay(*candidates: Candidate, nats: tuple[NatClass, NatClass] = EASY, is_elected: bool = False) -> Bench:
    """By relay since second 1."""
    bench = Bench(*candidates, nats=nats, is_elected=is_elected)
    bench.look(1, RELAY)
    assert bench.path.kind is PathKind.RELAY
    return bench


def direct(*candidates: Candidate) -> Bench:
    """Direct at FAR since second 2, and settled."""
    bench = by_relay(*candidates or (FAR,))
    bench.look(2, FAR.endpoint, received=32)
    bench.probe(2)
    bench.look(2 + HOLD, FAR.endpoint)
    assert bench.path.kind is PathKind.DIRECT
    return bench


def test_nothing_is_known_and_nothing_asked_for_before_a_tunnel() -> None:
    bench = Bench(FAR)
    assert bench.path.due_at() == FOREVER
    assert bench.path.look_at(at(0)) == FOREVER
    report = bench.path.report(RelayId("a"), at(0))
    assert (report.kind, report.relay, report.since, report.next_probe) == (PathKind.NONE, "a", None, None)


def test_by_relay_candidates_are_tried_at_once_the_best_last() -> None:
    bench = by_relay(LAN, FAR, SITE)
    probe = bench.probe(1)
    assert probe is not None
    assert probe.kind is ProbeKind.PULSE
    assert probe.targets == (SITE.endpoint, FAR.endpoint, LAN.endpoint)
    assert probe.home == RELAY
    assert bench.path.look_at(at(1.001)) == 1 + LOOKS[0]
    assert bench.path.target is None


def test_rounds_become_rare_and_never_end() -> None:
    bench = by_relay(FAR)
    moments = [moment for moment, _probe in bench.probes(1, 5000)]
    pauses = [after - before for before, after in pairwise(moments)]
    assert pauses[:3] == pytest.approx([FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE])
    assert max(pauses) == pytest.approx(LONGEST_PAUSE)
    assert len(moments) < 40


def test_the_other_end_has_other_pauses() -> None:
    one, other = by_relay(FAR), by_relay(FAR, is_elected=True)
    moments = {moment for moment, _probe in one.probes(1, 1)} & {moment for moment, _probe in other.probes(1, 1)}
    assert moments == {1}


def test_between_hard_nats_rounds_are_rare_soon_unless_something_leads_past_them() -> None:
    assert len(by_relay(FAR, SITE, nats=HARD).probes(1, HOPELESS_PAUSE - 1)) == 4
    assert len(by_relay(FAR, LAN, nats=HARD).probes(1, HOPELESS_PAUSE - 1)) > 4


def test_there_are_no_more_candidates_in_a_round_than_fit() -> None:
    many = tuple(Candidate(Endpoint.parse(f"198.51.100.{n}:1"), CandidateKind.HOST) for n in range(1, 20))
    for _moment, probe in by_relay(*many).probes(1, 100):
        assert len(probe.targets) == MAX_CANDIDATES


def test_the_doubtful_is_tried_seldom() -> None:
    targets = [probe.targets for _moment, probe in by_relay(ODD).probes(1, 4)]
    assert set(targets) == {(ODD.endpoint,)}
    assert len(targets) == 1


def test_news_of_either_end_begin_from_the_beginning() -> None:
    bench = by_relay(FAR)
    bench.probes(1, 100)
    bench.path.offer((FAR,), EASY, at(50))
    assert bench.path.due_at() > 100
    bench.path.offer((FAR, SITE), EASY, at(101))
    assert bench.path.due_at() <= 101 + FIRST_PAUSE
    bench.probes(101, 100)
    bench.path.offer((FAR, SITE), HARD, at(202))
    assert bench.path.due_at() <= 202 + FIRST_PAUSE


def test_who_is_found_direct_answers_there_at_once() -> None:
    bench = by_relay(FAR)
    bench.probe(1)
    bench.look(1.1, FAR.endpoint, received=32)
    assert bench.path.kind is PathKind.DIRECT
    assert bench.path.look_at(at(1.1)) == 1.1
    probe = bench.probe(1.1)
    assert probe is not None
    assert (probe.targets, probe.home) == ((FAR.endpoint,), FAR.endpoint)
    bench.look(1.11, FAR.endpoint)
    assert bench.path.due_at() == FOREVER
    report = bench.path.report(RelayId("a"), at(2))
    assert (report.kind, report.candidate, report.relay) == (PathKind.DIRECT, CandidateKind.REFLEXIVE, "a")
    assert report.since == EPOCH + 1.1
    assert report.trials[0].outcome is Outcome.HEARD


def test_the_answer_is_repeated_since_the_other_end_may_just_point_wireguard_back() -> None:
    bench = by_relay(FAR)
    bench.look(1, FAR.endpoint, received=32)
    answered = []
    for thousandth in range(1000, 3000):
        if probe := bench.probe(thousandth / 1000):
            assert probe.targets == (FAR.endpoint,)
            answered.append(thousandth / 1000 - 1)
            bench.path.probed()
        bench.look(thousandth / 1000, FAR.endpoint)
    assert answered == pytest.approx([0.0, *ANSWERS], abs=0.0021)
    assert bench.path.due_at() == FOREVER


def test_a_session_that_the_first_look_finds_direct_is_answered_where_relays_hear_either_end() -> None:
    unheard = (NatClass.UNKNOWN, NatClass.UNKNOWN)
    for nats, is_answered in ((EASY, True), ((NatClass.UNKNOWN, NatClass.EASY), True), (unheard, False)):
        bench = Bench(FAR, nats=nats)
        bench.look(1, FAR.endpoint)
        bench.look(1.001, FAR.endpoint)
        assert bench.path.kind is PathKind.DIRECT
        assert (bench.probe(1.001) is not None) == is_answered


def test_where_it_was_heard_that_nobody_named_is_seen() -> None:
    bench = by_relay(FAR)
    bench.look(2, Endpoint.parse("198.51.100.77:1"))
    assert bench.path.report(None, at(2)).candidate is CandidateKind.SEEN


def test_what_was_under_way_by_relay_does_not_undo_it() -> None:
    bench = by_relay(FAR)
    bench.look(2, FAR.endpoint, received=32)
    bench.probe(2)
    for number in range(MAX_CONFIRMS):
        bench.look(2.01 + number / 100, RELAY)
        assert bench.path.kind is PathKind.DIRECT
        probe = bench.probe(2.01 + number / 100)
        assert probe is not None
        assert probe.home == FAR.endpoint
    bench.look(2.1, RELAY)
    assert bench.path.kind is PathKind.RELAY
    # It did not last: no reason to begin from the beginning.
    assert bench.path.due_at() > 2.1


def test_against_a_flow_by_relay_packets_are_repeated() -> None:
    bench = by_relay(FAR)
    bench.look(2, RELAY, received=10**6)
    probe = bench.probe(2)
    assert probe is not None
    assert probe.targets == (FAR.endpoint,) * BURST
    bench.look(2.1, FAR.endpoint, received=10**6)
    confirm = bench.probe(2.1)
    assert confirm is not None
    assert confirm.targets == (FAR.endpoint,) * CONFIRM_BURST
    # As long as it is held, again and again; then no more.
    bench.look(2.3, FAR.endpoint, received=10**6)
    assert bench.probe(2.3) is not None
    bench.look(2.1 + HOLD, FAR.endpoint, received=10**6)
    assert bench.probe(2.1 + HOLD) is None
    # A straggler by relay later is no reason to leave it.
    bench.look(9, RELAY, received=10**7)
    assert bench.path.kind is PathKind.DIRECT


def test_an_end_that_sends_a_flow_only_opens_its_nat_but_for_each_fourth_time() -> None:
    bench = by_relay(FAR, SITE)
    bench.look(2, RELAY, sent=10**6)
    kinds = [(probe.kind, probe.targets) for _moment, probe in bench.probes(2, 2)]
    both, likely = (SITE.endpoint, FAR.endpoint), (FAR.endpoint,)
    punch, pulse = (ProbeKind.PUNCH, both), (ProbeKind.PULSE, likely)
    assert kinds[:5] == [punch, punch, punch, pulse, punch]


def test_behind_a_hard_nat_it_tries_itself() -> None:
    bench = by_relay(FAR, nats=(NatClass.HARD, NatClass.EASY))
    bench.look(2, RELAY, sent=10**6)
    probe = bench.probe(2)
    assert probe is not None
    assert probe.kind is ProbeKind.PULSE


def test_of_two_equal_flows_the_elected_end_tries_and_not_for_long() -> None:
    for is_elected in (False, True):
        bench = by_relay(FAR, is_elected=is_elected)
        bench.look(2, RELAY, sent=10**6, received=10**6)
        probe = bench.probe(2)
        assert probe is not None
        assert (probe.kind is ProbeKind.PULSE) == is_elected
        assert len(probe.targets) == (COSTLY_BURST if is_elected else 1)


def test_without_candidates_nothing_is_sent() -> None:
    bench = by_relay()
    assert bench.probes(1, 1000) == []


def test_a_detour_is_left_for_the_own_link() -> None:
    bench = by_relay(LAN, FAR)
    bench.look(2, FAR.endpoint, received=32)
    bench.probe(2)
    bench.look(3, FAR.endpoint)
    probe = bench.probe(3)
    assert probe is not None
    assert (probe.targets, probe.home) == ((LAN.endpoint,), FAR.endpoint)
    bench.look(3.1, LAN.endpoint, received=32)
    assert bench.path.due_at() == FOREVER
    bench.path.offer((FAR,), EASY, at(4))
    assert bench.path.due_at() == FOREVER


def test_news_of_a_link_that_both_are_on_are_tried_though_the_path_is_direct() -> None:
    bench = direct()
    bench.path.offer((LAN, FAR), EASY, at(10))
    assert bench.path.due_at() <= 10


def test_a_probe_that_did_not_come_to_its_end_is_undone() -> None:
    bench = by_relay(FAR)
    assert bench.path.probe(KEY, bench.tunnel, at(1)) is not None
    bench.look(1.1, FAR.endpoint)
    assert bench.path.kind is PathKind.RELAY
    assert bench.path.target == RELAY
    bench.look(1.2, FAR.endpoint)
    assert bench.path.target == RELAY
    bench.look(1.3, RELAY)
    assert bench.path.target is None


def test_where_wireguard_followed_the_peer_meanwhile_nothing_is_undone() -> None:
    bench = by_relay(FAR)
    assert bench.path.probe(KEY, bench.tunnel, at(1)) is not None
    bench.look(1.1, FAR.endpoint)
    bench.look(1.2, SITE.endpoint)
    assert bench.path.target is None
    assert bench.path.kind is PathKind.DIRECT


def unanswered(bench: Bench, start: float, until: float) -> float | None:
    """Data goes out, nothing comes: when the direct path is given up."""
    now = start
    while now < until:
        bench.look(now, FAR.endpoint, sent=5000)
        if bench.path.target is not None:
            return now
        now += 0.5
    return None


def test_data_without_an_answer_by_one_that_spoke_is_suspicious_soon() -> None:
    bench = direct()
    bench.look(10, FAR.endpoint, sent=5000, received=5000)
    left = unanswered(bench, 10.5, 60)
    assert left == 10.5 + SUSPECT_AFTER
    assert bench.path.target == RELAY
    assert bench.path.look_at(at(10.6)) == pytest.approx(10.5 + SUSPECT_AFTER, abs=0.5)
    bench.look(16, RELAY)
    assert bench.path.kind is PathKind.RELAY
    assert bench.path.due_at() <= 16


def test_one_that_merely_listens_has_the_time_that_wireguard_takes() -> None:
    bench = direct()
    bench.look(10, FAR.endpoint, sent=5000, received=32)
    assert unanswered(bench, 10.5, 60) == 10.5 + KEEPALIVE_TIMEOUT + SUSPECT_AFTER


def test_each_time_there_is_more_patience_and_a_longer_stay() -> None:
    bench = direct()
    now, waits, stays = 10.0, [], []
    for _ in range(6):
        bench.look(now, FAR.endpoint, sent=5000, received=5000)
        left = unanswered(bench, now + 0.5, now + 1000)
        assert left is not None
        waits.append(left - now - 0.5)
        now = left + 0.1
        bench.look(now, RELAY)
        due = bench.path.due_at()
        stays.append(max(0.0, due - now))
        bench.look(now + 0.1, FAR.endpoint, received=32)  # the other end's probe arrives
        if due > now + 0.1:
            assert bench.path.target == RELAY
            bench.look(now + 0.2, RELAY)
        now = max(now + 0.2, due)
        bench.look(now, FAR.endpoint, received=32)
        bench.probe(now)
        now += 2 * HOLD
    assert waits == pytest.approx(sorted(waits))
    assert waits[0] == SUSPECT_AFTER
    assert waits[-1] <= 61
    assert stays[0] == 0
    assert stays[1] == pytest.approx(FIRST_STAY, abs=0.2)
    assert stays == sorted(stays)
    assert stays[-1] <= LONGEST_PAUSE


def test_a_path_that_was_good_for_long_is_trusted_as_at_first() -> None:
    bench = direct()
    bench.look(10, FAR.endpoint, sent=5000, received=5000)
    assert unanswered(bench, 10.5, 60) == 10.5 + SUSPECT_AFTER
    bench.look(16, RELAY)
    bench.look(16.5, FAR.endpoint, received=32)
    bench.look(17 + CALM, FAR.endpoint, sent=5000, received=5000)
    assert unanswered(bench, 17.5 + CALM, 60 + CALM) == 17.5 + CALM + SUSPECT_AFTER


def test_on_a_stay_without_a_relay_the_direct_path_is_better_than_none() -> None:
    bench = direct()
    for start in (10.0, 30.0):
        bench.look(start, FAR.endpoint, sent=5000, received=5000)
        assert unanswered(bench, start + 0.5, start + 60) is not None
        bench.look(start + 15, RELAY)
        if start == 10.0:
            bench.look(start + 16, FAR.endpoint, received=32)
            bench.probe(start + 16)
    bench.relays.chosen = None
    bench.look(46, FAR.endpoint, received=32)
    assert bench.path.kind is PathKind.DIRECT


def test_without_any_sign_of_life_it_is_given_up_too_if_keepalives_are_sent() -> None:
    for is_kept in (True, False):
        bench = direct()
        bench.is_kept = is_kept
        bench.look(2 + SILENCE - 1, FAR.endpoint)
        assert bench.path.target is None
        bench.look(2 + SILENCE, FAR.endpoint)
        assert (bench.path.target == RELAY) == is_kept


def test_without_a_relay_a_direct_path_is_kept_whatever_comes() -> None:
    bench = direct()
    bench.relays.chosen = None
    assert unanswered(bench, 10, 200) is None
    assert bench.path.kind is PathKind.DIRECT


def test_a_machine_that_moved_goes_to_the_relay_and_tries_at_once() -> None:
    bench = direct()
    bench.path.moved(at(10))
    bench.look(10, FAR.endpoint)
    assert bench.path.target == RELAY
    bench.look(10.1, RELAY)
    assert bench.path.kind is PathKind.RELAY
    probe = bench.probe(10.1)
    assert probe is not None
    assert probe.calls_home
    bench.look(10.12, RELAY, received=32)
    probe = bench.probe(11)
    assert probe is not None
    assert not probe.calls_home


def test_a_machine_that_moved_and_is_heard_stays_direct() -> None:
    bench = direct()
    bench.path.moved(at(10))
    bench.look(10.1, FAR.endpoint, received=32)
    assert bench.path.target is None
    bench.look(10.2, FAR.endpoint)
    assert bench.path.target is None


def test_by_relay_a_machine_that_moved_tries_at_once() -> None:
    bench = by_relay(FAR)
    bench.probes(1, 100)
    bench.path.moved(at(110))
    assert bench.path.due_at() <= 110


def test_a_relay_that_died_is_left_for_the_next_and_direct_ways_are_tried() -> None:
    bench = by_relay(FAR)
    bench.probes(1, 100)
    bench.relays.working = {"b"}
    bench.relays.chosen = (RelayId("b"), OTHER_RELAY)
    bench.look(110, RELAY)
    assert bench.path.target == OTHER_RELAY
    assert bench.path.due_at() <= 110
    bench.probes(110, 5)
    bench.look(116, OTHER_RELAY)
    assert bench.path.report(None, at(116)).relay == "b"


def test_when_the_last_relay_died_direct_ways_are_tried_once_from_the_beginning() -> None:
    bench = by_relay(FAR)
    bench.probes(1, 100)
    bench.relays.working = set()
    bench.relays.chosen = None
    bench.look(110, RELAY)
    assert bench.path.due_at() <= 110
    bench.probes(110, 50)
    due = bench.path.due_at()
    bench.look(161, RELAY)
    assert bench.path.due_at() == due


@pytest.mark.parametrize("is_elected", [False, True])
def test_a_better_relay_is_taken_by_the_elected_end_alone_when_wireguard_needs_a_session(is_elected: bool) -> None:
    bench = by_relay(FAR, is_elected=is_elected)
    bench.relays.chosen = (RelayId("b"), OTHER_RELAY)
    bench.look(2, RELAY)
    assert bench.path.target is None, "b does not know the session, which carries what is sent"
    bench.look(1 + REKEY_AFTER_TIME, RELAY)
    assert (bench.path.target == OTHER_RELAY) == is_elected
    bench.look(2 + REKEY_AFTER_TIME, OTHER_RELAY)
    assert bench.path.renewals.is_due == is_elected


def test_a_flow_stays_on_a_relay_that_works() -> None:
    bench = by_relay(FAR, is_elected=True)
    bench.relays.chosen = (RelayId("b"), OTHER_RELAY)
    bench.look(1 + REKEY_AFTER_TIME, RELAY, received=int(REKEY_AFTER_TIME * 2 * BUSY_RATE))
    assert bench.path.target is None


def test_back_to_the_relay_that_knows_the_session_goes_the_elected_end_at_once() -> None:
    bench = by_relay(FAR, is_elected=True)
    bench.look(2, OTHER_RELAY)
    bench.look(3, OTHER_RELAY)
    assert bench.path.target == RELAY
    bench.look(4, RELAY)
    bench.look(5, RELAY)
    assert not bench.path.renewals.is_due


@pytest.mark.parametrize("is_elected", [False, True])
def test_a_session_that_only_a_dead_relay_knows_is_made_anew_by_one_end_first(is_elected: bool) -> None:
    bench = by_relay(FAR, is_elected=is_elected)
    bench.relays.working, bench.relays.chosen = {"b"}, (RelayId("b"), OTHER_RELAY)
    bench.look(10, RELAY)
    bench.look(10.1, OTHER_RELAY)
    assert not bench.path.renewals.is_due
    assert bench.path.renewals.due_at(bench.tunnel) == 10 + (SETTLE if is_elected else FOLLOW)
    bench.look(10 + SETTLE, OTHER_RELAY)
    assert bench.path.renewals.is_due == is_elected
    bench.look(10 + FOLLOW, OTHER_RELAY)
    assert bench.path.renewals.is_due


def test_a_session_that_shows_life_on_the_new_relay_is_left_alone() -> None:
    bench = by_relay(FAR, is_elected=True)
    bench.relays.working, bench.relays.chosen = {"b"}, (RelayId("b"), OTHER_RELAY)
    bench.look(10, RELAY)
    bench.look(10.1, OTHER_RELAY, received=32)
    bench.look(30, OTHER_RELAY)
    assert not bench.path.renewals.is_due


def test_a_session_is_not_made_anew_where_no_relay_is_left_to_do_it_by() -> None:
    bench = by_relay(FAR, is_elected=True)
    bench.relays.working, bench.relays.chosen = {"b"}, (RelayId("b"), OTHER_RELAY)
    bench.look(10, RELAY)
    bench.relays.working, bench.relays.chosen = set(), None
    bench.look(11, OTHER_RELAY)
    assert not bench.path.renewals.is_due
    assert bench.path.renewals.due_at(bench.tunnel) == FOREVER


def made_direct() -> Bench:
    """Its session, of second 50, was made directly, so that no relay knows it; data got an answer at second 59."""
    bench = direct()
    bench.handshake = EPOCH + 50
    bench.look(50, FAR.endpoint)
    bench.look(59, FAR.endpoint, sent=2000, received=2000)
    return bench


def test_a_direct_session_that_the_relay_does_not_know_is_made_anew_once_wireguard_should_have_answered() -> None:
    bench = made_direct()
    bench.look(60, FAR.endpoint, sent=2000)
    bench.look(60 + SUSPECT_AFTER, FAR.endpoint)
    assert bench.path.target == RELAY
    bench.look(60 + PROOF - 0.1, RELAY)
    bench.look(60 + PROOF + FOLLOW, RELAY)
    assert bench.path.renewals.is_due


def test_a_direct_session_that_answers_in_wireguards_time_is_left_alone() -> None:
    bench = made_direct()
    bench.look(60, FAR.endpoint, sent=2000)
    bench.look(60 + SUSPECT_AFTER, FAR.endpoint)
    bench.look(60 + SUSPECT_AFTER + 1, RELAY)
    bench.look(60 + KEEPALIVE_TIMEOUT, FAR.endpoint, received=32)
    assert bench.path.kind is PathKind.DIRECT
    bench.look(100, RELAY)
    assert not bench.path.renewals.is_due


def test_a_direct_session_without_any_sign_of_life_is_made_anew_at_once() -> None:
    bench = made_direct()
    bench.look(59 + SILENCE, FAR.endpoint)
    assert bench.path.target == RELAY
    bench.look(59 + SILENCE + FOLLOW, RELAY)
    assert bench.path.renewals.is_due


def test_another_way_to_the_same_relay_is_taken_by_each_end_itself() -> None:
    bench = by_relay(FAR)
    bench.relays.chosen = (RelayId("a"), CARRIER)
    bench.look(2, RELAY)
    assert bench.path.target == CARRIER


def test_a_dead_tunnel_has_no_path() -> None:
    bench = by_relay(FAR)
    bench.path.died()
    assert (bench.path.kind, bench.path.due_at()) == (PathKind.NONE, FOREVER)
    assert bench.path.look_at(at(1000)) == FOREVER


@given(st.floats(0, 3000))
def test_a_peer_that_never_answers_is_probed_once_in_300_seconds_at_last(start: float) -> None:
    bench = by_relay(FAR, LAN)
    bench.probes(1, 1300)
    moments = [moment for moment, _probe in bench.probes(1301, start)]
    assert len(moments) <= start / LONGEST_PAUSE + 1


ENDPOINTS = [RELAY, OTHER_RELAY, CARRIER, FAR.endpoint, LAN.endpoint, SITE.endpoint, Endpoint.parse("192.0.2.7:7")]


@settings(max_examples=150, stateful_step_count=40, deadline=None)
class Life(RuleBasedStateMachine):
    """Whatever is seen: see the invariants."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1.0
        self.last = RELAY
        self.rounds: list[float] = []

    @initialize(is_elected=st.booleans(), hard=st.booleans())
    def begin(self, is_elected: bool, hard: bool) -> None:
        self.bench = Bench(LAN, FAR, SITE, ODD, nats=HARD if hard else EASY, is_elected=is_elected)

    @rule(seconds=st.sampled_from([0.001, 0.02, 0.3, 2.0, 30.0, 400.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(endpoint=st.sampled_from(ENDPOINTS), sent=st.integers(0, 10**6), received=st.integers(0, 10**6))
    def look(self, endpoint: Endpoint, sent: int, received: int) -> None:
        self.last = endpoint
        self.bench.look(self.now, endpoint, sent=sent, received=received)
        target = self.bench.path.target
        # What is asked for is a relay that works, or where the peer was heard.
        assert target is None or NAMES.get(target) or target == self.bench.path.endpoint

    @rule(chosen=st.sampled_from([None, (RelayId("a"), RELAY), (RelayId("b"), OTHER_RELAY), (RelayId("a"), CARRIER)]))
    def relays_change(self, chosen: RelayWay | None) -> None:
        self.bench.relays.chosen = chosen
        self.bench.relays.working = {chosen[0]} if chosen else set()

    @rule()
    def move(self) -> None:
        self.bench.path.moved(at(self.now))

    @rule()
    def die(self) -> None:
        self.bench.path.died()

    @rule(seen=st.booleans())
    @precondition(lambda self: self.bench.path.due_at() <= self.now)
    def probe(self, seen: bool) -> None:
        home = self.bench.path.endpoint
        probe = self.bench.path.probe(KEY, self.bench.tunnel, at(self.now))
        if probe is None:
            return
        # Wherever it points in between, it ends where the peer was heard or is relayed to.
        assert probe.home == home
        assert len(set(probe.targets)) <= MAX_CANDIDATES
        assert len(probe.targets) <= max(CONFIRM_BURST, MAX_CANDIDATES * BURST)
        if seen:
            self.bench.path.probed()

    @invariant()
    def the_next_look_is_not_in_the_past(self) -> None:
        assert self.bench.path.look_at(at(self.now)) >= self.now
        self.bench.path.report(None, at(self.now))


TestLife = Life.TestCase
