"""The ledger's promises, held against every sequence of evidence up to a length, and against the story it must tell."""

import itertools
from decimal import Decimal

import pytest

from hive.gate.ledger import Ledger
from hive.gate.order import FINAL, Order, State
from hive.gate.venue import OrderState, OrderStatus, Trade
from hive.shm.messages import FINAL_KINDS, Intent, IntentKind, OrderType, Reply, ReplyKind, Side, TimeInForce

CID = "hvabcdeqqqqq-1"


def intent(amount: str = "2") -> Intent:
    return Intent(
        IntentKind.PLACE, 0, "BTC-USDT", CID, Side.BUY, OrderType.LIMIT, TimeInForce.GTC, Decimal(10), Decimal(amount)
    )


def state(status: OrderStatus, executed: str = "0") -> OrderState:
    return OrderState(CID, "77", "BTCUSDT", Side.BUY, status, Decimal(executed), Decimal(10), Decimal(2), 5)


def trade(number: int, amount: str = "1") -> Trade:
    return Trade(number, Decimal(10), Decimal(amount), Decimal("0.001"), "BTC", True, 5)


def kinds(replies: list[Reply]) -> list[str]:
    return [reply.kind.name for reply in replies]


class Desk:
    """A ledger with one order, and everything its strategy was told."""

    def __init__(self, state: State = State.SENT) -> None:
        self.ledger = Ledger(0)
        self.order: Order = self.ledger.admit(intent(), "qqqqq", "BTCUSDT", 1)
        self.told: list[Reply] = []
        self.now = 0
        if state is not State.PENDING:
            self.ledger.send(self.order, 100)

    def observe(self, status: OrderStatus | None, executed: str = "0", *trades: Trade) -> list[Reply]:
        self.now += 1
        seen = None if status is None else state(status, executed)
        replies = self.ledger.observe(self.order, seen, trades, self.now)
        self.told += replies
        return replies


EVIDENCE = {
    "response: live": lambda d: d.observe(OrderStatus.LIVE),
    "response: filled": lambda d: d.observe(OrderStatus.FILLED, "2", trade(1), trade(2)),
    "event: new": lambda d: d.observe(OrderStatus.LIVE),
    "event: fill 1": lambda d: d.observe(OrderStatus.LIVE, "1", trade(1)),
    "event: fill 2": lambda d: d.observe(OrderStatus.FILLED, "2", trade(2)),
    "event: cancelled, empty": lambda d: d.observe(OrderStatus.CANCELLED, "0"),
    "event: cancelled, half": lambda d: d.observe(OrderStatus.CANCELLED, "1"),
    "status: expired, half": lambda d: d.observe(OrderStatus.EXPIRED, "1"),
    "fills of the account": lambda d: d.observe(None, "0", trade(1)),
    "no answer": lambda d: d.told.extend(d.ledger.doubt(d.order, "no answer")),
    "refused": lambda d: d.told.extend(d.ledger.reject(d.order, -2010, "no", d.now)),
}


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_whatever_the_order_of_evidence_the_story_is_told_well(length):
    for names in itertools.product(EVIDENCE, repeat=length):
        desk = Desk()
        for name in names:
            EVIDENCE[name](desk)
        told, order = desk.told, desk.order
        story = kinds(told)
        fills = [reply for reply in told if reply.kind is ReplyKind.FILL]
        assert len({fill.trade_id for fill in fills}) == len(fills), names
        assert sum(fill.amount for fill in fills) == order.filled, names
        assert story.count("UNKNOWN") <= 1, names
        if fills:
            assert story.index("ACKED") < story.index("FILL"), names
        ends = [place for place, reply in enumerate(told) if reply.kind in FINAL_KINDS]
        if "REJECTED" not in story:
            assert len(ends) <= 1, names
            assert story.count("ACKED") <= 1, names
        for end in ends:
            after = story[end + 1 :]
            if told[end].kind is ReplyKind.REJECTED:
                assert after[:1] in ([], ["ACKED"]), names  # only the venue's own evidence overrules it
            else:
                assert set(after) <= {"FILL"}, names  # a fill is never dropped
                told_before = sum(r.amount for r in told[:end] if r.kind is ReplyKind.FILL)
                assert told[end].cumulative == told_before, names
        assert order.final == (order.state in FINAL), names
        assert (order in list(desk.ledger.open_orders())) == (not order.final), names
        if not order.final and order.state is State.ACKED and not order.needs_asking:
            assert order.filled == order.executed, names


def test_a_fill_that_arrives_before_the_response_acknowledges_the_order_first():
    desk = Desk()
    assert kinds(desk.observe(OrderStatus.LIVE, "1", trade(1))) == ["ACKED", "FILL"]
    assert kinds(desk.observe(OrderStatus.LIVE)) == []
    assert kinds(desk.observe(OrderStatus.FILLED, "2", trade(2))) == ["FILL", "FILLED"]
    assert [reply.cumulative for reply in desk.told[1:]] == [Decimal(1), Decimal(2), Decimal(2)]


