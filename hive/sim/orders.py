"""Orders and trades as the matching engine keeps them. All prices and quantities are in 1e-8 units."""
from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hive.sim.accounts import Account
    from hive.sim.symbols import Symbol

BUY = "BUY"
SELL = "SELL"
LIMIT = "LIMIT"
LIMIT_MAKER = "LIMIT_MAKER"
MARKET = "MARKET"
GTC = "GTC"
IOC = "IOC"
FOK = "FOK"

NEW = "NEW"
PARTIALLY_FILLED = "PARTIALLY_FILLED"
FILLED = "FILLED"
CANCELED = "CANCELED"
EXPIRED = "EXPIRED"
TRADE = "TRADE"


class Order:
    """One order: what was asked for and what became of it.

    `quantity` of a market order by quote amount is set when it is matched. `cancel_id` is the client id of the
    request that cancelled it; the venue reports that one as the order's id and the first one as the original.
    """

    __slots__ = (
        "account", "cancel_id", "client_id", "created_ms", "executed", "executed_quote", "fills", "order_id", "price",
        "quantity", "quote_quantity", "remaining", "side", "status", "symbol", "tif", "type", "updated_ms",
    )

    def __init__(self, account: Account, symbol: Symbol, side: str, type: str, tif: str, price: int, quantity: int,
                 quote_quantity: int = 0, client_id: str = "") -> None:
        self.account = account
        self.symbol = symbol
        self.side = side
        self.type = type
        self.tif = tif
        self.price = price
        self.quantity = quantity
        self.remaining = quantity
        self.quote_quantity = quote_quantity
        self.client_id = client_id
        self.cancel_id = ""
        self.order_id = 0
        self.executed = 0
        self.executed_quote = 0
        self.status = NEW
        self.created_ms = 0
        self.updated_ms = 0
        self.fills: list[Fill] = []

    @property
    def is_open(self) -> bool:
        """Tell whether the order can still trade."""
        return self.status == NEW or self.status == PARTIALLY_FILLED


class Trade:
    """One match between a resting (maker) and an arriving (taker) order."""

    __slots__ = ("maker", "price", "quantity", "quote", "symbol", "taker", "time_ms", "trade_id")

    def __init__(self, symbol: Symbol, trade_id: int, price: int, quantity: int, quote: int, maker: Order,
                 taker: Order, time_ms: int) -> None:
        self.symbol = symbol
        self.trade_id = trade_id
        self.price = price
        self.quantity = quantity
        self.quote = quote
        self.maker = maker
        self.taker = taker
        self.time_ms = time_ms

    @property
    def buyer_is_maker(self) -> bool:
        """Tell whether the resting order was the buying one."""
        return self.maker.side == BUY


class Fill:
    """One order's side of a trade, with the commission it paid."""

    __slots__ = ("commission", "commission_asset", "executed", "executed_quote", "is_maker", "order", "trade")

    def __init__(self, trade: Trade, order: Order, is_maker: bool, commission: int, commission_asset: str) -> None:
        self.trade = trade
        self.order = order
        self.is_maker = is_maker
        self.commission = commission
        self.commission_asset = commission_asset
        self.executed = order.executed
        self.executed_quote = order.executed_quote
