"""All limits together: all grant or none pays, cancels have a reserve, and a venue that is closed stays closed."""

from hive.gate.limits import RESERVE, LimitCount, LimitKind, LimitRule, Limits

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
RULES = [
    LimitRule(LimitKind.WEIGHT, MINUTE, 100),
    LimitRule(LimitKind.ORDERS, 10 * SECOND, 5),
    LimitRule(LimitKind.ORDERS, 86_400 * SECOND, 8),
]


def test_an_order_waits_for_the_longest_of_the_limits_that_it_touches():
    limits = Limits(RULES, 0)
    for _ in range(5):
        assert limits.wait_ns(1, 1, 0, 0) == 0
        limits.charge(1, 1, 0)
    assert limits.wait_ns(1, 1, 0, 0) == 10 * SECOND
    assert limits.wait_ns(1, 0, 0, 0) == 0  # a cancel is no order
    for _ in range(3):
        limits.charge(1, 1, 10 * SECOND)
    assert limits.wait_ns(1, 1, 10 * SECOND, 0) == 86_390 * SECOND


def test_new_orders_leave_a_reserve_of_weight_to_cancels_and_questions():
    limits = Limits([LimitRule(LimitKind.WEIGHT, MINUTE, 100)], 0)
    for _ in range(100 - 100 // RESERVE):
        assert limits.wait_ns(1, 1, 0, 0) == 0
        limits.charge(1, 1, 0)
    assert limits.wait_ns(1, 1, 0, 0) == MINUTE
    for _ in range(100 // RESERVE):
        assert limits.wait_ns(1, 0, 0, 0) == 0
        limits.charge(1, 0, 0)
    assert limits.wait_ns(1, 0, 0, 0) == MINUTE


def test_a_request_dearer_than_the_whole_limit_goes_alone():
    limits = Limits([LimitRule(LimitKind.WEIGHT, MINUTE, 50)], 0)
    assert limits.wait_ns(80, 0, 0, 0) == 0
    limits.charge(80, 0, 0)
    assert limits.wait_ns(80, 0, 0, 0) == MINUTE


def test_a_closed_venue_takes_nothing_until_it_opens():
    limits = Limits(RULES, 0)
    limits.close(2.5, 10 * SECOND)
    limits.close(1.0, 10 * SECOND)
    assert limits.wait_ns(1, 0, 0, 10 * SECOND) == 2_500_000_000
    assert limits.wait_ns(1, 0, 0, 12 * SECOND + SECOND // 2) == 0


def test_the_venues_counts_are_taken_by_kind_and_window():
    limits = Limits(RULES, 0)
    charge = limits.charge(4, 1, 5 * SECOND)
    counts = [LimitCount(LimitKind.WEIGHT, MINUTE, 70), LimitCount(LimitKind.ORDERS, 10 * SECOND, 4)]
    limits.settle(charge, counts, 5 * SECOND)
    assert limits.used(LimitKind.WEIGHT, 5 * SECOND) == (70, 100)
    assert limits.used(LimitKind.ORDERS, 5 * SECOND) == (4, 5)
    assert limits.used(LimitKind.REQUESTS, 5 * SECOND) == (0, 0)


def test_counts_at_the_start_are_added_to_nothing_and_believed():
    limits = Limits(RULES, 0)
    limits.assume([LimitCount(LimitKind.ORDERS, 10 * SECOND, 5)], SECOND)
    assert limits.wait_ns(1, 1, SECOND, 0) == 9 * SECOND


def test_a_charge_from_before_the_rules_were_known_is_passed_over():
    charge = Limits([], 0).charge(1, 0, 0)
    Limits(RULES, 0).settle(charge, [], 0)
