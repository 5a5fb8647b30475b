import msgspec
import pytest

from wireguard_mesh.core import path_words
from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.paths import CandidateKind, Outcome, PathKind, PathReport, Trial
from wireguard_mesh.model.relays import NatClass, RelayId

NOW = 1_000_000.0
AT = Endpoint.parse("203.0.113.4:51820")
NONE = PathReport(kind=PathKind.NONE)
TRIED = Trial(endpoint=AT, kind=CandidateKind.REFLEXIVE, outcome=Outcome.SILENT, times=3, last_tried=NOW - 40)


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0s"), (59.9, "59s"), (60, "1m"), (7200, "2h"), (86400 * 3 + 5, "3d")]
)
def test_age(seconds: float, text: str) -> None:
    assert path_words.age(seconds) == text


def test_every_class_and_kind_has_words() -> None:
    assert set(path_words.NAT) == set(NatClass)
    assert set(path_words.CANDIDATE) == set(CandidateKind)


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (PathReport(kind=PathKind.DIRECT, endpoint=AT), "direct 203.0.113.4:51820"),
        (PathReport(kind=PathKind.RELAY, endpoint=AT, relay=RelayId("fra-1")), "relay fra-1"),
        (PathReport(kind=PathKind.RELAY, endpoint=AT), "relay 203.0.113.4:51820"),
        (NONE, "none"),
    ],
)
def test_paths(report: PathReport, text: str) -> None:
    assert path_words.path(report) == text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "tried 3 times, last 40s ago: nothing came back"),
        ({"times": 1, "outcome": Outcome.WAITING}, "tried once, last 40s ago: an answer may yet come"),
        ({"times": 0, "last_tried": None, "outcome": Outcome.UNTRIED}, "not tried"),
        ({"outcome": Outcome.HEARD, "last_heard": NOW - 5}, "tried 3 times, last 40s ago: heard from there 5s ago"),
        ({"outcome": Outcome.HEARD, "last_tried": None}, "heard from there"),
    ],
)
def test_trials(changes: dict[str, object], text: str) -> None:
    assert path_words.trial(msgspec.structs.replace(TRIED, **changes), NONE, NOW) == text


def test_the_address_in_use() -> None:
    assert path_words.trial(TRIED, PathReport(kind=PathKind.DIRECT, endpoint=AT), NOW) == "in use"
    elsewhere = PathReport(kind=PathKind.DIRECT, endpoint=Endpoint.parse("203.0.113.5:1"))
    assert path_words.trial(TRIED, elsewhere, NOW).startswith("tried")


def test_a_list_in_words() -> None:
    assert [path_words.listed(text.split()) for text in ("a", "a b", "a b c")] == ["a", "a and b", "a, b and c"]
