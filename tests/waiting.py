"""Waiting for what has no event of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PATIENCE = 20.0  # seconds, on a machine with much to do
_LOOK_AGAIN = 0.005


async def until(condition: Callable[[], object]) -> None:
    """Wait until it is so. Raises `TimeoutError`."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110  # whatever is waited for here tells nobody
            await asyncio.sleep(_LOOK_AGAIN)
