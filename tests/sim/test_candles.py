"""Candles: recorded trades, a made-up past, and both in one."""
from __future__ import annotations

from hive.sim.accounts import Account
from hive.sim.candles import INTERVALS_MS, SymbolCandles
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
    assert (candle.high, candle.low, candle.close) == (prices[1], prices[2], prices[3])
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
        assert [row.open_ms for row in rows] == list(
            range(rows[0].open_ms, rows[0].open_ms + 20 * length, length))
        assert all(row.low <= row.open <= row.high and row.low <= row.close <= row.high for row in rows)


def test_a_quiet_minute_repeats_the_last_price():
    candles = SymbolCandles(SYMBOL, 7, BEGAN)
    minute = BEGAN - BEGAN % MINUTE + MINUTE
    candles.on_trade(trade(1, 6_500_000_000_000, 1_000_000, minute))
    quiet = candles.candle("1m", minute + 3 * MINUTE)
    assert (quiet.open, quiet.close, quiet.trades) == (6_500_000_000_000, 6_500_000_000_000, 0)
