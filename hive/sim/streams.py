"""Market streams: who subscribed to what, and the events as they are sent.

Depth diffs go out every 100 ms (`@depth@100ms`) and every 1000 ms (`@depth`) for each symbol that changed: U is the
id after the last event's u, so ids are continuous whether anybody listens or not. Trades go out at once,
aggregated trades and book tickers with the next `publish`. Candles go out every 1000 ms (`@kline_1s`) or 2000 ms when
they changed, and once more, closed, when their time is over, whether anybody traded or not. An event is encoded once
for all its receivers.
"""
from __future__ import annotations

import re
import time

from hive.sim import market_messages
from hive.sim.book import Book, Side
from hive.sim.candles import INTERVALS_MS, Candle, SymbolCandles, next_open, open_of
from hive.sim.connection import Connection
from hive.sim.engine import Engine
from hive.sim.faults import Faults
from hive.sim.garbage import UNFRAMED, garble
from hive.sim.orders import Trade
from hive.sim.tops import TopHistory

MOST_STREAMS = 1024
_Levels = list[tuple[int, int]]
MOST_CLOSED = 100  # candles that one stream closes at once
_STREAM = re.compile(r"([a-z0-9_.-]{1,50})@(trade|aggTrade|bookTicker|depth|depth@100ms|kline_[0-9]{1,2}[smhdwM])")


class _Diffs:
    """What changed in a symbol's book since the last diff of one speed."""

    __slots__ = ("asks", "bids", "last_id")

    def __init__(self, last_id: int) -> None:
        self.last_id = last_id
        self.bids: dict[int, int] = {}
        self.asks: dict[int, int] = {}


class _Kline:
    """What a candle stream sent last."""

    __slots__ = ("due_ms", "interval", "name", "open_ms", "pause_ms", "trades")

    def __init__(self, name: str, interval: str, open_ms: int) -> None:
        self.name = name
        self.interval = interval
        self.pause_ms = 1000 if interval == "1s" else 2000
        self.due_ms = 0
        self.open_ms = open_ms
        self.trades = 0


