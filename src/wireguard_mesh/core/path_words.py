"""Paths, candidates and NATs in the words of the commands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from wireguard_mesh.model.paths import CandidateKind, Outcome, PathKind, PathReport, Trial
from wireguard_mesh.model.relays import NatClass

NAT: Final = {
    NatClass.UNKNOWN: "is not known to any relay by UDP yet, so nobody can say what stands before it",
    NatClass.PUBLIC: "has a public address, which nothing on the way changes",
    NatClass.EASY: "is behind an easy NAT, which uses one port for all destinations",
    NatClass.HARD: "is behind a hard NAT, which uses a new port for each destination",
    NatClass.BLOCKED: "reaches no relay by UDP, so its packets go over TCP, in a WebSocket",
}
CANDIDATE: Final = {
    CandidateKind.LAN: "by its address in this machine's own network",
    CandidateKind.IPV6: "its global IPv6 address",
    CandidateKind.MAPPED: "forwarded to it by its router",
    CandidateKind.REFLEXIVE: "from where relays hear it",
    CandidateKind.HOST: "one of its own addresses",
    CandidateKind.DOUBTFUL: "doubtful: this machine has it too, or has no way there",
    CandidateKind.SEEN: "from where it was heard",
}
_OUTCOME: Final = {
    Outcome.UNTRIED: "not tried",
    Outcome.WAITING: "an answer may yet come",
    Outcome.SILENT: "nothing came back",
    Outcome.HEARD: "heard from there",
}
_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"))


def age(seconds: float) -> str:
    """How long ago: `42s`, `7m`, `3h`, `5d`."""
    whole = max(0, int(seconds))
    for length, unit in _UNITS:
        if whole >= length:
            return f"{whole // length}{unit}"
    return f"{whole}s"


def listed(items: Iterable[str]) -> str:
    """`a`, `a and b`, or `a, b and c`."""
    *first, last = items
    return f"{', '.join(first)} and {last}" if first else last


def path(report: PathReport) -> str:
    """`direct 203.0.113.4:51820`, `relay fra-1`, or `none`."""
    if report.kind is PathKind.DIRECT:
        return f"direct {report.endpoint}"
    return f"relay {report.relay or report.endpoint}" if report.kind is PathKind.RELAY else "none"


def trial(tried: Trial, report: PathReport, wall: float) -> str:
    """What came of one candidate. `wall` is now, in Unix seconds."""
    if report.kind is PathKind.DIRECT and report.endpoint == tried.endpoint:
        return "in use"
    words = _outcome(tried, wall)
    if tried.times and tried.last_tried is not None:
        times = "once" if tried.times == 1 else f"{tried.times} times"
        words = f"tried {times}, last {age(wall - tried.last_tried)} ago: {words}"
    return words


def _outcome(tried: Trial, wall: float) -> str:
    if tried.outcome is Outcome.HEARD and tried.last_heard is not None:
        return f"{_OUTCOME[tried.outcome]} {age(wall - tried.last_heard)} ago"
    return _OUTCOME[tried.outcome]
