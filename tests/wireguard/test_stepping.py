import asyncio
import threading
import time
from itertools import pairwise

import pytest

from wireguard_mesh.wireguard.stepping import in_steps, to_the_end

GAP = 0.01


def test_steps_are_done_in_order_with_gaps_between() -> None:
    done: list[tuple[int, float]] = []
    in_steps(lambda step: done.append((step, time.monotonic())), [1, 2, 3], GAP)
    assert [step for step, _moment in done] == [1, 2, 3]
    assert all(after - before >= GAP for (_, before), (_, after) in pairwise(done))


def test_the_last_step_is_done_whatever_happens_before() -> None:
    done: list[int] = []

    def apply(step: int) -> None:
        done.append(step)
        if step == 1:
            raise OSError("no")

    with pytest.raises(OSError, match="no"):
        in_steps(apply, [1, 2, 3], GAP)
    assert done == [1, 3]


def test_nothing_is_nothing() -> None:
    in_steps(lambda _step: None, [], GAP)


async def test_work_comes_to_its_end_though_nobody_waits_any_more() -> None:
    started, may_end, ended = asyncio.Event(), threading.Event(), False
    loop = asyncio.get_running_loop()

    def work() -> None:
        nonlocal ended
        loop.call_soon_threadsafe(started.set)
        may_end.wait()
        ended = True

    task = asyncio.create_task(to_the_end(work))
    await started.wait()
    task.cancel()
    loop.call_later(GAP, may_end.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended
