"""Every limit with its message and its edge."""

from collections.abc import Callable
from decimal import Decimal

import pytest

from gate.made_orders import BUY, MARKET, MINE, OTHERS, SELL, Desk
from gate.risk_bench import Bench, limits
from hive.gate.exposure import FleetRisk, RiskLimits
from hive.gate.order import State
from hive.gate.risk import Risk
from hive.shm.refusals import Refusal

HOLDERS = {
    "strategy": lambda own: Bench(strategies={MINE: own}),
    "account": lambda own: Bench(account=own),
    "fleet": lambda own: Bench(fleet=own),
}
each_holder = pytest.mark.parametrize(("holder", "bench_with"), HOLDERS.items())
BenchWith = Callable[[RiskLimits], Bench]


@each_holder
def test_an_order_may_be_worth_its_limit_and_no_more(holder: str, bench_with: BenchWith):
    bench = bench_with(limits(max_order_notional=Decimal(1000)))
    assert bench.risk.check(bench.order(BUY, "10", "100")) is None
    assert bench.risk.check(bench.order(SELL, "10", "100.01")) == (
        Refusal.ORDER_NOTIONAL,
        f"{holder} max_order_notional must be <= 1000 USDT, was 1000.1",
    )


def test_a_market_order_is_worth_what_it_takes_first():
    bench = Bench(account=limits(max_order_notional=Decimal(1000)))
    assert bench.risk.check(bench.order(BUY, "9.9", None, kind=MARKET)) is None
    assert bench.risk.check(bench.order(BUY, "10", None, kind=MARKET)) == (
        Refusal.ORDER_NOTIONAL,
        "account max_order_notional must be <= 1000 USDT, was 1010",
    )
    assert bench.risk.check(bench.order(SELL, "10", None, kind=MARKET)) is None  # 990


@pytest.mark.parametrize("touch", [None, (99.0, 0.0), (99.0, float("nan")), (99.0, float("inf"))])
def test_what_needs_a_price_is_refused_where_there_is_none(touch):
    for own, refusal, name in (
        (limits(max_order_notional=Decimal(1000)), Refusal.ORDER_NOTIONAL, "account max_order_notional"),
        (limits(price_band=Decimal("0.05")), Refusal.PRICE_BAND, "account price_band"),
        (limits(max_position={"USDT": Decimal(1000)}), Refusal.POSITION, "account max_position"),
    ):
        bench = Bench(account=own)
        bench.touch = touch
        fault = (refusal, f"{name} needs a best ask of BTC-USDT, there is none")
        assert bench.risk.check(bench.order(BUY, "1", None, kind=MARKET)) == fault
    bench = Bench(account=limits(max_position={"BTC": Decimal(1)}, max_open_orders=5))
    bench.touch = touch
    assert bench.risk.check(bench.order(BUY, "1", None, kind=MARKET)) is None  # nothing of it needs a price


@each_holder
def test_as_many_orders_may_be_open_as_the_limit_says(holder: str, bench_with: BenchWith):
    bench = bench_with(limits(max_open_orders=2))
    first = bench.admit(BUY, "1", "90")
    bench.admit(BUY, "1", "90")
    refused = (Refusal.OPEN_ORDERS, f"{holder} max_open_orders must be <= 2, would be 3")
    assert bench.risk.check(bench.order(SELL, "1", "110")) == refused
    bench.end(first)
    bench.risk.ended(first)  # an end counts once
    bench.admit(SELL, "1", "110")
    assert bench.risk.check(bench.order(SELL, "1", "110")) == refused


def test_other_strategies_orders_count_for_account_and_fleet_only():
    bench = Bench(account=limits(max_open_orders=3), strategies={MINE: limits(max_open_orders=1)})
    bench.admit(BUY, "1", "90", OTHERS)
    bench.admit(BUY, "1", "90", OTHERS)
    bench.admit(BUY, "1", "90", MINE)
    assert bench.risk.check(bench.order(BUY, "1", "90", MINE))[1].startswith("strategy max_open_orders")
    assert bench.risk.check(bench.order(BUY, "1", "90", OTHERS))[1].startswith("account max_open_orders")


