"""Operations that need no key: time, listing, books, trades, candles and tickers, with their documented weights."""
from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from hive.sim import errors, market_messages, messages
from hive.sim.candles import INTERVALS_MS
from hive.sim.decimals import format_units
from hive.sim.errors import VenueError
from hive.sim.filters import integer, required, symbol_of
from hive.sim.requests import PUBLIC, Operation, Request

_DEPTH_WEIGHTS = ((100, 5), (500, 25), (1000, 50), (5000, 250))


def _ping(request: Request) -> dict[str, Any]:
    return {}


def _time(request: Request) -> dict[str, Any]:
    return {"serverTime": request.now_ms}


def _exchange_info(request: Request) -> bytes:
    exchange, params = request.exchange, request.params
    names = _asked_symbols(request)
    status = params.get("symbolStatus")
    if status is not None and names is not None:
        raise VenueError(errors.BAD_COMBINATION, "Combination of optional parameters invalid.")
    chosen = exchange.symbols if names is None else names
    texts = [
        exchange.symbol_text(name) for name in chosen if status is None or exchange.engine.status[name] == status
    ]
    limits = json.dumps(exchange.limits.describe(), separators=(",", ":"))
    return (
        f'{{"timezone":"UTC","serverTime":{request.now_ms},"rateLimits":{limits},"exchangeFilters":[],'
        f'"symbols":[{",".join(texts)}]}}'
    ).encode()


def _depth(request: Request) -> bytes:
    exchange = request.exchange
    name = symbol_of(request.params, exchange.symbols).name
    limit = _limit(request, 100, 5000)
    lag = exchange.faults.take("lag", time.monotonic_ns(), symbol=name)
    if lag is not None and name in lag.before:
        update_id, bids, asks = lag.before[name]
        return market_messages.depth_levels(update_id, bids[:limit], asks[:limit])
    book = exchange.engine.books[name]
    exchange.tops.note(name, book, published=False)
    return market_messages.depth_levels(book.update_id, book.bids.top(limit), book.asks.top(limit))


def _trades(request: Request) -> list[dict[str, Any]]:
    symbol = symbol_of(request.params, request.exchange.symbols)
    trades = request.exchange.recent_trades[symbol.name]
    limit = _limit(request, 500, 1000)
    return [messages.public_trade(trade) for trade in list(trades)[-limit:]]


def _klines(request: Request) -> list[list[Any]]:
    params = request.params
    symbol = symbol_of(params, request.exchange.symbols)
    interval = required(params, "interval")
    if interval not in INTERVALS_MS:
        raise VenueError(errors.INVALID_INTERVAL, "Invalid interval.")
    candles = request.exchange.candles[symbol.name].range(
        interval, integer(params, "startTime"), integer(params, "endTime"), _limit(request, 500, 1000),
        request.now_ms,
    )
    return [messages.kline_row(candle, interval) for candle in candles]


def _price(request: Request) -> Any:
    last = request.exchange.engine.last_price
    return _for_each(request, lambda name: {"symbol": name, "price": format_units(last[name])})


def _book_ticker(request: Request) -> Any:
    def ticker(name: str) -> dict[str, Any]:
        bid, ask = _top(request, name)
        return {
            "symbol": name, "bidPrice": format_units(bid[0]), "bidQty": format_units(bid[1]),
            "askPrice": format_units(ask[0]), "askQty": format_units(ask[1]),
        }
    return _for_each(request, ticker)


def _day_ticker(request: Request) -> Any:
    exchange = request.exchange

    def ticker(name: str) -> dict[str, Any]:
        bid, ask = _top(request, name)
        trades = exchange.recent_trades[name]
        return messages.day_ticker(
            exchange.symbols[name], exchange.candles[name].day(request.now_ms),
            trades[-1].quantity if trades else 0, bid, ask, request.now_ms,
        )
    return _for_each(request, ticker)


def _for_each(request: Request, make: Any) -> Any:
    """Return one object when one symbol is asked for, else a list."""
    if "symbol" in request.params:
        return make(symbol_of(request.params, request.exchange.symbols).name)
    names = _asked_symbols(request)
    return [make(name) for name in (request.exchange.symbols if names is None else names)]


def _asked_symbols(request: Request) -> list[str] | None:
    """Return the symbols that a request names with `symbol` or `symbols`, None when it names none."""
    params, symbols = request.params, request.exchange.symbols
    if "symbol" in params:
        if "symbols" in params:
            raise VenueError(errors.BAD_COMBINATION, "Combination of optional parameters invalid.")
        return [symbol_of(params, symbols).name]
    if "symbols" not in params:
        return None
    try:
        names = json.loads(params["symbols"])
    except ValueError:
        names = None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise errors.illegal("symbols", r'^\["[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}\]$')
    if len(set(names)) != len(names):
        raise VenueError(-1151, "Symbol is present multiple times in the list.")
    return [symbol_of({"symbol": name}, symbols).name for name in names]


def _top(request: Request, name: str) -> tuple[tuple[int, int], tuple[int, int]]:
    book = request.exchange.engine.books[name]
    return (book.bids.top(1) or [(0, 0)])[0], (book.asks.top(1) or [(0, 0)])[0]


def _limit(request: Request, default: int, most: int) -> int:
    limit = integer(request.params, "limit")
    if limit is None:
        return default
    if limit < 1:
        raise errors.missing("limit")
    return min(limit, most)


def _depth_weight(params: Mapping[str, str]) -> int:
    text = params.get("limit", "100")
    limit = int(text) if text.isdecimal() else 100
    return next((weight for most, weight in _DEPTH_WEIGHTS if limit <= most), _DEPTH_WEIGHTS[-1][1])


def _ticker_weight(params: Mapping[str, str]) -> int:
    return 2 if "symbol" in params else 4


def _day_weight(params: Mapping[str, str]) -> int:
    if "symbol" in params:
        return 2
    if "symbols" in params:
        count = params["symbols"].count(",") + 1
        return 2 if count <= 20 else 40 if count <= 100 else 80
    return 80


def _operation(name: str, weight: Any, handler: Any, *parameters: str) -> Operation:
    return Operation(name, PUBLIC, weight, frozenset(parameters), handler)


PING = _operation("ping", 1, _ping)
TIME = _operation("time", 1, _time)
EXCHANGE_INFO = _operation(
    "exchangeInfo", 20, _exchange_info, "symbol", "symbols", "permissions", "showPermissionSets", "symbolStatus"
)
DEPTH = _operation("depth", _depth_weight, _depth, "symbol", "limit")
TRADES = _operation("trades.recent", 25, _trades, "symbol", "limit")
KLINES = _operation("klines", 2, _klines, "symbol", "interval", "startTime", "endTime", "limit", "timeZone")
PRICE = _operation("ticker.price", _ticker_weight, _price, "symbol", "symbols")
BOOK_TICKER = _operation("ticker.book", _ticker_weight, _book_ticker, "symbol", "symbols")
DAY_TICKER = _operation("ticker.24hr", _day_weight, _day_ticker, "symbol", "symbols", "type")
