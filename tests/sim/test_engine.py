"""The matching engine against a slow, obvious oracle, and its rules one by one."""
from __future__ import annotations

import random
from decimal import Decimal

import pytest

from hive.sim.accounts import Account, Accounts
from hive.sim.decimals import format_units, parse_units
from hive.sim.engine import Commission, Engine
from hive.sim.errors import VenueError
from hive.sim.orders import BUY, FOK, GTC, IOC, LIMIT, LIMIT_MAKER, MARKET, SELL, Order
from hive.sim.symbols import make_symbol
from sim.oracle import Oracle, OracleOrder
from sim.recording import Recording

SYMBOL = make_symbol("BASE", "QUOTE", "100.00", "0.01", "0.001", "1")


class Market:
    """One symbol, its engine and as many accounts as needed."""

    def __init__(self, maker_ppm: int = 1000, taker_ppm: int = 1000) -> None:
        self.accounts = Accounts()
        self.told = Recording()
        self.engine = Engine({SYMBOL.name: SYMBOL}, self.accounts, self.told, Commission(maker_ppm, taker_ppm))
        self.now_ms = 0

    @property
    def book(self):
        return self.engine.books[SYMBOL.name]

    def open(self, name: str, base: str = "1000", quote: str = "100000") -> Account:
        account = self.accounts.open(name, "secret", {"BASE": base, "QUOTE": quote})
        account.name = name
        return account

    def place(self, account: Account, side: str, price: str, quantity: str, kind: str = LIMIT, tif: str = GTC,
              quote_quantity: str = "0") -> Order:
        self.now_ms += 1
        order = Order(
            account, SYMBOL, side, kind, tif, parse_units(price), parse_units(quantity), parse_units(quote_quantity),
            client_id=str(self.now_ms),
        )
        self.engine.place(order, self.now_ms)
        return order


def amounts(account: Account, asset: str) -> tuple[str, str]:
    balance = account.balance(asset)
    return format_units(balance.free), format_units(balance.locked)


@pytest.mark.parametrize("seed", range(8))
def test_random_orders_fill_as_in_the_oracle_and_no_unit_is_lost(seed):
    draw = random.Random(seed)
    names = ["ann", "bob", "cat"]
    market = Market(maker_ppm=750, taker_ppm=1250)
    users = {name: market.open(name, "40", "4000") for name in names}
    oracle = Oracle(
        {name: {"BASE": Decimal(40), "QUOTE": Decimal(4000)} for name in names}, Decimal("0.00075"), Decimal("0.00125")
    )
    placed: dict[int, Order] = {}
    for number in range(1, 601):
        if placed and draw.random() < 0.2:
            open_orders = oracle.open_orders()
            if open_orders:
                chosen = draw.choice(open_orders)
                chosen.status = "CANCELED"
                market.engine.cancel(placed[chosen.number], number)
            continue
        kind = draw.choices((LIMIT, LIMIT_MAKER, MARKET), (8, 2, 2))[0]
        tif = draw.choices((GTC, IOC, FOK), (6, 2, 2))[0] if kind == LIMIT else GTC
        side, name = draw.choice((BUY, SELL)), draw.choice(names)
        price = Decimal(0) if kind == MARKET else Decimal(draw.randint(9900, 10100)) / 100
        quantity = Decimal(draw.randint(1, 5000)) / 1000
        mirrored = OracleOrder(number, name, side, kind, tif, price, quantity, quantity)
        accepted = oracle.place(mirrored)
        order = Order(users[name], SYMBOL, side, kind, tif, parse_units(str(price)), parse_units(str(quantity)),
                      client_id=str(number))
        if accepted:
            market.engine.place(order, number)
            placed[number] = order
        else:
            with pytest.raises(VenueError):
                market.engine.place(order, number)
    fills = [
        (int(trade.maker.client_id), int(trade.taker.client_id), Decimal(trade.price) / 10**8,
         Decimal(trade.quantity) / 10**8)
        for trade in market.told.trades
    ]
    assert fills == oracle.fills
    assert len(fills) > 150
    for mirrored in oracle.orders:
        order = placed[mirrored.number]
        assert (order.status, Decimal(order.remaining) / 10**8) == (mirrored.status, mirrored.remaining)
    for name, user in users.items():
        for asset in ("BASE", "QUOTE"):
            balance = user.balance(asset)
            assert Decimal(balance.free) / 10**8 == oracle.available(name, asset)
            assert Decimal(balance.free + balance.locked) / 10**8 == oracle.free[name][asset]
    for asset, start in (("BASE", 3 * 40), ("QUOTE", 3 * 4000)):
        total = sum(each.balance(asset).free + each.balance(asset).locked for each in market.accounts.everyone())
        assert total == start * 10**8


