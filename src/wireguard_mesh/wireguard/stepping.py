"""Steps at a pace, for backends: apart from the event loop, whose pauses would lengthen the gaps, and to their end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def in_steps(apply: Callable[[T], None], steps: Sequence[T], gap: float) -> None:
    """Apply each with at least `gap` seconds between two. Whatever happens, the last one is applied too."""
    try:
        for step in steps[:-1]:
            apply(step)
            time.sleep(gap)
    finally:
        for step in steps[-1:]:
            apply(step)


async def to_the_end(work: Callable[[], None]) -> None:
    """Do blocking work in a thread, and wait for its end even if the caller is cancelled meanwhile."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
