"""The dues, seen through the clock that keeps them: the earliest ticks first, of equals who was scheduled first."""

import random
from typing import ClassVar

import pytest

from hive.workers.clock import CallbackCounter, MultiStrategyClock

MS = 1_000_000
START = 10_000_000 * MS


class SortedDues:
    """The slow, obvious list of (due, order of scheduling, name)."""

    def __init__(self):
        self.dues = []
        self.scheduled = 0

    def add(self, due_ns, name):
        self.scheduled += 1
        self.dues.append((due_ns, self.scheduled, name))

    def drop(self, name):
        self.dues = [due for due in self.dues if due[2] != name]

    def pop(self, now_ns):
        """Return all names that are due, in order."""
        due = sorted(due for due in self.dues if due[0] <= now_ns)
        self.dues = [other for other in self.dues if other[0] > now_ns]
        return [name for _, _, name in due]


class Nothing:
    def tick(self, timestamp):
        pass


@pytest.mark.parametrize("intervals_ms", [(50,), (50, 60_000), (10, 20, 50, 100), range(1, 400)])
def test_ticks_come_in_the_order_of_a_sorted_list_whoever_joins_pauses_and_leaves(idle_strategies, intervals_ms):
    rng = random.Random(7)
    now = START
    clock = MultiStrategyClock(CallbackCounter(), time=lambda: now, budget_ns=1 << 60)
    oracle = SortedDues()
    contexts = [idle_strategies.new(f"s{k}") for k in range(60)]
    places = {}  # (interval, phase) of whom the clock has
    paused = set()

    def schedule(context, after_ns):
        interval, phase = places[context]
        oracle.add(((after_ns - phase) // interval + 1) * interval + phase, context.id)

    def change(context):
        if context not in places:
            interval = rng.choice(intervals_ms) * MS
            places[context] = interval, rng.choice([0, 0, rng.randrange(interval)])
            clock.add(context, Nothing(), *places[context])
            schedule(context, now)
        elif context in paused:
            paused.remove(context)
            clock.resume(context)
            schedule(context, now)
        elif rng.random() < 0.5:
            paused.add(context)
            clock.pause(context)
            oracle.drop(context.id)
        else:
            del places[context]
            clock.remove(context)
            oracle.drop(context.id)

    by_name = {context.id: context for context in contexts}
    ticked = 0
    for context in contexts[:40]:
        change(context)
    for _ in range(3_000):
        if rng.random() < 0.05:
            change(rng.choice(contexts))
        due = clock.next_due_ns()
        assert due == min(oracle.dues)[0]
        now = due + rng.choice([0, 0, 0, rng.randrange(3 * MS)])
        names = oracle.pop(now)
        for name in names:
            schedule(by_name[name], now)
        assert [context.id for context in clock.advance(now)] == names
        ticked += len(names)
    assert ticked >= 3_000


class Bound:
    def __init__(self):
        self.seen = []

    def tick(self, timestamp):
        self.seen.append(timestamp)


class Attribute:
    def __init__(self):
        self.seen = []
        self.tick = self.seen.append


class Borrowed:
    def __init__(self):
        self.other = Bound()
        self.seen = self.other.seen
        self.tick = self.other.tick


class OfTheClass:
    seen: ClassVar[list[float]] = []

    @classmethod
    def tick(cls, timestamp):
        cls.seen.append(timestamp)


class Static:
    seen: ClassVar[list[float]] = []

    @staticmethod
    def tick(timestamp):
        Static.seen.append(timestamp)


@pytest.mark.parametrize("kind", [Bound, Attribute, Borrowed, OfTheClass, Static])
def test_whatever_a_target_calls_its_tick_is_called_with_the_time_alone(idle_strategies, kind):
    now = START
    clock = MultiStrategyClock(CallbackCounter(), time=lambda: now)
    target = kind()
    target.seen.clear()
    entry = clock.add(idle_strategies.new("s0"), target, 100 * MS, 0)
    for _ in range(3):
        now = clock.next_due_ns()
        clock.advance(now)
    assert target.seen == [START / 1e9 + n / 10 for n in (1, 2, 3)]
    assert entry.target is target
    assert entry.consecutive_errors == 0