def test_the_older_order_of_a_price_fills_first():
    market = Market()
    ann, bob = market.open("ann"), market.open("bob")
    first = market.place(ann, BUY, "99", "1")
    second = market.place(ann, BUY, "99", "1")
    market.place(bob, SELL, "99", "1.5")
    assert (first.status, second.status) == ("FILLED", "PARTIALLY_FILLED")


def test_a_taker_pays_the_resting_price_and_gets_the_difference_back():
    market = Market(maker_ppm=0, taker_ppm=0)
    ann, bob = market.open("ann"), market.open("bob")
    market.place(ann, SELL, "100", "1")
    market.place(bob, BUY, "105", "2")
    assert amounts(bob, "QUOTE") == ("99795.00000000", "105.00000000")
    assert amounts(bob, "BASE") == ("1001.00000000", "0.00000000")


def test_commission_is_taken_from_what_is_received_and_truncated():
    market = Market(maker_ppm=1000, taker_ppm=2000)
    ann, bob = market.open("ann", "1", "0"), market.open("bob", "0", "200")
    market.place(ann, SELL, "99.99", "0.333")
    market.place(bob, BUY, "99.99", "0.333")
    assert amounts(ann, "QUOTE")[0] == "33.26337333"  # 33.29667 less 0.03329667
    assert amounts(bob, "BASE")[0] == "0.33233400"
    assert format_units(market.accounts.fees.balance("QUOTE").free) == "0.03329667"


def test_orders_of_one_account_trade_with_each_other():
    market = Market()
    ann = market.open("ann")
    resting = market.place(ann, SELL, "100", "1")
    taking = market.place(ann, BUY, "100", "1")
    assert resting.status == taking.status == "FILLED"
    assert amounts(ann, "BASE")[1] == amounts(ann, "QUOTE")[1] == "0.00000000"


def test_a_cancel_unlocks_what_remains():
    market = Market(maker_ppm=0)
    ann, bob = market.open("ann"), market.open("bob")
    order = market.place(ann, BUY, "99", "2")
    market.place(bob, SELL, "99", "0.5")
    assert amounts(ann, "QUOTE") == ("99802.00000000", "148.50000000")
    market.engine.cancel(order, 9, "why")
    assert amounts(ann, "QUOTE") == ("99950.50000000", "0.00000000")
    assert (order.status, order.cancel_id, market.book.bids.keys) == ("CANCELED", "why", [])
    with pytest.raises(VenueError, match="Unknown order sent"):
        market.engine.cancel(order, 10)


def test_a_fill_or_kill_order_that_cannot_fill_expires_untouched():
    market = Market()
    ann, bob = market.open("ann"), market.open("bob")
    market.place(ann, SELL, "100", "1")
    order = market.place(bob, BUY, "100", "2", tif=FOK)
    assert (order.status, order.executed, market.told.trades) == ("EXPIRED", 0, [])
    assert amounts(bob, "QUOTE") == ("100000.00000000", "0.00000000")


def test_an_immediate_or_cancel_order_fills_what_it_can():
    market = Market()
    ann, bob = market.open("ann"), market.open("bob")
    market.place(ann, SELL, "100", "1")
    order = market.place(bob, BUY, "100", "2", tif=IOC)
    assert (order.status, format_units(order.executed)) == ("EXPIRED", "1.00000000")
    assert amounts(bob, "QUOTE")[1] == "0.00000000"