@each_holder
def test_a_price_may_go_beyond_the_touch_as_far_as_the_band(holder: str, bench_with: BenchWith):
    bench = bench_with(limits(price_band=Decimal("0.05")))
    bench.touch = (100.0, 200.0)
    for judge in (bench.risk.check, bench.risk.recheck):
        assert judge(bench.order(BUY, "1", "210")) is None
        assert judge(bench.order(SELL, "1", "95")) is None
        assert judge(bench.order(BUY, "1", "1")) is None  # what is far on the passive side takes nothing
        assert judge(bench.order(SELL, "1", "9999")) is None
        assert judge(bench.order(BUY, "1", None, kind=MARKET)) is None
        assert judge(bench.order(BUY, "1", "210.01")) == (
            Refusal.PRICE_BAND,
            f"{holder} price_band: a buy must be <= 210, was 210.01",
        )
        assert judge(bench.order(SELL, "1", "94.99")) == (
            Refusal.PRICE_BAND,
            f"{holder} price_band: a sell must be >= 95, was 94.99",
        )
        bench.touch = (100.0, 0.0)
        refused = (Refusal.PRICE_BAND, f"{holder} price_band needs a best ask of BTC-USDT, there is none")
        assert judge(bench.order(BUY, "1", "100")) == refused
        assert judge(bench.order(BUY, "1", None, kind=MARKET)) == refused
        assert judge(bench.order(SELL, "1", "95")) is None  # its side has a price
        bench.touch = (100.0, 200.0)


def test_the_tightest_band_counts_and_is_named():
    bench = Bench(account=limits(price_band=Decimal("0.5")), fleet=limits(price_band=Decimal("0.01")))
    text = "fleet price_band: a buy must be <= 102.01, was 102.02"
    assert bench.risk.check(bench.order(BUY, "1", "102.02")) == (Refusal.PRICE_BAND, text)


def test_at_sending_the_band_is_held_against_the_book_of_then():
    bench = Bench(account=limits(price_band=Decimal("0.05")))
    order = bench.admit(BUY, "1", "105")
    assert bench.risk.recheck(order) is None
    bench.touch = (79.0, 80.0)
    assert bench.risk.recheck(order) == (Refusal.PRICE_BAND, "account price_band: a buy must be <= 84, was 105")
    bench.touch = None
    assert bench.risk.recheck(order)[0] is Refusal.PRICE_BAND


@each_holder
def test_position_and_open_orders_together_stay_within_the_limit(holder: str, bench_with: BenchWith):
    bench = bench_with(limits(max_position={"BTC": Decimal(2)}))
    order = bench.admit(BUY, "1.5", "90")
    bench.take(order, "1", "90")
    bench.admit(BUY, "0.5", "90")  # 1 held, 1 open: exactly the limit
    refused = f"{holder} max_position: BTC must stay within 2, would be 2.001"
    assert bench.risk.check(bench.order(BUY, "0.001", "90")) == (Refusal.POSITION, refused)
    sells = bench.admit(SELL, "3", "110")  # what is open to buy does not count on this side
    refused = f"{holder} max_position: BTC must stay within 2, would be -2.001"
    assert bench.risk.check(bench.order(SELL, "0.001", "110")) == (Refusal.POSITION, refused)
    bench.end(order)
    bench.end(sells)
    bench.admit(BUY, "0.5", "90")
    assert bench.risk.check(bench.order(BUY, "0.001", "90"))[0] is Refusal.POSITION


def test_a_position_beyond_its_limit_may_shrink_and_not_grow():
    bench = Bench(account=limits(max_position={"BTC": Decimal(1)}))
    found = bench.order(BUY, "5", "90")  # a fill of before the limit
    bench.take(found, "5", "90")
    assert bench.risk.check(bench.order(SELL, "2", "110")) is None
    assert bench.risk.check(bench.order(SELL, "6", "110")) is None
    assert bench.risk.check(bench.order(SELL, "6.5", "110"))[0] is Refusal.POSITION
    assert bench.risk.check(bench.order(BUY, "0.1", "110"))[0] is Refusal.POSITION


