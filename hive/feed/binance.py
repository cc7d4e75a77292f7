"""Binance spot's market data: URLs, subscriptions and the shapes of its messages.

    depthUpdate  {"e": "depthUpdate", "E": ms, "s": symbol, "U": first id, "u": last id, "b": [[p, q]...], "a": [...]}
                 derivatives also have "pu", the last id of the message before
    trade        {"e": "trade", "E": ms, "s": symbol, "t": id, "p": price, "q": amount, "T": ms, "m": buyer is maker}
    kline        {"e": "kline", "E": ms, "s": symbol, "k": {"t": open ms, "T": close ms, "i": interval, "o": price...}}
    shutdown     {"e": "serverShutdown", "E": ms}: the connection closes within 10 minutes
    answer       {"result": null, "id": n}, {"error": {"code": c, "msg": text}, "id": n}
    GET depth    {"lastUpdateId": id, "bids": [[p, q]...], "asks": [...]}
    GET klines   [[open ms, o, h, l, c, volume, close ms, quote volume, trades, taker base, taker quote, unused]...]
    refusal      {"code": -1121, "msg": "Invalid symbol."}

In a combined stream each of the first four is the "data" of {"stream": name, "data": {...}}.

Request weight of GET depth by levels: up to 100: 5, 500: 25, 1000: 50, 5000: 250. A book starts with the cheapest size
that holds twice the published depth, so that a start with many instruments stays small; one whose market moves past its
snapshot asks for the next size, and soon stops asking.

Source: Binance spot API documentation: WebSocket streams, general endpoints, market data endpoints.
"""

from collections.abc import Callable, Sequence
from math import inf, isfinite
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

from msgspec import UNSET, DecodeError, Meta, Raw, Struct
from msgspec.json import Decoder, encode

from hive.feed.binance_diff import LONGEST_MESSAGE, BinanceShortcut, usual_diff, usual_trade
from hive.feed.binance_rules import instrument_rules
from hive.feed.errors import MalformedMessage, VenueRefused
from hive.feed.inlet import Shortcut
from hive.feed.lines import BookLine, TradeLine
from hive.feed.venue import Answer, CandleEvent, DepthSnapshot, Diff, Event, HttpAnswer, Notice, Request, TradeEvent
from hive.shm.instruments import InstrumentRules

DEPTH_WEIGHTS = {100: 5, 500: 25, 1_000: 50, 5_000: 250}
RULES_WEIGHT = 20
KLINES_WEIGHT = 2
MOST_KLINES = 1_000
SYMBOLS_PER_RULES_REQUEST = 100  # keeps the URL below 2 kB
MOST_INT = (1 << 63) - 1
MOST_MS = MOST_INT // 1_000_000
NS_PER_MS = 1_000_000
INTERVALS = ("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M")
KINDS = ("depthUpdate", "trade", "kline", "serverShutdown")

Count = Annotated[int, Meta(ge=0, le=MOST_INT)]
Ms = Annotated[int, Meta(ge=0, le=MOST_MS)]
Shape = TypeVar("Shape")


class _Depth(Struct, tag="depthUpdate", tag_field="e", gc=False):
    E: Ms
    s: str
    U: Count
    u: Count
    b: Raw  # the book reads the levels
    a: Raw
    pu: Annotated[int, Meta(ge=-1, le=MOST_INT)] = -1


class _Trade(Struct, tag="trade", tag_field="e", gc=False):
    s: str
    t: Count
    p: str
    q: str
    T: Ms
    m: bool


class _Candle(Struct, gc=False):
    t: Ms
    T: Ms
    i: str
    o: str
    c: str
    h: str
    l: str  # noqa: E741  the venue's name
    v: str
    n: Count
    x: bool
    q: str
    V: str
    Q: str


class _Kline(Struct, tag="kline", tag_field="e", gc=False):
    s: str
    k: _Candle


class _Shutdown(Struct, tag="serverShutdown", tag_field="e", gc=False):
    pass


