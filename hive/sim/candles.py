"""Candles: recorded from trades since the start, and a deterministic past before it.

A client that wants 150 one-minute candles cannot wait 150 minutes, so the time before the exchange began has a
made-up price: the starting price times a sum of slow waves with phases from the seed, a pure function of
(seed, symbol, time) that meets the starting price when the exchange begins.

Trades are kept by the second and by the minute; every longer candle is made of those, for the klines endpoint and for
the stream alike, so both tell the same numbers. Weeks begin on Monday and months on their first day, in UTC.
"""
from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime

from hive.sim.flow import mix
from hive.sim.orders import Trade
from hive.sim.symbols import Symbol

SECOND_MS = 1000
MINUTE_MS = 60_000
_DAY_MS = 86_400_000
_FIRST_MONDAY_MS = 4 * _DAY_MS  # 5 January 1970
INTERVALS_MS = {
    "1s": SECOND_MS, "1m": MINUTE_MS, "3m": 3 * MINUTE_MS, "5m": 5 * MINUTE_MS, "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS, "1h": 60 * MINUTE_MS, "2h": 120 * MINUTE_MS, "4h": 240 * MINUTE_MS,
    "6h": 360 * MINUTE_MS, "8h": 480 * MINUTE_MS, "12h": 720 * MINUTE_MS, "1d": _DAY_MS, "3d": 3 * _DAY_MS,
    "1w": 7 * _DAY_MS, "1M": 30 * _DAY_MS,
}
_MONTH = "1M"  # its length above is a typical one
_KEEP = {SECOND_MS: 3600, MINUTE_MS: 2880}
_WAVES = ((17 * MINUTE_MS, 0.0006), (97 * MINUTE_MS, 0.002), (9 * 60 * MINUTE_MS, 0.006), (5 * _DAY_MS, 0.03))


