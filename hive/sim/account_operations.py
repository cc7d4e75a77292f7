"""Operations of an account: place, cancel and query orders, trades, balances, with their documented weights."""
from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import islice
from typing import Any

from hive.sim import errors, messages
from hive.sim.errors import VenueError, missing
from hive.sim.filters import ORDER_PARAMETERS, client_id_of, integer, parse_order, symbol_of
from hive.sim.orders import LIMIT, MARKET, NEW, PARTIALLY_FILLED, Fill, Order
from hive.sim.requests import CANCEL, PLACE, QUERY, Operation, Request

_INSTEAD = "Combination of optional parameters invalid."


def _place(request: Request) -> dict[str, Any]:
    order = _new_order(request)
    exchange, now_ms = request.exchange, request.now_ms
    request.order_counts = exchange.limits.add_order(order.account.name, now_ms)
    slow = exchange.faults.take("slow_fate", time.monotonic_ns(), symbol=order.symbol.name)
    if slow is not None:
        if slow.executed:
            exchange.place_later(order, slow.hidden)
        raise VenueError(errors.UNKNOWN, errors.UNKNOWN_OUTCOME, slow.status)
    try:
        exchange.engine.place(order, now_ms)
    except VenueError:
        exchange.limits.drop_order(order.account.name, now_ms)
        request.order_counts = None
        raise
    response = request.params.get("newOrderRespType", "FULL" if order.type in (LIMIT, MARKET) else "ACK")
    if response == "ACK":
        return messages.order_ack(order)
    return (messages.order_full if response == "FULL" else messages.order_result)(order, now_ms)


def _test(request: Request) -> dict[str, Any]:
    _new_order(request)
    return {}


def _new_order(request: Request) -> Order:
    exchange, account = request.exchange, request.account
    symbol = symbol_of(request.params, exchange.symbols)
    order = parse_order(request.params, account, symbol, exchange.engine.last_price[symbol.name])
    exchange.limits.check_order(account.name, request.now_ms)
    if exchange.faults.take("reject", time.monotonic_ns(), symbol=symbol.name):
        raise VenueError(errors.ORDER_REJECTED, "This action is disabled on this account.")
    return order


def _cancel(request: Request) -> dict[str, Any]:
    exchange, account, params = request.exchange, request.account, request.params
    symbol = symbol_of(params, exchange.symbols)
    order_id, client_id = integer(params, "orderId"), params.get("origClientOrderId")
    if order_id is None and not client_id:
        raise _neither_id()
    if order_id is not None:
        order = account.open_orders.get(order_id)
        if order is not None and (order.symbol.name != symbol.name or client_id not in (None, order.client_id)):
            order = None
    else:
        order = account.open_by_client_id.get((symbol.name, client_id))
    if order is None:
        raise VenueError(errors.CANCEL_REJECTED, "Unknown order sent.")
    restriction = params.get("cancelRestrictions")
    if restriction is not None:
        if restriction not in ("ONLY_NEW", "ONLY_PARTIALLY_FILLED"):
            raise VenueError(-1145, "Invalid cancelRestrictions")
        if order.status != (NEW if restriction == "ONLY_NEW" else PARTIALLY_FILLED):
            raise VenueError(errors.CANCEL_REJECTED, "Order was not canceled due to cancel restrictions.")
    exchange.engine.cancel(order, request.now_ms, client_id_of(params, "newClientOrderId"))
    return messages.order_cancelled(order)


def _cancel_all(request: Request) -> list[dict[str, Any]]:
    symbol = symbol_of(request.params, request.exchange.symbols)
    orders = [order for order in request.account.open_orders.values() if order.symbol.name == symbol.name]
    if not orders:
        raise VenueError(errors.CANCEL_REJECTED, "Unknown order sent.")
    for order in orders:
        request.exchange.engine.cancel(order, request.now_ms, client_id_of({}, "newClientOrderId"))
    return [messages.order_cancelled(order) for order in orders]


def _status(request: Request) -> dict[str, Any]:
    params = request.params
    symbol = symbol_of(params, request.exchange.symbols)
    order_id, client_id = integer(params, "orderId"), params.get("origClientOrderId")
    if order_id is None and not client_id:
        raise _neither_id()
    if order_id is not None:
        order = request.account.orders.get(order_id)
        if order is not None and (order.symbol.name != symbol.name or client_id not in (None, order.client_id)):
            order = None
    else:
        order = request.account.last_by_client_id.get((symbol.name, client_id))
    if order is None:
        raise VenueError(errors.NO_SUCH_ORDER, "Order does not exist.")
    return messages.order_status(order)


