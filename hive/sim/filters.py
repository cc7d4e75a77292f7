"""From an order request's parameters to an Order: the venue's parameter rules first, then the symbol's filters."""
from __future__ import annotations

import re
import secrets
from collections.abc import Mapping

from hive.sim import errors
from hive.sim.accounts import Account
from hive.sim.decimals import notional, parse_units
from hive.sim.errors import VenueError, filter_failure, illegal, missing, not_required
from hive.sim.orders import BUY, FOK, GTC, IOC, LIMIT, LIMIT_MAKER, MARKET, SELL, Order
from hive.sim.symbols import Symbol

CLIENT_ID_RANGE = r"^[\.A-Z\:/a-z0-9_-]{1,36}$"
DECIMAL_RANGE = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
INTEGER_RANGE = r"^[0-9]{1,20}$"
SYMBOL_RANGE = r"^[A-Z0-9-_.]{1,20}$"
_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
_INTEGER = re.compile(r"[0-9]{1,20}")
_SYMBOL = re.compile(r"[A-Z0-9_.-]{1,20}")
_OTHER_TYPES = frozenset({"STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"})
RESPONSE_TYPES = frozenset({"ACK", "RESULT", "FULL"})

#: Parameters that a new order may carry beside those of every signed request.
ORDER_PARAMETERS = frozenset({
    "symbol", "side", "type", "timeInForce", "quantity", "quoteOrderQty", "price", "newClientOrderId",
    "newOrderRespType", "selfTradePreventionMode", "strategyId", "strategyType",
})


def required(params: Mapping[str, str], name: str) -> str:
    """Return a parameter that must be there. Raises VenueError -1102 when it is absent or empty."""
    value = params.get(name)
    if not value:
        raise missing(name)
    return value


def integer(params: Mapping[str, str], name: str) -> int | None:
    """Return a whole-number parameter or None. Raises VenueError -1100 or -1105 when it is not one."""
    value = params.get(name)
    if value is None:
        return None
    if not value:
        raise VenueError(errors.PARAMETER_EMPTY, f"Parameter '{name}' was empty.")
    if _INTEGER.fullmatch(value) is None:
        raise illegal(name, INTEGER_RANGE)
    return int(value)


def symbol_of(params: Mapping[str, str], symbols: Mapping[str, Symbol]) -> Symbol:
    """Return the symbol that a request names. Raises VenueError -1102, -1100 or -1121."""
    name = required(params, "symbol")
    if _SYMBOL.fullmatch(name) is None:
        raise illegal("symbol", SYMBOL_RANGE)
    symbol = symbols.get(name)
    if symbol is None:
        raise errors.bad_symbol()
    return symbol


def client_id_of(params: Mapping[str, str], name: str) -> str:
    """Return a client order id, a fresh one when none is given. Raises VenueError -1100 when it is illegal."""
    value = params.get(name)
    if value is None:
        return secrets.token_urlsafe(17)[:22]
    if _CLIENT_ID.fullmatch(value) is None:
        raise illegal(name, CLIENT_ID_RANGE)
    return value


def parse_order(params: Mapping[str, str], account: Account, symbol: Symbol, last_price: int) -> Order:
    """Return the order that a request describes, checked against all rules but funds and the book.

    last_price: the symbol's last trade in 1e-8 units, for the filters of market orders. Raises VenueError.
    """
    side = required(params, "side")
    if side not in (BUY, SELL):
        raise VenueError(errors.INVALID_SIDE, "Invalid side.")
    kind = required(params, "type")
    if kind in _OTHER_TYPES:
        text = kind.replace("_", " ").capitalize()
        raise VenueError(errors.ORDER_REJECTED, f"{text} orders are not supported for this symbol.")
    if kind not in (LIMIT, LIMIT_MAKER, MARKET):
        raise VenueError(errors.INVALID_ORDER_TYPE, "Invalid orderType.")
    response = params.get("newOrderRespType")
    if response is not None and response not in RESPONSE_TYPES:
        raise missing("newOrderRespType")
    if params.get("selfTradePreventionMode", "NONE") != "NONE":
        raise VenueError(errors.INVALID_PARAMETER, "Data sent for parameter 'selfTradePreventionMode' is not valid.")
    tif = _time_in_force(params, kind)
    if kind == MARKET:
        order = _market_order(params, account, symbol, side)
    else:
        if "quoteOrderQty" in params:
            raise not_required("quoteOrderQty")
        price = _decimal(params, "price")
        quantity = _decimal(params, "quantity")
        _check_positive("price", price)
        _check_positive("quantity", quantity)
        order = Order(account, symbol, side, kind, tif, price, quantity)
    order.client_id = client_id_of(params, "newClientOrderId")
    check_filters(order, last_price)
    if (symbol.name, order.client_id) in account.open_by_client_id:
        raise VenueError(errors.ORDER_REJECTED, "Duplicate order sent.")
    return order


