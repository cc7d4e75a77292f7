"""Binance spot's market data: URLs, subscriptions and the shapes of its messages.

    depthUpdate  {"e": "depthUpdate", "E": ms, "s": symbol, "U": first id, "u": last id, "b": [[p, q]...], "a": [...]}
    trade        {"e": "trade", "E": ms, "s": symbol, "t": id, "p": price, "q": amount, "T": ms, "m": buyer is maker}
    answer       {"result": null, "id": n}, {"error": {"code": c, "msg": text}, "id": n}
    GET depth    {"lastUpdateId": id, "bids": [[p, q]...], "asks": [...]}
    refusal      {"code": -1121, "msg": "Invalid symbol."}

Request weight of GET depth by levels: up to 100: 5, 500: 25, 1000: 50, 5000: 250. A book starts with the cheapest size
that holds twice the published depth, so that a start with many instruments stays small; one whose market moves past its
snapshot asks for the next size, and soon stops asking.

Source: Binance spot API documentation: WebSocket streams, general endpoints, market data endpoints.
"""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from json import dumps
from math import isfinite
from typing import Any
from urllib.parse import quote

import ujson

from hive.feed.errors import MalformedMessage, VenueRefused
from hive.feed.venue import Answer, DepthSnapshot, Diff, HttpAnswer, Request, TradeEvent
from hive.shm.instruments import InstrumentRules

DEPTH_WEIGHTS = {100: 5, 500: 25, 1_000: 50, 5_000: 250}
RULES_WEIGHT = 20
SYMBOLS_PER_RULES_REQUEST = 100  # keeps the URL below 2 kB
LONGEST_MESSAGE = 1 << 20  # a diff of 5,000 levels on both sides is about 300 kB
MOST_INT = (1 << 63) - 1
MOST_MS = MOST_INT // 1_000_000
PLAIN_EXPONENT = Decimal(1)


class BinanceSpot:
    """Binance spot at one pair of addresses. `rest_url` has no path: "https://api.binance.com"."""

    streams_per_connection = 1_024
    control_interval_s = 0.25  # 5 messages per second is the limit, pongs included
    request_weight_per_minute = 6_000
    weight_header = "X-MBX-USED-WEIGHT-1M"

    def __init__(self, rest_url: str) -> None:
        self._api = rest_url.rstrip("/") + "/api/v3"

    def symbol(self, pair: str) -> str:
        """Return the venue's symbol of "BTC-USDT"."""
        return pair.replace("-", "").upper()

    def streams(self, symbol: str) -> Sequence[str]:
        """Return the diff and trade streams of a symbol."""
        name = symbol.lower()
        return (f"{name}@depth@100ms", f"{name}@trade")

    def subscribe(self, request_id: int, streams: Sequence[str]) -> str:
        """Return a SUBSCRIBE message."""
        return dumps({"method": "SUBSCRIBE", "params": list(streams), "id": request_id})

    def unsubscribe(self, request_id: int, streams: Sequence[str]) -> str:
        """Return an UNSUBSCRIBE message."""
        return dumps({"method": "UNSUBSCRIBE", "params": list(streams), "id": request_id})

    def parse(self, raw: str | bytes) -> Diff | TradeEvent | Answer | None:
        """Return the event in a market message, or None for a kind that the feed does not use.

        Raises MalformedMessage for anything that breaks the documented shape.
        """
        message = _json(raw)
        if type(message) is not dict:
            raise MalformedMessage(f"a market message must be a JSON object, was {type(message).__name__}")
        if type(message.get("data")) is dict and "stream" in message:
            message = message["data"]
        kind = message.get("e")
        try:
            if kind == "depthUpdate":
                return _diff(message)
            if kind == "trade":
                return _trade(message)
            if kind is None and ("result" in message or "error" in message or "code" in message):
                return _answer(message)
        except KeyError as missing:
            raise MalformedMessage(f"{kind or 'answer'}: {missing} is missing") from None
        if type(kind) is str:
            return None
        raise MalformedMessage(f"a market message must have an event type, was {raw[:60]!r}")

    def snapshot_limits(self, depth: int) -> Sequence[int]:
        """Return the sizes to ask for: the first holds twice `depth`, the others are for busier markets."""
        return [limit for limit in DEPTH_WEIGHTS if limit >= 2 * depth] or [max(DEPTH_WEIGHTS)]

    def snapshot_request(self, symbol: str, limit: int) -> Request:
        """Return the request of a book; `limit` is one of snapshot_limits."""
        return Request(f"{self._api}/depth?symbol={quote(symbol)}&limit={limit}", DEPTH_WEIGHTS[limit])

    def snapshot(self, answer: HttpAnswer, limit: int) -> DepthSnapshot:
        """Return the book in an answer. Raises VenueRefused or MalformedMessage."""
        body = _body(answer)
        try:
            return DepthSnapshot(_int(body, "lastUpdateId"), limit, _levels(body, "bids"), _levels(body, "asks"))
        except KeyError as missing:
            raise MalformedMessage(f"depth: {missing} is missing") from None

    def rules_requests(self, symbols: Sequence[str]) -> Sequence[Request]:
        """Return exchangeInfo requests of up to 100 symbols each."""
        requests = []
        for start in range(0, len(symbols), SYMBOLS_PER_RULES_REQUEST):
            names = dumps(list(symbols[start : start + SYMBOLS_PER_RULES_REQUEST]), separators=(",", ":"))
            requests.append(Request(f"{self._api}/exchangeInfo?symbols={quote(names)}", RULES_WEIGHT))
        return requests

    def all_rules_request(self) -> Request:
        """Return the request of the whole exchangeInfo."""
        return Request(f"{self._api}/exchangeInfo", RULES_WEIGHT)

    def rules(self, answer: HttpAnswer) -> dict[str, InstrumentRules]:
        """Return the rules in an exchangeInfo by symbol; exact decimals. Raises VenueRefused or MalformedMessage.

        An entry that cannot be read is left out, as if the venue did not list it.
        """
        body = _body(answer)
        entries = body.get("symbols")
        if type(entries) is not list:
            raise MalformedMessage("exchangeInfo: symbols must be a list")
        found = {}
        for entry in entries:
            try:
                rules = _rules(entry)
            except (KeyError, TypeError, ValueError, InvalidOperation):
                continue
            found[rules.symbol] = rules
        return found


