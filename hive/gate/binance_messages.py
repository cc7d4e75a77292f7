"""Binance's messages, read into the gate's values. (github.com/binance/binance-spot-api-docs)"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any

from hive.gate.errors import ClockRefused, Refused, Throttled, Unanswered
from hive.gate.limit_rules import LimitCount, LimitKind, LimitRule
from hive.gate.signing import Signer
from hive.gate.venue import Balance, NewOrder, OrderState, OrderStatus, Trade
from hive.gate.venue_limits import OPEN_CAP
from hive.shm.messages import OrderType, Side, TimeInForce

SECOND_NS = 1_000_000_000
_WINDOW_NS = {"SECOND": SECOND_NS, "MINUTE": 60 * SECOND_NS, "HOUR": 3600 * SECOND_NS, "DAY": 86_400 * SECOND_NS}
_COUNT_HEADER = re.compile(r"X-MBX-(USED-WEIGHT|ORDER-COUNT)-(\d+)([SMHD])", re.IGNORECASE)
_HEADER_KIND = {"USED-WEIGHT": LimitKind.WEIGHT, "ORDER-COUNT": LimitKind.ORDERS}
_KINDS = {kind.value: kind for kind in LimitKind}
_HEADER_UNIT = {unit[0]: window for unit, window in _WINDOW_NS.items()}

_STATUS = {
    "NEW": OrderStatus.LIVE,
    "PENDING_NEW": OrderStatus.LIVE,
    "PARTIALLY_FILLED": OrderStatus.LIVE,
    "PENDING_CANCEL": OrderStatus.LIVE,
    "FILLED": OrderStatus.FILLED,
    "CANCELED": OrderStatus.CANCELLED,
    "EXPIRED": OrderStatus.EXPIRED,
    "EXPIRED_IN_MATCH": OrderStatus.EXPIRED,
    "REJECTED": OrderStatus.REJECTED,
}

_SIDES, _TYPES, _TIMES_IN_FORCE = (
    {member: member.name for member in kind} for kind in (Side, OrderType, TimeInForce)
)  # a member's name is a call in Python

_OF_SYMBOLS = ("symbol", "baseAsset", "quoteAsset")

NO_SUCH_ORDER = -2013
FILTER_FAILURE = -1013  # the order breaks a rule of its symbol, or the symbol does not trade
ORDER_REJECTED = -2010  # by the account or the book: no balance, would match at once, ...
_INVALID_TIMESTAMP = -1021
TOO_MANY_ORDERS = -1015  # of the account; other programs at the same address may go on
_TOO_MANY = frozenset({-1003, TOO_MANY_ORDERS})
_MAYBE_EXECUTED = frozenset({-1000, -1001, -1006, -1007, -1008, -1016})  # "execution status unknown", or not clear
BAD_KEYS = frozenset({-1002, -1022, -2008, -2014, -2015})  # a restart does not cure these
_DUPLICATE = "Duplicate order sent."
_DEFAULT_WAIT_S = {429: 10.0, 418: 120.0, 403: 300.0}  # when the venue does not say how long


@dataclass(frozen=True, slots=True)
class Answer:
    """A venue's answer, by either way.

    Args:
        status: HTTP status, or the WebSocket API's status field
        body: the result, or None when it failed
        code, text: the error's
        counts: what it says of the limits
        retry_after_s: seconds until the next request is welcome; None when not said
        unread: intervals of limits that are not known
    """

    status: int
    body: Any = None
    code: int = 0
    text: str = ""
    counts: list[LimitCount] = field(default_factory=list)
    retry_after_s: float | None = None
    unread: tuple[str, ...] = ()

    def check(self) -> Any:
        """Return the body, or raise what the answer says of the request's fate."""
        if self.status == 200:
            return self.body
        said = f"{self.status} {self.code} {self.text}".strip()
        if self.status >= 500 or self.status == 408 or self.code in _MAYBE_EXECUTED:
            raise Unanswered(said)
        if self.status in (418, 429) or self.code in _TOO_MANY or (self.status == 403 and not self.code):
            wait_s = self.retry_after_s
            raise Throttled(_DEFAULT_WAIT_S.get(self.status, 10.0) if wait_s is None else wait_s, said)
        if self.code == _INVALID_TIMESTAMP:
            raise ClockRefused(self.code, self.text)
        if self.text == _DUPLICATE:
            raise Unanswered(said)  # an order of this id is open: what it is, only a question tells
        if 400 <= self.status < 500:
            raise Refused(self.code or self.status, self.text or f"HTTP status {self.status}")
        raise Unanswered(said)


