"""Each venue's rules against the examples of its documents, and against a slow count of what they allow."""

import random
from collections import deque

import pytest

from hive.gate.allowance import DecayingCounter, EarnedAllowance, RollingWindow
from hive.gate.bucket import AlignedWindow, TokenBucket
from hive.gate.limit_rules import SECOND_NS as SECOND
from hive.gate.limit_rules import Bucket, Decaying, LimitCount, LimitKind, LimitRule, Operation, Rule, Scope
from hive.gate.limits import Limits
from hive.gate.venue_limits import (
    BINANCE_WEIGHTS,
    KRAKEN_TIERS,
    VENUES,
    binance_open_caps,
    binance_spot,
    bybit_spot,
    coinbase,
    hyperliquid,
    kraken_spot,
    okx,
)

PLACE, CANCEL, AMEND = Operation.PLACE, Operation.CANCEL, Operation.AMEND
PAIR, OTHER = "BTC-USDT", "ETH-USDT"
START = 1_000 * SECOND


def rule_of(rules: list[Rule], name: str) -> Rule:
    return next(rule for rule in rules if rule.name == name)


def granted(limits: Limits, operation: Operation, pair: str = PAIR, now: int = START, most: int = 5_000) -> int:
    """Return how many requests are granted at once."""
    count = 0
    while count < most and limits.acquire(operation, pair, now, now) is not None:
        count += 1
    return count


# --- Binance


def test_binances_rules_are_those_that_it_tells():
    told = [
        LimitRule(LimitKind.WEIGHT, 60 * SECOND, 6_000),
        LimitRule(LimitKind.ORDERS, 10 * SECOND, 100),
        LimitRule(LimitKind.ORDERS, 86_400 * SECOND, 200_000),
        LimitRule(LimitKind.REQUESTS, 300 * SECOND, 61_000),
    ]
    rules = binance_spot(told, {"BTCUSDT": 200}, 1_000)
    assert [(rule.name, rule.scope) for rule in rules] == [
        ("REQUEST_WEIGHT", Scope.IP),
        ("ORDERS", Scope.ACCOUNT),
        ("ORDERS", Scope.ACCOUNT),
        ("RAW_REQUESTS", Scope.IP),
        ("MAX_NUM_ORDERS", Scope.PAIR),
        ("EXCHANGE_MAX_NUM_ORDERS", Scope.ACCOUNT),
    ]
    limits = Limits(rules, 0, adaptive=False)
    assert granted(limits, PLACE) == 100, "12:34:00 to 12:34:10"
    assert granted(limits, PLACE, now=START + 10 * SECOND) == 100, "and then 100 more"
    assert granted(limits, CANCEL, most=300) == 300, "a cancel costs no order"
    assert granted(limits, AMEND, most=300) == 300, "nor does an amendment"
    for operation, weight in BINANCE_WEIGHTS.items():
        before = limits.used(LimitKind.WEIGHT, START + 70 * SECOND)[0]
        limits.charge(operation, PAIR, START + 70 * SECOND, START + 70 * SECOND)
        assert limits.used(LimitKind.WEIGHT, START + 70 * SECOND)[0] == before + weight