Message = _Depth | _Trade | _Kline | _Shutdown


class _Enveloped(Struct, gc=False):
    stream: str
    data: Message


class _Other(Struct, gc=False):
    """Everything else: an event of a kind that the feed does not use, or an answer."""

    e: Any = UNSET
    id: Any = UNSET
    result: Any = UNSET
    error: Any = UNSET
    code: Any = UNSET
    msg: Any = ""
    stream: Any = UNSET
    data: Any = UNSET


class _Refusal(Struct, gc=False):
    code: int = 0
    msg: str = ""


class _Snapshot(Struct):
    lastUpdateId: Count  # noqa: N815  the venue's name
    bids: Raw
    asks: Raw


class _Rules(Struct):
    symbols: list[Any]


# open ms, open, high, low, close, volume, close ms, quote volume, trades, taker base, taker quote, unused
_History = tuple[Ms, str, str, str, str, str, Ms, str, Count, str, str, Any]


class BinanceSpot:
    """Binance spot at one pair of addresses. `rest_url` has no path: "https://api.binance.com"."""

    streams_per_connection = 1_024
    control_interval_s = 0.25  # 5 messages per second is the limit, pongs included
    request_weight_per_minute = 6_000
    weight_header = "X-MBX-USED-WEIGHT-1M"
    intervals = INTERVALS
    checksum_levels = 0
    renewal_s: float | None = None  # market streams need no key

    def __init__(self, rest_url: str) -> None:
        self._api = rest_url.rstrip("/") + "/api/v3"
        self._message: Callable[[bytes], Message] = Decoder(Message).decode
        self._enveloped = Decoder(_Enveloped)
        self._other = Decoder(_Other)
        self._refusal = Decoder(_Refusal)
        self._snapshot = Decoder(_Snapshot)
        self._rules = Decoder(_Rules)
        self._history = Decoder(list[_History])

    def symbol(self, pair: str) -> str:
        """Return the venue's symbol of "BTC-USDT"."""
        return pair.replace("-", "").upper()

    def streams(self, symbol: str, kind: str) -> Sequence[str]:
        """Return the stream of a symbol that brings "book", "trades" or "candles:1m". Raises ValueError for others."""
        name = symbol.lower()
        if kind == "book":
            return (f"{name}@depth@100ms",)
        if kind == "trades":
            return (f"{name}@trade",)
        family, _, interval = kind.partition(":")
        if family == "candles" and interval in self.intervals:
            return (f"{name}@kline_{interval}",)
        raise ValueError(f"a kind must be book, trades or candles: with {', '.join(self.intervals)}, was {kind!r}")

    def subscribe(self, request_id: int, streams: Sequence[str]) -> str:
        """Return a SUBSCRIBE message."""
        return encode({"method": "SUBSCRIBE", "params": list(streams), "id": request_id}).decode()

    def unsubscribe(self, request_id: int, streams: Sequence[str]) -> str:
        """Return an UNSUBSCRIBE message."""
        return encode({"method": "UNSUBSCRIBE", "params": list(streams), "id": request_id}).decode()

    def parse(self, raw: bytes) -> Event | None:
        """Return the event in a market message, or None for a kind that the feed does not use.

        Raises MalformedMessage for anything that breaks the documented shape.
        """
        if len(raw) > LONGEST_MESSAGE:
            raise MalformedMessage(f"a market message must be at most {LONGEST_MESSAGE} bytes, was {len(raw)}")
        event = usual_diff(raw) or usual_trade(raw)
        if event is not None:
            return event
        try:
            message = self._message(raw)
        except (DecodeError, UnicodeDecodeError, RecursionError) as error:
            return self._unusual(raw, error)
        return _event(message)

    def shortcut(self, books: dict[str, BookLine], tapes: dict[str, TradeLine]) -> Shortcut | None:
        """Return what does parse() and all that follows of it for usual messages."""
        return BinanceShortcut(books, tapes)

    def snapshot_limits(self, depth: int) -> Sequence[int]:
        """Return the sizes to ask for: the first holds twice `depth`, the others are for busier markets."""
        return [limit for limit in DEPTH_WEIGHTS if limit >= 2 * depth] or [max(DEPTH_WEIGHTS)]

    def snapshot_request(self, symbol: str, limit: int) -> Request:
        """Return the request of a book; `limit` is one of snapshot_limits."""
        return Request(f"{self._api}/depth?symbol={quote(symbol)}&limit={limit}", DEPTH_WEIGHTS[limit])

    def snapshot(self, answer: HttpAnswer, limit: int) -> DepthSnapshot:
        """Return the book in an answer. Raises VenueRefused or MalformedMessage."""
        body = self._granted(answer, self._snapshot)
        return DepthSnapshot(body.lastUpdateId, limit, body.bids, body.asks)

    def klines_request(self, symbol: str, interval: str, limit: int, end_ms: int | None = None) -> Request:
        """Return the request of the newest `limit` candles (1..1000), or of those that open at `end_ms` or before."""
        if interval not in self.intervals or not 1 <= limit <= MOST_KLINES:
            raise ValueError(
                f"candles must be 1..{MOST_KLINES} of {', '.join(self.intervals)}, was {limit} of {interval!r}"
            )
        end = "" if end_ms is None else f"&endTime={end_ms}"
        url = f"{self._api}/klines?symbol={quote(symbol)}&interval={interval}&limit={limit}{end}"
        return Request(url, KLINES_WEIGHT)

    def klines(self, answer: HttpAnswer) -> list[CandleEvent]:
        """Return the candles in an answer, oldest first; the newest may not be over yet. Raises as snapshot()."""
        rows = self._granted(answer, self._history)
        return [_past(row, closed=row is not rows[-1]) for row in rows]

    def rules_requests(self, symbols: Sequence[str]) -> Sequence[Request]:
        """Return exchangeInfo requests of up to 100 symbols each."""
        requests = []
        for start in range(0, len(symbols), SYMBOLS_PER_RULES_REQUEST):
            names = encode(list(symbols[start : start + SYMBOLS_PER_RULES_REQUEST])).decode()
            requests.append(Request(f"{self._api}/exchangeInfo?symbols={quote(names)}", RULES_WEIGHT))
        return requests

    def all_rules_request(self) -> Request:
        """Return the request of the whole exchangeInfo."""
        return Request(f"{self._api}/exchangeInfo", RULES_WEIGHT)

    def rules(self, answer: HttpAnswer) -> dict[str, InstrumentRules]:
        """Return the rules in an exchangeInfo by symbol; exact decimals. Raises VenueRefused or MalformedMessage.

        An entry that cannot be read is left out, as if the venue did not list it.
        """
        read = map(instrument_rules, self._granted(answer, self._rules).symbols)
        return {rules.symbol: rules for rules in read if rules is not None}

    def checksum(self, rules: InstrumentRules, bids: Sequence, asks: Sequence) -> int:
        """Binance sends no checksum; never called."""
        raise NotImplementedError("binance has no checksum")

    def renewal_request(self) -> Request:
        """Binance's market streams need no renewal; never called."""
        raise NotImplementedError("binance has nothing to renew")

    def renewed(self, answer: HttpAnswer) -> str | None:
        """The address never changes."""
        return None

    def _unusual(self, raw: bytes, error: Exception) -> Event | None:
        """Return what an answer, a combined stream's message or one of another kind says.

        Raises MalformedMessage, because of `error`, when it is none of them.
        """
        try:
            other = self._other.decode(raw)
            kind = other.e
            if kind is UNSET and other.stream is not UNSET and type(other.data) is dict:
                kind = other.data.get("e")
                if kind in KINDS:
                    return _event(self._enveloped.decode(raw).data)
        except (DecodeError, UnicodeDecodeError, RecursionError) as worse:
            raise MalformedMessage(f"a market message: {worse}, was {raw[:60]!r}") from None
        if kind is UNSET and (other.result is not UNSET or other.error is not UNSET or other.code is not UNSET):
            return _answer(other)
        if type(kind) is str and kind not in KINDS:
            return None
        raise MalformedMessage(f"{kind if type(kind) is str else 'a market message'}: {error}, was {raw[:60]!r}")

    def _granted(self, answer: HttpAnswer, shape: "Decoder[Shape]") -> Shape:
        """Return the decoded body of a granted request."""
        if answer.status != 200:
            try:
                refusal = self._refusal.decode(answer.body)
            except (DecodeError, UnicodeDecodeError, RecursionError):
                refusal = _Refusal()
            text = refusal.msg or answer.body[:80].decode("ascii", "replace")
            raise VenueRefused(f"HTTP {answer.status}: {text}", answer.status, refusal.code, answer.retry_after_s)
        try:
            return shape.decode(answer.body)
        except (DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise MalformedMessage(f"an answer: {error}, was {answer.body[:60]!r}") from None


def _event(message: Message) -> Event:
    kind = type(message)
    if kind is _Depth:
        if message.u < message.U:
            raise MalformedMessage(f"depthUpdate: U must not be above u, were {message.U} and {message.u}")
        return Diff(message.s, message.U, message.u, message.pu, message.E * NS_PER_MS, message.b, message.a)
    if kind is _Trade:
        try:
            price, quantity = float(message.p), float(message.q)
        except ValueError:
            price = quantity = 0.0
        if not (0.0 < price < inf and 0.0 < quantity < inf):
            raise MalformedMessage(f"trade: p and q must be numbers > 0, were {message.p!r:.40} and {message.q!r:.40}")
        return TradeEvent(message.s, message.t, message.T * NS_PER_MS, price, quantity, message.m)
    return _candle(message) if kind is _Kline else Notice("shutdown", "serverShutdown")


def _positive(name: str, text: str) -> float:
    value = _number(name, text)
    if value <= 0.0:
        raise MalformedMessage(f"{name} must be a number > 0, was {text!r:.40}")
    return value


def _number(name: str, text: str) -> float:
    """Return a finite number >= 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not isfinite(value) or value < 0.0:
        raise MalformedMessage(f"{name} must be a number >= 0, was {text!r:.40}")
    return value


def _candle(message: _Kline) -> CandleEvent:
    candle = message.k
    return CandleEvent(
        symbol=message.s,
        interval=candle.i,
        open_ms=candle.t,
        open=_positive("o", candle.o),
        high=_positive("h", candle.h),
        low=_positive("l", candle.l),
        close=_positive("c", candle.c),
        volume=_number("v", candle.v),
        close_ms=candle.T,
        quote_volume=_number("q", candle.q),
        trades=candle.n,
        taker_base=_number("V", candle.V),
        taker_quote=_number("Q", candle.Q),
        closed=candle.x,
    )


def _past(row: _History, *, closed: bool) -> CandleEvent:
    return CandleEvent(
        symbol="",
        interval="",
        open_ms=row[0],
        open=_positive("open", row[1]),
        high=_positive("high", row[2]),
        low=_positive("low", row[3]),
        close=_positive("close", row[4]),
        volume=_number("volume", row[5]),
        close_ms=row[6],
        quote_volume=_number("quote volume", row[7]),
        trades=row[8],
        taker_base=_number("taker base", row[9]),
        taker_quote=_number("taker quote", row[10]),
        closed=closed,
    )


def _answer(message: _Other) -> Answer:
    refusal = message.error
    if refusal is UNSET and message.code is not UNSET:
        refusal = {"msg": message.msg}
    error = ""
    if refusal is not UNSET and refusal is not None:
        error = str(refusal.get("msg", refusal)) if type(refusal) is dict else str(refusal)
        error = error[:200] or "refused"
    return Answer(message.id if type(message.id) is int else -1, error)
