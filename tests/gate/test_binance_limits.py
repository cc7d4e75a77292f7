"""What Binance's answers do to its limits, on a fake clock."""

import logging
from decimal import Decimal

import pytest

from hive.gate.binance_limits import BinanceLimits
from hive.gate.binance_messages import TOO_MANY_ORDERS, Answer
from hive.gate.errors import NotSent, Refused, Throttled, Unanswered, Withheld
from hive.gate.limit_rules import SECOND_NS as SECOND
from hive.gate.limit_rules import LimitCount, LimitKind, Operation
from hive.gate.server_time import ServerClock
from hive.gate.venue import OrderState, OrderStatus, Trade
from hive.shm.budget import BUDGET_BYTES, Budget
from hive.shm.messages import Side
from hive.shm.segment import Segment, segment_name

PLACE, CANCEL = Operation.PLACE, Operation.CANCEL
PAIR = "BTCUSDT"
MINUTE, DAY = 60 * SECOND, 86_400 * SECOND
INFO = {
    "rateLimits": [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
        {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 200000},
        {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61000},
        {"rateLimitType": "NEW_KIND", "interval": "MINUTE", "intervalNum": 5, "limit": 1},
    ],
    "symbols": [{"symbol": PAIR, "filters": [{"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 2}]}],
}
ORDER_TEXT = "Too many new orders; current limit is 100 orders per 10 SECOND."
WEIGHT_TEXT = "Too much request weight used; current limit is 6000 request weight per 1 MINUTE."


class Bench:
    """The limits over a budget that the feed shares, and a clock that a test moves."""

    def __init__(self, run: str = "limitstest", adaptive: bool = True, ready: bool = True) -> None:
        self.now = 1_000 * SECOND
        self.clock = ServerClock(lambda: self.now)
        self.clock.set_round([(self.now, 20_000 * 86_400_000 + 3_000, self.now + 1_000_000)])
        self.told: list[tuple[float, str]] = []
        segment = Segment.create(segment_name(run, "budget.binance", 1), BUDGET_BYTES, kind="budget", epoch=1)
        segment.unlink()
        self.budget = Budget.create(segment, 6_000, 0.4, self.clock.venue_ns())
        self.feed = Budget.open(segment)
        self.limits = BinanceLimits(
            self.clock,
            self.budget,
            adaptive,
            logging.getLogger("test"),
            lambda wait_s, text: self.told.append((wait_s, text)),
            lambda: self.now,
        )
        if ready:
            self.limits.take_rules(INFO, [LimitCount(LimitKind.WEIGHT, MINUTE, 20)])
            self.limits.assume(orders(0, 0))

    def wait_ns(self, operation: Operation = PLACE) -> int:
        return self.limits.wait_ns(operation, PAIR, self.now)

    def place(self, answer: Answer) -> object:
        return self.limits.answered(self.limits.charge(PLACE, PAIR), answer)


def orders(ten_seconds: int, day: int) -> list[LimitCount]:
    return [LimitCount(LimitKind.ORDERS, 10 * SECOND, ten_seconds), LimitCount(LimitKind.ORDERS, DAY, day)]


def state(status: OrderStatus, order_id: str = "one", executed: str = "0", wall_ns: int = 0) -> OrderState:
    return OrderState(order_id, "1", PAIR, Side.BUY, status, Decimal(executed), Decimal(9), Decimal(2), wall_ns)


def fill(amount: str) -> Trade:
    return Trade(1, Decimal(9), Decimal(amount), Decimal(0), "BNB", True, 0)


def test_an_answer_settles_and_gives_its_body():
    bench = Bench()
    assert bench.place(Answer(200, {"orderId": 7}, counts=orders(4, 9))) == {"orderId": 7}
    assert bench.limits.figures()["orders_used"] == 4
    assert bench.limits.figures()["drift_orders"] == 3
    with pytest.raises(Refused):
        bench.place(Answer(400, None, -2010, "Account has insufficient balance", orders(5, 10)))
    assert bench.limits.figures()["orders_used"] == 5


def test_too_many_orders_stop_new_orders_until_the_window_ends_and_nothing_else():
    bench = Bench()
    for count in range(1, 61):
        bench.place(Answer(200, {}, counts=orders(count, count)))
    with pytest.raises(Throttled, match=r"for 7\.2 s"):
        bench.place(Answer(429, None, TOO_MANY_ORDERS, ORDER_TEXT, retry_after_s=3.0))
    assert bench.told == [(7.2, f"429 -1015 {ORDER_TEXT}")]
    assert bench.wait_ns() == bench.limits.closed_ns(bench.now) == 7_200_000_000
    assert bench.wait_ns(CANCEL) == 0
    assert bench.feed.wait_ns(1, bench.clock.venue_ns()) == 0, "it is not the address's limit"
    assert bench.limits.order_limit() == (60, 10 * SECOND)
    bench.now += 7_200_000_000
    assert bench.wait_ns() == bench.limits.closed_ns(bench.now) == 0


def test_too_much_weight_stops_gate_and_feed_and_lowers_what_is_used():
    bench = Bench()
    for number in range(1, 1_001):
        bench.place(Answer(200, {}, counts=[LimitCount(LimitKind.WEIGHT, MINUTE, 3 * number)]))
    with pytest.raises(Throttled):
        bench.place(Answer(429, None, -1003, WEIGHT_TEXT, retry_after_s=57.0))
    assert bench.wait_ns(CANCEL) == bench.limits.closed_ns(bench.now) >= 57 * SECOND
    assert bench.feed.wait_ns(1, bench.clock.venue_ns()) >= 57 * SECOND
    bench.now += 58 * SECOND
    assert bench.wait_ns(CANCEL) == 0


@pytest.mark.parametrize(("status", "seconds"), [(418, 120), (403, 300)])
def test_a_ban_stops_gate_and_feed_and_is_said_loudly(status, seconds, caplog):
    bench = Bench()
    with pytest.raises(Throttled):
        bench.place(Answer(status))
    assert bench.wait_ns(CANCEL) == bench.limits.closed_ns(bench.now) == seconds * SECOND
    assert bench.feed.wait_ns(1, bench.clock.venue_ns()) == pytest.approx(seconds * SECOND)
    assert [record.levelname for record in caplog.records] == ["CRITICAL"]
    assert "BANNED" in caplog.text
    assert bench.limits.order_limit() == (100, 10 * SECOND), "a ban says nothing of the order limit"


def test_without_adaptive_throttling_too_many_orders_only_close():
    bench = Bench(adaptive=False)
    with pytest.raises(Throttled):
        bench.place(Answer(429, None, TOO_MANY_ORDERS, ORDER_TEXT))
    assert bench.wait_ns() == 7_200_000_000
    assert bench.limits.order_limit() == (100, 10 * SECOND)


def test_the_window_that_an_error_names_is_the_one_that_is_lowered():
    bench = Bench()
    for count in range(1, 11):
        bench.place(Answer(200, {}, counts=orders(count, 70_000 + count)))
    with pytest.raises(Throttled):
        bench.place(Answer(429, None, TOO_MANY_ORDERS, ORDER_TEXT.replace("10 SECOND", "1 DAY")))
    assert bench.limits.closed_ns(bench.now) == DAY - 3 * SECOND + SECOND // 5
    bench.now += DAY
    assert bench.limits.order_limit()[0] == 100


@pytest.mark.parametrize("error", [NotSent("no"), Withheld(-9001, "stale")])
def test_what_was_not_written_costs_no_order(error):
    bench = Bench()
    bench.limits.unanswered(bench.limits.charge(PLACE, PAIR), error)
    assert bench.limits.figures()["orders_used"] == 0


def test_what_may_have_been_written_stays_spent():
    bench = Bench()
    bench.limits.unanswered(bench.limits.charge(PLACE, PAIR), Unanswered("no answer"))
    assert bench.limits.figures()["orders_used"] == 1


def test_the_first_fill_of_an_order_gives_its_count_back_and_the_next_ones_do_not():
    bench = Bench()
    for count in (1, 2):
        bench.place(Answer(200, {}, counts=orders(count, count)))
    bench.now += SECOND
    at = bench.clock.venue_ns()
    bench.limits.track(state(OrderStatus.LIVE, executed="0.5", wall_ns=at), fill("0.5"))
    bench.limits.track(state(OrderStatus.FILLED, executed="2", wall_ns=at), fill("1.5"))
    bench.now += SECOND
    assert bench.limits.figures()["orders_used"] == 1


def test_open_orders_are_counted_until_the_venue_says_that_they_ended():
    bench = Bench()
    bench.limits.opened(PAIR, "one")
    bench.limits.track(state(OrderStatus.LIVE))
    assert bench.wait_ns() == 0
    bench.limits.track(state(OrderStatus.LIVE, "two"))
    assert bench.wait_ns() > 0, "MAX_NUM_ORDERS is 2"
    bench.limits.track(state(OrderStatus.CANCELLED, "two"))
    assert bench.wait_ns() == 0
    bench.limits.only_open([state(OrderStatus.LIVE, "three"), state(OrderStatus.LIVE, "four")], bench.now + 1)
    assert bench.wait_ns() > 0
    bench.limits.ended(PAIR, "three")
    assert bench.wait_ns() == 0


def test_a_new_gate_sends_one_order_until_the_venue_tells_its_counts():
    bench = Bench(ready=False)
    bench.limits.take_rules(INFO, [LimitCount(LimitKind.WEIGHT, MINUTE, 20)])
    charge = bench.limits.charge(PLACE, PAIR)
    assert bench.wait_ns() > 0
    bench.limits.answered(charge, Answer(200, {}, counts=orders(31, 500)))
    assert bench.wait_ns() == 0
    assert bench.limits.figures()["orders_used"] == 31


def test_a_new_gate_believes_the_journal_of_the_one_before():
    bench = Bench(ready=False)
    bench.limits.sent_before = [bench.clock.venue_ns() - SECOND] * 40
    bench.limits.take_rules(INFO, [])
    assert bench.limits.figures()["orders_used"] == 40


def test_the_same_rules_told_again_forget_nothing():
    bench = Bench()
    bench.place(Answer(200, {}, counts=orders(7, 7)))
    bench.limits.take_rules(INFO, [])
    assert bench.limits.figures()["orders_used"] == 7
    more = {**INFO, "rateLimits": INFO["rateLimits"][:2]}
    bench.limits.take_rules(more, [])
    assert bench.limits.figures()["orders_used"] == 100, "new rules, and nothing known of them yet"


def test_limits_of_an_interval_that_nobody_knows_are_named_once(caplog):
    bench = Bench()
    strange = {"rateLimitType": "ORDERS", "interval": "FORTNIGHT", "intervalNum": 1, "limit": 5}
    bench.limits.take_rules({**INFO, "rateLimits": [*INFO["rateLimits"], strange]}, [])
    for _ in range(2):
        assert bench.place(Answer(200, {"orderId": 7}, counts=orders(4, 9), unread=("FORTNIGHT", "YEAR"))) == {
            "orderId": 7
        }
    assert caplog.messages == [
        "limits per FORTNIGHT are not known here: only the venue keeps them",
        "limits per YEAR are not known here: only the venue keeps them",
    ]
