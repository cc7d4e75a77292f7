"""When a gate at rest wakes up."""

import asyncio
import random

from gate.fake_venue import FakeClock
from gate.virtual_loop import VirtualLoop
from hive.gate.pace import BEAT_S, moment, next_moment

MS = 1_000_000


def test_the_next_moment_is_a_multiple_of_the_interval_and_lies_ahead():
    rng = random.Random(3)
    for _ in range(10_000):
        now_s, every_s = rng.uniform(0, 1e7), rng.choice((0.25, 0.5, 1.0))
        found = next_moment(now_s, every_s)
        assert found % every_s == 0
        assert 0 < found - now_s <= every_s * 1.002


def test_a_timer_that_comes_early_does_not_bring_the_same_moment_twice():
    for at_s in (0.25, 3.0, 86_400.5):
        assert next_moment(at_s - 1e-5, 0.25) == next_moment(at_s, 0.25) == at_s + 0.25


def test_longer_intervals_share_the_moments_of_the_shortest():
    clock = FakeClock()
    loop = VirtualLoop(clock)
    came: dict[float, list[int]] = {BEAT_S: [], 0.5: [], 1.0: []}

    async def again_and_again(every_s: float) -> None:
        while True:
            await moment(every_s)
            came[every_s].append(clock.now)

    tasks = [loop.enter(loop.create_task, again_and_again(every_s)) for every_s in came]
    end_ns = clock.now + 20_000 * MS
    while loop.due_ns <= end_ns:
        clock.now = loop.due_ns
        loop.run_due()
    shared = {at_ns // MS for at_ns in came[BEAT_S]}
    assert [len(times) for times in came.values()] == [80, 40, 20]
    assert all(at_ns // MS in shared for times in came.values() for at_ns in times)
    for task in tasks:
        loop.enter(task.cancel)
    assert not loop.errors
    assert all(isinstance(task, asyncio.Task) and task.cancelled() for task in tasks)
