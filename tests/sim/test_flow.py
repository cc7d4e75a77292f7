"""The background flow: the same for the same seed, and a market worth trading in."""

from __future__ import annotations

import hashlib
import random

from hive.sim.accounts import Accounts
from hive.sim.decimals import UNIT, notional, parse_units
from hive.sim.engine import Engine
from hive.sim.flow import Flow
from hive.sim.orders import BUY, GTC, LIMIT, SELL, Order
from hive.sim.symbols import list_symbols
from sim.recording import Recording


class World:
    """An engine with its flow, and a digest of all that happened."""

    def __init__(self, seed: int, symbols: int = 5) -> None:
        self.told = Recording()
        self.accounts = Accounts()
        self.engine = Engine(list_symbols(symbols), self.accounts, self.told)
        self.flow = Flow(self.engine, seed, list(self.engine.symbols))
        self.flow.open(0)

    def run(self, steps: int, tick_ms: int = 5) -> None:
        for _ in range(steps):
            self.flow.step(self.flow.steps * tick_ms)

    def digest(self) -> str:
        books = [
            (name, book.update_id, book.bids.top(500), book.asks.top(500)) for name, book in self.engine.books.items()
        ]
        return hashlib.sha256(repr((self.told.events, books)).encode()).hexdigest()


def test_the_same_seed_gives_the_same_events_whatever_the_time():
    first, second = World(7), World(7)
    first.run(1500, tick_ms=5)
    for _ in range(15):
        second.run(100, tick_ms=900)
    assert first.told.trades
    assert first.digest() == second.digest()


def test_another_seed_gives_other_events():
    first, second = World(7), World(8)
    first.run(500)
    second.run(500)
    assert first.digest() != second.digest()


def test_users_do_not_change_what_the_flow_wants():
    alone, crowded = World(7), World(7)
    user = crowded.accounts.open("key", "secret", {"BTC": "100", "USDT": "10000000"})
    symbol = crowded.engine.symbols["BTCUSDT"]
    for index in range(2000):
        alone.run(1)
        crowded.run(1)
        if index % 50 == 0:
            for order in list(user.open_orders.values()):
                crowded.engine.cancel(order, index)
            best = crowded.engine.books["BTCUSDT"].bids.best_price()
            crowded.engine.place(
                Order(user, symbol, BUY, LIMIT, GTC, best, parse_units("0.5"), client_id=str(index)), index
            )
    assert user.fills["BTCUSDT"]
    assert [flow.mid for flow in alone.flow.symbols.values()] == [flow.mid for flow in crowded.flow.symbols.values()]


def test_no_unit_is_lost_while_users_trade_with_the_flow():
    world = World(13, symbols=3)
    start = {"BTC": 50, "ETH": 500, "SOL": 9000, "USDT": 5_000_000}
    users = [
        world.accounts.open(f"key-{number}", "secret", {asset: str(amount) for asset, amount in start.items()})
        for number in range(3)
    ]
    draw = random.Random(1)
    for index in range(1500):
        world.run(1)
        user, name = draw.choice(users), draw.choice(list(world.engine.symbols))
        symbol, book = world.engine.symbols[name], world.engine.books[name]
        if user.open_orders and draw.random() < 0.3:
            world.engine.cancel(draw.choice(list(user.open_orders.values())), index)
        side = draw.choice((BUY, SELL))
        best = (book.bids if side == BUY else book.asks).best_price() or symbol.start_price
        price = best + draw.randint(-20, 20) * symbol.tick
        quantity = draw.randint(1, 200) * symbol.min_notional * UNIT // symbol.start_price // symbol.step * symbol.step
        order = Order(user, symbol, side, LIMIT, GTC, price, quantity or symbol.step, client_id=str(index))
        world.engine.place(order, index)
    assert sum(len(fills) for user in users for fills in user.fills.values()) > 300
    for asset, amount in start.items():
        balances = [account.balance(asset) for account in world.accounts.everyone()]
        assert sum(balance.free + balance.locked for balance in balances) == 3 * amount * UNIT
    for user in users:
        locked = dict.fromkeys(start, 0)
        for order in user.open_orders.values():
            if order.side == BUY:
                locked[order.symbol.quote] += notional(order.price, order.remaining)
            else:
                locked[order.symbol.base] += order.remaining
        assert {asset: user.balance(asset).locked for asset in start} == locked


def test_books_are_deep_and_never_crossed():
    world = World(3)
    deep = 0
    for _ in range(200):
        world.run(20)
        for book in world.engine.books.values():
            assert book.bids.best_price() < book.asks.best_price()
            deep += min(len(book.bids.keys), len(book.asks.keys)) >= 60
    # A sweep takes a side apart and the next few steps mend it.
    assert deep > 0.9 * 200 * 5


def test_prices_and_quantities_keep_to_the_filters():
    world = World(11)
    world.run(2000)
    for trade in world.told.trades:
        assert trade.price % trade.symbol.tick == 0
        assert trade.quantity % trade.symbol.step == 0


def test_quotes_half_a_percent_away_are_filled_within_seconds():
    world = World(5, symbols=20)
    user = world.accounts.open("key", "secret", {"BTC": "10", "USDT": "1000000"})
    symbol = world.engine.symbols["BTCUSDT"]
    waits = {10: [], 50: []}
    for _ in range(6):
        for distance_bp, found in waits.items():
            mid = world.flow.symbols["BTCUSDT"].mid
            orders = []
            for side, sign in ((BUY, -1), (SELL, 1)):
                price = round(mid * (1 + sign * distance_bp / 10_000) / symbol.tick) * symbol.tick
                order = Order(user, symbol, side, LIMIT, GTC, price, parse_units("0.01"), client_id=f"{side}")
                world.engine.place(order, 0)
                orders.append(order)
            began = world.flow.steps
            while not any(order.fills for order in orders):
                world.run(1)
            found.append((world.flow.steps - began) / 200)
            for order in orders:
                if order.is_open:
                    world.engine.cancel(order, 0)
    assert sum(waits[10]) / 6 < 5
    assert sum(waits[50]) / 6 < 30
