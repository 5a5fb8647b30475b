import msgspec

from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.paths import CandidateKind, Outcome, PathKind, PathReport, Trial
from wireguard_mesh.protocol.codec import Decoder, encode

ADDRESS = Endpoint.parse("192.0.2.1:51820")


def test_nothing_is_known_of_a_path_at_first() -> None:
    report = PathReport(kind=PathKind.NONE)
    assert (report.endpoint, report.relay, report.since, report.next_probe) == (None, None, None, None)
    assert report.trials == ()


def test_a_trial_starts_untried() -> None:
    trial = Trial(endpoint=ADDRESS, kind=CandidateKind.LAN)
    assert (trial.outcome, trial.times, trial.last_tried, trial.last_heard) == (Outcome.UNTRIED, 0, None, None)


def test_a_report_travels_as_its_words() -> None:
    trial = Trial(endpoint=ADDRESS, kind=CandidateKind.REFLEXIVE, outcome=Outcome.HEARD, times=3, last_tried=1.5)
    report = PathReport(kind=PathKind.DIRECT, endpoint=ADDRESS, candidate=CandidateKind.REFLEXIVE, trials=(trial,))
    text = encode(report)
    assert b'"direct"' in text
    assert b"192.0.2.1:51820" in text
    assert Decoder(PathReport).decode(text) == report
    assert msgspec.structs.replace(report, kind=PathKind.NONE) != report