def test_a_maker_order_that_would_take_is_refused_and_locks_nothing():
    market = Market()
    ann, bob = market.open("ann"), market.open("bob")
    market.place(ann, SELL, "100", "1")
    with pytest.raises(VenueError) as refused:
        market.place(bob, BUY, "100", "1", kind=LIMIT_MAKER)
    assert (refused.value.code, refused.value.message) == (-2010, "Order would immediately match and take.")
    assert amounts(bob, "QUOTE") == ("100000.00000000", "0.00000000")


def test_a_market_order_by_quote_amount_spends_no_more_than_it():
    market = Market(taker_ppm=0)
    ann, bob = market.open("ann"), market.open("bob")
    market.place(ann, SELL, "100", "1")
    market.place(ann, SELL, "101", "5")
    order = market.place(bob, BUY, "0", "0", kind=MARKET, quote_quantity="150.5")
    assert format_units(order.executed) == "1.50000000"
    assert amounts(bob, "QUOTE") == ("99849.50000000", "0.00000000")
    assert order.status == "FILLED"


def test_a_market_order_on_an_empty_book_expires():
    market = Market()
    order = market.place(market.open("ann"), SELL, "0", "1", kind=MARKET)
    assert (order.status, order.executed) == ("EXPIRED", 0)


def test_funds_that_do_not_suffice_are_refused():
    market = Market()
    ann = market.open("ann", "1", "100")
    for side, price, quantity in ((BUY, "100", "1.001"), (SELL, "100", "1.001")):
        with pytest.raises(VenueError, match="insufficient balance"):
            market.place(ann, side, price, quantity)
    assert ann.orders == {}


def test_a_halted_symbol_takes_no_orders_and_lets_cancels_through():
    market = Market()
    ann = market.open("ann")
    order = market.place(ann, BUY, "99", "1")
    market.engine.set_halted(SYMBOL.name, True)
    with pytest.raises(VenueError, match="Market is closed"):
        market.place(ann, BUY, "99", "1")
    market.engine.cancel(order, 5)
    market.engine.set_halted(SYMBOL.name, False)
    market.place(ann, BUY, "99", "1")


def test_reports_come_before_the_balances_and_in_the_order_of_what_happened():
    market = Market()
    ann, bob = market.open("ann"), market.open("bob")
    market.place(ann, SELL, "100", "1")
    market.told.reports.clear()
    market.place(bob, BUY, "100", "2")
    assert market.told.reports == [
        ("2", "NEW", "NEW"), ("1", "TRADE", "FILLED"), ("2", "TRADE", "PARTIALLY_FILLED"),
        ("bob", "balances", "BASEQUOTE"), ("ann", "balances", "BASEQUOTE"),
    ]


def test_update_ids_grow_by_one_with_every_change_of_a_level():
    market = Market()
    ann, bob = market.open("ann"), market.open("bob")
    market.place(ann, SELL, "100", "1")
    market.place(ann, SELL, "101", "1")
    assert market.book.update_id == 2
    market.place(bob, BUY, "101", "3")
    assert market.book.update_id == 5
    assert market.book.asks.take_changed() == [(parse_units("100"), 0), (parse_units("101"), 0)]
    assert market.book.bids.take_changed() == [(parse_units("101"), parse_units("1"))]


def test_only_so_many_closed_orders_are_remembered():
    market = Market()
    market.engine.keep_orders = 5
    ann, bob = market.open("ann"), market.open("bob")
    resting = market.place(ann, BUY, "50", "1")
    for _ in range(20):
        market.place(ann, SELL, "100", "1")
        market.place(bob, BUY, "100", "1")
    assert resting.order_id in ann.orders
    assert len(ann.orders) <= 7
    assert ann.forgotten_orders + len(ann.orders) == 21
    assert len(ann.fills[SYMBOL.name]) == sum(len(order.fills) for order in ann.orders.values())
