"""The placement of a fleet: balanced, pinned where that helps, refused where it cannot be."""

import random
from dataclasses import replace

import pytest

from hive.fleet import FeedConfig, StrategyConfig
from hive.plan import PlanError, place, shm_bytes, shm_parts
from hive.topology import Cpu, Topology


def strategies(count: int, weight=lambda index: 1.0) -> tuple[StrategyConfig, ...]:
    return tuple(StrategyConfig(f"s{i}", f"t{i}", "script", "x", weight=weight(i)) for i in range(count))


def test_every_strategy_is_placed_once_and_no_worker_has_much_more_to_do_than_another():
    rng = random.Random(7)
    for _ in range(300):
        fleet = strategies(rng.randint(1, 60), lambda index: rng.choice([0.01, 0.5, 1, 4]))
        workers = rng.randint(1, 9)
        placement = place(fleet, workers=workers, cpus=tuple(range(rng.randint(1, 12))), limit=100)
        placed = [strategy.id for worker in placement.workers for strategy in worker.strategies]
        assert sorted(placed) == sorted(strategy.id for strategy in fleet)
        assert [worker.index for worker in placement.workers] == list(range(min(workers, len(fleet))))
        assert all(worker.strategies for worker in placement.workers)
        loads = [sum(one.weight for one in worker.strategies) for worker in placement.workers]
        assert loads == pytest.approx([worker.cost for worker in placement.workers])
        assert max(loads) - min(loads) <= max(one.weight for one in fleet) + 1e-9


def test_strategies_that_cost_the_same_are_spread_evenly():
    sizes = [len(worker.strategies) for worker in place(strategies(50), workers=8, cpus=(0,), limit=50).workers]
    assert sizes == [7, 7, 6, 6, 6, 6, 6, 6]


def test_a_worker_that_is_full_gets_no_more_however_little_it_has_to_do():
    fleet = strategies(8, lambda index: 100.0 if index == 0 else 1.0)
    placement = place(fleet, workers=2, cpus=(0, 1), limit=5)
    assert sorted(len(worker.strategies) for worker in placement.workers) == [3, 5]


def test_what_a_run_has_measured_counts_instead_of_the_weight():
    fleet = strategies(4, lambda index: 1.0)
    costs = {"s0": 0.6, "s1": 0.1, "s2": 0.1, "s3": 0.3}
    placement = place(fleet, workers=2, cpus=(0, 1), limit=50, costs=costs)
    assert [[one.id for one in worker.strategies] for worker in placement.workers] == [["s0"], ["s1", "s2", "s3"]]
    assert [worker.cost for worker in placement.workers] == pytest.approx([0.6, 0.5])


def test_heavy_strategies_are_spread():
    placement = place(strategies(8, lambda i: 10.0 if i < 2 else 1.0), workers=2, cpus=(0, 1), limit=50)
    assert [sum(s.weight for s in worker.strategies) for worker in placement.workers] == [13.0, 13.0]


def test_with_cpus_to_spare_feed_and_gate_have_one_each():
    placement = place(strategies(4), workers=2, cpus=(0, 1, 2, 3), limit=50)
    assert [worker.cpu for worker in placement.workers] == [2, 3]
    assert (placement.feed_cpus, placement.gate_cpus, placement.shared_cpus) == ((0,), (1,), (0, 1))
    assert placement.cpus_of("gate") == (1,)
    assert placement.cpus_of("server") == ()
    assert placement.remarks[1] == "workers on CPUs 2, 3, feed on 0, gate on 1"


def test_with_one_cpu_to_spare_feed_and_gate_share_it():
    placement = place(strategies(4), workers=2, cpus=(0, 1, 2), limit=50)
    assert [worker.cpu for worker in placement.workers] == [1, 2]
    assert placement.feed_cpus == placement.gate_cpus == (0,)
    assert placement.remarks[1] == "workers on CPUs 1, 2, feed and gate on 0"


