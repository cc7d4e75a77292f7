"""Who would trade with whom, held against a look at every order."""

import random
from decimal import Decimal

import pytest

from gate.made_orders import BUY, LIMIT, MAKER, MARKET, SELL, Desk
from hive.gate.order import Order, State
from hive.gate.own_orders import SLACK, OwnOrders

MAY_TAKE = (State.PENDING, State.SENT, State.UNKNOWN)


def crosses(order: Order, other: Order) -> bool:
    if order.order_type is MARKET or other.order_type is MARKET:
        return True
    buy, sell = (order, other) if order.side is BUY else (other, order)
    return buy.price >= sell.price


def slow_meets(order: Order, own: list[Order]) -> list[Order]:
    """Return every order that could trade with `order`, by looking at all."""
    others = [other for other in own if other.pair == order.pair and other.side is not order.side]
    if order.order_type is MAKER:
        others = [other for other in others if other.order_type is not MAKER and other.state in MAY_TAKE]
    return [other for other in others if crosses(order, other)]


def rank(order: Order) -> Decimal:
    """Return what sorts one side's orders, the best first."""
    if order.order_type is MARKET:
        return Decimal("-Infinity")
    return order.price if order.side is SELL else -order.price


@pytest.mark.parametrize("seed", range(5))
def test_the_best_own_order_that_would_trade_is_found_as_a_look_at_all_finds_it(seed):
    rng, desk, book = random.Random(seed), Desk(), OwnOrders()
    own: list[Order] = []
    places = {}
    met = 0
    for _ in range(4_000):
        kind = rng.choice((LIMIT, LIMIT, MAKER, MARKET))
        price = None if kind is MARKET else Decimal(rng.randrange(90, 111))
        order = desk.order(rng.choice((BUY, SELL)), "1", price, rng.choice(("aaaaa", "bbbbb")), kind)
        order.pair = rng.choice(("BTC-USDT", "ETH-USDT"))
        order.state = rng.choice((State.PENDING, State.ACKED))
        expected = slow_meets(order, own)
        found = book.met_by(order)
        assert (found is None) == (not expected)
        if found is not None:
            met += 1
            assert found in expected
            assert rank(found) == min(map(rank, expected))
        if rng.random() < 0.5 or not expected:
            own.append(order)
            places[order.client_order_id] = book.add(order)
        for other in rng.sample(own, min(len(own), 2)):
            if other.state in MAY_TAKE and rng.random() < 0.5:
                other.state = rng.choice((State.SENT, State.UNKNOWN, State.ACKED))
            elif rng.random() < 0.5:
                own.remove(other)
                book.remove(places.pop(other.client_order_id))
    assert met > 100


def test_an_order_that_is_entered_again_counts_at_its_new_price_only():
    desk, book = Desk(), OwnOrders()
    order = desk.order(SELL, "1", "100")
    book.remove(book.add(order))
    order.price = Decimal(120)
    book.add(order)
    assert book.met_by(desk.order(BUY, "1", "119")) is None
    assert book.met_by(desk.order(BUY, "1", "120")) is order


def test_orders_that_come_and_go_behind_a_better_one_leave_nothing_behind():
    desk, book = Desk(), OwnOrders()
    best = desk.order(SELL, "1", "100", state=State.PENDING)
    book.add(best)
    for _ in range(5_000):
        order = desk.order(SELL, "1", "101", state=State.PENDING)
        book.remove(book.add(order))
    assert sum(map(len, book._sides.values())) <= 2 * (2 + SLACK)
    assert book.met_by(desk.order(BUY, "1", "100")) is best