def answer_of_ws(message: dict, venue_ms: int) -> Answer:
    """Read a response of the WebSocket API; `venue_ms` is the venue's time now."""
    error = message.get("error") or {}
    data = error.get("data") or {}
    retry_after_s = None
    if "retryAfter" in data:
        retry_after_s = max(0.0, (data["retryAfter"] - data.get("serverTime", venue_ms)) / 1000)
    limits = message.get("rateLimits", ())
    counts = limit_counts(limits)
    return Answer(
        status=message["status"],
        body=message.get("result"),
        code=error.get("code", 0),
        text=error.get("msg", ""),
        counts=counts,
        retry_after_s=retry_after_s,
        unread=() if len(counts) == len(limits) else unknown_intervals(limits),
    )


def answer_of_rest(status: int, body: Any, headers: Mapping[str, str]) -> Answer:
    """Read a REST response; `body` is its JSON, or None. `headers` finds names in any case, as HTTP wants it."""
    counts = []
    for name, value in headers.items():
        match = _COUNT_HEADER.fullmatch(name)
        if match and value.isdigit():
            window = int(match[2]) * _HEADER_UNIT[match[3].upper()]
            counts.append(LimitCount(_HEADER_KIND[match[1].upper()], window, int(value)))
    retry_after = headers.get("Retry-After", "")
    error = body if status != 200 and isinstance(body, dict) else {}
    if status == 200 and body is None:
        raise Unanswered("200 without JSON")
    return Answer(
        status=status,
        body=body if status == 200 else None,
        code=error.get("code", 0),
        text=error.get("msg", ""),
        counts=counts,
        retry_after_s=float(retry_after) if retry_after.isdigit() else None,
    )


def limit_rules(limits: list[dict]) -> list[LimitRule]:
    """Read exchangeInfo's rateLimits; kinds and intervals that the gate does not know are left out."""
    return [
        LimitRule(LimitKind(entry["rateLimitType"]), _window_ns(entry), int(entry["limit"]))
        for entry in limits
        if entry["rateLimitType"] in LimitKind and entry["interval"] in _WINDOW_NS
    ]


def limit_counts(limits: Sequence[dict]) -> list[LimitCount]:
    """Read a response's rateLimits; kinds and intervals that the gate does not know are left out."""
    return [
        LimitCount(kind, _window_ns(entry), int(entry["count"]))
        for entry in limits
        if (kind := _KINDS.get(entry["rateLimitType"])) is not None
        and "count" in entry
        and entry["interval"] in _WINDOW_NS
    ]


def unknown_intervals(limits: Sequence[dict]) -> tuple[str, ...]:
    """Return the intervals of rateLimits that the gate does not know."""
    return tuple(sorted({entry["interval"] for entry in limits} - _WINDOW_NS.keys()))


def needed(entry: dict) -> dict:
    """Return an object of a REST answer, but of exchangeInfo's symbols only what the gate needs: names, order cap.

    It tells 1.3 to 3 kB of each of its 1,500 symbols. Read whole, that leaves holes in the process's memory for good.
    """
    if "filters" not in entry:
        return entry
    kept = {name: entry[name] for name in _OF_SYMBOLS if name in entry}
    return kept | {"filters": [one for one in entry["filters"] if one["filterType"] == OPEN_CAP]}


def pairs(symbols: list[dict]) -> dict[str, str]:
    """Return {pair: symbol} of exchangeInfo's symbols."""
    return {f"{entry['baseAsset']}-{entry['quoteAsset']}": entry["symbol"] for entry in symbols}


def signed_order(order: NewOrder, recv_window_ms: int, timestamp_ms: int, signer: Signer) -> str:
    """Return the JSON of a new order's signed parameters for the WebSocket API: `order_params`, all in one piece.

    What is quoted as it is has no character that JSON escapes: numbers, names of Binance's, and a client order id.
    """
    key, symbol, order_id = signer.api_key, order.symbol, order.client_order_id
    side, kind, amount = _SIDES[order.side], _TYPES[order.order_type], f"{order.amount:f}"
    price = signed_price = tif = signed_tif = ""
    if order.order_type is not OrderType.MARKET:
        text = f"{order.price:f}"
        price, signed_price = f'"price":"{text}",', f"price={text}&"
    if order.order_type is OrderType.LIMIT:
        text = _TIMES_IN_FORCE[order.tif]
        tif, signed_tif = f'"timeInForce":"{text}",', f"timeInForce={text}&"
    signature = signer.sign(  # the names sorted
        f"apiKey={key}&newClientOrderId={order_id}&newOrderRespType=FULL&{signed_price}quantity={amount}"
        f"&recvWindow={recv_window_ms}&side={side}&symbol={symbol}&{signed_tif}timestamp={timestamp_ms}&type={kind}"
    )
    return (
        f'{{"symbol":{_quoted(symbol)},"side":"{side}","type":"{kind}","quantity":"{amount}",{price}{tif}'
        f'"newClientOrderId":"{order_id}","newOrderRespType":"FULL","recvWindow":{recv_window_ms},'
        f'"timestamp":{timestamp_ms},"apiKey":{_quoted(key)},"signature":"{signature}"}}'
    )


