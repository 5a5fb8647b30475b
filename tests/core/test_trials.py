from wireguard_mesh.core.instant import Instant
from wireguard_mesh.core.trials import WAIT, Trials, wall_time
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.paths import Candidate, CandidateKind, Outcome

EPOCH = 1_000_000.0
A, B, C = (Endpoint.parse(f"192.0.2.{number}:51820") for number in (1, 2, 3))
CANDIDATES = (Candidate(A, CandidateKind.LAN), Candidate(B, CandidateKind.REFLEXIVE))


def at(seconds: float) -> Instant:
    return Instant(seconds, EPOCH + seconds)


def outcomes(trials: Trials, now: float) -> list[Outcome]:
    return [trial.outcome for trial in trials.report(CANDIDATES, at(now))]


def test_nothing_was_tried_at_first() -> None:
    trials = Trials()
    assert outcomes(trials, 5) == [Outcome.UNTRIED, Outcome.UNTRIED]
    assert trials.report(CANDIDATES, at(5))[0].last_tried is None


def test_a_candidate_is_waited_for_then_silent_until_it_is_heard() -> None:
    trials = Trials()
    trials.tried(A, at(5))
    assert outcomes(trials, 5.1) == [Outcome.WAITING, Outcome.UNTRIED]
    assert outcomes(trials, 5 + WAIT) == [Outcome.SILENT, Outcome.UNTRIED]
    trials.tried(A, at(10))
    trials.heard(A, at(10.1))
    report = trials.report(CANDIDATES, at(20))[0]
    assert report.outcome is Outcome.HEARD
    assert (report.times, report.last_tried, report.last_heard) == (2, EPOCH + 10, EPOCH + 10.1)
    trials.tried(A, at(100))
    assert outcomes(trials, 200) == [Outcome.SILENT, Outcome.UNTRIED]


def test_where_a_peer_was_heard_besides_is_named_last() -> None:
    trials = Trials()
    trials.heard(C, at(5))
    assert [trial.kind for trial in trials.report(CANDIDATES, at(6))] == [
        CandidateKind.LAN, CandidateKind.REFLEXIVE, CandidateKind.SEEN,
    ]  # fmt: skip
    trials.keep(CANDIDATES)
    assert len(trials.report(CANDIDATES, at(6))) == 2


def test_never_is_no_time() -> None:
    assert wall_time(float("inf"), at(1)) is None
    assert wall_time(float("-inf"), at(1)) is None
    assert wall_time(3.0, at(1)) == EPOCH + 3
