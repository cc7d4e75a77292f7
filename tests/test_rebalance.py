"""Moves by themselves, on made-up figures and times."""

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from hive.rebalance import GAIN, LOOKS, OVERLOADED, PAUSE_S, REST_S, ROOM, Move, Rebalance, Seen, is_overloaded

WORKERS = (0, 1, 2)
EVERY_S = 5.0


def looks_of(where: Mapping[str, int], costs: Mapping[str, float]) -> dict[int, dict[str, Seen]]:
    return {
        worker: {one: Seen(costs[one], 50) for one, on in where.items() if on == worker} for worker in WORKERS
    }


def fed(look, count: int = LOOKS, now_s: float = 0.0, policy: Rebalance | None = None) -> tuple[Rebalance, list[int]]:
    policy = policy or Rebalance()
    hot: list[int] = []
    for number in range(count):
        hot = policy.look(now_s + number * EVERY_S, look)
    return policy, hot


BUSY = {0: {"a": Seen(0.5, 50), "b": Seen(0.25, 50), "c": Seen(0.125, 50)}, 1: {"d": Seen(0.0625, 50)}, 2: {}}


def test_only_a_worker_that_was_overloaded_in_every_look_is_relieved():
    policy, hot = fed(BUSY, LOOKS - 1)
    assert hot == []
    assert policy.look(100.0, BUSY) == [0]
    calm = {**BUSY, 0: {**BUSY[0], "a": Seen(0.1, 50)}}
    policy, hot = fed(calm)
    assert hot == []
    assert fed(BUSY, LOOKS - 1, policy=policy)[1] == []  # one calm look is among them still
    assert policy.look(100.0, BUSY) == [0]


def test_one_that_is_half_busy_is_overloaded_only_when_its_ticks_are_late():
    assert not is_overloaded({"a": Seen(0.5, 100)})
    assert is_overloaded({"a": Seen(0.5, 98, 2)})
    assert not is_overloaded({"a": Seen(0.2, 50, 50)})  # then something else keeps the CPU from it
    assert is_overloaded({"a": Seen(OVERLOADED, 100)})


def test_it_moves_what_leaves_the_busier_of_the_two_least_busy():
    policy, _ = fed(BUSY)
    assert policy.decide(30.0, 0, ["a", "b", "c"], WORKERS) == Move("a", 0, 2, 0.875, 0.0)
    assert policy.decide(30.0, 0, ["b", "c"], WORKERS) == Move("b", 0, 2, 0.875, 0.0)
    assert policy.decide(30.0, 0, ["a"], [1]) == Move("a", 0, 1, 0.875, 0.0)
    assert policy.decide(30.0, 0, ["a", "b", "c"], []) is None
    assert policy.decide(30.0, 0, [], WORKERS) is None


def test_a_worker_that_was_not_there_all_the_time_neither_gives_nor_takes():
    policy, _ = fed(BUSY, LOOKS - 1)
    assert policy.look(100.0, {0: BUSY[0], 1: BUSY[1]}) == [0]
    assert policy.decide(100.0, 0, ["a"], WORKERS).target == 1
    policy.look(105.0, {1: BUSY[1], 2: BUSY[2]})
    assert policy.decide(105.0, 0, ["a"], WORKERS) is None


def test_after_a_move_all_is_measured_anew_and_the_same_strategy_rests():
    policy, _ = fed(BUSY)
    policy.moved(100.0, "a")
    assert fed(BUSY, LOOKS, 101.0, policy)[1] == []
    assert policy.look(100.0 + PAUSE_S, BUSY) == [0]
    assert policy.decide(100.0 + PAUSE_S, 0, ["a"], WORKERS) is None
    assert policy.decide(100.0 + PAUSE_S, 0, ["b"], WORKERS).strategy == "b"
    assert policy.decide(100.0 + REST_S, 0, ["a"], WORKERS).strategy == "a"


shares = st.floats(0.0, 0.6, allow_nan=False)
seen = st.builds(Seen, shares, st.integers(0, 100), st.integers(0, 3))
ids = st.sampled_from("abcdefgh")
factors = st.lists(st.floats(0.7, 1.3), min_size=LOOKS, max_size=LOOKS)


@given(
    st.dictionaries(ids, st.tuples(st.sampled_from(WORKERS), seen), min_size=4),
    factors,
    st.sets(ids, min_size=2),
    st.sets(st.sampled_from(WORKERS), min_size=1),
)
def test_a_move_takes_nobody_with_exposure_goes_where_there_is_room_and_improves_the_balance(
    placed, factors, free, targets
):
    looks = [
        {
            worker: {one: replace(had, share=had.share * factor) for one, (on, had) in placed.items() if on == worker}
            for worker in WORKERS
        }
        for factor in factors
    ]
    policy = Rebalance()
    for number, one in enumerate(looks):
        hot = policy.look(number * EVERY_S, one)
    for source in hot:
        move = policy.decide(1e3, source, free, targets)
        if move is None:
            continue
        assert move.strategy in free
        assert move.target in targets - {source}
        recent = looks[-LOOKS:]
        assert all(is_overloaded(one[source]) for one in recent)
        busy = {
            worker: sum(part.share for one in recent for part in one[worker].values()) / LOOKS for worker in WORKERS
        }
        share = sum(one[source][move.strategy].share for one in recent) / LOOKS
        assert busy[move.target] + share <= ROOM + 1e-9
        assert max(busy[source] - share, busy[move.target] + share) <= busy[source] - GAIN + 1e-9


@given(
    st.dictionaries(st.sampled_from([f"s{n}" for n in range(12)]), shares, min_size=1),
    st.data(),
)
def test_while_costs_stay_as_they_are_no_placement_comes_twice_and_moving_ends(costs, data):
    where = {one: data.draw(st.sampled_from(WORKERS)) for one in costs}
    exposed = data.draw(st.sets(st.sampled_from(sorted(costs))))
    policy, now_s = Rebalance(), 0.0
    placements = {tuple(sorted(where.items()))}
    for _ in range(100):
        now_s += 10 * REST_S  # rests over: it is the gain alone that must end this
        _, hot = fed(looks_of(where, costs), now_s=now_s, policy=policy)
        now_s += LOOKS * EVERY_S
        moves = [policy.decide(now_s, source, costs.keys() - exposed, WORKERS) for source in hot]
        move = next(filter(None, moves), None)
        if move is None:
            return
        assert where[move.strategy] == move.source
        before = _spread(where, costs)
        where[move.strategy] = move.target
        assert _spread(where, costs) <= before - 2 * GAIN * GAIN + 1e-9
        placed = tuple(sorted(where.items()))
        assert placed not in placements
        placements.add(placed)
        policy.moved(now_s, move.strategy)
    raise AssertionError(f"it never ends: {len(placements)} placements")


def _spread(where: Mapping[str, int], costs: Mapping[str, float]) -> float:
    return sum(sum(costs[one] for one, on in where.items() if on == worker) ** 2 for worker in WORKERS)
