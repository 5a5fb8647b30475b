"""The log of who comes and goes: each of them as long as they are few, else how many."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Final

from wireguard_mesh.core.snapshot import Record

log = logging.getLogger(__name__)

WINDOW_SECONDS: Final = 60.0
LINES: Final = 100  # in a window: strangers, who may join as they like, cannot fill a disk


class EventLog:
    """Times are monotonic seconds."""

    def __init__(self) -> None:
        self._began = 0.0
        self._lines = 0
        self._more: Counter[str] = Counter()

    def note(self, event: str, record: Record, now: float) -> None:
        """Something happened to a peer."""
        self.look(now)
        if self._lines >= LINES:
            self._more[event] += 1
            return
        self._lines += 1
        peer = record.peer
        log.info("%s id=%s hostname=%s address=%s", event, peer.id, peer.hostname, peer.ipv4)

    def look(self, now: float) -> None:
        """Say what was left out, when it is time; to be called now and then."""
        if now - self._began < WINDOW_SECONDS:
            return
        for event, count in self._more.items():
            log.info("%s: %d more, not named for their number", event, count)
        self._more.clear()
        self._began = now
        self._lines = 0
