"""Exact money: sums and products of decimals without rounding, and what a fill moves.

What crosses the wire has at most 19 digits and a product of two 38, so that 100 digits hold any sum of them; Python's
default of 28 would round a large cost, and what is reserved would not be what is released. Floats are only the prices
of a live book, and become the decimal that they print as.
"""

import math
from collections.abc import Callable
from decimal import Context, Decimal

from hive.gate.order import Order
from hive.gate.venue import Trade
from hive.shm.messages import OrderType, Side

ZERO = Decimal(0)
ONE = Decimal(1)

_EXACT = Context(prec=100)
_SHORT = Context(prec=12)
add = _EXACT.add
subtract = _EXACT.subtract
multiply = _EXACT.multiply

TouchOf = Callable[[str], "tuple[Decimal | float, Decimal | float] | None"]
"""Takes a pair, returns its book's best bid and ask, None when it is not live; an empty side is 0 or NaN."""


def assets_of(pair: str) -> tuple[str, str]:
    """Return base and quote of a pair such as BTC-USDT."""
    base, _, quote = pair.rpartition("-")
    return base, quote


def exact(price: Decimal | float) -> Decimal:
    """Return a price as a decimal; a float as the shortest one that names it."""
    return price if isinstance(price, Decimal) else Decimal(repr(float(price)))


def taken_price(order: Order, touch_of: TouchOf) -> Decimal | None:
    """Return the live book's price that an order would take first, None when there is none."""
    touch = touch_of(order.pair)
    if touch is None:
        return None
    price = touch[1] if order.side is Side.BUY else touch[0]
    return exact(price) if 0 < price < math.inf else None


def limit_price(order: Order) -> Decimal | None:
    """Return an order's own price, None when it has none: a market order, or one found at the venue without."""
    if order.order_type is OrderType.MARKET or not order.price:
        return None
    return order.price


def unfilled(order: Order) -> Decimal:
    """Return how much of an order its fills have left open."""
    return max(ZERO, subtract(order.amount, order.filled))


def moves(order: Order, trade: Trade) -> tuple[tuple[str, Decimal], ...]:
    """Return (asset, signed amount) of everything that one fill moves: base, quote, fee."""
    base, quote = assets_of(order.pair)
    cost = multiply(trade.price, trade.amount)
    if order.side is Side.BUY:
        legs = ((base, trade.amount), (quote, cost.copy_negate()))
    else:
        legs = ((base, trade.amount.copy_negate()), (quote, cost))
    return (*legs, (trade.fee_asset, trade.fee.copy_negate())) if trade.fee else legs


def plain(value: Decimal) -> str:
    """Return a decimal for people: 12 digits, no exponent, no trailing zeros."""
    text = f"{_SHORT.plus(value):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
