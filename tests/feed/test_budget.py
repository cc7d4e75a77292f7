"""Request weight in aligned minutes, on a clock of our own."""

import random

import pytest

from hive.feed.budget import MINUTE_NS, WeightBudget

SECOND_NS = 1_000_000_000
START = 1_000 * MINUTE_NS


def test_a_minute_never_grants_more_than_the_share():
    rng = random.Random(3)
    budget = WeightBudget(6_000, share=0.5)
    now_ns, spent = START, {}
    for _ in range(20_000):
        weight = rng.choice((5, 20, 25, 250))
        wait_ns = budget.reserve(weight, now_ns)
        if wait_ns:
            assert wait_ns <= MINUTE_NS
            now_ns += rng.choice((wait_ns, wait_ns // 2 + 1))
        else:
            spent[now_ns // MINUTE_NS] = spent.get(now_ns // MINUTE_NS, 0) + weight
            now_ns += rng.randrange(SECOND_NS)
    assert max(spent.values()) <= 3_000
    assert max(spent.values()) > 2_700


def test_what_others_spent_counts():
    budget = WeightBudget(100, share=0.5)
    assert budget.reserve(10, START) == 0
    budget.settle(45, START)
    assert budget.reserve(10, START + SECOND_NS) == MINUTE_NS - SECOND_NS
    assert budget.reserve(10, START + MINUTE_NS) == 0


def test_an_older_and_lower_count_changes_nothing():
    budget = WeightBudget(100, share=0.5)
    assert budget.reserve(40, START) == 0
    budget.settle(-1, START)
    budget.settle(3, START)
    assert budget.reserve(20, START) > 0


def test_nothing_is_granted_while_the_venue_wants_quiet():
    budget = WeightBudget(100)
    budget.close(90, START)
    assert budget.reserve(1, START + MINUTE_NS) == 30 * SECOND_NS
    assert budget.reserve(1, START + 90 * SECOND_NS) == 0


def test_a_request_heavier_than_the_share_passes_alone():
    budget = WeightBudget(100, share=0.5)
    assert budget.reserve(80, START) == 0
    assert budget.reserve(1, START) > 0
    assert budget.reserve(80, START + MINUTE_NS) == 0


def test_a_budget_that_could_never_grant_is_refused():
    for limit, share in ((0, 0.5), (10, 0.0), (10, 1.1)):
        with pytest.raises(ValueError, match="limit must be"):
            WeightBudget(limit, share)
