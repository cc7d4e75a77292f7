"""Candles: recorded trades, a made-up past, and both in one."""
from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

from hive.sim.accounts import Account
from hive.sim.candles import INTERVALS_MS, SymbolCandles, next_open, open_of
from hive.sim.orders import BUY, GTC, LIMIT, SELL, Order, Trade
from hive.sim.symbols import make_symbol

SYMBOL = make_symbol("BTC", "USDT", "64000.00", "0.01", "0.00001", "5")
BEGAN = 1_700_000_000_000
MINUTE = 60_000


def trade(number: int, price: int, quantity: int, time_ms: int, maker_side: str = SELL) -> Trade:
    account = Account("ann", "key", "secret", {}, 2)
    taker_side = BUY if maker_side == SELL else SELL
    maker, taker = (Order(account, SYMBOL, side, LIMIT, GTC, price, quantity) for side in (maker_side, taker_side))
    return Trade(SYMBOL, number, price, quantity, price * quantity // 10**8, maker, taker, time_ms)


def test_trades_of_a_minute_make_its_candle():
    candles = SymbolCandles(SYMBOL, 7, BEGAN)
    minute = BEGAN - BEGAN % MINUTE + MINUTE
    prices = [6_400_000_000_000, 6_410_000_000_000, 6_390_000_000_000, 6_405_000_000_000]
    for number, price in enumerate(prices, 1):
        candles.on_trade(trade(number, price, 1_000_000, minute + number, SELL if number % 2 else BUY))
    candle = candles.candle("1m", minute)
    assert (candle.open, candle.high, candle.low, candle.close) == tuple(prices)
    assert (candle.trades, candle.volume, candle.taker_volume) == (4, 4_000_000, 2_000_000)
    assert (candle.first_id, candle.last_id) == (1, 4)
    assert candles.candle("1s", minute).trades == 4


def test_the_past_is_the_same_for_the_same_seed_and_meets_the_start():
    first, second = SymbolCandles(SYMBOL, 7, BEGAN), SymbolCandles(SYMBOL, 7, BEGAN)
    ranges = [each.range("5m", None, None, 300, BEGAN) for each in (first, second)]
    assert ranges[0] == ranges[1]
    assert ranges[0][-1].close == SYMBOL.start_price
    assert SymbolCandles(SYMBOL, 8, BEGAN).range("5m", None, None, 300, BEGAN) != ranges[0]


def test_a_candle_that_spans_the_start_joins_past_and_recorded():
    began = BEGAN - BEGAN % (60 * MINUTE) + 30 * MINUTE
    candles = SymbolCandles(SYMBOL, 7, began)
    candles.on_trade(trade(1, 7_000_000_000_000, 1_000_000, began + 5 * MINUTE))
    hour = candles.candle("1h", began - 30 * MINUTE)
    assert hour.high == hour.close == 7_000_000_000_000
    assert hour.trades > 1000


def test_every_interval_is_answered_with_as_many_candles_as_asked_for():
    candles = SymbolCandles(SYMBOL, 7, BEGAN)
    for interval, length in INTERVALS_MS.items():
        rows = candles.range(interval, None, None, 20, BEGAN + 1)
        opens = [row.open_ms for row in rows]
        assert len(opens) == 20
        assert all(later == next_open(interval, earlier) for earlier, later in pairwise(opens))
        assert opens[-1] <= BEGAN < opens[-1] + 2 * length
        assert all(row.low <= row.open <= row.high and row.low <= row.close <= row.high for row in rows)


def test_a_quiet_minute_repeats_the_last_price():
    candles = SymbolCandles(SYMBOL, 7, BEGAN)
    minute = BEGAN - BEGAN % MINUTE + MINUTE
    candles.on_trade(trade(1, 6_500_000_000_000, 1_000_000, minute))
    quiet = candles.candle("1m", minute + 3 * MINUTE)
    assert (quiet.open, quiet.close, quiet.trades) == (6_500_000_000_000, 6_500_000_000_000, 0)


def test_a_candle_opens_with_its_first_trade_whatever_the_price_was_before():
    candles = SymbolCandles(SYMBOL, 7, BEGAN)
    minute = BEGAN - BEGAN % MINUTE + MINUTE
    candles.on_trade(trade(1, 6_500_000_000_000, 1_000_000, minute))
    candles.on_trade(trade(2, 6_400_000_000_000, 1_000_000, minute + MINUTE + 5))
    later = candles.candle("1m", minute + MINUTE)
    assert (later.open, later.high, later.low) == (6_400_000_000_000,) * 3


def test_weeks_begin_on_monday_and_months_on_the_first():
    at_ms = int(datetime(2024, 2, 29, 13, 5, 7, tzinfo=UTC).timestamp()) * 1000

    def begin(interval: str) -> datetime:
        return datetime.fromtimestamp(open_of(interval, at_ms) / 1000, UTC)

    assert begin("1M") == datetime(2024, 2, 1, tzinfo=UTC)
    assert begin("1w") == datetime(2024, 2, 26, tzinfo=UTC)
    assert begin("1w").weekday() == 0
    assert begin("4h") == datetime(2024, 2, 29, 12, tzinfo=UTC)
    march = next_open("1M", open_of("1M", at_ms))
    assert datetime.fromtimestamp(march / 1000, UTC) == datetime(2024, 3, 1, tzinfo=UTC)


def test_an_end_includes_the_candle_that_opens_there_and_a_start_too():
    candles = SymbolCandles(SYMBOL, 7, BEGAN)
    minute = BEGAN - BEGAN % MINUTE

    def opens(start: int | None, end: int | None, limit: int) -> list[int]:
        return [(row.open_ms - minute) // MINUTE for row in candles.range("1m", start, end, limit, BEGAN)]

    assert opens(None, minute - 5 * MINUTE, 3) == [-7, -6, -5]
    assert opens(None, minute - 5 * MINUTE - 1, 3) == [-8, -7, -6]
    assert opens(minute - 5 * MINUTE, None, 3) == [-5, -4, -3]
    assert opens(minute - 5 * MINUTE + 1, None, 3) == [-4, -3, -2]
    assert opens(minute - 5 * MINUTE, minute - 4 * MINUTE, 100) == [-5, -4]
    assert opens(minute - 2 * MINUTE, None, 100) == [-2, -1, 0]
    assert opens(minute + MINUTE, None, 100) == []


def test_seconds_that_are_kept_no_more_are_left_out_instead_of_made_up():
    candles = SymbolCandles(SYMBOL, 7, BEGAN)
    for second in range(4000):
        candles.on_trade(trade(second, 6_400_000_000_000 + second * 10**6, 1_000_000, BEGAN + second * 1000))
    rows = candles.range("1s", None, None, 10_000, BEGAN + 3_999_000)
    assert len(rows) == 3600
    assert [row.first_id for row in rows] == list(range(400, 4000))
    assert candles.range("1s", BEGAN - 50_000, None, 10, BEGAN + 3_999_000)[0].open_ms == rows[0].open_ms
    assert len(candles.range("1m", None, None, 500, BEGAN + 3_999_000)) == 500
