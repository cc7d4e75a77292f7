"""The due-heap clock, on a clock of its own: time is what the test says."""

import random
from itertools import pairwise

import pytest

from hive.workers.clock import CallbackCounter, MultiStrategyClock
from hive.workers.phases import phase_ns

MS = 1_000_000
INTERVAL = 100 * MS


class FakeTime:
    def __init__(self, now_ns=0):
        self.now_ns = now_ns

    def __call__(self):
        return self.now_ns


class Target:
    """Records what it was told; takes `cost_ns` of fake time, and raises what it is told to."""

    def __init__(self, time, cost_ns=0):
        self.time = time
        self.cost_ns = cost_ns
        self.seen = []
        self.at = []
        self.error = None
        self.before = None

    def tick(self, timestamp):
        self.seen.append(timestamp)
        self.at.append(self.time.now_ns)
        self.time.now_ns += self.cost_ns
        if self.before is not None:
            self.before()
        if self.error is not None:
            raise self.error


@pytest.fixture
def time():
    return FakeTime(10_000 * INTERVAL)


def make_clock(time, **options):
    return MultiStrategyClock(CallbackCounter(), time=time, **options)


def run_until(clock, time, end_ns):
    """Be the loop: advance whenever something is due, and return (instant, id) of every tick."""
    fired = []
    while (due := clock.next_due_ns()) is not None and due <= end_ns:
        time.now_ns = max(time.now_ns, due)
        if time.now_ns > end_ns:
            break
        at = time.now_ns
        fired += [(at, context.id) for context in clock.advance(time.now_ns)]
    return fired


def test_every_strategy_ticks_once_per_interval_at_its_own_phase(idle_strategies, time):
    clock = make_clock(time)
    targets = [Target(time) for _ in range(20)]
    for k, target in enumerate(targets):
        clock.add(idle_strategies.new(f"s{k}"), target, INTERVAL, phase_ns(k, INTERVAL))
    start = time.now_ns
    run_until(clock, time, start + 50 * INTERVAL)
    for k, target in enumerate(targets):
        expected = [start + n * INTERVAL + phase_ns(k, INTERVAL) for n in range(51)]
        expected = [at for at in expected if start < at <= start + 50 * INTERVAL]
        assert target.at == expected