def _open_orders(request: Request) -> list[dict[str, Any]]:
    orders = list(request.account.open_orders.values())
    if "symbol" in request.params:
        symbol = symbol_of(request.params, request.exchange.symbols)
        orders = [order for order in orders if order.symbol.name == symbol.name]
    return [messages.order_status(order) for order in orders]


def _all_orders(request: Request) -> list[dict[str, Any]]:
    params = request.params
    symbol = symbol_of(params, request.exchange.symbols)
    order_id, start_ms, end_ms = (integer(params, name) for name in ("orderId", "startTime", "endTime"))
    orders = [
        order for order in request.account.orders.values()
        if order.symbol.name == symbol.name and (order_id is None or order.order_id >= order_id)
        and (start_ms is None or order.created_ms >= start_ms) and (end_ms is None or order.created_ms <= end_ms)
    ]
    return [messages.order_status(order) for order in _page(orders, request, order_id is None and start_ms is None)]


def _my_trades(request: Request) -> list[dict[str, Any]]:
    params = request.params
    symbol = symbol_of(params, request.exchange.symbols)
    order_id, from_id = integer(params, "orderId"), integer(params, "fromId")
    start_ms, end_ms = integer(params, "startTime"), integer(params, "endTime")
    timed = start_ms is not None or end_ms is not None
    if timed and (from_id is not None or order_id is not None):
        raise VenueError(errors.BAD_COMBINATION, _INSTEAD)
    if start_ms is not None and end_ms is not None and end_ms - start_ms > 86_400_000:
        raise VenueError(-1127, "More than 24 hours between startTime and endTime.")

    def wanted(fill: Fill) -> bool:
        trade = fill.trade
        return (
            (order_id is None or fill.order.order_id == order_id) and (from_id is None or trade.trade_id >= from_id)
            and (start_ms is None or trade.time_ms >= start_ms) and (end_ms is None or trade.time_ms <= end_ms)
        )
    fills = [fill for fill in request.account.fills.get(symbol.name, ()) if wanted(fill)]
    newest_first = from_id is None and start_ms is None
    return [messages.my_trade(fill) for fill in _page(fills, request, newest_first)]


def _account_status(request: Request) -> dict[str, Any]:
    omit = request.params.get("omitZeroBalances", "false") == "true"
    return messages.account_status(request.account, request.exchange.engine.commission, omit)


def _commission(request: Request) -> dict[str, Any]:
    symbol = symbol_of(request.params, request.exchange.symbols)
    return messages.account_commission(symbol, request.exchange.engine.commission)


def _order_counts(request: Request) -> list[dict[str, object]]:
    limits = request.exchange.limits
    return limits.order_status(limits.order_counts(request.account.name, request.now_ms))


def _page(items: list[Any], request: Request, latest: bool) -> list[Any]:
    limit = integer(request.params, "limit")
    if limit is not None and limit < 1:
        raise missing("limit")
    limit = min(500 if limit is None else limit, 1000)
    return items[-limit:] if latest else list(islice(items, limit))


def _neither_id() -> VenueError:
    return VenueError(
        errors.MANDATORY_PARAMETER, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!"
    )


def _open_weight(params: Mapping[str, str]) -> int:
    return 6 if "symbol" in params else 80


def _trades_weight(params: Mapping[str, str]) -> int:
    return 5 if "orderId" in params else 20


def _operation(name: str, kind: str, weight: Any, handler: Any, *parameters: str) -> Operation:
    return Operation(name, kind, weight, frozenset(parameters), handler)


ORDER_PLACE = _operation("order.place", PLACE, 1, _place, *ORDER_PARAMETERS)
ORDER_TEST = _operation("order.test", QUERY, 1, _test, *ORDER_PARAMETERS)
ORDER_CANCEL = _operation(
    "order.cancel", CANCEL, 1, _cancel, "symbol", "orderId", "origClientOrderId", "newClientOrderId",
    "cancelRestrictions",
)
ORDER_STATUS = _operation("order.status", QUERY, 4, _status, "symbol", "orderId", "origClientOrderId")
OPEN_ORDERS = _operation("openOrders.status", QUERY, _open_weight, _open_orders, "symbol")
CANCEL_ALL = _operation("openOrders.cancelAll", CANCEL, 1, _cancel_all, "symbol")
ALL_ORDERS = _operation(
    "allOrders", QUERY, 20, _all_orders, "symbol", "orderId", "startTime", "endTime", "limit"
)
MY_TRADES = _operation(
    "myTrades", QUERY, _trades_weight, _my_trades, "symbol", "orderId", "startTime", "endTime", "fromId", "limit"
)
ACCOUNT = _operation("account.status", QUERY, 20, _account_status, "omitZeroBalances")
COMMISSION = _operation("account.commission", QUERY, 20, _commission, "symbol")
ORDER_COUNTS = _operation("account.rateLimits.orders", QUERY, 40, _order_counts)
