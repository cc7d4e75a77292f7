"""Decimals without rounding, and what a fill moves."""

from decimal import Decimal

import pytest

from gate.made_orders import BUY, MARKET, SELL, Desk
from hive.gate import exact


def test_products_and_sums_keep_every_digit():
    price = Decimal("9223372036.854775807")
    cost = exact.multiply(price, price)
    assert len(cost.as_tuple().digits) == 38
    assert exact.subtract(exact.add(cost, Decimal("1e-18")), cost) == Decimal("1e-18")


@pytest.mark.parametrize(
    ("price", "text"), [(0.1, "0.1"), (97123.45, "97123.45"), (1e-8, "1E-8"), (Decimal("0.10"), "0.10"), (100, "100.0")]
)
def test_a_float_price_is_the_decimal_that_it_prints_as(price, text):
    assert str(exact.exact(price)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [("1000.00", "1000"), ("1E+3", "1000"), ("-0.10", "-0.1"), ("0", "0"), ("1E-8", "0.00000001"), ("100", "100")]
    + [("12345.678901234567", "12345.6789012")],
)
def test_people_read_decimals_without_exponents_and_trailing_zeros(value, text):
    assert exact.plain(Decimal(value)) == text


def test_a_fill_moves_both_assets_and_its_fee():
    desk = Desk()
    buy, sell = desk.order(BUY, "2", "10"), desk.order(SELL, "2", "10", pair="A-B-C")
    fee = ("BNB", Decimal("-0.1"))
    assert exact.moves(buy, desk.fill(buy, "2", "9", "0.1", "BNB")) == (("BTC", 2), ("USDT", -18), fee)
    assert exact.moves(sell, desk.fill(sell, "2", "11")) == (("A-B", -2), ("C", 22))


def test_an_order_takes_the_other_side_of_the_book():
    desk = Desk()
    buy, sell = desk.order(BUY, "1", None, kind=MARKET), desk.order(SELL, "1", None, kind=MARKET)
    assert exact.taken_price(buy, lambda pair: (1.5, 2.5)) == Decimal("2.5")
    assert exact.taken_price(sell, lambda pair: (1.5, float("nan"))) == Decimal("1.5")
    for nothing in (None, (1.5, 0.0), (1.5, float("nan")), (1.5, float("inf")), (1.5, Decimal(0))):
        assert exact.taken_price(buy, lambda pair, nothing=nothing: nothing) is None