def open_of(interval: str, at_ms: int) -> int:
    """Return when the candle of `interval` that holds the wall time `at_ms` opened."""
    if interval == _MONTH:
        first = datetime.fromtimestamp(at_ms / 1000, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return int(first.timestamp()) * 1000
    length_ms = INTERVALS_MS[interval]
    return at_ms - (at_ms - (_FIRST_MONDAY_MS if interval == "1w" else 0)) % length_ms


def next_open(interval: str, open_ms: int) -> int:
    """Return when the candle after the one that opened at `open_ms` opens."""
    if interval == _MONTH:
        return open_of(interval, open_ms + 32 * _DAY_MS)
    return open_ms + INTERVALS_MS[interval]


def _part_ms(interval: str) -> int:
    return SECOND_MS if interval == "1s" else MINUTE_MS


@dataclass(slots=True)
class Candle:
    """One candle; times in wall ms, prices and quantities in 1e-8 units."""

    open_ms: int
    open: int
    high: int
    low: int
    close: int
    volume: int = 0
    quote: int = 0
    trades: int = 0
    taker_volume: int = 0
    taker_quote: int = 0
    first_id: int = -1
    last_id: int = -1

    def add(self, price: int, quantity: int, quote: int, buyer_took: bool, trade_id: int) -> None:
        """Count one trade in."""
        if price > self.high:
            self.high = price
        if price < self.low:
            self.low = price
        self.close = price
        self.volume += quantity
        self.quote += quote
        self.trades += 1
        if buyer_took:
            self.taker_volume += quantity
            self.taker_quote += quote
        if self.first_id < 0:
            self.first_id = trade_id
        self.last_id = trade_id

    def join(self, later: Candle) -> None:
        """Append a later candle to this one."""
        self.high = max(self.high, later.high)
        self.low = min(self.low, later.low)
        self.close = later.close
        self.volume += later.volume
        self.quote += later.quote
        self.trades += later.trades
        self.taker_volume += later.taker_volume
        self.taker_quote += later.taker_quote
        if self.first_id < 0:
            self.first_id = later.first_id
        if later.last_id >= 0:
            self.last_id = later.last_id


class SymbolCandles:
    """The candles of one symbol."""

    def __init__(self, symbol: Symbol, seed: int, began_ms: int) -> None:
        self._symbol = symbol
        self._phases = [
            (mix(seed * 31 + index + int.from_bytes(symbol.name.encode()[:8].ljust(8), "big")) >> 11) / (1 << 53)
            for index in range(len(_WAVES))
        ]
        self._began_ms = began_ms
        self._at_start = self._waves(began_ms)
        self._recorded: dict[int, OrderedDict[int, Candle]] = {SECOND_MS: OrderedDict(), MINUTE_MS: OrderedDict()}
        self._oldest_ms: dict[int, int] = {}  # of recorded candles, once some were forgotten

    def on_trade(self, trade: Trade) -> None:
        """Record a trade."""
        price, buyer_took = trade.price, not trade.buyer_is_maker
        for interval_ms, recorded in self._recorded.items():
            open_ms = trade.time_ms - trade.time_ms % interval_ms
            candle = recorded.get(open_ms)
            if candle is None:
                candle = recorded[open_ms] = Candle(open_ms, price, price, price, price)
                if len(recorded) > _KEEP[interval_ms]:
                    recorded.popitem(last=False)
                    self._oldest_ms[interval_ms] = next(iter(recorded))
            candle.add(price, trade.quantity, trade.quote, buyer_took, trade.trade_id)

    def range(self, interval: str, start_ms: int | None, end_ms: int | None, limit: int, now_ms: int) -> list[Candle]:
        """Return up to `limit` candles of an interval that opened within [start, end], oldest first.

        Without a start the latest ones, without an end up to now. What was traded too long ago to be kept ends the
        answer. Raises KeyError for an unknown interval.
        """
        last = open_of(interval, min(now_ms, end_ms if end_ms is not None else now_ms))
        opens: list[int] = []
        if start_ms is not None:
            open_ms = open_of(interval, max(start_ms, self._oldest_ms.get(_part_ms(interval), 0)))
            if open_ms < start_ms:
                open_ms = next_open(interval, open_ms)
            while open_ms <= last and len(opens) < limit:
                opens.append(open_ms)
                open_ms = next_open(interval, open_ms)
        else:
            open_ms, oldest_ms = last, self._oldest_ms.get(_part_ms(interval), 0)
            while open_ms >= oldest_ms and len(opens) < limit:
                opens.append(open_ms)
                open_ms = open_of(interval, open_ms - 1)
            opens.reverse()
        return [self.candle(interval, open_ms) for open_ms in opens]

    def candle(self, interval: str, open_ms: int) -> Candle:
        """Return the candle of an interval that opened at open_ms: recorded, made up, or of both."""
        part_ms = _part_ms(interval)
        end_ms = next_open(interval, open_ms)
        result = self._past(open_ms, min(end_ms, self._began_ms)) if open_ms < self._began_ms else None
        recorded = self._recorded[part_ms]
        if recorded and end_ms > self._began_ms:
            first_ms = max(open_ms, next(iter(recorded)))
            end_ms = min(end_ms, next(reversed(recorded)) + part_ms)
            for at_ms in range(first_ms, end_ms, part_ms):
                part = recorded.get(at_ms)
                if part is None:
                    continue
                if result is None:
                    result = Candle(open_ms, part.open, part.high, part.low, part.close)
                result.join(part)
        if result is None:
            price = self._close_before(open_ms, part_ms)
            result = Candle(open_ms, price, price, price, price)
        return result

    def day(self, now_ms: int) -> Candle:
        """Return the last 24 hours as one candle."""
        result = self._past(now_ms - _DAY_MS, self._began_ms)
        for open_ms, part in self._recorded[MINUTE_MS].items():
            if open_ms > now_ms - _DAY_MS:
                result.join(part)
        return result

    def _close_before(self, open_ms: int, part_ms: int) -> int:
        for at_ms, candle in reversed(self._recorded[part_ms].items()):
            if at_ms < open_ms:
                return candle.close
        return self._symbol.start_price

    def _past(self, open_ms: int, end_ms: int) -> Candle:
        first, last = self._past_price(open_ms), self._past_price(end_ms)
        tick = self._symbol.tick
        high = max(first, last) + max(1, first // 5000 // tick) * tick
        low = max(tick, min(first, last) - max(1, first // 5000 // tick) * tick)
        minutes = max(1, (end_ms - open_ms) // MINUTE_MS)
        step = self._symbol.step
        volume = max(step, 60_000 * 10**16 // first // step * step) * minutes
        quote = volume * first // 10**8
        return Candle(open_ms, first, high, low, last, volume, quote, 60 * minutes, volume // 2, quote // 2)

    def _past_price(self, at_ms: int) -> int:
        price = self._symbol.start_price * math.exp(self._waves(at_ms) - self._at_start)
        tick = self._symbol.tick
        return max(tick, round(price / tick) * tick)

    def _waves(self, at_ms: int) -> float:
        return sum(
            size * math.sin(2 * math.pi * (at_ms / period + phase))
            for (period, size), phase in zip(_WAVES, self._phases, strict=True)
        )
