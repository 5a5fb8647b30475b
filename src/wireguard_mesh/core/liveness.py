"""Who is alive: a peer is offline when nothing was heard of it for the heartbeat timeout.

Several servers may hear the same peers: what another one heard counts as well, and only what was heard here is kept by
this one.

Decisions are made on a monotonic clock, so that setting the wall clock takes nobody offline. The wall clock's times are
only shown. When the server itself was not running, or not scheduled, silence says nothing: everybody starts anew.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Final

from wireguard_mesh.core.changes import can_follow
from wireguard_mesh.core.snapshot import Snapshot
from wireguard_mesh.model.keys import PublicKey

HEARTBEAT_SECONDS: Final = 30.0
HEARTBEAT_TIMEOUT_SECONDS: Final = 120.0
CLEANUP_SECONDS: Final = 10.0


def heartbeat_seconds(timeout: float) -> float:
    """How often a peer is to beat that is offline after `timeout` seconds: three heartbeats in a row may be lost."""
    return min(HEARTBEAT_SECONDS, timeout * HEARTBEAT_SECONDS / HEARTBEAT_TIMEOUT_SECONDS)


@dataclass(slots=True)
class _Heard:
    at: float  # monotonic
    shown: float  # wall clock
    here: bool  # by this server; else by another one, or it is only taken to be online


class Liveness:
    """When each peer was last heard. Times named `now` are monotonic seconds, those named `wall` Unix seconds."""

    def __init__(self, timeout: float, now: float, interval: float = CLEANUP_SECONDS) -> None:
        """`interval`: seconds between two calls of `overdue`."""
        self.timeout: Final = timeout
        self._longest_pause = max(timeout / 2, 2 * interval)
        self._last_look = now
        self._no_silence_before = now
        self._online: dict[PublicKey, _Heard] = {}
        self._offline: dict[PublicKey, float] = {}
        self._unsaved: set[PublicKey] = set()

    def load(self, online: Iterable[tuple[PublicKey, float]], offline: Iterable[tuple[PublicKey, float]]) -> None:
        """Take over what the database has, as (key, wall); the online ones have the full timeout from now on."""
        self._online.update((key, _Heard(self._no_silence_before, wall, here=False)) for key, wall in online)
        self._offline.update(offline)

    def heard(self, key: PublicKey, now: float, wall: float) -> None:
        """A heartbeat or a registration came."""
        self._offline.pop(key, None)
        self._online[key] = _Heard(now, wall, here=True)
        self._unsaved.add(key)

    def heard_elsewhere(self, key: PublicKey, at: float, wall: float) -> None:
        """Another server heard it, or this one before it was started: at `at` by the monotonic clock."""
        heard = self._online.get(key)
        if heard is None:
            self._offline[key] = max(wall, self._offline.get(key, 0.0))
        elif at > heard.at:
            self._online[key] = _Heard(at, wall, here=False)

    def follow(self, before: Snapshot, after: Snapshot, now: float, wall: float) -> list[PublicKey]:
        """The map is another: peers come, go and leave without a call to this server, too, by another one or by a write
        that seemed to fail. Returns those that are offline in it though this very server hears them."""
        if can_follow(after, before.version):
            for peer_id in after.removed_since(before.revision):
                gone = before.keys.get(peer_id)
                if gone is not None and gone not in after.records:
                    self.forget(gone)
            changed = list(after.changed_since(before.revision))
        else:
            self._keep_only(after.records)
            changed = list(after.records.values())
        self.watch([record.peer.public_key for record in changed if record.peer.online], now, wall)
        offline = (record.peer.public_key for record in changed if not record.peer.online)
        return [key for key in offline if self.is_heard_here(key, now)]

    def is_heard_here(self, key: PublicKey, now: float) -> bool:
        """Whether this very server heard it within the timeout."""
        heard = self._online.get(key)
        return heard is not None and heard.here and now - heard.at <= self.timeout

    def start_anew(self, now: float) -> None:
        """Silence until now says nothing: everybody has the full timeout."""
        self._no_silence_before = now

    def watch(self, keys: Iterable[PublicKey], now: float, wall: float) -> None:
        """These are online; those that were never heard here have the full timeout from now on."""
        for key in keys:
            if key not in self._online:
                self._offline.pop(key, None)
                self._online[key] = _Heard(now, wall, here=False)

    def forget(self, key: PublicKey) -> None:
        """The peer left."""
        self._online.pop(key, None)
        self._offline.pop(key, None)
        self._unsaved.discard(key)

    def _keep_only(self, known: Container[PublicKey]) -> None:
        for key in [key for key in (*self._online, *self._offline) if key not in known]:
            self.forget(key)

    def last_heard(self, key: PublicKey) -> float:
        """Wall time of the last sign of life, 0.0 if there was none."""
        heard = self._online.get(key)
        return heard.shown if heard is not None else self._offline.get(key, 0.0)

    def overdue(self, now: float) -> list[PublicKey]:
        """Those that have been silent for longer than the timeout. They stay until `went_offline`.

        After a pause much longer than the interval it takes the server for the one that slept.
        """
        if now - self._last_look > self._longest_pause:
            self.start_anew(now)
        self._last_look = now
        heard_by = now - self.timeout
        if self._no_silence_before >= heard_by:
            return []
        return [key for key, heard in self._online.items() if heard.at < heard_by]

    def went_offline(self, key: PublicKey, asked: float) -> bool:
        """The peer was marked offline, as `overdue` said at `asked`. False if it was heard since: mark it online."""
        heard = self._online.get(key)
        if heard is not None:
            if heard.at > asked:
                return False
            del self._online[key]
            self._offline[key] = heard.shown
        return True

    def unsaved(self) -> list[tuple[PublicKey, float]]:
        """What was heard since the last `saved`, as (key, wall)."""
        return [(key, self.last_heard(key)) for key in self._unsaved]

    def saved(self, keys: Iterable[PublicKey]) -> None:
        """These are in the database. One that was heard again meanwhile is only saved with its next sign of life."""
        self._unsaved.difference_update(keys)
