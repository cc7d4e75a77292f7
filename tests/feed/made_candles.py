"""Candles of one second, made from their numbers."""

from msgspec.structs import replace

from hive.feed.venue import CandleEvent

FIRST_MS = 1_700_000_000_000


def candle(number, trades=10, closed=False, symbol="BTCUSDT"):
    """Return candle `number` after `trades` of its trades."""
    return CandleEvent(
        symbol, "1s", FIRST_MS + 1000 * number, 100.0 + number, 200.0 + number, 50.0, 100.0 + trades, float(trades),
        FIRST_MS + 1000 * number + 999, 2.0 * trades, trades, trades / 2, float(trades), closed,
    )  # fmt: skip


def history(first, last):
    """Return what the venue answers: candles first..last, of which the last goes on."""
    return [replace(candle(one, closed=one != last), symbol="", interval="") for one in range(first, last + 1)]
