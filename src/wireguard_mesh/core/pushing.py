"""How the map is pushed to those who follow it: in which steps, how often, and when they come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from wireguard_mesh.core.changes import can_follow
from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.model.names import PeerId
from wireguard_mesh.model.peers import MapVersion, Peer
from wireguard_mesh.model.relays import Relay

STEP_RECORDS: Final = 512  # of one step; all of one revision go together, so it may be as many more as a batch has
FEW_RECORDS: Final = 256  # so many changes are told one by one however small the mesh is
RECONNECTS_A_SECOND: Final = 600  # what one core answers, with two requests each: the first is for the old process


@dataclass(frozen=True, slots=True)
class Step:
    """What brings somebody to `revision`: the ids of peers to forget, then the records to put in place.
    `relays` are all of them, None if they are as before."""

    revision: int
    remove: tuple[PeerId, ...]
    upsert: tuple[Peer, ...]
    relays: tuple[Relay, ...] | None = None


def next_step(snapshot: Snapshot, since: MapVersion, limit: int = STEP_RECORDS) -> Step | None:
    """The step that follows `since`; empty if nothing changed. None: the whole map is to be told, because what changed
    is not known, or is most of it.

    Much is told in several steps, in the order of revisions: what changed again since comes with its last change only.
    So whoever took all of them has the map, and whoever was interrupted goes on from the last one.
    """
    if not can_follow(snapshot, since):
        return None
    changed = [record.peer for record in snapshot.changed_since(since.revision)]
    removed = list(snapshot.removed_since(since.revision))
    if len(changed) > max(FEW_RECORDS, len(snapshot.records) // 2):
        return None
    revision = snapshot.revision
    if len(changed) + len(removed) > limit:
        revisions = [peer.revision for peer in changed] + [snapshot.tombstones[peer_id] for peer_id in removed]
        revision = sorted(revisions)[limit - 1]
    return Step(
        revision,
        tuple(peer_id for peer_id in removed if snapshot.tombstones[peer_id] <= revision),
        tuple(peer for peer in changed if peer.revision <= revision),
        snapshot.relays_since(since.revision) if snapshot.relays_revision <= revision else None,
    )


def reconnect_seconds(subscribers: int) -> float:
    """Over how long so many are to spread their reconnects when they are all cut off at once."""
    return subscribers / RECONNECTS_A_SECOND


class DutyCycle:
    """When the next push may start: after one that took a while, as long a pause, in which changes gather. So pushing
    takes half of the time at most, and the first change after a pause goes out at once."""

    def __init__(self) -> None:
        self._earliest = 0.0

    def delay(self, now: float) -> float:
        """How many seconds from `now` to wait; 0.0 is not at all."""
        return max(0.0, self._earliest - now)

    def pushed(self, began: float, ended: float) -> None:
        """A push was done."""
        self._earliest = ended + (ended - began)