def test_both_assets_of_a_pair_are_positions_and_fees_are_part_of_them():
    bench = Bench(account=limits(max_position={"BTC": Decimal(1)}))
    bench.touch = None
    order = bench.admit(BUY, "8", "0.1", pair="ETH-BTC")  # costs 0.8 BTC
    refused = "account max_position: BTC must stay within 1, would be -1.1"
    assert bench.risk.check(bench.order(BUY, "3", "0.1", pair="ETH-BTC")) == (Refusal.POSITION, refused)
    bench.take(order, "8", "0.05", "0.01", "BTC")  # cheaper than reserved
    bench.end(order, State.FILLED)
    assert bench.risk.account.position("BTC") == Decimal("-0.41")
    assert bench.risk.account.reach("BTC") == (Decimal("-0.41"), Decimal("-0.41"))
    assert bench.risk.check(bench.order(SELL, "2", "1", pair="ETH-BTC"))[0] is Refusal.POSITION
    assert bench.risk.check(bench.order(SELL, "1.41", "1", pair="ETH-BTC")) is None


def test_a_fill_after_the_end_moves_the_position_and_nothing_else():
    bench = Bench(account=limits(max_position={"BTC": Decimal(2)}))
    order = bench.admit(BUY, "2", "90")
    bench.end(order)
    bench.take(order, "2", "90")
    assert bench.risk.account.position("BTC") == 2
    assert bench.risk.account.reach("BTC") == (2, 2)
    assert bench.risk.account.open_orders == 0
    assert bench.risk.check(bench.order(BUY, "0.1", "90"))[0] is Refusal.POSITION


def test_an_order_that_lives_again_counts_again():
    bench = Bench(account=limits(max_position={"BTC": Decimal(2)}, max_open_orders=1))
    order = bench.admit(BUY, "2", "90")
    bench.end(order, State.REJECTED)
    order.state = State.ACKED
    bench.risk.admitted(order)
    assert bench.risk.account.reach("BTC") == (0, 2)
    assert bench.risk.check(bench.order(BUY, "2", "90"))[0] is Refusal.OPEN_ORDERS
    bench.end(order)
    assert bench.risk.account.reach("BTC") == (0, 0)


def test_a_strategy_has_one_position_over_all_accounts_and_an_account_its_own():
    desk = Desk()
    fleet = FleetRisk(limits(max_position={"BTC": Decimal(3)}), {MINE: limits(max_position={"BTC": Decimal(2)})})
    one, two = (Risk(limits(max_position={"BTC": Decimal("1.5")}), fleet, lambda pair: None) for _ in range(2))
    one.admitted(desk.order(BUY, "1", "90"))
    order = desk.order(BUY, "1", "90")
    assert two.check(order) is None
    two.admitted(order)
    assert two.check(desk.order(BUY, "0.1", "90"))[1].startswith("strategy max_position")
    assert two.check(desk.order(BUY, "0.6", "90", OTHERS))[1].startswith("account max_position")
    two.admitted(desk.order(BUY, "0.5", "90", OTHERS))
    one.admitted(desk.order(BUY, "0.5", "90", OTHERS))
    assert one.check(desk.order(BUY, "0.1", "90", "third"))[1].startswith("account max_position")
    three = Risk(limits(), fleet, lambda pair: None)
    assert three.check(desk.order(BUY, "0.1", "90", "third"))[1].startswith("fleet max_position")


def test_texts_fit_a_reply():
    bench = Bench(
        RiskLimits(max_order_notional=Decimal("1234567.12"), price_band=Decimal("0.0123")),
        fleet=RiskLimits(max_position={"BTC": Decimal("1234.5678")}),
    )
    bench.risk.admitted(bench.order(SELL, "1", "97123.45", OTHERS))
    bench.touch = (97123.40, 97123.45)
    for order in (
        bench.order(BUY, "12345.12345678", "97123.12345678"),
        bench.order(BUY, "1", "123456.12345678"),
        bench.order(BUY, "1235.12345678", "97123.46"),
        bench.order(BUY, "1", "97123.46"),
    ):
        _, text = bench.risk.check(order)
        assert len(text) <= 72, text
        assert text.isascii()
