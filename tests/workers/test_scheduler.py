"""The scheduler on a real loop: it waits for what it wants to see, and never for a time."""

import asyncio
import contextvars
from itertools import pairwise
from time import monotonic_ns

import pytest

from hive.workers.clock import MultiStrategyClock
from hive.workers.context import CURRENT
from hive.workers.scheduler import State, StrategyScheduler, read_anchor

INTERVAL = 4_000_000


class Books:
    """Tells versions as a test sets them."""

    def __init__(self, versions):
        self.versions = versions

    def version(self, venue, pair):
        return 0, self.versions[venue, pair]


class Target:
    """Counts its ticks and can be waited for."""

    def __init__(self):
        self.seen = []
        self.awaited = None
        self.error = None

    def tick(self, timestamp):
        self.seen.append(timestamp)
        if self.awaited is not None and len(self.seen) >= self.awaited[0]:
            self.awaited[1].set()
        if self.error is not None:
            raise self.error

    async def ticks(self, n):
        self.awaited = (len(self.seen) + n, asyncio.Event())
        async with asyncio.timeout(20):
            await self.awaited[1].wait()


@pytest.fixture
async def scheduler(strategies):
    reports = []
    made = StrategyScheduler(
        MultiStrategyClock(strategies.callbacks),
        loop=asyncio.get_running_loop(),
        interval_ns=INTERVAL,
        report=lambda context, state, message: reports.append((context.id, state, message)),
    )
    made.reports = reports
    made.start()
    yield made
    made.stop()


async def test_strategies_tick_at_multiples_of_the_interval_until_removed(scheduler, strategies):
    contexts = [strategies.new(f"s{k}") for k in range(10)]
    targets = [Target() for _ in contexts]
    for context, target in zip(contexts, targets, strict=True):
        scheduler.add(context, target)
    await asyncio.gather(*(target.ticks(20) for target in targets))
    for target in targets:
        assert all(late > early for early, late in pairwise(target.seen))
        assert all(abs(at * 250 - round(at * 250)) < 1e-3 for at in target.seen)
    scheduler.remove(contexts[0])
    ticked = len(targets[0].seen)
    await targets[1].ticks(5)
    assert len(targets[0].seen) == ticked
    assert [state for _, state, _ in scheduler.reports] == [State.RUNNING] * 10


async def test_a_paused_strategy_ticks_again_after_resume(scheduler, strategies):
    one, two = strategies.new("one"), strategies.new("two")
    first, second = Target(), Target()
    scheduler.add(one, first)
    scheduler.add(two, second)
    await first.ticks(3)
    scheduler.pause(one, "by hand")
    ticked = len(first.seen)
    await second.ticks(5)
    assert (len(first.seen), scheduler.state(one)) == (ticked, State.PAUSED)
    scheduler.resume(one)
    await first.ticks(3)
    assert scheduler.reports[-2:] == [("one", State.PAUSED, "by hand"), ("one", State.RUNNING, "")]


async def test_a_strategy_that_fails_again_and_again_is_reported_as_paused(scheduler, strategies):
    context, other = strategies.new("bad"), strategies.new("good")
    failing, good = Target(), Target()
    failing.error = ValueError("no")
    scheduler.add(context, failing)
    scheduler.add(other, good)
    await failing.ticks(10)
    await good.ticks(5)
    assert len(failing.seen) == 10
    assert (scheduler.state(context), scheduler.state(other)) == (State.PAUSED, State.RUNNING)


async def test_the_first_of_an_empty_clock_starts_it_from_whatever_context(scheduler, strategies):
    context, target = strategies.new("a"), Target()
    outside = []
    scheduler._report = lambda *_: outside.append(CURRENT.get(None))

    async def start():
        scheduler.add(context, target)

    await context.create_task(start())
    target.error = SystemExit()
    await target.ticks(1)
    await asyncio.sleep(0)
    assert outside == [context, None]  # the clock itself never runs in the strategy's context


async def test_strategies_may_have_intervals_of_their_own(scheduler, strategies):
    slow, fast = Target(), Target()
    scheduler.add(strategies.new("slow"), slow, interval_ns=8 * INTERVAL)
    scheduler.add(strategies.new("fast"), fast)
    await slow.ticks(5)
    assert len(fast.seen) > len(slow.seen)


@pytest.mark.parametrize("jump_s", [8 * 3600, -8 * 3600, 0.05])
async def test_a_jump_of_the_wall_clock_is_told_from_the_next_tick_on_and_harms_nobody(strategies, jump_s):
    offset_ns = 1_700_000_000 * 10**9
    scheduler = StrategyScheduler(
        MultiStrategyClock(strategies.callbacks),
        loop=asyncio.get_running_loop(),
        interval_ns=INTERVAL,
        report=lambda *_: None,
        read_clocks=lambda: ((now := monotonic_ns()), now + offset_ns),
        wall_ns=lambda: monotonic_ns() + offset_ns,
    )
    scheduler.start()
    target = Target()
    scheduler.add(strategies.new("a"), target)
    await target.ticks(5)
    before, ticked, real_ns = target.seen[-1], len(target.seen), monotonic_ns()
    offset_ns += int(jump_s * 1e9)  # as a clock that was set, or a machine that was suspended, moves it
    await target.ticks(10)
    passed_s = (monotonic_ns() - real_ns) / 1e9
    scheduler.stop()
    assert all(late > early for early, late in pairwise(target.seen))
    assert len(target.seen) - ticked <= passed_s / (INTERVAL / 1e9 * 7 / 8) + 2  # no burst
    if jump_s > 0:
        assert target.seen[ticked] >= before + jump_s - INTERVAL / 1e9
    assert target.seen[-1] <= before + max(0, jump_s) + passed_s + 3 * INTERVAL / 1e9


async def test_a_strategy_that_follows_its_books_ticks_in_between(strategies):
    versions = {(0, "BTC-USDT"): 1}
    scheduler = StrategyScheduler(
        MultiStrategyClock(strategies.callbacks),
        loop=asyncio.get_running_loop(),
        interval_ns=40_000_000,
        report=lambda *_: None,
        books=Books(versions),
    )
    scheduler.start()
    context, target = strategies.new("a"), Target()
    context.books.add((0, "BTC-USDT"))
    scheduler.add(context, target, book_spacing_ns=1)
    await target.ticks(1)
    while context.counters.book_ticks.value < 20:
        versions[0, "BTC-USDT"] += 1
        await asyncio.sleep(0.001)
    scheduler.remove(context)
    scheduler.stop()
    assert all(late > early for early, late in pairwise(target.seen))
    by_timer = [at for at in target.seen if abs(at / 0.04 - round(at / 0.04)) < 1e-6]
    assert len(by_timer) == context.counters.ticks.value - context.counters.book_ticks.value


def test_an_anchor_is_two_readings_of_one_moment():
    one, two = read_anchor(), read_anchor()
    drift = (two[1] - two[0]) - (one[1] - one[0])
    assert abs(drift) < 50_000_000
    assert contextvars.copy_context().get(CURRENT) is None