def check_filters(order: Order, last_price: int) -> None:
    """Check an order against its symbol's filters. Raises VenueError -1013 naming the first that fails."""
    symbol, price, quantity = order.symbol, order.price, order.quantity
    if order.type != MARKET:
        if not symbol.min_price <= price <= symbol.max_price or price % symbol.tick:
            raise filter_failure("PRICE_FILTER")
        if not last_price <= price * 5 <= last_price * 25:
            raise filter_failure("PERCENT_PRICE_BY_SIDE")
    if quantity:
        if not symbol.min_quantity <= quantity <= symbol.max_quantity or quantity % symbol.step:
            raise filter_failure("LOT_SIZE")
        if order.type == MARKET and quantity > symbol.max_market_quantity:
            raise filter_failure("MARKET_LOT_SIZE")
    value = order.quote_quantity or notional(price or last_price, quantity)
    if value < symbol.min_notional or (order.type != MARKET and value > symbol.max_notional):
        raise filter_failure("NOTIONAL")
    if order.account.open_counts.get(symbol.name, 0) >= symbol.max_orders:
        raise filter_failure("MAX_NUM_ORDERS")


def _time_in_force(params: Mapping[str, str], kind: str) -> str:
    tif = params.get("timeInForce")
    if kind == LIMIT:
        if not tif:
            raise missing("timeInForce")
        if tif not in (GTC, IOC, FOK):
            raise VenueError(errors.INVALID_TIF, "Invalid timeInForce.")
        return tif
    if tif is not None:
        raise not_required("timeInForce")
    return GTC


def _market_order(params: Mapping[str, str], account: Account, symbol: Symbol, side: str) -> Order:
    if "price" in params:
        raise not_required("price")
    if "quantity" in params and "quoteOrderQty" in params:
        raise VenueError(errors.BAD_COMBINATION, "Combination of optional parameters invalid.")
    if not params.get("quantity") and not params.get("quoteOrderQty"):
        raise VenueError(
            errors.MANDATORY_PARAMETER, "Param 'quantity' or 'quoteOrderQty' must be sent, but both were empty/null!"
        )
    if "quantity" in params:
        quantity = _decimal(params, "quantity")
        _check_positive("quantity", quantity)
        return Order(account, symbol, side, MARKET, GTC, 0, quantity)
    money = _decimal(params, "quoteOrderQty")
    _check_positive("quoteOrderQty", money)
    return Order(account, symbol, side, MARKET, GTC, 0, 0, money)


def _decimal(params: Mapping[str, str], name: str) -> int:
    text = required(params, name)
    try:
        return parse_units(text)
    except OverflowError:
        raise VenueError(errors.BAD_PRECISION, f"Parameter '{name}' has too much precision.") from None
    except ValueError:
        raise illegal(name, DECIMAL_RANGE) from None


def _check_positive(name: str, units: int) -> None:
    if units <= 0:
        raise VenueError(errors.INVALID_MESSAGE, f"Invalid {name}.")
    if units >= 2**63:
        raise VenueError(-1108, f"Parameter '{name}' overflowed.")
