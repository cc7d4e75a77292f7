"""Ticks between those of the timer: what asks for one, what it is told, and that the timer does not notice."""

import random
from itertools import pairwise

import pytest

from hive.workers.book_watch import BookWatch
from hive.workers.errors import BookMissing
from workers.test_clock import INTERVAL, MS, FakeTime, Target, make_clock, run_until


@pytest.fixture
def time():
    return FakeTime(10_000 * INTERVAL)


class Books:
    """The versions of books by (venue, pair); None: there is no book."""

    def __init__(self):
        self.versions = {}

    def version(self, venue, pair):
        if self.versions.get((venue, pair)) is None:
            raise BookMissing(pair)
        return 1, self.versions[venue, pair]


def test_a_nudged_strategy_ticks_once_more_and_the_timer_goes_on_as_before(idle_strategies, time):
    clock = make_clock(time)
    context, target = idle_strategies.new("a"), Target(time)
    clock.add(context, target, INTERVAL, 30 * MS)
    start = time.now_ns
    run_until(clock, time, start + 30 * MS)
    for at in (40, 41, 42):  # three changes before the strategy gets its turn
        clock.nudge(context, start + at * MS)
    run_until(clock, time, start + 2 * INTERVAL)
    assert [(at - start) // MS for at in target.at] == [30, 40, 130]
    assert target.seen == [at / 1e9 for at in (start, start + 10 * MS, start + INTERVAL)]
    assert (context.counters.ticks.value, context.counters.book_ticks.value) == (3, 1)
    assert context.counters.missed_ticks.value == 0


@pytest.mark.parametrize("order", ["round_robin", "priority_based", "fair"])
def test_told_times_grow_strictly_and_no_tick_of_the_timer_is_lost(idle_strategies, time, order):
    rng = random.Random(3)
    clock = make_clock(time, order=order)
    contexts = [idle_strategies.new(f"{order}{k}", priority=k) for k in range(8)]
    targets = [Target(time) for _ in contexts]
    for k, (context, target) in enumerate(zip(contexts, targets, strict=True)):
        clock.add(context, target, INTERVAL, 11 * MS * k)
    start = time.now_ns
    wall = 1_700_000_000 * 10**9
    clock.set_anchor(start, wall)
    for step in range(4_000):
        for target in targets:
            target.cost_ns = rng.choice((0, 0, 50_000, MS))
        clock.nudge(rng.choice(contexts), time.now_ns + rng.randrange(0, 3 * MS))
        if step % 1_000 == 999:  # the wall clock is set, to and fro
            wall += rng.choice((-1, 1)) * rng.randrange(10**9)
        clock.set_anchor(time.now_ns, wall + time.now_ns - start)
        time.now_ns += rng.randrange(0, 2 * MS)
        clock.advance(time.now_ns)
    for context, target in zip(contexts, targets, strict=True):
        assert all(late > early for early, late in pairwise(target.seen))
        counters = context.counters
        timers = counters.ticks.value - counters.book_ticks.value
        assert counters.book_ticks.value > 100
        assert counters.missed_ticks.value == 0
        assert abs(timers - (time.now_ns - start) / INTERVAL) <= 1 + 8 / 8  # eight corrections of an eighth


def test_a_nudge_that_the_timer_overtakes_makes_no_tick(idle_strategies, time):
    clock = make_clock(time)
    context, target = idle_strategies.new("a"), Target(time)
    clock.add(context, target, INTERVAL, 0)
    start = time.now_ns
    run_until(clock, time, start + INTERVAL)
    clock.nudge(context, start + INTERVAL + 90 * MS)
    time.now_ns = start + 2 * INTERVAL + 5 * MS  # the loop was blocked: both are due
    assert clock.advance(time.now_ns) == [context]
    clock.nudge(context, start + 3 * INTERVAL)  # not before the timer's
    run_until(clock, time, start + 3 * INTERVAL + 50 * MS)
    assert (context.counters.ticks.value, context.counters.book_ticks.value) == (3, 0)


def test_a_nudge_does_not_wake_who_is_paused_gone_or_has_not_ticked_yet(idle_strategies, time):
    clock = make_clock(time)
    context = idle_strategies.new("a")
    clock.nudge(context, time.now_ns)
    clock.add(context, Target(time), INTERVAL, 0)
    clock.nudge(context, time.now_ns + MS)
    assert clock.next_due_ns() == time.now_ns + INTERVAL
    run_until(clock, time, time.now_ns + INTERVAL)
    clock.nudge(context, time.now_ns + MS)
    clock.pause(context)
    clock.nudge(context, time.now_ns + MS)
    assert clock.next_due_ns() is None
    clock.resume(context)
    assert clock.next_due_ns() == time.now_ns + INTERVAL


def test_the_lateness_of_a_nudged_tick_counts_from_when_it_was_asked_for(idle_strategies, time):
    clock = make_clock(time)
    context, target = idle_strategies.new("a"), Target(time)
    clock.add(context, target, INTERVAL, 0)
    run_until(clock, time, time.now_ns + INTERVAL)
    clock.nudge(context, time.now_ns + 10 * MS)
    time.now_ns += 17 * MS
    clock.advance(time.now_ns)
    assert context.counters.tick_lateness_ns.read().max == 7 * MS


def test_a_changed_book_ticks_those_who_use_it_with_room_after_their_last_tick(idle_strategies, time):
    clock = make_clock(time)
    books = Books()
    watch = BookWatch(clock, books, loop=idle_strategies.loop, nudged=lambda: None)
    btc, eth = (0, "BTC-USDT"), (0, "ETH-USDT")
    one, two, three = (idle_strategies.new(name) for name in ("one", "two", "three"))
    for context, used in ((one, {btc}), (two, {btc, eth}), (three, {eth})):
        context.books.update(used)
        clock.add(context, Target(time), INTERVAL, 0)
    watch.follow(one, 10 * MS)
    watch.follow(two, 30 * MS)  # three has its timer alone
    start = time.now_ns + INTERVAL
    run_until(clock, time, start)

    def look(at_ms, **versions):
        books.versions = {(0, f"{asset}-USDT"): number for asset, number in versions.items()}
        time.now_ns = start + at_ms * MS
        watch.look(time.now_ns)

    look(1, BTC=7)  # the first look shows what is there, not a change
    look(2, BTC=7, ETH=4)
    assert clock.next_due_ns() == start + INTERVAL
    look(3, BTC=8, ETH=4)
    look(4, BTC=9, ETH=5)
    assert run_until(clock, time, start + 40 * MS) == [(start + 10 * MS, "one"), (start + 30 * MS, "two")]
    look(41, ETH=6)  # BTC-USDT is gone for a while
    look(42, BTC=9, ETH=6)
    assert run_until(clock, time, start + 99 * MS) == [(start + 60 * MS, "two")]
    watch.forget(two)
    watch.forget(one)
    look(100, BTC=10, ETH=7)
    assert clock.next_due_ns() == start + INTERVAL
