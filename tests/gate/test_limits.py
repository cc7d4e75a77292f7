"""All limits together: all grant or none pays, cancels have a reserve, and a venue that is closed stays closed."""

import pytest

from hive.gate.allowance import OPEN_WAIT_NS
from hive.gate.limit_rules import SECOND_NS as SECOND
from hive.gate.limit_rules import Cost, LimitCount, LimitKind, LimitRule, Operation, Rolling, Rule, Scope
from hive.gate.limit_slot import MOST_PAIRS, PAIRS_WAIT_NS
from hive.gate.limits import Limits
from hive.gate.venue_limits import RESERVE, binance_spot

MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
PAIR = "BTCUSDT"
PLACE, CANCEL, STATUS, OPEN_ORDERS = (
    Operation.PLACE,
    Operation.CANCEL,
    Operation.ORDER_STATUS,
    Operation.OPEN_ORDERS,
)
RULES = [
    LimitRule(LimitKind.WEIGHT, MINUTE, 100),
    LimitRule(LimitKind.ORDERS, 10 * SECOND, 5),
    LimitRule(LimitKind.ORDERS, DAY, 8),
]


def limits_of(*rules: LimitRule, guard_ns: int = 0, adaptive: bool = False, **caps: object) -> Limits:
    return Limits(binance_spot(rules or RULES, **caps), guard_ns, adaptive=adaptive)


def test_an_order_waits_for_the_longest_of_the_limits_that_it_touches():
    limits = limits_of()
    for _ in range(5):
        assert limits.acquire(PLACE, PAIR, 0, 0) is not None
    assert limits.wait_ns(PLACE, PAIR, 0, 0) == 10 * SECOND
    assert limits.wait_ns(CANCEL, PAIR, 0, 0) == 0  # a cancel is no order
    for _ in range(3):
        limits.charge(PLACE, PAIR, 10 * SECOND, 10 * SECOND)
    assert limits.wait_ns(PLACE, PAIR, 10 * SECOND, 10 * SECOND) == 86_390 * SECOND


def test_when_one_limit_refuses_no_other_one_pays():
    limits = limits_of()
    for _ in range(5):
        limits.charge(PLACE, PAIR, 0, 0)
    before = [limits.used(kind, 0) for kind in LimitKind]
    assert limits.acquire(PLACE, PAIR, 0, 0) is None
    assert [limits.used(kind, 0) for kind in LimitKind] == before


