"""How `netcheck`, `ping` and `explain` read for a person: pure functions from values to lines."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from wireguard_mesh.cli.output import milliseconds, nat, port_mapping, table
from wireguard_mesh.core import path_words
from wireguard_mesh.model.paths import PathKind, PathReport
from wireguard_mesh.model.relays import NatClass
from wireguard_mesh.protocol.diagnosis import Explanation, FamilyCheck, Netcheck, Pong, VantageCheck, WebCheck
from wireguard_mesh.protocol.status import PortMapping, UdpState

_UDP: Final = {
    UdpState.WORKS: "works",
    UdpState.BLOCKED: "blocked: no relay answers by UDP, though the server does over HTTP",
    UdpState.UNKNOWN: "unknown: nothing answered, the server over HTTP neither",
}
_NAT: Final = {
    NatClass.UNKNOWN: "unknown",
    NatClass.PUBLIC: "none: this machine's address is public",
    NatClass.EASY: "easy: one port for all destinations, so direct paths are likely",
    NatClass.HARD: "hard: another port for each destination, so direct paths need help at the other end",
    NatClass.BLOCKED: "UDP is blocked",
}
_HEADING: Final = ["RELAY", "", "ASKED AT", "ROUND TRIP", "ANSWERS", "HEARD FROM"]


def netcheck_lines(found: Netcheck) -> list[str]:
    """All that was found: a summary, then a table of what each relay answered."""
    rows = [
        ["UDP", _UDP[found.udp] if found.vantage_points else "not tried, since no relay is known"],
        ["IPv4", _family(found.ipv4)],
        ["IPv6", _family(found.ipv6)],
        ["NAT", _NAT[found.nat]],
        ["WireGuard", _wireguard(found)],
        ["port mapping", port_mapping(found.port_mapping) if found.port_mapping != PortMapping() else "none known"],
        ["HTTP", _web(found.web)],
        ["WebSocket", _websocket(found.web)],
        ["proxy", found.web.proxy or "none"],
        *(["problem", problem] for problem in found.problems),
    ]
    if not found.vantage_points:
        return table(rows)
    return [*table(rows), "", *table([_HEADING, *map(_vantage, found.vantage_points)])]


def _family(family: FamilyCheck) -> str:
    works = {True: "works", False: "nothing answered by it", None: "not tried, since no relay has such an address"}[
        family.works
    ]
    here = f"this machine has {', '.join(family.addresses)}" if family.addresses else "this machine has no address"
    return f"{works}; {here}"


def _wireguard(found: Netcheck) -> str:
    words = nat(found.wireguard)
    return f"{words} (as relays told the server)" if found.wireguard.reflexive else words


def _web(web: WebCheck) -> str:
    if not web.reachable:
        return f"the server does not answer: {web.problem}"
    return f"the server answers in {milliseconds(web.milliseconds)}"


def _websocket(web: WebCheck) -> str:
    if web.websocket is None:
        return "not tried"
    return "works" if web.websocket else f"does not work: {web.problem}"


def _vantage(check: VantageCheck) -> list[str]:
    return [
        check.relay,
        str(check.number + 1),
        str(check.endpoint),
        milliseconds(check.milliseconds),
        f"{check.answered}/{check.sent}",
        str(check.mapped or "-"),
    ]


def via(path: PathReport) -> str:
    """`via direct 192.0.2.7:51820`, `via relay server`."""
    return "without a known path" if path.kind is PathKind.NONE else f"via {path_words.path(path)}"


def pong_line(pong: Pong) -> str:
    """One ping's line."""
    who = f"{pong.hostname} ({pong.address})"
    if pong.milliseconds is not None:
        return f"pong from {who}: seq={pong.sequence} time={pong.milliseconds:.1f} ms {via(pong.path)}"
    why = pong.problem or f"no answer {via(pong.path)}"
    return f"ping {who}: seq={pong.sequence} {why}"


def ping_summary(pongs: Sequence[Pong]) -> list[str]:
    """How many were answered, how long it took, and by which paths."""
    times = [pong.milliseconds for pong in pongs if pong.milliseconds is not None]
    lost = 100 * (len(pongs) - len(times)) / len(pongs)
    lines = [f"{len(pongs)} sent, {len(times)} answered, {lost:.0f}% lost"]
    if times:
        lines.append(
            f"round trip {min(times):.1f} / {sum(times) / len(times):.1f} / {max(times):.1f} ms (least, mean, most)"
        )
    paths = list(dict.fromkeys(path_words.path(pong.path) for pong in pongs if pong.milliseconds is not None))
    if len(paths) > 1:
        lines.append(f"paths: {', then '.join(paths)}")
    return lines


def explanation_lines(told: Explanation, width: int = 0) -> list[str]:
    """All of it, in paragraphs, with lines of at most `width` characters; 0: of any length."""
    lines = list(_paragraphs(told))
    if not width:
        return lines
    return [part for line in lines for part in _folded(line, width)]


def _folded(line: str, width: int) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.wrap(line, width, subsequent_indent=2 * indent, break_on_hyphens=False) or [""]


def _paragraphs(told: Explanation) -> Iterator[str]:
    yield told.summary
    yield from told.why
    yield from _section("The two ends", told.ends)
    yield from _section(f"Addresses of {told.hostname}", told.candidates)
    yield from _section("What would help", told.advice)


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield ""
        yield f"{title}:"
        yield from (f"  {line}" for line in lines)