def test_the_end_waits_for_fills_that_were_missed():
    desk = Desk()
    desk.observe(OrderStatus.LIVE)
    assert kinds(desk.observe(OrderStatus.CANCELLED, "1")) == []
    assert desk.order.needs_asking
    assert desk.order.trades_missing
    assert kinds(desk.observe(None, "0", trade(1))) == ["FILL", "CANCELLED"]
    assert not desk.order.needs_asking


def test_fills_that_are_told_twice_reach_the_strategy_once():
    desk = Desk()
    desk.observe(OrderStatus.FILLED, "2", trade(1), trade(2))
    assert kinds(desk.observe(OrderStatus.LIVE, "1", trade(1))) == []
    assert kinds(desk.observe(None, "0", trade(2), trade(1))) == []
    assert kinds(desk.told) == ["ACKED", "FILL", "FILL", "FILLED"]


def test_an_order_is_sent_once():
    desk = Desk()
    with pytest.raises(ValueError, match="an order is sent once"):
        desk.ledger.send(desk.order, 100)
    with pytest.raises(ValueError, match="a client order id is sent once"):
        desk.ledger.admit(intent(), "qqqqq", "BTCUSDT", 1)


def test_only_an_order_that_was_certainly_not_executed_waits_again():
    desk = Desk()
    assert desk.ledger.unsend(desk.order)
    assert desk.order.state is State.PENDING
    desk.ledger.send(desk.order, 100)
    desk.ledger.doubt(desk.order, "no answer")
    assert not desk.ledger.unsend(desk.order)
    desk.observe(OrderStatus.LIVE)
    assert not desk.ledger.unsend(desk.order)
    assert desk.order.state is State.ACKED


def test_a_withdrawn_order_was_never_sent():
    desk = Desk(State.PENDING)
    assert kinds(desk.ledger.withdraw(desk.order, "cancelled before it was sent", 1)) == ["CANCELLED"]
    assert kinds(desk.ledger.withdraw(desk.order, "again", 1)) == []
    with pytest.raises(ValueError, match="an order is sent once"):
        desk.ledger.send(desk.order, 100)


def test_a_late_fill_overrules_a_denial():
    desk = Desk()
    desk.told += desk.ledger.doubt(desk.order, "no answer")
    desk.told += desk.ledger.reject(desk.order, -2013, "never reached the venue", 1)
    assert kinds(desk.observe(OrderStatus.FILLED, "2", trade(1, "2"))) == ["ACKED", "FILL", "FILLED"]
    assert kinds(desk.told) == ["UNKNOWN", "REJECTED", "ACKED", "FILL", "FILLED"]


def test_a_refusal_does_not_end_an_order_that_the_venue_has_shown():
    desk = Desk()
    desk.observe(OrderStatus.LIVE)
    assert desk.ledger.reject(desk.order, -2010, "no", 1) == []
    assert desk.order.state is State.ACKED


def test_a_story_told_again_starts_with_the_fills():
    desk = Desk()
    assert desk.ledger.replay(desk.order) == []
    desk.observe(OrderStatus.LIVE, "1", trade(1))
    assert kinds(desk.ledger.replay(desk.order)) == ["FILL", "ACKED"]
    desk.observe(OrderStatus.CANCELLED, "1")
    again = desk.ledger.replay(desk.order)
    assert kinds(again) == ["FILL", "CANCELLED"]
    assert again[-1].cumulative == Decimal(1)


def test_unknown_is_said_once_and_not_for_questions():
    desk = Desk()
    assert kinds(desk.ledger.doubt(desk.order, "no answer")) == ["UNKNOWN"]
    assert desk.ledger.still_unknown(desk.order, "no answer") == []
    assert desk.order.needs_asking


def test_an_adopted_order_learns_its_amount_from_the_venue():
    ledger = Ledger(0)
    query = Intent(IntentKind.QUERY, 0, "BTC-USDT", CID)
    order = ledger.admit(query, "qqqqq", "BTCUSDT", 1)
    ledger.inquire(order, 100)
    replies = ledger.observe(order, state(OrderStatus.LIVE, "1"), (trade(1),), 1)
    assert kinds(replies) == ["ACKED", "FILL"]
    assert order.amount == Decimal(2)


def test_orders_that_ended_are_forgotten_after_a_while_and_open_ones_never():
    desk = Desk()
    desk.observe(OrderStatus.LIVE)
    assert desk.ledger.forget_ended(1_000) == 0
    desk.observe(OrderStatus.CANCELLED)
    assert desk.ledger.forget_ended(1) == 0
    assert desk.ledger.forget_ended(1_000) == 0  # its strategy has not taken it in
    desk.ledger.finish(desk.order, 1)
    assert desk.ledger.forget_ended(1_000) == 1
    assert desk.ledger.get(CID) is None


def test_a_venue_that_says_rejected_ends_an_order_that_never_lived():
    desk = Desk()
    desk.told += desk.ledger.doubt(desk.order, "no answer")
    seen = OrderState(CID, "77", "BTCUSDT", Side.BUY, OrderStatus.REJECTED, Decimal(0), Decimal(10), Decimal(2), 5)
    assert kinds(desk.ledger.observe(desk.order, seen, (), 1)) == ["REJECTED"]