class MarketStreams:
    """Subscriptions of all market connections, and the events that they receive."""

    def __init__(
        self, engine: Engine, candles: dict[str, SymbolCandles], faults: Faults, tops: TopHistory
    ) -> None:
        self._engine = engine
        self._tops = tops
        self._candles = candles
        self._faults = faults
        self._names = {name.lower(): name for name in engine.symbols}
        self._receivers: dict[str, set[Connection]] = {}
        self._ticker_streams: set[str] = set()
        self._klines: dict[str, _Kline] = {}
        self._fast_ids = dict.fromkeys(engine.symbols, 0)
        self._slow: dict[str, _Diffs] = {}
        self._pending: dict[str, list[Trade]] = {}
        self._aggregate_ids = dict.fromkeys(engine.symbols, 0)
        self._tickers: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {}
        self._held: dict[str, list[bytes]] = {}
        self.published = 0

    # --- subscriptions

    def subscribe(self, connection: Connection, stream: str, now_ms: int) -> bool:
        """Add a stream to a connection; tell whether the name is a stream's. Raises OverflowError above 1,024."""
        if _STREAM.fullmatch(stream) is None:
            return False
        interval = stream.partition("@kline_")[2]
        if interval and interval not in INTERVALS_MS:
            return False
        if stream not in connection.subscriptions:
            if len(connection.subscriptions) >= MOST_STREAMS:
                raise OverflowError(f"a connection may have at most {MOST_STREAMS} streams")
            connection.subscriptions.add(stream)
            self._receivers.setdefault(stream, set()).add(connection)
            if stream.endswith("@bookTicker"):
                self._ticker_streams.add(stream)
            elif interval and (name := self._names.get(stream.partition("@")[0])):
                self._klines.setdefault(stream, _Kline(name, interval, open_of(interval, now_ms)))
        return True

    def unsubscribe(self, connection: Connection, stream: str) -> None:
        """Take a stream off a connection, if it is there."""
        connection.subscriptions.discard(stream)
        receivers = self._receivers.get(stream)
        if receivers is not None:
            receivers.discard(connection)
            if not receivers:
                del self._receivers[stream]
                self._ticker_streams.discard(stream)
                self._klines.pop(stream, None)
                self._tickers.pop(stream, None)

    def forget(self, connection: Connection) -> None:
        """Take all streams off a connection that ended."""
        for stream in list(connection.subscriptions):
            self.unsubscribe(connection, stream)

    # --- events

    def on_trade(self, trade: Trade, now_ms: int) -> None:
        """Send a trade and keep it for its aggregate."""
        name = trade.symbol.name
        stream = f"{name.lower()}@trade"
        if stream in self._receivers:
            self._send(stream, market_messages.trade_event(trade, now_ms))
        pending = self._pending.get(name)
        if pending is None:
            self._pending[name] = [trade]
        elif pending[-1].taker is trade.taker and pending[-1].price == trade.price:
            pending.append(trade)
        else:
            self._send_aggregate(name, pending, now_ms)
            self._pending[name] = [trade]

    def publish(self, now_ms: int) -> None:
        """Send what goes out in real time but in one piece: aggregated trades and book tickers."""
        if self._pending:
            for name, pending in self._pending.items():
                self._send_aggregate(name, pending, now_ms)
            self._pending.clear()
        for stream in self._ticker_streams:
            name = self._names.get(stream[:-11])
            if name is None:
                continue
            book = self._engine.books[name]
            top = _top(book.bids), _top(book.asks)
            if self._tickers.get(stream) != top:
                self._tickers[stream] = top
                self._send(stream, market_messages.book_ticker(name, book.update_id, *top))

    def publish_diffs(self, now_ms: int) -> None:
        """Send the diffs of the last 100 ms."""
        for name, book in self._engine.books.items():
            last_id = self._fast_ids[name]
            if book.update_id == last_id:
                continue
            bids, asks = book.bids.take_changed(), book.asks.take_changed()
            self._fast_ids[name] = book.update_id
            self._tops.note(name, book, published=True)
            slow = self._slow.get(name)
            if slow is None:
                slow = self._slow[name] = _Diffs(last_id)
            slow.bids.update(bids)
            slow.asks.update(asks)
            stream = f"{name.lower()}@depth@100ms"
            if stream in self._receivers:
                bids, asks = self._falsified(name, book, bids, asks)
                data = market_messages.depth_update(name, last_id + 1, book.update_id, bids, asks, now_ms)
                self._send_diff(name, stream, data)

    def publish_slow_diffs(self, now_ms: int) -> None:
        """Send the diffs of the last 1000 ms, after `publish_diffs`."""
        for name, slow in self._slow.items():
            stream = f"{name.lower()}@depth"
            if stream in self._receivers:
                data = market_messages.depth_update(
                    name, slow.last_id + 1, self._fast_ids[name],
                    sorted(slow.bids.items(), reverse=True), sorted(slow.asks.items()), now_ms,
                )
                self._send_diff(name, stream, data)
        self._slow.clear()

    def publish_klines(self, now_ms: int) -> None:
        """Send the candles that are over, closed, and the current ones that are due and changed."""
        for stream, kline in self._klines.items():
            open_ms = open_of(kline.interval, now_ms)
            if open_ms - kline.open_ms > MOST_CLOSED * INTERVALS_MS[kline.interval]:
                kline.open_ms = open_ms  # the clock was set: what lies between is history
            while kline.open_ms < open_ms:
                self._send_kline(stream, kline, self._candles[kline.name].candle(kline.interval, kline.open_ms), now_ms)
                kline.open_ms = next_open(kline.interval, kline.open_ms)
                kline.trades = 0
            kline.open_ms = open_ms
            if now_ms >= kline.due_ms:
                candle = self._candles[kline.name].candle(kline.interval, open_ms)
                if candle.trades > kline.trades:
                    kline.trades = candle.trades
                    kline.due_ms = now_ms - now_ms % kline.pause_ms + kline.pause_ms
                    self._send_kline(stream, kline, candle, now_ms)

    def _send_kline(self, stream: str, kline: _Kline, candle: Candle, now_ms: int) -> None:
        self._send(stream, market_messages.kline_event(kline.name, kline.interval, candle, now_ms))

    def _send_aggregate(self, name: str, trades: list[Trade], now_ms: int) -> None:
        self._aggregate_ids[name] += 1
        stream = f"{name.lower()}@aggTrade"
        if stream in self._receivers:
            self._send(stream, market_messages.aggregate_trade(name, self._aggregate_ids[name], trades, now_ms))

    def _falsified(self, name: str, book: Book, bids: _Levels, asks: _Levels) -> tuple[_Levels, _Levels]:
        """Return the levels of a diff as faults want them."""
        now_ns = time.monotonic_ns()
        symbol = self._engine.symbols.get(name)  # None: it is delisted
        if symbol and book.asks.keys and self._faults.take("crossed", now_ns, symbol=name):
            bids = [(book.asks.best_price() + symbol.tick, symbol.step), *bids]
        if (bids or asks) and self._faults.take("omit", now_ns, symbol=name):
            bids, asks = (bids[1:], asks) if bids else (bids, asks[1:])
        return bids, asks

    def _send_diff(self, name: str, stream: str, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        if self._faults.take("gap", now_ns, symbol=name):
            return
        garbage = self._faults.take("garbage", now_ns, symbol=name)
        if garbage:
            bad = garble(garbage.kind, data, garbage.bytes)
            self._send(stream, bad, framed=garbage.kind not in UNFRAMED, binary=garbage.kind == "binary")
            if garbage.instead:
                return
        held = self._held.pop(stream, None)
        if held is None and self._faults.take("reorder", now_ns, symbol=name):
            self._held[stream] = [data]
            return
        self._send(stream, data)
        if self._faults.take("duplicate", now_ns, symbol=name):
            self._send(stream, data)
        for late in held or ():
            self._send(stream, late)

    def _send(self, stream: str, data: bytes, *, framed: bool = True, binary: bool = False) -> None:
        wrapped = None
        self.published += 1
        for connection in self._receivers[stream]:
            if not framed:
                connection.send(data, binary=binary)
            elif connection.combined:
                if wrapped is None:
                    wrapped = b'{"stream":"%b","data":%b}' % (stream.encode(), data)
                connection.send(wrapped)
            else:
                connection.send(data)


def _top(side: Side) -> tuple[int, int]:
    level = side.best()
    return (level.price, level.quantity) if level else (0, 0)
