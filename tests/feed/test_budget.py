"""The feed's part of the request weight: private until the gate's budget is known, then a share of that."""

import random

import pytest

from hive.feed.budget import WeightBudget
from hive.shm.budget import BUDGET_BYTES, EDGE_NS, MINUTE_NS, Budget
from hive.shm.errors import SegmentMissing
from hive.shm.segment import Segment, segment_name

SECOND_NS = 1_000_000_000
START = 1_000 * MINUTE_NS + SECOND_NS


@pytest.fixture
def gates():
    """gates() -> the gate's view of a fresh budget of 1,000 per minute, and its segment's name."""
    made = []

    def make(before=None):
        name = segment_name("feedbudget", "budget.test", len(made) + 1)
        made.append(Segment.create(name, BUDGET_BYTES, kind="budget", epoch=len(made) + 1))
        return Budget.create(made[-1], 1_000, 0.4, START, before), name

    yield make
    for segment in made:
        segment.unlink()
        segment.close()


def test_a_minute_never_grants_more_than_the_share():
    rng = random.Random(3)
    budget = WeightBudget(6_000, share=0.5)
    now_ns, spent = START, {}
    for _ in range(20_000):
        weight = rng.choice((5, 20, 25, 250))
        wait_ns = budget.reserve(weight, now_ns)
        if wait_ns:
            assert wait_ns <= MINUTE_NS + EDGE_NS
            now_ns += rng.choice((wait_ns, wait_ns // 2 + 1))
        else:
            spent[now_ns // MINUTE_NS] = spent.get(now_ns // MINUTE_NS, 0) + weight
            now_ns += rng.randrange(SECOND_NS)
    assert max(spent.values()) <= 3_000
    assert max(spent.values()) > 2_700


def test_what_others_spent_counts():
    budget = WeightBudget(100, share=0.5)
    assert budget.reserve(10, START) == 0
    budget.settle(55, START)
    assert budget.reserve(10, START) > 0
    assert budget.reserve(10, START + MINUTE_NS) == 0


def test_nothing_is_granted_while_the_venue_wants_quiet():
    budget = WeightBudget(100)
    budget.close(90, START)
    assert budget.reserve(1, START + MINUTE_NS) == 30 * SECOND_NS
    assert budget.reserve(1, START + 90 * SECOND_NS) == 0


def test_the_gates_budget_takes_over_with_what_was_spent(gates):
    budget = WeightBudget(1_000, share=0.4)
    assert budget.reserve(300, START) == 0
    gate, name = gates()
    gate.settle(300, START)
    budget.use(name, START)
    assert gate.used(START) == (0, 300, 1_000)
    assert gate.foreign(START) == 0
    assert budget.reserve(101, START) > 0
    assert budget.reserve(100, START) == 0
    budget.use(name, START)
    assert gate.used(START) == (0, 400, 1_000), "told twice, brought once"


def test_a_later_gates_budget_takes_over_too(gates):
    budget = WeightBudget(1_000)
    gate, name = gates()
    gate.settle(0, START)
    budget.use(name, START)
    budget.reserve(150, START)
    heir, second = gates(before=gate)
    budget.reserve(50, START)
    budget.use(second, START)
    assert heir.used(START) == (0, 200, 1_000)
    assert budget.reserve(201, START) > 0


def test_the_venues_clock_decides_which_minute_it_is(gates):
    gate, name = gates()
    gate.settle(0, START)
    gate.offset_ns = 20 * SECOND_NS
    budget = WeightBudget(1_000)
    budget.use(name, START)
    at_the_turn = START + 39 * SECOND_NS  # here; there the next minute is a second old... but for EDGE_NS
    assert budget.reserve(400, START) == 0
    assert budget.reserve(400, at_the_turn - SECOND_NS) > 0
    assert budget.reserve(400, at_the_turn + SECOND_NS) == 0


def test_a_close_by_the_feed_holds_the_gate(gates):
    gate, name = gates()
    budget = WeightBudget(1_000)
    budget.use(name, START)
    budget.close(10, START)
    assert gate.wait_ns(1, START) == 10 * SECOND_NS


def test_a_segment_that_is_gone_changes_nothing():
    budget = WeightBudget(100, share=0.5)
    budget.reserve(40, START)
    with pytest.raises(SegmentMissing):
        budget.use("/hive.feedbudget.budget.gone.1", START)
    assert budget.reserve(11, START) > 0
    assert budget.reserve(10, START) == 0


def test_a_budget_that_could_never_grant_is_refused():
    for limit, share in ((0, 0.5), (10, 0.0), (10, 1.0)):
        with pytest.raises(ValueError, match="must be"):
            WeightBudget(limit, share)
