"""The listing: plausible, exact and as long as asked for."""
from __future__ import annotations

import pytest

from hive.sim.decimals import UNIT, format_units, parse_units
from hive.sim.symbols import list_symbols, make_symbol


def test_fifteen_hundred_symbols_have_distinct_names_and_sound_filters():
    symbols = list_symbols(1500)
    assert len(symbols) == 1500
    for symbol in symbols.values():
        assert symbol.tick * symbol.step % UNIT == 0
        assert symbol.start_price % symbol.tick == 0
        assert symbol.min_price <= symbol.start_price <= symbol.max_price
        assert symbol.min_quantity <= symbol.max_market_quantity <= symbol.max_quantity < 2**63
        assert symbol.name == symbol.base + symbol.quote


def test_the_best_known_pairs_come_first():
    assert list(list_symbols(3)) == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]


def test_a_tick_and_step_that_make_inexact_money_are_refused():
    with pytest.raises(ValueError, match="AB: tick times step must be a multiple of 1e-8"):
        make_symbol("A", "B", "1", "0.00001", "0.0001", "1")


@pytest.mark.parametrize("count", [0, 4001])
def test_a_listing_has_bounds(count):
    with pytest.raises(ValueError, match="symbol count must be from 1 to 4000"):
        list_symbols(count)


def test_decimals_go_there_and_back():
    for text in ("0.00000001", "1.00000000", "12345678.90000000"):
        assert format_units(parse_units(text)) == text
    assert parse_units("1.5000000000") == 150_000_000
    assert format_units(-parse_units("2.5")) == "-2.50000000"


@pytest.mark.parametrize("text", ["", "-1", "1e5", "1.", ".5", "1,5", "nan", "1" * 21])
def test_what_is_no_plain_decimal_is_refused(text):
    with pytest.raises(ValueError, match="decimal must look like"):
        parse_units(text)


def test_more_than_eight_decimals_are_too_many():
    with pytest.raises(OverflowError, match="at most 8 decimals"):
        parse_units("0.000000001")
