"""Journals with a clock of the test's own, orders that live as an account's do, and what must be known of them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from hive.gate.journal import Journal
from hive.gate.journal_file import list_files
from hive.gate.order import Order, State
from hive.gate.venue import Trade
from hive.shm.messages import IntentKind, OrderType, Side, TimeInForce

FLEET, VENUE = "benca", "binance"
SECOND = 1_000_000_000
HOUR = 3600 * SECOND
SMALL = 64 << 10  # bytes: the smallest file, 340 records, 85 of them reserved
WALL = 1_790_000_000 * SECOND  # 2026-09-21, 13:33 UTC

WHOLE_LIFE = ("sent", "acked", "fill", "ended", "done")


class Clock:
    """The wall's clock and the monotonic one."""

    def __init__(self) -> None:
        self.wall = WALL
        self.now = 5 * HOUR

    def pass_ns(self, ns: int) -> None:
        self.wall += ns
        self.now += ns


def opened(folder: Path, clock: Clock, **options: object) -> Journal:
    """Open a journal of small files."""
    options = {"policy": "none", "file_bytes": SMALL} | options
    return Journal.open(folder, FLEET, VENUE, wall_ns=lambda: clock.wall, now_ns=lambda: clock.now, **options)


@contextmanager
def journal(folder: Path, clock: Clock, **options: object) -> Iterator[Journal]:
    """Open a journal, and close it."""
    one = opened(folder, clock, **options)
    try:
        yield one
    finally:
        one.close()


def recovered(folder: Path, clock: Clock) -> dict[str, tuple]:
    """Return what the next gate knows of each order."""
    with journal(folder, clock) as one:
        assert not one.recovered.damage, one.recovered.damage
        return {order.client_order_id: facts(order) for order in one.recovered.orders}


def newest(folder: Path) -> Path:
    """Return the file that was begun last."""
    return list_files(folder)[-1]


def descriptor(path: Path) -> int:
    """Return this process's descriptor of an open file."""
    return next(int(fd) for fd in os.listdir("/proc/self/fd") if os.path.realpath(f"/proc/self/fd/{fd}") == str(path))


def made(number: int, clock: Clock, **changes: object) -> Order:
    """Return an order that waits."""
    values = {
        "client_order_id": f"hv{FLEET}qqqqq-{number}",
        "pair": "BTC-USDT",
        "symbol": "BTCUSDT",
        "tag": "qqqqq",
        "origin": IntentKind.PLACE,
        "side": Side.SELL,
        "order_type": OrderType.LIMIT,
        "tif": TimeInForce.GTC,
        "price": Decimal("30000.10"),
        "amount": Decimal("2.00"),
        "worker_epoch": 3,
        "created_ns": clock.now - SECOND,
        "book_epoch": 7,
    }
    return Order(**values | changes)


def traded(number: int, amount: str = "0.010") -> Trade:
    """Return a fill."""
    fee = Decimal("-0.00000001")
    return Trade(number, Decimal("30000.1"), Decimal(amount), fee, "BNB", True, WALL + number, number)


def facts(order: Order) -> tuple:
    """Return everything that a journal keeps of an order; decimals with their exponents."""
    return (
        (order.client_order_id, order.pair, order.symbol, order.tag, order.origin, order.side, order.order_type),
        (order.tif, str(order.price), str(order.amount), order.worker_epoch, order.book_epoch, order.created_ns),
        (order.state.name, order.exchange_order_id, order.executed, order.filled, order.code, order.text),
        (order.done, order.sent_ns, order.final_ns, order.wall_ns),
        tuple(str(trade) for trade in order.trades.values()),
    )


class Life:
    """An order's life in an account: each step changes it as the ledger does, and records it."""

    def __init__(self, one: Journal, order: Order, clock: Clock) -> None:
        self.journal = one
        self.order = order
        self.clock = clock
        self.done_ns = 0

    def steps(self) -> list[str]:
        """Return what may happen to it next."""
        order = self.order
        if order.state is State.PENDING:
            return ["sent"]
        if order.state is State.SENT:
            return ["unsent", "acked", "unknown", "ended"]
        if order.state is State.UNKNOWN:
            return ["acked", "ended"]
        if order.state is State.ACKED:
            return ["fill", "fills", "ended"]
        return ["fill", "done"] if order.exchange_order_id else ["acked", "done"]

    def sent(self) -> None:
        self.order.state, self.order.sent_ns = State.SENT, self.clock.now
        self.journal.sent(self.order)

    def unsent(self) -> None:
        self.order.state, self.order.sent_ns = State.PENDING, 0
        self.journal.unsent(self.order)

    def acked(self) -> None:
        order = self.order
        order.state, order.code, order.text, order.done = State.ACKED, 0, "", False
        order.exchange_order_id, order.wall_ns = f"x{order.client_order_id[-5:]}", self.clock.wall
        self.journal.acked(order)

    def unknown(self) -> None:
        self.order.state = State.UNKNOWN
        self.journal.unknown(self.order)

    def fill(self, amount: str = "0.010") -> None:
        order, trade = self.order, traded(len(self.order.trades) + 1, amount)
        order.trades[trade.trade_id] = trade
        order.filled += trade.amount
        order.executed, order.done = max(order.executed, order.filled), False
        self.journal.fill(order, trade)

    def fills(self) -> None:
        for _ in range(40):
            self.fill()

    def ended(self) -> None:
        order, lived = self.order, bool(self.order.exchange_order_id)
        order.state = State.CANCELLED if lived else State.REJECTED
        order.code, order.text = (0, "") if lived else (-2010, "insufficient balance")
        order.final_ns, order.done = self.clock.now, False
        self.journal.ended(order)

    def done(self) -> None:
        self.order.done, self.done_ns = True, self.clock.now
        self.journal.done(self.order.client_order_id)

    def live_through(self, *steps: str) -> Order:
        for step in steps:
            getattr(self, step)()
        return self.order


def live_orders(one: Journal, clock: Clock, count: int, *steps: str, first: int = 0) -> list[Life]:
    """Let orders live, and write it."""
    lives = [Life(one, made(number, clock), clock) for number in range(first, first + count)]
    for life in lives:
        life.live_through(*steps)
        assert one.commit(), one.failing
    return lives


def known(lives: list[Life]) -> dict[str, tuple]:
    """Return what is to be known of orders, as `recovered` does."""
    return {life.order.client_order_id: facts(life.order) for life in lives}