def _json(raw: str | bytes) -> Any:
    if len(raw) > LONGEST_MESSAGE:
        raise MalformedMessage(f"a market message must be at most {LONGEST_MESSAGE} bytes, was {len(raw)}")
    try:
        return ujson.loads(raw)
    except (ValueError, OverflowError) as error:
        raise MalformedMessage(f"a market message must be JSON: {error}") from None


def _body(answer: HttpAnswer) -> dict[str, Any]:
    """Return the JSON object of a granted request."""
    try:
        body = ujson.loads(answer.body)
    except (ValueError, OverflowError):
        body = None
    if answer.status != 200:
        refusal = body if type(body) is dict else {}
        code = refusal.get("code")
        text = refusal.get("msg") or answer.body[:80].decode("ascii", "replace")
        raise VenueRefused(
            f"HTTP {answer.status}: {text}", answer.status, code if type(code) is int else 0, answer.retry_after_s
        )
    if type(body) is not dict:
        raise MalformedMessage(f"an answer must be a JSON object, was {answer.body[:60]!r}")
    return body


def _int(message: dict[str, Any], key: str) -> int:
    value = message[key]
    if type(value) is not int or not 0 <= value <= MOST_INT:
        raise MalformedMessage(f"{key} must be an integer of 0..2^63-1, was {value!r:.40}")
    return value


def _ns(message: dict[str, Any], key: str) -> int:
    value = message[key]
    if type(value) is not int or not 0 <= value <= MOST_MS:
        raise MalformedMessage(f"{key} must be a time in ms, was {value!r:.40}")
    return value * 1_000_000


def _text(message: dict[str, Any], key: str) -> str:
    value = message[key]
    if type(value) is not str:
        raise MalformedMessage(f"{key} must be a string, was {value!r:.40}")
    return value


def _levels(message: dict[str, Any], key: str) -> list[list[str]]:
    value = message[key]
    if type(value) is not list:
        raise MalformedMessage(f"{key} must be a list of levels, was {value!r:.40}")
    return value


def _positive(message: dict[str, Any], key: str) -> float:
    try:
        value = float(_text(message, key))
    except ValueError:
        value = -1.0
    if not isfinite(value) or value <= 0.0:
        raise MalformedMessage(f"{key} must be a number > 0, was {message[key]!r:.40}")
    return value


def _diff(message: dict[str, Any]) -> Diff:
    first_id = _int(message, "U")
    last_id = _int(message, "u")
    if first_id > last_id:
        raise MalformedMessage(f"depthUpdate: U must not be above u, were {first_id} and {last_id}")
    return Diff(_text(message, "s"), first_id, last_id, _ns(message, "E"), _levels(message, "b"), _levels(message, "a"))


def _trade(message: dict[str, Any]) -> TradeEvent:
    return TradeEvent(
        _text(message, "s"),
        _int(message, "t"),
        _ns(message, "T"),
        _positive(message, "p"),
        _positive(message, "q"),
        message["m"] is True,
    )


def _answer(message: dict[str, Any]) -> Answer | None:
    request_id = message.get("id")
    refusal = message.get("error", message if "code" in message else None)
    error = ""
    if refusal is not None:
        error = str(refusal.get("msg", refusal)) if type(refusal) is dict else str(refusal)
        error = error[:200] or "refused"
    return Answer(request_id if type(request_id) is int else -1, error)


def _rules(entry: dict[str, Any]) -> InstrumentRules:
    filters = {one["filterType"]: one for one in entry["filters"]}
    price = filters["PRICE_FILTER"]
    lot = filters["LOT_SIZE"]
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or {"minNotional": "0"}
    base = _text(entry, "baseAsset")
    quote_asset = _text(entry, "quoteAsset")
    return InstrumentRules(
        pair=f"{base}-{quote_asset}",
        symbol=_text(entry, "symbol"),
        base=base,
        quote=quote_asset,
        tick=_decimal(price["tickSize"]),
        step=_decimal(lot["stepSize"]),
        min_qty=_decimal(lot["minQty"]),
        max_qty=_decimal(lot["maxQty"]),
        min_notional=_decimal(notional["minNotional"]),
        trading=entry["status"] == "TRADING",
        max_notional=_decimal(notional["maxNotional"]) if "maxNotional" in notional else None,
    )


def _decimal(text: str) -> Decimal:
    """Return an exact decimal without trailing zeros: "0.01000000" is 0.01, "9000.00" is 9000."""
    value = Decimal(text)
    if not value.is_finite() or value < 0:
        raise ValueError(f"a rule must be a finite number >= 0, was {text}")
    return value.quantize(PLAIN_EXPONENT) if value == value.to_integral_value() else value.normalize()
