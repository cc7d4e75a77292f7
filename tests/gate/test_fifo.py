"""Whose turn it is."""

import random
from decimal import Decimal

from hive.gate.fifo import OrderFifo, OrderRates
from hive.gate.ledger import Order
from hive.shm.messages import IntentKind, OrderType, Side, TimeInForce

SECOND = 1_000_000_000


def order(tag: str, number: int) -> Order:
    return Order(
        f"{tag}-{number}",
        "BTC-USDT",
        "BTCUSDT",
        tag,
        IntentKind.PLACE,
        Side.BUY,
        OrderType.LIMIT,
        TimeInForce.GTC,
        Decimal(1),
        Decimal(1),
        1,
        0,
    )


def drain(fifo: OrderFifo, now: int, span_ns: int) -> list[tuple[int, Order]]:
    """Let time pass and take every order when its turn comes."""
    taken = []
    end = now + span_ns
    while (wait := fifo.wait_ns(now)) is not None and now + wait <= end:
        now += wait
        head = fifo.head(now)
        if head is not None:
            fifo.take(head, now)
            taken.append((now, head))
    return taken


def test_without_rates_orders_leave_as_they_came():
    fifo = OrderFifo(OrderRates(None, lambda tag: None))
    rng = random.Random(1)
    orders = [order(rng.choice("abc"), number) for number in range(200)]
    for each in orders:
        fifo.push(each)
    assert [taken for _, taken in drain(fifo, SECOND, 0)] == orders
    assert len(fifo) == 0


def test_a_strategy_above_its_rate_does_not_hold_up_the_others():
    fifo = OrderFifo(OrderRates(None, lambda tag: 1.0))
    for number in range(10):
        fifo.push(order("hog", number))
    fifo.push(order("quiet", 0))
    first = drain(fifo, SECOND, SECOND // 2)
    assert [taken.client_order_id for _, taken in first] == ["hog-0", "quiet-0"]


def test_the_total_rate_holds_for_all_together():
    fifo = OrderFifo(OrderRates(10.0, lambda tag: None))
    for number in range(100):
        fifo.push(order("abcde"[number % 5], number))
    taken = drain(fifo, SECOND, 5 * SECOND)
    assert len(taken) == 10 + 50  # its burst, and five seconds of it


def test_an_order_that_was_put_back_is_the_first_again():
    fifo = OrderFifo(OrderRates(None, lambda tag: None))
    first, second = order("a", 1), order("b", 2)
    for each in (first, second):
        fifo.push(each)
    fifo.take(first, 0)
    fifo.push_back(first)
    assert fifo.head(0) is first
    assert fifo.waiting() == [second, first] or fifo.waiting() == [first, second]


def test_an_order_that_was_removed_does_not_leave():
    fifo = OrderFifo(OrderRates(None, lambda tag: None))
    orders = [order("a", number) for number in range(3)]
    for each in orders:
        fifo.push(each)
    fifo.remove(orders[1])
    fifo.remove(orders[1])
    assert len(fifo) == 2
    assert [taken for _, taken in drain(fifo, 0, 0)] == [orders[0], orders[2]]
    assert fifo.wait_ns(0) is None
    assert fifo.head(0) is None
