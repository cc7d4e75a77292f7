"""The placement of a fleet: balanced, pinned where that helps, refused where it cannot be."""

import random

import pytest

from hive.fleet import FeedConfig, StrategyConfig
from hive.plan import PlanError, place, shm_bytes


def strategies(count: int, weight=lambda index: 1.0) -> tuple[StrategyConfig, ...]:
    return tuple(StrategyConfig(f"s{i}", f"t{i}", "script", "x", weight=weight(i)) for i in range(count))


def test_every_strategy_is_placed_once_and_numbers_differ_by_one_at_most():
    rng = random.Random(7)
    for _ in range(200):
        fleet = strategies(rng.randint(1, 60), lambda index: rng.choice([0.5, 1, 4]))
        workers = rng.randint(1, 9)
        placement = place(fleet, workers=workers, cpus=tuple(range(rng.randint(1, 8))), limit=100)
        placed = [strategy.id for worker in placement.workers for strategy in worker.strategies]
        assert sorted(placed) == sorted(strategy.id for strategy in fleet)
        sizes = [len(worker.strategies) for worker in placement.workers]
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= 1


def test_heavy_strategies_are_spread():
    placement = place(strategies(8, lambda i: 10.0 if i < 2 else 1.0), workers=2, cpus=(0, 1), limit=50)
    assert [sum(s.weight for s in worker.strategies) for worker in placement.workers] == [13.0, 13.0]


def test_with_cpus_to_spare_feed_and_gate_have_their_own():
    placement = place(strategies(4), workers=2, cpus=(0, 1, 2, 3), limit=50)
    assert [worker.cpu for worker in placement.workers] == [2, 3]
    assert placement.shared_cpus == (0, 1)


def test_with_as_many_cpus_as_workers_each_has_one():
    placement = place(strategies(4), workers=2, cpus=(4, 6), limit=50)
    assert [worker.cpu for worker in placement.workers] == [4, 6]
    assert placement.shared_cpus == ()


def test_eight_workers_on_two_cpus_share_them_and_say_so():
    placement = place(strategies(16), workers=8, cpus=(0, 1), limit=50)
    assert [worker.cpu for worker in placement.workers] == [0, 1] * 4
    assert placement.remarks == (
        "8 workers with 2 strategies each",
        "8 workers share 2 CPUs (0, 1), up to 4 on each: "
        "more workers than CPUs only separate strategies from each other's deaths",
    )


def test_without_pinning_no_worker_has_a_cpu():
    placement = place(strategies(4), workers=2, cpus=(0, 1), limit=50, pin=False)
    assert [worker.cpu for worker in placement.workers] == [None, None]
    assert "workers are not pinned (--no-pin)" in placement.remarks


def test_more_workers_than_strategies_are_not_started():
    placement = place(strategies(3), workers=8, cpus=(0, 1), limit=50)
    assert len(placement.workers) == 3
    assert placement.remarks[0] == "3 workers instead of 8: there are no more strategies than that"


def test_the_limit_counts_per_worker_and_the_error_says_how_many_are_needed():
    with pytest.raises(PlanError) as caught:
        place(strategies(120), workers=2, cpus=(0, 1), limit=50)
    assert str(caught.value) == (
        "120 strategies need at least 3 workers of up to 50 each "
        "(runtime.max_strategies_per_container), --workers was 2"
    )


def test_unasked_there_is_a_worker_per_cpu_and_as_many_as_the_limit_needs():
    assert len(place(strategies(10), workers=None, cpus=(0, 1, 2), limit=50).workers) == 3
    assert len(place(strategies(120), workers=None, cpus=(0, 1), limit=50).workers) == 3
    assert len(place(strategies(1), workers=None, cpus=(0, 1), limit=50).workers) == 1


def test_more_of_anything_needs_more_shared_memory():
    base = shm_bytes(FeedConfig(), 1, 2, 10)
    assert shm_bytes(FeedConfig(depth=1000), 1, 2, 10) > base
    assert shm_bytes(FeedConfig(depths={"BTC-USDT": 1000}), 1, 2, 10) > base
    assert shm_bytes(FeedConfig(), 2, 2, 10) > base
    assert shm_bytes(FeedConfig(), 1, 3, 10) > base
    assert shm_bytes(FeedConfig(), 1, 2, 11) > base
