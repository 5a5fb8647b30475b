"""Initiations that came a moment too early: their sender has not proved its place yet, or their recipient has not.

WireGuard sends no second one within five seconds, so one that is lost costs as long. When a mesh starts, or a relay,
everybody calls everybody while all are still meeting the relay; what was early by less than `PATIENCE` goes on when
the one who was missing is there. Bounded: who sends too much of it displaces what others sent, and that is all.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from wireguard_mesh.core.forwarding_peers import ForwardedPeer
from wireguard_mesh.core.sources import Source

PATIENCE: Final = 2.0  # seconds
MAX_HELD: Final = 4096  # datagrams, 1 MB
MAX_HELD_EACH: Final = 256

Missing = Source | ForwardedPeer
"""A source at which nobody is yet, or a peer that is nowhere yet."""


class Early:
    """What waits, by what is missing."""

    def __init__(self) -> None:
        self._held: OrderedDict[Missing, list[tuple[float, Source, bytes]]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def hold(self, missing: Missing, source: Source, datagram: bytes, now: float) -> None:
        """Keep a datagram from `source` until what is missing is there."""
        held = self._held.setdefault(missing, [])
        if len(held) < MAX_HELD_EACH:
            held.append((now + PATIENCE, source, datagram))
            self._count += 1
        while self._count > MAX_HELD:
            _, oldest = self._held.popitem(last=False)
            self._count -= len(oldest)

    def release(self, missing: Missing, now: float) -> list[tuple[Source, bytes]]:
        """It is there: what waited for it and is not too old, with the sources."""
        held = self._held.pop(missing, [])
        self._count -= len(held)
        return [(source, datagram) for until, source, datagram in held if until > now]

    def expire(self, now: float) -> None:
        """Forget what waited too long."""
        while self._held:
            missing, held = next(iter(self._held.items()))
            if held[-1][0] > now:
                return
            self.release(missing, now)
