"""Own rates, backing off alone, and classes of which none is starved."""

import random
from collections import Counter

import pytest

from hive.gate.fairness import FairQueue
from hive.gate.quota import ClassPolicy, Quotas, RejectBackoff, RequestClass, StrategyQuota

SECOND = 1_000_000_000
START = 1_000 * SECOND
EMERGENCY, CANCEL, AMEND, NEW, QUERY = RequestClass


def sent_in(quotas: Quotas, flow: str, seconds: int, orders: int = 1, weight: int = 1, start: int = START) -> int:
    """Send whenever the quota allows it for so long; return how often."""
    now, sent = start, 0
    while True:
        now += quotas.wait_ns(flow, orders, weight, now)
        if now > start + seconds * SECOND:
            return sent
        quotas.take(flow, orders, weight, now)
        sent += 1
        assert sent < 100_000


def test_a_strategy_sends_at_its_own_rate_or_at_the_general_one():
    quotas = Quotas(None, 2.0, {"own": StrategyQuota(max_orders_per_second=0.5), "none": StrategyQuota()})
    assert sent_in(quotas, "own", 100) == 1 + 50
    assert sent_in(quotas, "none", 100) == 2 + 200
    assert sent_in(quotas, "unknown", 100) == 2 + 200


def test_requests_that_place_nothing_do_not_wait_for_the_rate_of_orders():
    quotas = Quotas(1.0, 1.0, {})
    quotas.take("a", 1, 1, START)
    assert quotas.wait_ns("a", 1, 1, START) == SECOND
    assert quotas.wait_ns("a", 0, 1, START) == 0
    quotas.take("a", 0, 1, START)
    assert quotas.wait_ns("a", 1, 1, START) == SECOND


def test_the_total_rate_holds_for_all_strategies_together():
    quotas = Quotas(10.0, None, {})
    now, sent = START, 0
    while now <= START + 5 * SECOND:
        quotas.take("ab"[sent % 2], 1, 1, now)
        sent += 1
        now += quotas.total_wait_ns(now)
    assert sent == 10 + 50
    assert quotas.total_per_second == 10.0
    assert Quotas(None, None, {}).total_wait_ns(START) == 0
    assert Quotas(None, None, {}).total_per_second is None


def test_no_minute_has_more_weight_than_the_quota():
    quotas = Quotas(None, None, {"a": StrategyQuota(max_api_weight_per_minute=100)})
    rng = random.Random(7)
    now, taken = START, []
    for _ in range(2_000):
        now += rng.randrange(SECOND)
        cost = rng.choice([1, 2, 5, 20])
        if quotas.wait_ns("a", 1, cost, now) == 0:
            quotas.take("a", 1, cost, now)
            taken.append((now, cost))
        assert sum(cost for at, cost in taken if at > now - 60 * SECOND) <= 100
    assert sum(cost for _, cost in taken) >= 0.9 * 100 * (now - START) / (60 * SECOND)


def test_weight_is_there_after_the_wait_and_not_before():
    now = START + 6 * SECOND
    for cost, seconds in ((1, 55), (4, 55), (5, 60), (10, 60), (50, 60)):  # what is dearer than the quota goes alone
        quotas = Quotas(None, None, {"a": StrategyQuota(max_api_weight_per_minute=10)})
        quotas.take("a", 0, 4, START)
        quotas.take("a", 0, 6, START + 5 * SECOND)
        assert quotas.wait_ns("a", 0, cost, now) == seconds * SECOND
        assert quotas.wait_ns("a", 0, cost, now + seconds * SECOND - 1) == 1
        assert quotas.wait_ns("a", 0, cost, now + seconds * SECOND) == 0


def test_a_quota_that_is_changed_gives_no_second_burst():
    quotas = Quotas(None, None, {"a": StrategyQuota(max_orders_per_second=10.0, max_api_weight_per_minute=50)})
    assert sent_in(quotas, "a", 0) == 10
    quotas.set_quota("a", StrategyQuota(max_orders_per_second=5.0, max_api_weight_per_minute=20, weight=2.0), START)
    assert quotas.wait_ns("a", 1, 0, START) == pytest.approx(SECOND / 5, abs=2)
    assert quotas.wait_ns("a", 0, 11, START) > 50 * SECOND  # 10 of the 20 are spent already
    assert quotas.wait_ns("a", 0, 10, START) == 0
    quotas.set_quota("a", StrategyQuota(max_orders_per_second=5.0, weight=3.0), START)
    assert sent_in(quotas, "a", 2) == 10
    assert quotas.shares() == [("a", 3.0)]


def test_it_shows_who_spends_what():
    quotas = Quotas(None, None, {})
    for second in range(100):
        for _ in range(4):
            quotas.take("hog", 1, 2, START + second * SECOND)
        quotas.take("canceller", 0, 1, START + second * SECOND)
    now = START + 99 * SECOND
    assert quotas.spent("hog", now).orders_per_second == pytest.approx(4, rel=0.06)
    assert quotas.spent("hog", now).weight_per_minute == pytest.approx(480, rel=0.06)
    assert quotas.spent("canceller", now).orders_per_second == 0
    assert quotas.spent("hog", now + 100 * SECOND).orders_per_second < 0.001
    assert quotas.spent("nobody", now).weight_per_minute == 0


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"max_orders_per_second": 0.0}, "max_orders_per_second must be > 0, was 0.0"),
        ({"max_api_weight_per_minute": 0}, "max_api_weight_per_minute must be >= 1, was 0"),
        ({"priority_level": 6}, "priority_level must be -5 to 5, was 6"),
        ({"weight": 0.0}, "weight must be 0.001 to 1000, was 0.0"),
    ],
)
def test_a_quota_names_the_rule_that_was_broken(given, rule):
    with pytest.raises(ValueError, match=rule):
        StrategyQuota(**given)


