"""Who goes first among the due: the bounds that clock.pyx states, against what the clock does."""

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hive.workers.clock import PRIORITY_NS, SHARE_DOUBLES
from oracles import max_min_fair
from workers.test_clock import MS, FakeTime, Target, make_clock, run_until

US = 1_000


@pytest.fixture
def time():
    return FakeTime(10_000 * MS)


class Watched(Target):
    """Takes its costs in turn, and notes how long each tick had been due, and what the one before it cost."""

    def __init__(self, time, clock, context, interval_ns, costs_ns):
        super().__init__(time)
        self.clock, self.context, self.interval_ns, self.costs_ns = clock, context, interval_ns, costs_ns
        self.waits = []
        self.cost_ns = 0

    def tick(self, timestamp):
        last_ns, self.cost_ns = self.cost_ns, self.costs_ns[len(self.waits) % len(self.costs_ns)]
        self.waits.append((self.time.now_ns - self.clock.entry(self.context).due_ns, last_ns))
        super().tick(timestamp)


MEMBERS = st.lists(
    st.tuples(
        st.integers(10, 200),  # interval in ms
        st.integers(-100, 100),  # priority
        st.integers(0, 199),  # phase in ms
        st.lists(st.integers(0, 40 * MS), min_size=1, max_size=3),  # costs
    ),
    min_size=2,
    max_size=8,
)
REAL = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def run_all(strategies, order, members, budget_ns):
    """Run the members together for two seconds, often with more to do than fits."""
    time = FakeTime(10_000 * MS)
    clock = make_clock(time, order=order, budget_ns=budget_ns)
    targets = []
    for number, (interval, priority, phase, costs) in enumerate(members):
        context = strategies.new(f"s{number}", priority=priority)
        targets.append(Watched(time, clock, context, interval * MS, costs))
        clock.add(context, targets[-1], interval * MS, phase % interval * MS)
    run_until(clock, time, time.now_ns + 2_000 * MS)
    return targets


@REAL
@given(members=MEMBERS, budget_ms=st.sampled_from([1, 5, 1_000]))
def test_priorities_age_nobody_waits_longer_than_the_bound(idle_strategies, members, budget_ms):
    targets = run_all(idle_strategies, "priority_based", members, budget_ms * MS)
    for own in targets:
        bound_ns = 0
        for other in targets:
            if other is not own:
                ahead_ns = max(0, other.context.priority - own.context.priority) * PRIORITY_NS
                bound_ns += (1 + math.ceil(ahead_ns / other.interval_ns)) * max(other.costs_ns)
        assert all(wait <= bound_ns for wait, _ in own.waits)


@REAL
@given(members=MEMBERS, budget_ms=st.sampled_from([1, 5, 1_000]))
def test_in_fair_order_nobody_waits_longer_than_the_bound(idle_strategies, members, budget_ms):
    targets = run_all(idle_strategies, "fair", members, budget_ms * MS)
    longest_ns = max(max(one.costs_ns) for one in targets)
    for own in targets:
        for wait, last_ns in own.waits:
            bound_ns = longest_ns
            for other in targets:
                if other is not own:
                    part = 2 ** ((other.context.priority - own.context.priority) / SHARE_DOUBLES)
                    bound_ns += 2 * part * (last_ns + 1) + 2 * max(other.costs_ns)
            assert wait <= bound_ns + len(targets) * US  # accounts are whole nanoseconds


def served(strategies, time, members):
    """Run strategies in fair order for four minutes and return the part of it that each had, by name."""
    clock = make_clock(time, order="fair")
    targets = {}
    for name, (interval_ns, priority, cost_ns) in members.items():
        targets[name] = Target(time, cost_ns=cost_ns)
        clock.add(strategies.new(name, priority=priority), targets[name], interval_ns, 0)
    run_until(clock, time, time.now_ns + 240_000 * MS)
    return {name: len(one.seen) * one.cost_ns / (240_000 * MS) for name, one in targets.items()}


def test_in_an_overloaded_worker_fair_gives_what_max_min_fairness_gives(idle_strategies, time):
    members = {"heavy": (10 * MS, 0, 500 * MS), "loud": (10 * MS, 0, 200 * MS), "twice": (10 * MS, 10, 300 * MS)}
    members |= {f"light{k}": (2_000 * MS, 0, 20 * MS) for k in range(20)}
    parts = served(idle_strategies, time, members)
    demand = {name: min(1, cost / interval) for name, (interval, _, cost) in members.items()}
    ideal = max_min_fair(demand, 1, {"twice": 2.0})
    for name, part in parts.items():
        assert part == pytest.approx(ideal[name], rel=0.12), name
    assert sum(parts.values()) == pytest.approx(1, abs=0.01)


def test_a_heavy_strategy_goes_after_those_that_it_would_delay(idle_strategies, time):
    clock = make_clock(time, order="fair", budget_ns=1 << 60)
    heavy, light = idle_strategies.new("heavy"), idle_strategies.new("light")
    clock.add(heavy, Target(time, cost_ns=40 * MS), 100 * MS, 0)
    clock.add(light, Target(time, cost_ns=MS), 100 * MS, 0)
    run_until(clock, time, time.now_ns + 10_000 * MS)
    # But for the first tick, whose cost nobody could know, the light one never waited.
    assert light.counters.tick_lateness_ns.read().sum == 40 * MS
    assert heavy.counters.tick_lateness_ns.read().sum == 99 * MS


def test_who_slept_or_joins_later_has_no_credit(idle_strategies, time):
    clock = make_clock(time, order="fair")
    names = ("steady", "sleeper", "newcomer")
    targets = {name: Target(time, cost_ns=20 * MS) for name in names}
    contexts = {name: idle_strategies.new(name) for name in names}
    for name in names[:2]:
        clock.add(contexts[name], targets[name], 10 * MS, 0)
    clock.pause(contexts["sleeper"])
    run_until(clock, time, time.now_ns + 60_000 * MS)
    clock.resume(contexts["sleeper"])
    clock.add(contexts["newcomer"], targets["newcomer"], 10 * MS, 0)
    before = {name: len(target.seen) for name, target in targets.items()}
    run_until(clock, time, time.now_ns + 600 * MS)
    since = [len(target.seen) - before[name] for name, target in targets.items()]
    assert sum(since) >= 29
    assert max(since) - min(since) <= 2