def test_new_orders_leave_a_reserve_of_weight_to_cancels_and_questions():
    limits = limits_of(LimitRule(LimitKind.WEIGHT, MINUTE, 100))
    for _ in range(100 - 100 // RESERVE):
        assert limits.acquire(PLACE, PAIR, 0, 0) is not None
    assert limits.wait_ns(PLACE, PAIR, 0, 0) == MINUTE
    for _ in range(100 // RESERVE):
        assert limits.acquire(CANCEL, PAIR, 0, 0) is not None
    assert limits.wait_ns(CANCEL, PAIR, 0, 0) == MINUTE


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_request_dearer_than_the_whole_limit_goes_alone(adaptive):
    limits = limits_of(LimitRule(LimitKind.WEIGHT, MINUTE, 50), adaptive=adaptive)
    assert limits.acquire(OPEN_ORDERS, "", 0, 0) is not None
    assert limits.wait_ns(OPEN_ORDERS, "", 0, 0) > 0


def test_an_address_that_is_closed_takes_nothing_until_it_opens():
    limits = limits_of()
    limits.close_address(2.5, 0, 10 * SECOND)
    limits.close_address(1.0, 0, 10 * SECOND)
    assert limits.wait_ns(CANCEL, PAIR, 0, 10 * SECOND) == 2_500_000_000
    assert limits.closed_ns(0, 11 * SECOND) == 1_500_000_000
    assert limits.wait_ns(CANCEL, PAIR, 0, 12 * SECOND + SECOND // 2) == 0
    assert limits.closed_ns(0, 13 * SECOND) == 0


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_breach_of_the_order_limit_closes_new_orders_and_nothing_else(adaptive):
    limits = limits_of(adaptive=adaptive)
    at = 3 * SECOND
    wait_s = limits.breached(limits.charge(PLACE, PAIR, at, at), LimitKind.ORDERS, 10 * SECOND, 0, at, at)
    assert wait_s == 7.0  # until the window ends
    assert limits.wait_ns(PLACE, PAIR, at, at) == 7 * SECOND == limits.closed_ns(at, at)
    assert limits.wait_ns(CANCEL, PAIR, at, at) == limits.wait_ns(STATUS, PAIR, at, at) == 0
    wait_s = limits.breached(limits.charge(PLACE, PAIR, at, at), LimitKind.ORDERS, 10 * SECOND, 9, at, at)
    assert wait_s == 9.0  # or as long as the venue asks


def test_a_refused_order_takes_its_charge_back_and_the_weight_stays():
    limits = limits_of()
    limits.breached(limits.charge(PLACE, PAIR, 0, 0), LimitKind.ORDERS, 0, 1, 0, 0)
    assert limits.used(LimitKind.ORDERS, 0) == (0, 5)
    assert limits.used(LimitKind.WEIGHT, 0) == (1, 100)


def test_a_request_that_was_not_sent_costs_nothing():
    limits = limits_of()
    charge = limits.charge(PLACE, PAIR, 0, 0)
    limits.refund(charge, 0, 0)
    limits.refund(charge, 0, 0)  # once is enough
    assert [limits.used(kind, 0)[0] for kind in LimitKind] == [0, 0, 0]


def test_the_venues_counts_are_taken_by_kind_and_window():
    limits = limits_of()
    charge = limits.charge(PLACE, PAIR, 5 * SECOND, 0)
    counts = [LimitCount(LimitKind.WEIGHT, MINUTE, 70), LimitCount(LimitKind.ORDERS, 10 * SECOND, 4)]
    limits.settle(charge, counts, 5 * SECOND, 0)
    assert limits.used(LimitKind.WEIGHT, 5 * SECOND) == (70, 100)
    assert limits.used(LimitKind.ORDERS, 5 * SECOND) == (4, 5)
    assert limits.used(LimitKind.REQUESTS, 5 * SECOND) == (0, 0)
    assert limits.drift(LimitKind.WEIGHT, 5 * SECOND) == 69
    assert limits.drift(LimitKind.ORDERS, 5 * SECOND) == 3


def test_counts_at_the_start_are_added_to_nothing_and_believed():
    limits = limits_of()
    limits.assume([LimitCount(LimitKind.ORDERS, 10 * SECOND, 5)], SECOND, 0)
    assert limits.wait_ns(PLACE, PAIR, SECOND, 0) == 9 * SECOND
    assert limits.drift(LimitKind.ORDERS, SECOND) == 0


def test_a_charge_from_before_the_rules_were_known_is_passed_over():
    charge = Limits([], 0).charge(PLACE, PAIR, 0, 0)
    limits_of().settle(charge, [], 0, 0)


# --- after a restart


def test_after_a_restart_the_accounts_windows_count_as_spent_until_a_count_is_read():
    limits = limits_of()
    limits.doubt(SECOND)
    assert limits.used(LimitKind.ORDERS, SECOND) == (5, 5)
    assert limits.wait_ns(CANCEL, PAIR, SECOND, SECOND) == 0
    first = limits.acquire(PLACE, PAIR, SECOND, SECOND)
    assert first is not None, "one order passes, to bring the count"
    assert 0 < limits.wait_ns(PLACE, PAIR, SECOND, SECOND) < SECOND
    counts = [LimitCount(LimitKind.ORDERS, 10 * SECOND, 3), LimitCount(LimitKind.ORDERS, DAY, 4)]
    limits.settle(first, counts, 2 * SECOND, 2 * SECOND)
    assert limits.used(LimitKind.ORDERS, 2 * SECOND) == (3, 5)
    assert limits.drift(LimitKind.ORDERS, 2 * SECOND) == 0, "what an earlier life sent is nobody else's"
    assert limits.wait_ns(PLACE, PAIR, 2 * SECOND, 2 * SECOND) == 0


def test_after_a_restart_the_next_window_is_nobodys_doubt():
    limits = limits_of(LimitRule(LimitKind.ORDERS, 10 * SECOND, 5))
    limits.doubt(SECOND)
    assert limits.used(LimitKind.ORDERS, 10 * SECOND) == (0, 5)
    for _ in range(5):
        assert limits.acquire(PLACE, PAIR, 10 * SECOND, 10 * SECOND) is not None


def test_after_a_restart_the_journal_says_what_was_sent():
    limits = limits_of(guard_ns=SECOND // 5)
    now = 10 * DAY + 25 * SECOND
    limits.doubt(now)
    limits.assume_sent([now - DAY, now - 20 * SECOND, now - 3 * SECOND, now - 2 * SECOND], now)
    assert limits.used(LimitKind.ORDERS, now) == (2, 5)
    for _ in range(3):
        assert limits.acquire(PLACE, PAIR, now, now) is not None
    assert limits.acquire(PLACE, PAIR, now, now) is None
    later = now + 10 * SECOND
    assert limits.acquire(PLACE, PAIR, later, later) is not None
    assert limits.acquire(PLACE, PAIR, later, later) is not None
    assert limits.acquire(PLACE, PAIR, later, later) is None, "eight in this day"


# --- open orders, pairs, scopes


def test_open_orders_of_a_pair_are_capped_and_other_pairs_go_on():
    limits = limits_of(LimitRule(LimitKind.ORDERS, 10 * SECOND, 99), open_orders={PAIR: 2, "ETHUSDT": 1})
    for order in ("one", "two"):
        assert limits.acquire(PLACE, PAIR, 0, 0) is not None
        limits.opened(PAIR, order, 0)
    limits.opened(PAIR, "two", 0)  # told by the answer and by the stream
    assert limits.wait_ns(PLACE, PAIR, 0, 0) == OPEN_WAIT_NS
    assert limits.wait_ns(PLACE, "ETHUSDT", 0, 0) == 0
    assert limits.wait_ns(PLACE, "", 0, 0) == 0, "no limit of all pairs is reached"
    assert limits.wait_ns(CANCEL, PAIR, 0, 0) == 0
    limits.ended(PAIR, "one", 0)
    limits.ended(PAIR, "one", 0)
    assert limits.wait_ns(PLACE, PAIR, 0, 0) == 0
    limits.only_open({PAIR: {"three", "four"}, "ETHUSDT": {"five"}}, 1)
    assert limits.wait_ns(PLACE, PAIR, 0, 0) == limits.wait_ns(PLACE, "ETHUSDT", 0, 0) == OPEN_WAIT_NS
    limits.only_open({}, 2)
    assert limits.wait_ns(PLACE, PAIR, 0, 0) == limits.wait_ns(PLACE, "ETHUSDT", 0, 0) == 0


def test_open_orders_of_the_account_are_capped_over_all_pairs():
    limits = limits_of(LimitRule(LimitKind.ORDERS, 10 * SECOND, 99), all_open_orders=2)
    limits.opened(PAIR, "one", 0)
    limits.opened("ETHUSDT", "two", 0)
    assert limits.wait_ns(PLACE, "XRPUSDT", 0, 0) == limits.wait_ns(PLACE, "", 0, 0) == OPEN_WAIT_NS
    limits.only_open({PAIR: {"one"}}, 1)
    assert limits.wait_ns(PLACE, "XRPUSDT", 0, 0) == 0


def test_a_list_of_open_orders_says_nothing_of_orders_that_were_sent_after_it_was_asked_for():
    limits = limits_of(LimitRule(LimitKind.ORDERS, 10 * SECOND, 99), all_open_orders=2)
    limits.opened(PAIR, "gone", 3)
    limits.opened(PAIR, "on its way", 5)
    limits.only_open({PAIR: {"listed"}}, 4)
    assert limits.wait_ns(PLACE, PAIR, 6, 6) == OPEN_WAIT_NS
    limits.ended(PAIR, "listed", 7)
    assert limits.wait_ns(PLACE, PAIR, 8, 8) == 0
    limits.opened(PAIR, "next", 9)
    assert limits.wait_ns(PLACE, PAIR, 10, 10) == OPEN_WAIT_NS
    limits.only_open({}, 11)
    assert limits.wait_ns(PLACE, PAIR, 12, 12) == 0


def test_buckets_of_pairs_are_bounded_and_those_that_are_empty_make_room():
    rule = Rule("place", Scope.PAIR, Rolling(1, SECOND), {PLACE: Cost(each=1)})
    limits = Limits([rule], 0)
    for number in range(MOST_PAIRS):
        assert limits.acquire(PLACE, f"PAIR{number}", 0, 0) is not None
    assert limits.wait_ns(PLACE, "ONEMORE", 0, 0) == PAIRS_WAIT_NS
    assert limits.wait_ns(PLACE, "PAIR0", 0, 0) > 0
    assert limits.acquire(PLACE, "ONEMORE", 2 * SECOND, 2 * SECOND) is not None


def test_accounts_at_one_address_share_its_buckets_and_not_their_own():
    rules = [
        Rule("ip", Scope.IP, Rolling(3, SECOND), {PLACE: Cost(request=1)}),
        Rule("account", Scope.ACCOUNT, Rolling(2, SECOND), {PLACE: Cost(request=1)}),
    ]
    address: dict = {}
    one, other = Limits(rules, 0, shared=address), Limits(rules, 0, shared=address)
    assert [one.acquire(PLACE, PAIR, 0, 0) is not None for _ in range(3)] == [True, True, False]
    assert [other.acquire(PLACE, PAIR, 0, 0) is not None for _ in range(2)] == [True, False]


def test_a_batch_pays_for_each_of_its_orders():
    limits = limits_of()
    assert limits.acquire(PLACE, PAIR, 0, 0, orders=6) is not None, "dearer than the whole limit goes alone"
    limits = limits_of()
    assert limits.acquire(PLACE, PAIR, 0, 0, orders=3) is not None
    assert limits.acquire(PLACE, PAIR, 0, 0, orders=3) is None
    assert limits.used(LimitKind.ORDERS, 0) == (3, 5)
    assert limits.used(LimitKind.WEIGHT, 0) == (1, 100)


# --- what is shown


def test_the_order_limit_is_of_the_shortest_window_until_a_longer_one_is_used_up():
    limits = limits_of()
    assert limits.order_limit(0) == (5, 10 * SECOND)
    limits.assume([LimitCount(LimitKind.ORDERS, DAY, 8)], 0, 0)
    assert limits.order_limit(0) == (8, DAY)
    assert limits.order_limit(DAY) == (5, 10 * SECOND)
    assert Limits([], 0).order_limit(0)[0] == float("inf")


def test_drift_that_stays_is_told_once_for_each_episode():
    limits = limits_of(LimitRule(LimitKind.ORDERS, 10 * SECOND, 100))
    told: list[tuple[int, str]] = []

    def live(first: int, last: int, others: int) -> None:
        """Place an order each second while somebody else places `others` in each window."""
        for second in range(first, last):
            at = second * SECOND
            mine = second % 10 + 1
            charge = limits.charge(PLACE, PAIR, at, at)
            counts = [LimitCount(LimitKind.ORDERS, 10 * SECOND, mine + others * mine // 10)]
            limits.settle(charge, counts, at, at)
            told.extend((second, alarm) for alarm in limits.drift_alarms(at, at))

    live(0, 200, 4)
    assert told == [], "less than a twentieth of the limit"
    live(200, 230, 20)
    live(230, 300, 0)
    assert told == [], "not for a minute"
    live(300, 500, 20)
    assert [alarm for _, alarm in told] == ["6 of 100 ORDERS per 10 s are somebody else's"]
    assert 360 <= told[0][0] <= 380
    assert limits.drift(LimitKind.ORDERS, 499 * SECOND) == 20
    live(500, 600, 0)
    live(600, 700, 20)
    assert len(told) == 2
