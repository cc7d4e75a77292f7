"""Which strategies would trade with each other, held against a look at every order."""

import random
from decimal import Decimal

import pytest

from gate.made_orders import BUY, LIMIT, MAKER, MARKET, MINE, OTHERS, SELL, Desk
from hive.gate.order import Order, State
from hive.gate.own_orders import SLACK, OwnOrders

MAY_TAKE = (State.PENDING, State.SENT, State.UNKNOWN)
Touch = tuple[float, float] | None


def reaches(order: Order, touch: Touch) -> Decimal | None:
    """Return the worst price that `order` is judged to trade at, None when it is to meet nobody."""
    if order.order_type is not MARKET:
        return order.price
    return None if touch is None else Decimal(touch[1] if order.side is BUY else touch[0])


def slow_meets(order: Order, own: list[Order], touch: Touch) -> list[Order]:
    """Return every order that could trade with `order`, by looking at all."""
    price = reaches(order, touch)
    others = [other for other in own if other.pair == order.pair and other.side is not order.side]
    others = [other for other in others if other.tag != order.tag and other.order_type is not MARKET]
    if order.order_type is MAKER:
        others = [other for other in others if other.order_type is not MAKER and other.state in MAY_TAKE]
    elif order.order_type is MARKET:
        others = [other for other in others if other.state is not State.PENDING]
    if price is None:
        return []
    return [other for other in others if (other.price <= price if order.side is BUY else other.price >= price)]


def rank(order: Order) -> Decimal:
    """Return what sorts one side's orders, the best first."""
    return order.price if order.side is SELL else -order.price


@pytest.mark.parametrize("seed", range(8))
def test_the_best_order_of_another_strategy_that_would_trade_is_found_as_a_look_at_all_finds_it(seed):
    rng, desk, book = random.Random(seed), Desk(), OwnOrders()
    tags = ("aaaaa", "bbbbb", "ccccc", "ddddd")[: rng.choice((1, 2, 4))] if seed else ("aaaaa", "bbbbb")
    own: list[Order] = []
    places = {}
    met = dict.fromkeys((LIMIT, MAKER, MARKET), 0)
    for _ in range(4_000):
        kind = rng.choice((LIMIT, LIMIT, MAKER, MARKET))
        price = None if kind is MARKET else Decimal(rng.randrange(90, 111))
        order = desk.order(rng.choice((BUY, SELL)), "1", price, rng.choice(tags), kind)
        order.pair = rng.choice(("BTC-USDT", "ETH-USDT"))
        order.state = rng.choice((State.PENDING, State.ACKED))
        bid = float(rng.randrange(90, 110))
        touch = rng.choice(((bid, bid + 1), (bid, bid + 1), None))
        expected = slow_meets(order, own, touch)
        found = book.met_by(order, lambda pair, touch=touch: touch)
        assert (found is None) == (not expected)
        if found is not None:
            met[kind] += 1
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
                place = places.pop(other.client_order_id)
                if place is not None:
                    book.remove(place)
    assert all(count > 40 for count in met.values()) or len(tags) == 1


def no_book(pair: str) -> Touch:
    return None


def test_an_order_that_is_entered_again_counts_at_its_new_price_only():
    desk, book = Desk(), OwnOrders()
    order = desk.order(SELL, "1", "100")
    book.remove(book.add(order))
    order.price = Decimal(120)
    book.add(order)
    assert book.met_by(desk.order(BUY, "1", "119", OTHERS), no_book) is None
    assert book.met_by(desk.order(BUY, "1", "120", OTHERS), no_book) is order


def test_a_strategy_does_not_meet_itself_however_many_of_its_orders_come_first():
    desk, book = Desk(), OwnOrders()
    mine = [book.add(desk.order(SELL, "1", Decimal(100 + number))) for number in range(50)]
    buy = desk.order(BUY, "1", "1000")
    assert book.met_by(buy, no_book) is None
    theirs = desk.order(SELL, "1", "140.5", OTHERS)
    book.add(theirs)
    assert book.met_by(buy, no_book) is theirs
    assert book.met_by(desk.order(BUY, "1", "140"), no_book) is None
    for place in mine[:45]:
        book.remove(place)
    assert book.met_by(buy, no_book) is theirs


def test_the_book_is_asked_for_market_orders_that_could_meet_somebody_only():
    desk, book, asked = Desk(), OwnOrders(), []

    def touch(pair: str) -> Touch:
        asked.append(pair)
        return 99.0, 101.0

    place = book.add(desk.order(SELL, "1", "101"))
    assert book.met_by(desk.order(BUY, "1", None, MINE, MARKET), touch) is None
    assert book.met_by(desk.order(BUY, "1", "100.5", OTHERS), touch) is None
    assert asked == []
    assert book.met_by(desk.order(BUY, "1", None, OTHERS, MARKET), touch) is not None
    assert asked == ["BTC-USDT"]
    book.remove(place)
    assert book.met_by(desk.order(BUY, "1", None, OTHERS, MARKET), touch) is None
    assert asked == ["BTC-USDT"]


def test_orders_that_come_and_go_behind_a_better_one_leave_nothing_behind():
    desk, book = Desk(), OwnOrders()
    best = desk.order(SELL, "1", "100", state=State.PENDING)
    book.add(best)
    for number in range(5_000):
        order = desk.order(SELL, "1", "101", f"s{number:04}", state=State.PENDING)
        book.remove(book.add(order))
    (side,) = book._sides.values()
    assert len(side) <= 2 * (2 + SLACK)
    assert len(side._of_tag) <= 2 + SLACK
    assert book.met_by(desk.order(BUY, "1", "100", OTHERS), no_book) is best
