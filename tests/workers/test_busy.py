"""When strategies' code ran: the log against a plain sum, and what a late tick says that Hive caused of it."""

import random

import pytest

from hive.workers.busy import LONG_NS, BusyLog, CpuMeter
from workers.test_clock import INTERVAL, MS, FakeTime, Target, make_clock


@pytest.fixture
def time():
    return FakeTime(10_000 * INTERVAL)


def test_the_log_knows_how_long_code_ran_since_any_moment():
    rng = random.Random(1)
    log = BusyLog()
    runs = []
    now = 1_000
    for _ in range(200):
        begun = now + rng.choice((0, 0, 5, 70))
        now = begun + rng.randrange(1, 50)
        log.add(begun, now)
        runs.append((begun, now))
        since = rng.randrange(900, now + 10)
        assert log.since(since) == sum(max(0, end - max(begin, since)) for begin, end in runs)
    assert log.total_ns == sum(end - begin for begin, end in runs)


def test_what_lies_further_back_than_the_log_is_understated_never_overstated():
    log = BusyLog()
    for k in range(1_000):
        log.add(10 * k, 10 * k + 4)
    assert 0 < log.since(0) < 1_000 * 4
    assert log.since(9_000) == 400


def test_lateness_by_hive_leaves_out_what_other_strategies_took(idle_strategies, time):
    clock = make_clock(time, budget_ns=1 << 60)
    first, second = idle_strategies.new("first"), idle_strategies.new("second")
    clock.add(first, Target(time, cost_ns=30 * MS), INTERVAL, 10 * MS)
    clock.add(second, Target(time), INTERVAL, 20 * MS)
    due = clock.next_due_ns()
    time.now_ns = due + 2 * MS  # the loop came late by 2 ms
    clock.advance(time.now_ns)
    clock.busy.add(time.now_ns + MS, time.now_ns + 4 * MS)  # a callback of somebody, 1 ms after the tick
    time.now_ns += 5 * MS
    clock.advance(time.now_ns)
    assert first.counters.tick_lateness_by_hive_ns.read().max == 2 * MS
    # Due at 20, ticked at 47; until 42 the first tick ran, and from 43 to 46 the callback.
    assert second.counters.tick_lateness_ns.read().max == 27 * MS
    assert second.counters.tick_lateness_by_hive_ns.read().max == 2 * MS


def test_a_burst_of_ticks_is_nobodys_fault_but_the_strategies(idle_strategies, time):
    clock = make_clock(time, budget_ns=1 << 60)
    contexts = [idle_strategies.new(f"s{k}") for k in range(50)]
    for context in contexts:
        clock.add(context, Target(time, cost_ns=MS), INTERVAL, 0)
    time.now_ns = clock.next_due_ns()
    clock.advance(time.now_ns)
    assert contexts[-1].counters.tick_lateness_ns.read().max == 49 * MS
    assert max(context.counters.tick_lateness_by_hive_ns.read().max for context in contexts) == 0


def test_cpu_time_is_that_of_the_thread_for_long_runs_and_time_for_short_ones(counters):
    counter = counters.counter("strategy_cpu_ns", strategy="a")
    meter = CpuMeter(counter)
    meter.begin()
    meter.end(1_000)
    assert counter.value == 1_000
    meter.begin()
    meter.end(LONG_NS)  # not measured yet, but the next one will be
    assert counter.value == 1_000 + LONG_NS
    meter.begin()
    meter.end(10**12)  # this run took next to no CPU time, however long it was
    assert 0 < counter.value - 1_000 - LONG_NS < 10**9


def test_ticks_count_their_cpu_time(idle_strategies, time):
    clock = make_clock(time)
    context = idle_strategies.new("a")
    clock.add(context, Target(time, cost_ns=20_000), INTERVAL, 0)
    for _ in range(3):
        time.now_ns = clock.next_due_ns()
        clock.advance(time.now_ns)
    assert context.counters.strategy_cpu_ns.value == 60_000