def order_params(order: NewOrder) -> dict[str, str | int]:
    """Return the parameters of a new order; its fills are asked for in the answer."""
    params: dict[str, str | int] = {
        "symbol": order.symbol,
        "side": _SIDES[order.side],
        "type": _TYPES[order.order_type],
        "quantity": f"{order.amount:f}",
        "newClientOrderId": order.client_order_id,
        "newOrderRespType": "FULL",
    }
    if order.order_type is not OrderType.MARKET:
        params["price"] = f"{order.price:f}"
    if order.order_type is OrderType.LIMIT:
        params["timeInForce"] = _TIMES_IN_FORCE[order.tif]
    return params


def order_state(body: dict, client_order_id: str = "") -> OrderState:
    """Read an order as order.place, order.cancel, order.status and openOrders give it.

    Args:
        client_order_id: the id that was asked about; a cancel's answer calls the order's id origClientOrderId
    """
    wall_ms = body.get("updateTime") or body.get("transactTime") or body.get("time") or 0
    return OrderState(
        client_order_id=client_order_id or body["clientOrderId"],
        exchange_order_id=str(body["orderId"]),
        symbol=body["symbol"],
        side=Side[body["side"]],
        status=_STATUS[body["status"]],
        executed=Decimal(body["executedQty"]),
        price=Decimal(body["price"]),
        amount=Decimal(body["origQty"]),
        wall_ns=wall_ms * 1_000_000,
    )


def placed_trades(body: dict) -> list[Trade]:
    """Read the fills in the answer to a new order; all of them took."""
    wall_ns = body.get("transactTime", 0) * 1_000_000
    return [
        Trade(
            trade_id=fill["tradeId"],
            price=Decimal(fill["price"]),
            amount=Decimal(fill["qty"]),
            fee=Decimal(fill["commission"]),
            fee_asset=_asset(fill["commissionAsset"]),
            maker=False,
            wall_ns=wall_ns,
        )
        for fill in body.get("fills", ())
    ]


def account_trade(body: dict) -> Trade:
    """Read one of myTrades."""
    return Trade(
        trade_id=body["id"],
        price=Decimal(body["price"]),
        amount=Decimal(body["qty"]),
        fee=Decimal(body["commission"]),
        fee_asset=_asset(body["commissionAsset"]),
        maker=body["isMaker"],
        wall_ns=body["time"] * 1_000_000,
    )


def execution_report(event: dict) -> tuple[OrderState, Trade | None]:
    """Read an executionReport: the order's state, and its fill when it has one."""
    state = OrderState(
        client_order_id=_reported_id(event),
        exchange_order_id=str(event["i"]),
        symbol=event["s"],
        side=Side[event["S"]],
        status=_STATUS[event["X"]],
        executed=Decimal(event["z"]),
        price=Decimal(event["p"]),
        amount=Decimal(event["q"]),
        wall_ns=event["T"] * 1_000_000,
    )
    if event["x"] != "TRADE":
        return state, None
    trade = Trade(
        trade_id=event["t"],
        price=Decimal(event["L"]),
        amount=Decimal(event["l"]),
        fee=Decimal(event["n"] or "0"),
        fee_asset=_asset(event["N"] or ""),
        maker=event["m"],
        wall_ns=event["T"] * 1_000_000,
    )
    return state, trade


def _reported_id(event: dict) -> str:
    """Return the id of the order that an executionReport is about: c, and of a cancel C, which c has cancelled.

    One that was amended in place (x is REPLACED) goes on as c, and C is what it was called before.
    """
    return event["c"] if event["x"] == "REPLACED" else event["C"] or event["c"]


def account_position(event: dict) -> list[Balance]:
    """Read an outboundAccountPosition."""
    return [Balance(entry["a"], Decimal(entry["f"]), Decimal(entry["l"])) for entry in event["B"]]


def account_balances(body: dict) -> list[Balance]:
    """Read the balances of an account that are not zero."""
    balances = (Balance(e["asset"], Decimal(e["free"]), Decimal(e["locked"])) for e in body["balances"])
    return [balance for balance in balances if balance.free or balance.locked]


def window_ns(interval: str, count: int) -> int:
    """Return the length of a window of `count` SECOND, MINUTE, HOUR or DAY."""
    return count * _WINDOW_NS[interval]


def _window_ns(entry: dict) -> int:
    return window_ns(entry["interval"], int(entry["intervalNum"]))


def _asset(name: str) -> str:
    return name.encode("ascii", "replace").decode("ascii")[:12]  # a reply holds 12 ASCII characters
