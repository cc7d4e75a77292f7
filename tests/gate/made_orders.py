"""Orders and their fills, as a ledger would hold them."""

import itertools
from decimal import Decimal

from hive.gate.order import Order, State
from hive.gate.venue import Trade
from hive.shm.messages import IntentKind, OrderType, Side, TimeInForce

BUY, SELL = Side.BUY, Side.SELL
LIMIT, MAKER, MARKET = OrderType.LIMIT, OrderType.LIMIT_MAKER, OrderType.MARKET
MINE, OTHERS = "mine2", "other"


class Desk:
    """Makes orders and fills, and numbers the fills of one account."""

    ids = itertools.count(1)

    def __init__(self) -> None:
        self.serial = 0

    def order(
        self,
        side: Side,
        amount: str | Decimal,
        price: str | Decimal | None,
        tag: str = MINE,
        kind: OrderType = LIMIT,
        pair: str = "BTC-USDT",
        state: State = State.ACKED,
    ) -> Order:
        """Return an order; a market order has no price."""
        return Order(
            client_order_id=f"hvfleet{tag}-{next(self.ids)}",
            pair=pair,
            symbol=pair.replace("-", ""),
            tag=tag,
            origin=IntentKind.PLACE,
            side=side,
            order_type=kind,
            tif=TimeInForce.GTC,
            price=None if price is None else Decimal(price),
            amount=Decimal(amount),
            worker_epoch=1,
            created_ns=0,
            state=state,
        )

    def fill(
        self, order: Order, amount: str | Decimal, price: str | Decimal, fee: str | Decimal = "0", asset: str = "BNB"
    ) -> Trade:
        """Enter a fill into an order as the ledger does, and return it."""
        self.serial += 1
        trade = Trade(
            self.serial + 1000, Decimal(price), Decimal(amount), Decimal(fee), asset, True, 5, serial=self.serial
        )
        order.trades[trade.trade_id] = trade
        order.filled += trade.amount
        return trade
