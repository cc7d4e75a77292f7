"""Who is starved: against the formula, on a fake clock, with fair and unfair orders of sending."""

import random
from collections import deque
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hive.gate.bucket import TokenBucket
from hive.gate.fairness import FairQueue
from hive.gate.starvation import Starvation, StarvationMonitor
from oracles import max_min_fair

SECOND = 1_000_000_000
WINDOW = 10 * SECOND
TICK = SECOND // 4
NEW = 3


def wait_until(monitor: StarvationMonitor, start_ns: int, end_ns: int) -> None:
    """Tick until then."""
    for now in range(start_ns, end_ns + 1, TICK):
        monitor.tick(now)


# ---- The formula -----------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    weights=st.lists(st.sampled_from([0.1, 0.5, 1.0, 3.0, 20.0]), min_size=1, max_size=8),
    limit=st.sampled_from([1, 3, 10, 100]),
    served_at=st.integers(0, 4_000),
)
def test_starved_is_what_a_wait_has_beyond_the_sum_of_weights_over_its_own_and_the_limit_in_whole_windows(
    weights, limit, served_at
):
    monitor = StarvationMonitor(limit, WINDOW)
    names = [f"f{number}" for number in range(len(weights))]
    for name, weight in zip(names, weights, strict=True):
        monitor.set_weight(name, weight, 0)
        monitor.pushed(name, 0)
    served_ns = served_at * SECOND // 10
    wait_until(monitor, 0, served_ns)
    bounds = [
        ceil(sum(map(Fraction, weights)) / (Fraction(weight) * limit) - Fraction(1, 10**9)) * WINDOW
        for weight in weights
    ]
    for name, bound in zip(names, bounds, strict=True):
        assert monitor.figures(name).bound_ns == bound
    monitor.served(names[0], served_ns)
    starved = max(0, served_ns - bounds[0])
    figures = monitor.figures(names[0])
    assert (figures.starved_ns, figures.events, figures.deficit, figures.wait_ns) == (starved, starved > 0, 0.0, 0)
    for name, bound in zip(names[1:], bounds[1:], strict=True):
        over = max(0, served_ns // TICK * TICK - bound)
        assert monitor.figures(name).starved_ns == over


def test_a_wait_in_two_parts_is_two_waits():
    monitor = StarvationMonitor(1, SECOND)
    for _ in range(2):
        monitor.pushed("a", 0)
    wait_until(monitor, 0, 3 * SECOND)
    monitor.served("a", 3 * SECOND)
    wait_until(monitor, 3 * SECOND, 8 * SECOND)
    monitor.served("a", 8 * SECOND)
    assert monitor.figures("a").starved_ns == 2 * SECOND + 4 * SECOND
    assert monitor.figures("a").events == 2


def test_a_lower_limit_is_a_longer_bound_from_then_on():
    monitor = StarvationMonitor(10, WINDOW)
    for flow in "abcde":
        monitor.pushed(flow, 0)
    assert monitor.figures("a").bound_ns == WINDOW
    monitor.set_limit(1, WINDOW, SECOND)
    assert monitor.figures("a").bound_ns == 5 * WINDOW
    wait_until(monitor, SECOND, 30 * SECOND)
    assert monitor.figures("a").starved_ns == 0  # a fifth of its turn in a second, the rest in 40
    wait_until(monitor, 30 * SECOND, 60 * SECOND)
    assert monitor.figures("a").starved_ns == 10 * SECOND


# ---- What does not count ---------------------------------------------------------------------------------------------


def test_the_time_in_which_the_venue_is_closed_is_counted_apart():
    monitor = StarvationMonitor(1, SECOND)
    monitor.pushed("a", 0)
    monitor.close(SECOND // 2)
    wait_until(monitor, SECOND // 2, 60 * SECOND)
    assert monitor.closed_ns == 59 * SECOND + SECOND // 2
    monitor.open(60 * SECOND)
    wait_until(monitor, 60 * SECOND, 61 * SECOND)
    assert monitor.figures("a").starved_ns == SECOND // 2
    assert monitor.figures("a").wait_ns == SECOND + SECOND // 2


def test_a_strategy_that_its_own_quota_holds_is_not_starved_and_others_need_not_share_with_it():
    monitor = StarvationMonitor(1, WINDOW)
    for flow in ("held", "a", "b"):
        monitor.pushed(flow, 0)
    assert monitor.figures("a").bound_ns == 3 * WINDOW
    monitor.held("held", 100 * SECOND, 0)
    assert monitor.figures("a").bound_ns == 2 * WINDOW
    wait_until(monitor, 0, 100 * SECOND)
    assert monitor.figures("held").starved_ns == 0
    assert monitor.figures("held").wait_ns == 0
    assert monitor.figures("a").starved_ns == 80 * SECOND
    wait_until(monitor, 100 * SECOND, 140 * SECOND)
    assert monitor.figures("held").starved_ns == 10 * SECOND


def test_a_strategy_that_its_quota_holds_when_its_turn_comes_was_held_all_the_while():
    monitor = StarvationMonitor(1, WINDOW)
    monitor.pushed("a", 0)
    monitor.pushed("b", 0)
    wait_until(monitor, 0, 15 * SECOND)
    monitor.held("a", 20 * SECOND, 15 * SECOND)
    monitor.held("b", 20 * SECOND, 15 * SECOND, shared=True)
    wait_until(monitor, 15 * SECOND, 35 * SECOND)
    assert monitor.figures("a").wait_ns == 15 * SECOND
    assert monitor.figures("b").wait_ns == 30 * SECOND
    assert monitor.figures("a").starved_ns == 0
    assert monitor.figures("b").starved_ns == 10 * SECOND


def test_holding_a_strategy_again_and_again_does_not_hide_that_it_waits():
    monitor = StarvationMonitor(1, WINDOW)
    monitor.pushed("a", 0)
    for second in range(60):  # half of each second
        monitor.held("a", second * SECOND + SECOND // 2, second * SECOND, shared=True)
        wait_until(monitor, second * SECOND, (second + 1) * SECOND - TICK)
    monitor.tick(60 * SECOND)
    assert monitor.figures("a").wait_ns == 30 * SECOND
    assert monitor.figures("a").starved_ns == 20 * SECOND
    assert monitor.figures("a").events == 1


def test_a_strategy_whose_last_order_left_early_is_not_waiting_until_its_next_turn():
    monitor = StarvationMonitor(1, WINDOW)
    for _ in range(3):
        monitor.pushed("early", 0)
    for flow in ("a", "b", "c"):
        monitor.pushed(flow, 0)
    monitor.served("early", 0)
    monitor.served("early", 0)  # twice its share of the first round
    wait_until(monitor, 0, 60 * SECOND)
    assert monitor.figures("early").starved_ns == 0
    assert monitor.figures("early").deficit == 0
    assert monitor.figures("a").starved_ns == 20 * SECOND
    for flow in ("a", "b", "c"):
        monitor.served(flow, 60 * SECOND)
    wait_until(monitor, 60 * SECOND, 120 * SECOND)
    assert monitor.figures("early").starved_ns > 0  # its turn has come, and nothing leaves


def test_who_was_served_still_competes_until_the_others_had_as_much():
    """A hundred orders of a hundred strategies, ten a window: the last one leaves after ten windows, as it must."""
    monitor = StarvationMonitor(10, WINDOW)
    flows = [f"f{number}" for number in range(100)]
    for flow in flows:
        monitor.pushed(flow, 0)
    for window in range(10):
        wait_until(monitor, window * WINDOW + TICK, (window + 1) * WINDOW)
        for flow in flows[10 * window : 10 * window + 10]:
            monitor.served(flow, (window + 1) * WINDOW)
    assert all(monitor.figures(flow).starved_ns == 0 for flow in flows)
    assert all(monitor.figures(flow).events == 0 for flow in flows)


# ---- Drops -----------------------------------------------------------------------------------------------------------


def served_first_come(monitor: StarvationMonitor, hog: int, quiet: int, sends: int) -> None:
    """Let a hog's orders stand before a quiet strategy's, and send from the front."""
    for _ in range(hog):
        monitor.pushed("hog", 0)
    for _ in range(quiet):
        monitor.pushed("quiet", 0)
    for _ in range(sends):
        monitor.served("hog", 0)


def test_an_order_dropped_for_age_is_an_event_when_a_fair_split_would_have_sent_it():
    monitor = StarvationMonitor(100, WINDOW)
    served_first_come(monitor, 50, 1, 20)
    monitor.dropped("quiet", SECOND)
    assert monitor.figures("quiet") == Starvation(0, 1, 0.0, 0, monitor.figures("quiet").bound_ns)
    monitor.dropped("hog", SECOND)
    assert monitor.figures("hog").events == 0


def test_an_order_dropped_for_age_is_an_event_when_nothing_left_although_the_limit_had_room():
    monitor = StarvationMonitor(10, WINDOW)
    monitor.pushed("a", 0)
    monitor.pushed("b", 0)
    monitor.dropped("a", 5 * SECOND)  # its turn was due after two seconds
    monitor.dropped("b", 5 * SECOND)
    assert monitor.figures("a").events == 1
    monitor.pushed("c", 6 * SECOND)
    monitor.dropped("c", 6 * SECOND + SECOND // 10)
    assert monitor.figures("c").events == 0


def test_an_overflow_is_an_event_when_a_fair_split_would_have_emptied_the_queue():
    monitor = StarvationMonitor(100, WINDOW)
    served_first_come(monitor, 100, 5, 20)
    monitor.overflowed("quiet", SECOND)
    assert monitor.figures("quiet").events == 1
    assert monitor.figures("quiet").deficit == pytest.approx(5)
    monitor.overflowed("hog", SECOND)  # it asks for more than its share
    assert monitor.figures("hog").events == 0


def test_what_is_dropped_while_held_or_closed_is_no_event():
    monitor = StarvationMonitor(100, WINDOW)
    served_first_come(monitor, 100, 5, 50)
    monitor.held("quiet", 2 * SECOND, SECOND, shared=True)
    monitor.overflowed("quiet", SECOND)
    monitor.dropped("quiet", SECOND)
    monitor.tick(3 * SECOND)
    monitor.close(3 * SECOND)
    monitor.overflowed("quiet", 3 * SECOND)
    monitor.dropped("quiet", 3 * SECOND)
    assert monitor.figures("quiet").events == 0
    monitor.open(4 * SECOND)
    monitor.dropped("quiet", 4 * SECOND)
    assert monitor.figures("quiet").events == 1


# ---- Deficit ---------------------------------------------------------------------------------------------------------


def test_the_deficit_is_what_the_max_min_split_has_beyond_what_was_sent():
    weights = {"hog": 1.0, "a": 1.0, "b": 2.0, "c": 0.5}
    demand = {"hog": 200, "a": 4, "b": 60, "c": 60}
    monitor = StarvationMonitor(100, WINDOW)
    for flow, weight in weights.items():
        monitor.set_weight(flow, weight, 0)
        for _ in range(demand[flow]):
            monitor.pushed(flow, 0)
    for sent in range(1, 12):  # while nobody's demand is met yet
        monitor.served("hog", 0)
        ideal = max_min_fair(demand, sent, weights)
        for flow in ("a", "b", "c"):
            assert monitor.figures(flow).deficit == pytest.approx(ideal[flow])
        assert monitor.figures("hog").deficit == 0


# ---- With orders of sending ------------------------------------------------------------------------------------------


class Fifo:
    """First come, first served."""

    def __init__(self) -> None:
        self._waiting: deque = deque()

    def push(self, flow: str) -> None:
        self._waiting.append(flow)

    def pop(self, now_ns: int, wait) -> str | None:
        return self._waiting.popleft() if self._waiting else None


class Fair:
    """The queue of the gate."""

    def __init__(self, weights: dict[str, float]) -> None:
        self._queue = FairQueue(100_000)
        for flow, weight in weights.items():
            self._queue.set_weight(flow, weight)

    def push(self, flow: str) -> None:
        self._queue.push(NEW, flow, flow)

    def pop(self, now_ns: int, wait) -> str | None:
        return self._queue.pop(NEW, now_ns, wait)


def run(queue, weights: dict[str, float], rates: dict[str, float], limit: int, seconds: int) -> StarvationMonitor:
    """Five hogs at 20 orders a second and 95 quiet strategies at 0.05, some of them held by quotas of their own."""
    rng = random.Random(11)
    monitor = StarvationMonitor(limit, WINDOW)
    own = {flow: TokenBucket(rate, 1.0) for flow, rate in rates.items()}
    for flow, weight in weights.items():
        monitor.set_weight(flow, weight, 0)
    used = 0

    def wait(flow: str) -> int:
        pause = own[flow].wait_ns(1, now) if flow in own else 0
        if pause:
            monitor.held(flow, now + pause, now)
        return pause

    for step in range(20 * seconds):
        now = step * SECOND // 20
        used = 0 if now % WINDOW == 0 else used
        for flow in weights:
            if rng.random() < (1.0 if flow.startswith("hog") else 0.0025):
                queue.push(flow)
                monitor.pushed(flow, now)
        while used < limit and (flow := queue.pop(now, wait)) is not None:
            used += 1
            monitor.served(flow, now)
            if flow in own:
                own[flow].take(1, now)
        if now % TICK == 0:
            monitor.tick(now)
    return monitor


FLOWS = [*(f"hog{number}" for number in range(5)), *(f"q{number}" for number in range(95))]


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("equal", [True, False])
def test_nobody_is_starved_in_the_gates_queue(equal, held):
    rng = random.Random(5)
    weights = {flow: 1.0 if equal else rng.choice([0.2, 1.0, 2.0, 8.0]) for flow in FLOWS}
    rates = dict.fromkeys(FLOWS[60:], 0.02) | {"hog0": 0.3} if held else {}
    monitor = run(Fair(weights), weights, rates, 100, 400)
    figures = [monitor.figures(flow) for flow in FLOWS]
    assert sum(one.starved_ns for one in figures) == 0
    assert sum(one.events for one in figures) == 0


def test_quiet_strategies_are_starved_when_orders_leave_as_they_came():
    weights = dict.fromkeys(FLOWS, 1.0)
    monitor = run(Fifo(), weights, {}, 100, 400)
    quiet = [monitor.figures(flow) for flow in FLOWS if flow.startswith("q")]
    assert sum(one.starved_ns > 100 * SECOND for one in quiet) > 85
    assert sum(one.events for one in quiet) > 85


def test_a_strategy_that_was_never_seen_has_the_bound_that_it_would_have():
    monitor = StarvationMonitor(1, SECOND)
    assert monitor.figures("nobody") == Starvation(0, 0, 0.0, 0, SECOND)
    monitor.pushed("a", 0)
    assert monitor.figures("nobody") == Starvation(0, 0, 0.0, 0, 2 * SECOND)
    assert monitor.flows() == ["a"]


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: StarvationMonitor(0, SECOND), "limit must be > 0, was 0"),
        (lambda: StarvationMonitor(1, 0), "window_ns must be >= 1, was 0"),
        (lambda: StarvationMonitor(1, 1).set_weight("a", 0.0, 0), "weight must be > 0 and finite, was 0.0"),
        (lambda: StarvationMonitor(1, 1).set_limit(-1, 1, 0), "limit must be > 0, was -1"),
    ],
)
def test_a_monitor_names_the_rule_that_was_broken(call, rule):
    with pytest.raises(ValueError, match=rule):
        call()


def test_a_bound_beyond_all_time_is_a_number_all_the_same():
    monitor = StarvationMonitor(1e-9, 86_400 * SECOND)
    monitor.pushed("a", 0)
    assert monitor.figures("a").bound_ns == 1 << 62