def test_a_priority_doubles_the_share_and_every_share_is_a_weight_of_the_queues():
    assert StrategyQuota(weight=3.0, priority_level=2).share == 12.0
    assert StrategyQuota(priority_level=-1).share == 0.5
    for weight in (0.001, 1000.0):
        for level in (-5, 5):
            FairQueue(1).set_weight("a", StrategyQuota(weight=weight, priority_level=level).share)


# ---- Rejects ---------------------------------------------------------------------------------------------------------


def test_a_strategy_whose_orders_are_rejected_waits_longer_each_time_and_alone():
    backoff, now, waits = RejectBackoff(), START, []
    for _ in range(13):
        backoff.rejected("bad", now)
        waits.append(backoff.wait_ns("bad", now))
        now += waits[-1]
        assert backoff.wait_ns("bad", now) == 0
    tenth = SECOND // 10
    assert waits == [0, 0, 0, *(tenth << n for n in range(7)), 10 * SECOND, 10 * SECOND, 10 * SECOND]
    assert backoff.wait_ns("good", now) == 0


def test_rejects_of_what_was_sent_before_do_not_count_again():
    backoff = RejectBackoff()
    for number in range(20):
        backoff.rejected("bad", START + number * 1_000)
    assert backoff.wait_ns("bad", START + 3_000) == SECOND // 10


def test_an_accept_or_quiet_makes_it_forget():
    backoff = RejectBackoff()
    for _ in range(4):
        backoff.rejected("a", START)
        backoff.rejected("b", START)
    backoff.accepted("a", START)
    assert backoff.wait_ns("a", START) == 0
    for at in (START, START + 1):
        backoff.rejected("a", at)
        assert backoff.wait_ns("a", at) == 0
    backoff.rejected("b", START + 30 * SECOND)
    assert backoff.wait_ns("b", START + 30 * SECOND) == 0
    backoff.accepted("nobody", START)


# ---- Classes ---------------------------------------------------------------------------------------------------------


def order_of(policy: ClassPolicy, lengths: list[int], sends: int) -> list[RequestClass]:
    """Let so many go, with always so many waiting."""
    order = []
    for _ in range(sends):
        rank = policy.next(lengths)
        policy.sent(rank)
        order.append(rank)
    return order


def test_the_most_urgent_class_goes_first():
    policy, lengths, order = ClassPolicy(), [2, 2, 0, 1, 1], []
    while (rank := policy.next(lengths)) is not None:
        policy.sent(rank)
        lengths[rank] -= 1
        order.append(rank)
    assert order == [EMERGENCY, EMERGENCY, CANCEL, CANCEL, NEW, QUERY]


@pytest.mark.parametrize("waiting", range(1, 16))
def test_no_class_is_starved_whichever_others_always_wait(waiting):
    lengths = [0, *(10 if waiting & 1 << bit else 0 for bit in range(4))]
    order = order_of(ClassPolicy(), lengths, 2_000)
    for rank, floor in ((NEW, 4), (AMEND, 8), (QUERY, 16)):
        if lengths[rank]:
            assert all(rank in order[at : at + floor] for at in range(2_000 - floor + 1))
    if lengths[CANCEL]:
        assert Counter(order)[CANCEL] >= 2_000 * 9 / 16 - 1


def test_cancels_go_first_beside_the_floors():
    order = order_of(ClassPolicy(), [0, 10, 0, 10, 0], 400)
    assert Counter(order) == {CANCEL: 300, NEW: 100}
    assert order[:4] == [CANCEL, CANCEL, CANCEL, NEW]


def test_emergencies_pass_everything_and_count_for_nothing():
    policy = ClassPolicy()
    assert order_of(policy, [1, 1, 1, 1, 1], 50) == [EMERGENCY] * 50
    assert order_of(policy, [0, 10, 0, 10, 0], 4) == [CANCEL, CANCEL, CANCEL, NEW]


def test_a_class_that_could_not_go_saves_nothing_up():
    policy = ClassPolicy()
    order_of(policy, [0, 10, 0, 0, 0], 100)  # new orders wait, but their limit is empty
    assert order_of(policy, [0, 10, 0, 10, 0], 8) == [CANCEL, CANCEL, CANCEL, NEW] * 2


def test_floors_hold_while_classes_come_and_go():
    rng = random.Random(4)
    policy, since = ClassPolicy(), dict.fromkeys(RequestClass, 0)
    lengths = [0, 5, 0, 0, 0]
    for _ in range(20_000):
        for rank in RequestClass:
            if rank is not EMERGENCY and rng.random() < 0.05:
                lengths[rank] = 0 if lengths[rank] else 5
        rank = policy.next(lengths)
        if rank is None:
            continue
        assert lengths[rank]
        policy.sent(rank)
        for one in RequestClass:
            since[one] = since[one] + 1 if lengths[one] and one is not rank else 0
        assert since[NEW] < 4
        assert since[AMEND] < 8
        assert since[QUERY] < 16
