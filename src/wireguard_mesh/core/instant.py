"""A moment as two clocks tell it, given to every decision that depends on time."""

from __future__ import annotations

import msgspec


class Instant(msgspec.Struct, frozen=True):
    """`monotonic`: seconds that never jump and count while the machine sleeps; all deadlines are in it.

    `wall`: Unix seconds, which WireGuard's handshakes are given in, and which an administrator may set at any time.
    """

    monotonic: float
    wall: float