def test_the_heap_pops_in_the_order_of_a_sorted_list(idle_strategies, time):
    rng = random.Random(5)
    clock = make_clock(time, budget_ns=1 << 60)
    oracle = {}
    for k in range(200):
        interval = rng.randrange(1, 400) * MS
        phase = rng.randrange(interval)
        context = idle_strategies.new(f"s{k}")
        clock.add(context, Target(time), interval, phase)
        oracle[context.id] = (interval, phase)
    start, end = time.now_ns, time.now_ns + 3_000 * MS
    expected = sorted(
        (n * interval + phase, name)
        for name, (interval, phase) in oracle.items()
        for n in range(start // interval - 1, end // interval + 1)
        if start < n * interval + phase <= end
    )
    fired = run_until(clock, time, end)
    assert [at for at, _ in fired] == [at for at, _ in expected]
    assert sorted(fired) == expected


def test_a_strategy_sees_the_due_time_without_its_phase(idle_strategies, time):
    clock = make_clock(time)
    clock.set_anchor(time.now_ns, 1_700_000_000 * 10**9 + 12_345_678)
    target = Target(time)
    clock.add(idle_strategies.new("a"), target, INTERVAL, 37 * MS)
    run_until(clock, time, time.now_ns + 10 * INTERVAL)
    assert target.seen[:3] == [1_700_000_000.0, 1_700_000_000.1, 1_700_000_000.2]
    assert len(target.seen) == 10


def test_timestamps_are_exact_multiples_of_the_interval(idle_strategies, time):
    clock = make_clock(time)
    clock.set_anchor(time.now_ns, 1_700_000_000 * 10**9)
    target = Target(time)
    clock.add(idle_strategies.new("a"), target, INTERVAL, 0)
    run_until(clock, time, time.now_ns + 1_000 * INTERVAL)
    assert target.seen == [round(1_700_000_000 + k / 10, 1) for k in range(1, 1_001)]


def test_late_ticks_are_skipped_and_counted_never_replayed(idle_strategies, time):
    clock = make_clock(time)
    context = idle_strategies.new("a")
    target = Target(time)
    clock.add(context, target, INTERVAL, 0)
    start = time.now_ns
    time.now_ns = start + 5 * INTERVAL + 30 * MS  # due at 1..5; the loop was blocked until here
    assert len(clock.advance(time.now_ns)) == 1
    assert clock.advance(time.now_ns) == []
    assert context.counters.ticks.value == 1
    assert context.counters.missed_ticks.value == 4
    lateness = context.counters.tick_lateness_ns.read()
    assert lateness.max == 4 * INTERVAL + 30 * MS
    assert clock.next_due_ns() == start + 6 * INTERVAL


def test_a_tick_longer_than_its_interval_misses_what_passes_meanwhile(idle_strategies, time):
    clock = make_clock(time)
    context = idle_strategies.new("a")
    clock.add(context, Target(time, cost_ns=250 * MS), INTERVAL, 0)
    start = time.now_ns
    run_until(clock, time, start + 30 * INTERVAL)
    counters = context.counters
    assert counters.ticks.value == 10  # at 1, 4, 7, ... 28
    assert counters.overruns.value == 10
    assert counters.missed_ticks.value == 20
    assert counters.tick_lateness_ns.read().max == 0


def test_ticked_and_missed_add_up_to_what_was_due_under_random_load(idle_strategies, time):
    rng = random.Random(11)
    clock = make_clock(time)
    contexts = [idle_strategies.new(f"s{k}") for k in range(12)]
    targets = [Target(time) for _ in contexts]
    phases = {}
    for k, (context, target) in enumerate(zip(contexts, targets, strict=True)):
        phases[context] = phase_ns(k, INTERVAL)
        clock.add(context, target, INTERVAL, phases[context])
    start = time.now_ns
    for _ in range(2_000):
        for target in targets:
            target.cost_ns = rng.choice((0, MS, 3 * MS, 40 * MS, 170 * MS))
        due = clock.next_due_ns()
        time.now_ns = max(time.now_ns, due) + rng.choice((0, 0, 0, 5 * MS, 330 * MS))
        clock.advance(time.now_ns)
    for context, target in zip(contexts, targets, strict=True):
        next_due = clock.entry(context).due_ns
        first = start + phases[context] if phases[context] else start + INTERVAL
        due_until_now = (next_due - first) // INTERVAL
        assert context.counters.ticks.value + context.counters.missed_ticks.value == due_until_now
        assert all(late > early for early, late in pairwise(target.seen))


def test_the_budget_gives_the_loop_back_and_loses_no_tick(idle_strategies, time):
    clock = make_clock(time, budget_ns=5 * MS)
    for k in range(10):
        clock.add(idle_strategies.new(f"s{k}"), Target(time, cost_ns=2 * MS), INTERVAL, 0)
    time.now_ns = clock.next_due_ns()
    rounds = []
    while clock.next_due_ns() <= time.now_ns:
        rounds.append([context.id for context in clock.advance(time.now_ns)])
    assert [len(names) for names in rounds] == [3, 3, 3, 1]
    assert sorted(name for names in rounds for name in names) == sorted(f"s{k}" for k in range(10))


def test_an_overloaded_worker_serves_all_strategies_alike(idle_strategies, time):
    clock = make_clock(time)
    contexts = [idle_strategies.new(f"s{k}") for k in range(30)]
    for k, context in enumerate(contexts):
        clock.add(context, Target(time, cost_ns=10 * MS), INTERVAL, phase_ns(k, INTERVAL))  # 3 times what fits
    run_until(clock, time, time.now_ns + 100 * INTERVAL)
    ticks = [context.counters.ticks.value for context in contexts]
    assert max(ticks) - min(ticks) <= 1
    assert sum(ticks) == pytest.approx(1_000, abs=15)


def test_priority_runs_the_higher_first_among_the_due(idle_strategies, time):
    clock = make_clock(time, order="priority_based", budget_ns=1 << 60)
    for name, priority in (("low", 0), ("high", 9), ("middle", 5), ("high too", 9)):
        clock.add(idle_strategies.new(name, priority=priority), Target(time), INTERVAL, 0)
    time.now_ns = clock.next_due_ns()
    assert [context.id for context in clock.advance(time.now_ns)] == ["high", "high too", "middle", "low"]


def test_priority_passes_nobody_over_for_ever(idle_strategies, time):
    clock = make_clock(time, order="priority_based")
    contexts = [idle_strategies.new(f"s{k}", priority=k) for k in range(30)]
    for context in contexts:
        clock.add(context, Target(time, cost_ns=10 * MS), INTERVAL, 0)
    run_until(clock, time, time.now_ns + 100 * INTERVAL)
    assert min(context.counters.ticks.value for context in contexts) >= 20


def test_round_robin_takes_turns_among_equal_dues(idle_strategies, time):
    clock = make_clock(time)
    for k in range(3):
        clock.add(idle_strategies.new(f"s{k}"), Target(time), INTERVAL, 0)
    for _ in range(4):
        time.now_ns = clock.next_due_ns()
        assert [context.id for context in clock.advance(time.now_ns)] == ["s0", "s1", "s2"]


def test_an_error_is_counted_for_its_strategy_and_logged_with_its_name(idle_strategies, time, caplog):
    clock = make_clock(time)
    good, bad = idle_strategies.new("good"), idle_strategies.new("bad")
    failing = Target(time)
    failing.error = ValueError("no such spread")
    clock.add(bad, failing, INTERVAL, 0)
    clock.add(good, Target(time), INTERVAL, 0)
    run_until(clock, time, time.now_ns + 3 * INTERVAL)
    assert (bad.counters.errors.value, good.counters.errors.value) == (3, 0)
    assert good.counters.ticks.value == 3
    assert "strategy bad: tick raised ValueError" in caplog.text
    assert [record.strategy for record in caplog.records] == ["bad"] * 3  # so it goes into that strategy's own file


def test_repeated_errors_pause_that_strategy_alone_until_it_is_resumed(idle_strategies, time):
    paused = []
    clock = make_clock(time, max_errors=10, on_pause=lambda context, message: paused.append((context.id, message)))
    good, bad = idle_strategies.new("good"), idle_strategies.new("bad")
    failing = Target(time)
    failing.error = ValueError("no such spread")
    clock.add(bad, failing, INTERVAL, 0)
    clock.add(good, Target(time), INTERVAL, 0)
    run_until(clock, time, time.now_ns + 30 * INTERVAL)
    assert len(failing.seen) == 10
    assert good.counters.ticks.value == 30
    assert [name for name, _ in paused] == ["bad"]
    assert "no such spread" in paused[0][1]
    failing.error = None
    clock.resume(bad)
    run_until(clock, time, time.now_ns + 5 * INTERVAL)
    assert len(failing.seen) == 15


def test_a_good_tick_between_errors_starts_the_count_again(idle_strategies, time):
    clock = make_clock(time, max_errors=3)
    context = idle_strategies.new("a")
    target = Target(time)
    clock.add(context, target, INTERVAL, 0)
    for k in range(30):
        target.error = None if k % 3 == 2 else ValueError()
        run_until(clock, time, clock.next_due_ns())
    assert not clock.entry(context).paused


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_what_would_end_a_process_pauses_the_strategy_at_once(idle_strategies, time, error):
    clock = make_clock(time)
    context, other = idle_strategies.new("a"), idle_strategies.new("b")
    target = Target(time)
    target.error = error
    clock.add(context, target, INTERVAL, 0)
    clock.add(other, Target(time), INTERVAL, 0)
    run_until(clock, time, time.now_ns + 3 * INTERVAL)
    assert len(target.seen) == 1
    assert clock.entry(context).paused
    assert other.counters.ticks.value == 3


def test_a_strategy_may_remove_itself_or_another_from_its_own_tick(idle_strategies, time):
    for order in ("round_robin", "priority_based"):
        clock = make_clock(time, order=order, budget_ns=1 << 60)
        first, second = idle_strategies.new(f"1{order}", priority=2), idle_strategies.new(f"2{order}", priority=1)
        one, two = Target(time), Target(time)
        clock.add(first, one, INTERVAL, 0)
        clock.add(second, two, INTERVAL, 0)
        one.before = lambda clock=clock, first=first, second=second: (clock.remove(first), clock.remove(second))
        run_until(clock, time, time.now_ns + 5 * INTERVAL)
        assert (len(one.seen), len(two.seen)) == (1, 0)
        assert clock.next_due_ns() is None


def test_places_are_used_again_and_old_dues_do_not_fire_for_the_newcomer(idle_strategies, time):
    clock = make_clock(time)
    for k in range(200):
        context = idle_strategies.new(f"s{k}")
        target = Target(time)
        clock.add(context, target, INTERVAL, 0)
        if k % 2:
            clock.remove(context)
            assert target.seen == []
        else:
            time.now_ns = clock.next_due_ns()
            assert clock.advance(time.now_ns) == [context]
            clock.remove(context)
    assert clock.next_due_ns() is None


def test_a_slowly_drifting_wall_clock_keeps_timestamps_next_to_each_other(idle_strategies, time):
    clock = make_clock(time)
    wall = 1_700_000_000 * 10**9
    clock.set_anchor(time.now_ns, wall)
    context = idle_strategies.new("a")
    target = Target(time)
    clock.add(context, target, INTERVAL, 61 * MS)
    start = time.now_ns
    for _ in range(20_000):  # 500 ppm for 2,000 s: a whole second in the end
        time.now_ns = clock.next_due_ns()
        clock.set_anchor(time.now_ns, wall + (time.now_ns - start) * 1_000_500 // 1_000_000)
        clock.advance(time.now_ns)
    steps = {round((late - early) * 10) for early, late in pairwise(target.seen)}
    assert steps == {1}
    assert context.counters.missed_ticks.value == 0
    assert target.seen[-1] * 1e9 + 61 * MS == pytest.approx(wall + (time.now_ns - start) * 1.0005, abs=MS)


@pytest.mark.parametrize("step_s", [-3600.03, -0.26, 0.26, 3600.03])
def test_a_step_of_the_wall_clock_replays_and_skips_nothing(idle_strategies, time, step_s):
    clock = make_clock(time)
    wall = 1_700_000_000 * 10**9
    clock.set_anchor(time.now_ns, wall)
    context = idle_strategies.new("a")
    target = Target(time)
    clock.add(context, target, INTERVAL, 10 * MS)
    start = time.now_ns
    run_until(clock, time, start + 50 * INTERVAL)
    clock.set_anchor(time.now_ns, wall + (time.now_ns - start) + int(step_s * 1e9))
    run_until(clock, time, start + 100 * INTERVAL)
    assert abs(context.counters.ticks.value - 100) <= 1
    assert context.counters.missed_ticks.value == 0
    assert all(late > early for early, late in pairwise(target.seen))
    if step_s > 0:  # after a step back it goes on counting until the wall clock has caught up
        now_wall = wall + (time.now_ns - start) + int(step_s * 1e9)
        assert target.seen[-1] == pytest.approx(now_wall / 1e9, abs=0.2)


def test_every_tick_begins_a_new_callback(idle_strategies, time):
    callbacks = CallbackCounter()
    clock = MultiStrategyClock(callbacks, time=time, budget_ns=1 << 60)
    values = []
    for k in range(4):
        target = Target(time)
        target.before = lambda: values.append(callbacks.value)
        clock.add(idle_strategies.new(f"s{k}"), target, INTERVAL, 0)
    time.now_ns = clock.next_due_ns()
    clock.advance(time.now_ns)
    assert values == [1, 2, 3, 4]


def test_the_running_strategy_is_told_before_its_tick_and_taken_back_after_it(idle_strategies, counters, time):
    running = counters.counter("running_strategy")
    clock = MultiStrategyClock(CallbackCounter(), time=time, running=running)
    idle_strategies.new("other")
    target = Target(time)
    inside = []
    target.before = lambda: inside.append(running.value)
    clock.add(idle_strategies.new("a"), target, INTERVAL, 0)
    time.now_ns = clock.next_due_ns()
    clock.advance(time.now_ns)
    assert (inside, running.value) == ([2], 0)


@pytest.mark.parametrize(
    ("interval", "phase", "rule"),
    [(0, 0, "interval_ns must be at least 1, was 0"), (100, 100, r"phase_ns must be in \[0, 100\), was 100")],
)
def test_a_wrong_interval_or_phase_is_refused(idle_strategies, time, interval, phase, rule):
    with pytest.raises(ValueError, match=rule):
        make_clock(time).add(idle_strategies.new("a"), Target(time), interval, phase)


def test_an_unknown_order_is_refused(time):
    with pytest.raises(ValueError, match="order must be one of round_robin, priority_based, fair, was lottery"):
        make_clock(time, order="lottery")
