"""The judge of `perf/gate_fairness.py`, on small logs whose answer is plain."""

from fair_judge import Limit, Wait, beyond_ns, budget_used, full_windows, replay

S = 1_000_000_000
LIMIT = Limit(orders=2, window_ns=10 * S, offset_ns=0)


def test_windows_are_aligned_on_the_venues_clock():
    shifted = Limit(2, 10 * S, 3 * S)
    assert shifted.window(6 * S) == 0
    assert shifted.window(7 * S) == 1
    assert shifted.start_ns(1) == 7 * S
    assert list(full_windows(shifted, 7 * S, 27 * S)) == [1, 2]
    assert list(full_windows(shifted, 7 * S + 1, 27 * S - 1)) == []


def test_the_bound_is_so_many_windows_as_the_active_strategies_fill():
    assert LIMIT.bound_ns(2) == 10 * S
    assert LIMIT.bound_ns(3) == 20 * S


def test_only_whole_windows_count_for_the_budget():
    accepted = [5 * S, 11 * S, 12 * S, 29 * S, 31 * S]
    assert budget_used(accepted, full_windows(LIMIT, 5 * S, 35 * S), LIMIT) == 3 / 4


def test_a_head_that_waits_longer_than_the_bound_starves_for_the_rest():
    assert beyond_ns([Wait("a", 0, 13 * S, True), Wait("b", 0, 9 * S, True)], 10 * S) == {"a": [3 * S], "b": []}


def test_an_order_behind_its_own_strategys_orders_waits_for_itself():
    served_one_by_one = [Wait("a", i, (9 * i + 9) * S, True) for i in range(5)]
    assert beyond_ns(served_one_by_one, 10 * S) == {"a": []}
    assert beyond_ns(served_one_by_one, 8 * S) == {"a": [S] * 5}


def test_a_withdrawn_order_does_not_renew_the_wait_of_the_others():
    behind = [Wait("a", 0, 15 * S, True), Wait("a", 1 * S, 3 * S, False)]
    ahead = [Wait("a", 0, 8 * S, False), Wait("a", 1 * S, 15 * S, True)]
    assert beyond_ns(behind, 10 * S) == beyond_ns(ahead, 10 * S) == {"a": [5 * S]}


def test_a_strategy_without_orders_does_not_wait():
    assert beyond_ns([Wait("a", 0, 9 * S, True), Wait("a", 20 * S, 29 * S, False)], 9 * S) == {"a": []}


def test_fifo_makes_a_quiet_strategy_wait_behind_a_hog():
    arrivals = [("hog", i) for i in range(6)] + [("quiet", 7)]
    waits = {(wait.strategy, wait.arrived_ns): wait for wait in replay(arrivals, lambda _: "", LIMIT, 100 * S)}
    assert [waits["hog", i].left_ns for i in range(6)] == [0, 1, 10 * S, 10 * S, 20 * S, 20 * S]
    assert waits["quiet", 7].left_ns == 30 * S


def test_static_shares_leave_unused_what_others_wait_for():
    arrivals = [("hog", i) for i in range(3)] + [("quiet", 7)]
    share = Limit(1, 10 * S, 0)
    waits = replay(arrivals, lambda strategy: strategy, share, 15 * S)
    assert [(w.strategy, w.left_ns, w.sent) for w in waits] == [
        ("hog", 0, True), ("hog", 10 * S, True), ("hog", 15 * S + 2, False), ("quiet", 7, True),
    ]  # fmt: skip
