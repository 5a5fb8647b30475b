"""The path to a peer: how packets reach it now, and what was tried to reach it directly.

Values for people who ask why: `status`, `ping` and `explain` show them. Times are Unix seconds.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from wireguard_mesh.model.endpoints import Endpoint
from wireguard_mesh.model.relays import RelayId


class PathKind(StrEnum):
    """How packets reach the peer now. `none`: its tunnel carries nothing, as far as can be seen."""

    DIRECT = "direct"
    RELAY = "relay"
    NONE = "none"


class CandidateKind(StrEnum):
    """What an address of a peer is.

    `lan`: on a link that both are on. `ipv6`: its global IPv6 address. `mapped`: its router forwards it to the peer.
    `reflexive`: a relay hears the peer from there (RFC 8445, server-reflexive). `host`: another of its own addresses.
    `doubtful`: one that this machine has too, or in a range of its containers, or of a family that it lacks. `seen`:
    none that the peer names; WireGuard heard it from there (RFC 8445, peer-reflexive).
    """

    LAN = "lan"
    IPV6 = "ipv6"
    MAPPED = "mapped"
    REFLEXIVE = "reflexive"
    HOST = "host"
    DOUBTFUL = "doubtful"
    SEEN = "seen"


class Candidate(msgspec.Struct, frozen=True):
    """An address at which a peer may be reached directly."""

    endpoint: Endpoint
    kind: CandidateKind


class Outcome(StrEnum):
    """What came of trying a candidate. `waiting`: an answer may yet come. `heard`: the peer was heard from there."""

    UNTRIED = "untried"
    WAITING = "waiting"
    SILENT = "silent"
    HEARD = "heard"


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate and how often it was tried. `last_tried`, `last_heard`: None is never."""

    endpoint: Endpoint
    kind: CandidateKind
    outcome: Outcome = Outcome.UNTRIED
    times: int = 0
    last_tried: float | None = None
    last_heard: float | None = None


class PathReport(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of the way to one peer.

    `endpoint`: where WireGuard sends to now, which for a relay is the relay's address. `candidate`: what kind a direct
    one is. `relay`: by which relay packets go, or would go if the direct path broke. `since`: when the path became what
    it is. `trials`: the candidates in the order in which they are tried. `next_probe`: when they are tried again, None
    if nothing asks for it.
    """

    kind: PathKind
    endpoint: Endpoint | None = None
    candidate: CandidateKind | None = None
    relay: RelayId | None = None
    since: float | None = None
    trials: tuple[Trial, ...] = ()
    next_probe: float | None = None