def test_a_single_worker_is_told_as_one():
    assert place(strategies(1), workers=1, cpus=(0, 1), limit=50).remarks == (
        "1 worker with 1 strategy",
        "worker on CPU 1, feed and gate on 0",
    )


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


def test_unasked_feed_and_gate_are_left_their_cpus_where_there_are_four_or_more():
    placement = place(strategies(100), workers=None, cpus=tuple(range(8)), limit=50)
    assert [worker.cpu for worker in placement.workers] == [2, 3, 4, 5, 6, 7]
    assert placement.shared_cpus == (0, 1)


def test_unasked_there_are_no_more_workers_than_the_cgroup_gives_time_for():
    topology = Topology(Topology.flat(range(16)).cpus, 2.5)
    placement = place(strategies(10), workers=None, cpus=topology, limit=50)
    assert len(placement.workers) == 2
    assert placement.remarks[-1] == "the cgroup allows 2.5 CPUs' worth of time on 16 CPUs"


@pytest.mark.parametrize("workers", [1, 2, 3, None])
def test_a_dedicated_strategy_has_a_worker_of_its_own_besides_the_others(workers):
    fleet = strategies(5)
    fleet = (*fleet[:2], replace(fleet[2], worker="dedicated"), *fleet[3:])
    placement = place(fleet, workers=workers, cpus=(0, 1), limit=50)
    assert len(placement.workers) == (2 if workers is None else workers + 1)
    alone = [worker for worker in placement.workers if worker.dedicated]
    assert [[one.id for one in worker.strategies] for worker in alone] == [["s2"]]
    assert alone[0].index == len(placement.workers) - 1
    assert "1 worker for one strategy alone (worker: dedicated): s2" in placement.remarks


def test_a_fleet_of_dedicated_strategies_needs_no_worker_that_is_shared():
    fleet = tuple(replace(one, worker="dedicated") for one in strategies(3))
    placement = place(fleet, workers=1, cpus=(0, 1), limit=1)
    assert [worker.dedicated for worker in placement.workers] == [True] * 3
    assert [worker.index for worker in placement.workers] == [0, 1, 2]


def test_with_a_cpu_for_each_worker_they_are_taken_in_turn_whatever_there_is_to_do():
    placement = place(strategies(2, lambda index: index + 1.0), workers=2, cpus=(0, 1), limit=50, costs=None)
    assert [worker.cpu for worker in placement.workers] == [0, 1]


def test_workers_that_share_cpus_are_put_where_least_is_to_do():
    fleet = strategies(4, lambda index: (5.0, 1.0, 1.0, 1.0)[index])
    placement = place(fleet, workers=4, cpus=(0, 1), limit=50)
    assert [worker.cpu for worker in placement.workers] == [0, 1, 1, 1]


# made-up machines, `--workers 8`: which CPUs feed, gate and workers get