def test_binances_caps_on_open_orders_are_read_from_its_filters():
    info = {
        "exchangeFilters": [{"filterType": "EXCHANGE_MAX_NUM_ORDERS", "maxNumOrders": 1000}],
        "symbols": [
            {"symbol": "BTCUSDT", "filters": [{"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200}]},
            {"symbol": "ETHUSDT", "filters": [{"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5}]},
            {"symbol": "XRPUSDT"},
        ],
    }
    assert binance_open_caps(info) == ({"BTCUSDT": 200}, 1000)
    assert binance_open_caps({"symbols": []}) == ({}, 0)


TAKER = [  # faqs/order_count_decrement.md, example 1: (at s, an order, the count when it is answered, fills after)
    (1, 1, 0),
    (2, 2, 1),
    (3, 2, 0),
    (5, 3, 1),
]


def test_binances_unfilled_order_count_is_followed_through_its_taker_example():
    limits = Limits(binance_spot([LimitRule(LimitKind.ORDERS, 10 * SECOND, 100)]), 0)
    count = 0
    for at_s, counted, fills in TAKER:
        now = START + at_s * SECOND
        charge = limits.charge(PLACE, PAIR, now, now)
        limits.settle(charge, [LimitCount(LimitKind.ORDERS, 10 * SECOND, counted)], now, now)
        assert limits.used(LimitKind.ORDERS, now) == (counted, 100)
        count = counted - fills
        if fills:
            limits.credit(LimitKind.ORDERS, now + SECOND // 10, now + SECOND // 5)
            assert limits.used(LimitKind.ORDERS, now + SECOND // 5) == (count, 100)
    assert count == 2


def test_binances_order_of_yesterday_that_fills_today_lowers_the_count_of_today_and_never_below_zero():
    day = 86_400 * SECOND
    midnight = 20_000 * day
    limits = Limits(binance_spot([LimitRule(LimitKind.ORDERS, day, 200)]), 0)
    for number in range(5):
        limits.settle(limits.charge(PLACE, PAIR, midnight - day + number, 0), [], midnight - day + number, 0)
    now = midnight + 9 * 3_600 * SECOND
    for number in range(10):
        limits.settle(limits.charge(PLACE, PAIR, now + number, 0), [], now + number, 0)
    for hour, fills, left in ((12, 5, 5), (13, 5, 0), (14, 3, 0)):
        now = midnight + hour * 3_600 * SECOND
        for _ in range(fills):
            limits.credit(LimitKind.ORDERS, now, now)
        assert limits.used(LimitKind.ORDERS, now)[0] == left


# --- OKX


def test_okx_counts_placing_amending_and_cancelling_apart_for_each_instrument():
    limits = Limits(okx(), 0)
    assert granted(limits, PLACE) == granted(limits, AMEND) == granted(limits, CANCEL) == 60
    assert granted(limits, PLACE, OTHER) == 60
    assert granted(limits, PLACE, now=START + 2 * SECOND - 1) == 0
    assert granted(limits, PLACE, now=START + 2 * SECOND) == 60


def test_okxs_sub_account_limit_counts_new_orders_and_amendments_and_each_order_of_a_batch():
    limits = Limits([rule_of(okx(), "sub-account")], 0)
    assert all(limits.acquire(PLACE, PAIR, START, START, orders=20) is not None for _ in range(40))
    assert granted(limits, AMEND) == 200, "1,000 in 2 s"
    assert granted(limits, CANCEL, most=2_000) == 2_000, "cancels are outside of it"
    assert granted(Limits([rule_of(okx(2_000), "sub-account")], 0), PLACE) == 2_000, "accRateLimit of the example"


# --- Bybit


def test_bybit_counts_each_endpoint_in_a_rolling_second_and_requests_per_address():
    limits = Limits(bybit_spot(), 0)
    assert granted(limits, PLACE) == 20
    assert granted(limits, CANCEL) == 20
    assert granted(limits, AMEND) == 10
    half = START + SECOND // 2
    assert granted(limits, PLACE, now=half) == 0
    assert limits.wait_ns(PLACE, PAIR, half, half) == SECOND // 2
    limits = Limits([rule_of(bybit_spot(), "ip")], 0)
    assert granted(limits, PLACE) == 600
    assert granted(limits, CANCEL, now=START + 5 * SECOND - 1) == 0
    assert granted(limits, CANCEL, now=START + 5 * SECOND) == 600


def test_bybits_batch_consumes_as_many_as_it_has_orders():
    limits = Limits([rule_of(bybit_spot(), "/v5/order/create")], 0)
    limits.charge(PLACE, PAIR, START, START, orders=15)
    assert limits.acquire(PLACE, PAIR, START, START, orders=8) is None, "5 are left, and 8 wanted"
    assert limits.acquire(PLACE, PAIR, START, START, orders=5) is not None


def test_bybits_header_says_what_is_left():
    limits = Limits([rule_of(bybit_spot(), "/v5/order/create")], 0)
    charge = limits.charge(PLACE, PAIR, START, START)
    left = 4  # X-Bapi-Limit: 20, X-Bapi-Limit-Status: 4
    limits.settle(charge, [LimitCount("/v5/order/create", SECOND, 20 - left)], START, START)
    assert granted(limits, PLACE) == 4


# --- Kraken


def test_krakens_example_of_an_order_amended_after_7_s_and_cancelled_36_s_later():
    costs = rule_of(kraken_spot(), "trading").costs
    total = costs[PLACE].of()
    assert total == 1
    total += costs[AMEND].of(age_ns=7 * SECOND)
    assert total == 4
    total += costs[CANCEL].of(age_ns=36 * SECOND)
    assert total == 8


@pytest.mark.parametrize(
    ("age_s", "cancel", "amend"),
    [(0, 8, 4), (4.999, 8, 4), (5, 6, 3), (10, 5, 2), (15, 4, 1), (45, 2, 1), (90, 1, 1), (299, 1, 1), (300, 0, 1)],
)
def test_krakens_cancels_and_amendments_cost_less_the_older_the_order_is(age_s, cancel, amend):
    costs = rule_of(kraken_spot(), "trading").costs
    assert costs[CANCEL].of(age_ns=int(age_s * SECOND)) == cancel
    assert costs[AMEND].of(age_ns=int(age_s * SECOND)) == amend


def test_krakens_example_of_fifty_orders_and_ten_seconds():
    counter = rule_of(kraken_spot("intermediate"), "trading").counting.make(0, PAIR)
    for _ in range(50):
        counter.charge(1, START)
    assert counter.used(START + 10 * SECOND) == pytest.approx(26.6)


def test_krakens_batches_cost_a_half_per_order_and_their_cancels_all_of_it():
    costs = rule_of(kraken_spot(), "trading").costs
    assert costs[PLACE].of(orders=10) == 5
    assert costs[CANCEL].of(orders=10, age_ns=6 * SECOND) == 60


@pytest.mark.parametrize("tier", KRAKEN_TIERS)
def test_krakens_counter_is_per_pair_and_cancels_wait_for_its_decay(tier):
    told = KRAKEN_TIERS[tier]
    limits = Limits([rule_of(kraken_spot(tier), "trading")], 0)
    orders = granted(limits, PLACE)
    assert orders == int(told.trading - told.trading_decay)  # one step of decay may be still to come there
    assert granted(limits, PLACE, OTHER) == orders
    wait = limits.wait_ns(CANCEL, PAIR, START, START, age_ns=SECOND)
    assert wait == pytest.approx(8 / told.trading_decay * SECOND, rel=0.13)
    assert limits.wait_ns(CANCEL, PAIR, START, START, age_ns=400 * SECOND) == 0, "an old order's cancel is free"


def test_kraken_caps_open_orders_of_each_pair():
    limits = Limits(kraken_spot("starter"), 0)
    for number in range(60):
        limits.opened(PAIR, str(number), START)
    assert limits.wait_ns(PLACE, PAIR, START, START) > 0
    assert limits.wait_ns(PLACE, OTHER, START, START) == 0
    with pytest.raises(ValueError, match="tier must be one of starter, intermediate, pro, was 'gold'"):
        kraken_spot("gold")


# --- Coinbase


def test_coinbases_example_of_a_token_bucket():
    bucket = TokenBucket(1.0, 3.0)
    assert bucket.burst - bucket.used(0) == 3.0
    passed = [(0.5, True, 2.0), (0.8, True, 1.3), (0.9, True, 0.4)]
    limited = [(1.0, False, 0.5), (1.4, False, 0.9)]
    for at_s, passes, left in [*passed, *limited, (1.8, True, 0.3), (5.0, True, 2.0)]:
        now = int(at_s * SECOND)
        assert (bucket.wait_ns(1, now) == 0) is passes
        if passes:
            bucket.charge(1, now)
        assert bucket.burst - bucket.used(now) == pytest.approx(left)


def test_coinbase_has_one_pool_for_orders_and_cancels():
    limits = Limits(coinbase(), 0)
    assert granted(limits, PLACE) == 30
    assert granted(limits, CANCEL) == 0
    assert granted(limits, Operation.TIME) == 10, "public endpoints are counted apart"
    assert granted(limits, CANCEL, now=START + SECOND) == 30


# --- Hyperliquid


def test_hyperliquids_weight_of_a_batch_and_of_questions():
    costs = rule_of(hyperliquid(), "weight").costs
    assert costs[PLACE].of() == 1
    assert costs[PLACE].of(orders=79) == 2
    assert costs[Operation.ORDER_STATUS].of() == 2
    assert costs[Operation.OPEN_ORDERS].of() == 20


def test_hyperliquids_allowance_is_used_up_earned_and_wider_for_cancels():
    rules = [rule_of(hyperliquid(), "actions"), rule_of(hyperliquid(), "cancels")]
    limits = Limits(rules, 0)
    limits.charge(PLACE, PAIR, START, START, orders=9_999)  # a batch of n is n here
    assert granted(limits, PLACE) == 1
    assert limits.wait_ns(PLACE, PAIR, START, START) == 10 * SECOND, "one every 10 s when limited"
    assert granted(limits, CANCEL, most=20_000) == 10_000, "min(limit + 100000, limit * 2)"
    assert limits.wait_ns(CANCEL, PAIR, START, START) == 10 * SECOND
    later = START + 10 * SECOND
    assert granted(limits, CANCEL, now=later) == 1
    limits.earn(10_002.0)  # USDC traded
    assert granted(limits, PLACE, now=later) == 1


def test_every_venues_rules_make_buckets_and_charge_every_operation_that_they_know():
    for venue, rules in VENUES.items():
        for operation in Operation:
            limits = Limits(rules, SECOND // 5)
            charge = limits.acquire(operation, PAIR, START, START, age_ns=SECOND)
            assert charge is not None, (venue, operation)
            limits.settle(charge, [], START, START)
        for operation in (PLACE, CANCEL, Operation.ORDER_STATUS, Operation.TRADES, Operation.OPEN_ORDERS):
            assert any(operation in rule.costs for rule in rules), (venue, operation)


# --- the kinds of counting against slow and obvious ones


def test_a_rolling_window_grants_exactly_what_a_slow_one_grants():
    rng = random.Random(1)
    window, slow = RollingWindow(20, 2 * SECOND), deque()
    now = START
    for _ in range(20_000):
        now += rng.choice((0, 0, rng.randrange(SECOND // 5), rng.randrange(3 * SECOND)))
        cost = rng.choice((1, 1, 1, 5, 20))
        while slow and slow[0][0] <= now - 2 * SECOND:
            slow.popleft()
        used = sum(cost for _, cost in slow)
        assert window.used(now) == used
        wait = window.wait_ns(cost, now)
        assert (wait == 0) is (used + cost <= 20)
        if wait == 0:
            window.charge(cost, now)
            slow.append((now, cost))
            if rng.random() < 0.1:
                window.refund(cost, now, now)
                slow.pop()
        else:
            end = now + wait
            assert sum(cost for at, cost in slow if at > end - 2 * SECOND) + cost <= 20
            assert sum(cost for at, cost in slow if at > end - 1 - 2 * SECOND) + cost > 20


def test_a_decaying_counter_never_exceeds_a_venue_that_decays_in_steps():
    rng = random.Random(2)
    for _ in range(50):
        limit, decay = rng.choice(((60, 1.0), (125, 2.34), (180, 3.75)))
        counter = Decaying(limit, decay).make(0, PAIR)
        phase = rng.randrange(SECOND)
        theirs, now = 0.0, START
        for _ in range(2_000):
            step = rng.choice((0, rng.randrange(SECOND // 3), rng.randrange(3 * SECOND)))
            ticks = (now + step + phase) // SECOND - (now + phase) // SECOND
            theirs = max(0.0, theirs - ticks * decay)
            now += step
            cost = rng.choice((1, 1, 8, 6, 4))
            if counter.wait_ns(cost, now) == 0:
                counter.charge(cost, now)
                theirs += cost
                assert theirs <= limit + 1e-6


def test_what_fits_after_the_wait_of_a_counter_does_not_fit_long_before():
    counter = DecayingCounter(60, 1.0)
    counter.charge(60, START)
    wait = counter.wait_ns(8, START)
    assert wait == pytest.approx(8 * SECOND, abs=2)
    assert counter.wait_ns(8, START + wait // 2) > 0
    assert counter.wait_ns(8, START + wait) == 0


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: RollingWindow(0, SECOND), "limit must be >= 1, was 0"),
        (lambda: RollingWindow(1, 0), "window_ns must be >= 1, was 0"),
        (lambda: DecayingCounter(60, 0), "per_second must be > 0, was 0"),
        (lambda: DecayingCounter(3, 3.0, 1.0), "limit must be >= 1 above per_second \\* step_s 3, was 3"),
        (lambda: EarnedAllowance(0, 1), "initial must be >= 1, was 0"),
        (lambda: EarnedAllowance(1, 0), "spare_ns must be >= 1, was 0"),
    ],
)
def test_a_bucket_names_the_rule_that_was_broken(make, rule):
    with pytest.raises(ValueError, match=rule):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: AlignedWindow(10, 60 * SECOND),
        lambda: RollingWindow(10, 60 * SECOND),
        lambda: TokenBucket(0.001, 10.0),
        lambda: DecayingCounter(10, 0.001),
        lambda: EarnedAllowance(10, 60 * SECOND),
    ],
)
def test_what_is_taken_back_can_be_spent_again(make):
    bucket: Bucket = make()
    for _ in range(10):
        assert bucket.wait_ns(1, START) == 0
        bucket.charge(1, START)
    assert bucket.wait_ns(1, START) > 0
    bucket.refund(1, START, START)
    assert bucket.wait_ns(1, START) == 0