def threads(cores: int, per_core: int, nodes: int = 1) -> Topology:
    """Return a machine whose second threads are numbered after all first ones, its cores split among the nodes."""
    return Topology(
        tuple(
            Cpu(thread * cores + core, core, core * nodes // cores)
            for thread in range(per_core)
            for core in range(cores)
        )
    )


def seats(topology: Topology, workers: int = 8) -> tuple[tuple[int, ...], tuple[int, ...], list[int]]:
    placement = place(strategies(100), workers=workers, cpus=topology, limit=50)
    return placement.feed_cpus, placement.gate_cpus, [worker.cpu for worker in placement.workers]


def test_eight_workers_on_two_cpus():
    assert seats(threads(2, 1)) == ((), (), [0, 1] * 4)
    assert seats(threads(1, 2)) == ((), (), [0, 1] * 4)


def test_eight_workers_on_eight_cpus():
    assert seats(threads(8, 1)) == ((), (), [0, 1, 2, 3, 4, 5, 6, 7])
    assert seats(threads(4, 2)) == ((), (), [0, 1, 2, 3, 4, 5, 6, 7])


def test_eight_workers_on_sixteen_cpus_leave_feed_and_gate_a_core_each():
    assert seats(threads(16, 1)) == ((0,), (1,), [2, 3, 4, 5, 6, 7, 8, 9])


def test_eight_workers_on_eight_cores_of_two_threads_leave_feed_and_gate_one_core():
    feed, gate, workers = seats(threads(8, 2))
    assert (feed, gate) == ((0,), (8,))
    assert workers == [1, 2, 3, 4, 5, 6, 7, 9]  # seven cores, and the second thread of one of them


def test_with_cores_enough_no_two_processes_share_one():
    feed, gate, workers = seats(threads(16, 2))
    assert (feed, gate) == ((0, 16), (1, 17))
    assert workers == [2, 3, 4, 5, 6, 7, 8, 9]


def test_on_two_nodes_workers_are_near_the_feed_while_it_fits():
    assert seats(threads(16, 1, nodes=2), workers=6) == ((0,), (1,), [2, 3, 4, 5, 6, 7])
    feed, gate, workers = seats(threads(16, 1, nodes=2))
    assert (feed, gate) == ((0,), (1,))
    assert workers == [2, 3, 4, 5, 6, 7, 8, 9]
    remarks = place(strategies(100), workers=8, cpus=threads(16, 1, nodes=2), limit=50).remarks
    assert "workers 6, 7 are on another NUMA node than the feed (0)" in remarks


def test_the_node_with_more_usable_cores_is_the_feeds():
    topology = Topology(tuple(Cpu(number, number, number // 8) for number in (0, 1, 8, 9, 10, 11, 12)))
    assert seats(topology, workers=3) == ((8,), (9,), [10, 11, 12])


def test_threads_that_share_a_core_are_said():
    remarks = place(strategies(100), workers=3, cpus=threads(2, 2), limit=50).remarks
    assert "workers 0-2 share a core with another process (threads of one core)" in remarks


def test_whatever_the_machine_nobody_is_crowded_while_a_cpu_is_free():
    rng = random.Random(11)
    for _ in range(500):
        cores, per_core = rng.randint(1, 12), rng.randint(1, 2)
        whole = threads(cores, per_core, rng.randint(1, min(2, cores)))
        usable = rng.sample(whole.cpus, rng.randint(1, len(whole.cpus)))
        topology = Topology(tuple(sorted(usable, key=lambda cpu: cpu.number)))
        workers = rng.randint(1, 9)
        feed, gate, own = seats(topology, workers=max(2, workers))
        free = len(topology.cpus) - len(own)
        assert set(own) | set(feed) | set(gate) <= set(topology.numbers)
        if free >= 0:
            assert len(set(own)) == len(own)
            assert not set(own) & (set(feed) | set(gate))
        if free >= 2:
            assert feed
            assert not set(feed) & set(gate)
        elif free == 1:
            assert feed == gate
            assert len(feed) == 1
        core = {cpu.number: cpu.core for cpu in topology.cpus}
        if len(set(core.values())) >= len(own) + 2:
            taken = [*(core[cpu] for cpu in own), core[feed[0]], core[gate[0]]]
            assert len(set(taken)) == len(taken)


def test_more_of_anything_needs_more_shared_memory():
    base = shm_bytes(FeedConfig(), 1, 2, 10)
    assert shm_bytes(FeedConfig(depth=1000), 1, 2, 10) > base
    assert shm_bytes(FeedConfig(depths={"BTC-USDT": 1000}), 1, 2, 10) > base
    assert shm_bytes(FeedConfig(), 2, 2, 10) > base
    assert shm_bytes(FeedConfig(), 1, 3, 10) > base
    assert shm_bytes(FeedConfig(), 1, 2, 11) > base
    assert sum(shm_parts(FeedConfig(), 1, 2, 10).values()) == base
