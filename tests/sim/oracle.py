"""A slow, obvious exchange of one symbol: a list of orders, sorted anew for every match, in Decimals."""
from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

SMALLEST = Decimal("0.00000001")


@dataclass
class OracleOrder:
    """One order."""

    number: int
    account: str
    side: str
    kind: str
    tif: str
    price: Decimal
    quantity: Decimal
    remaining: Decimal
    status: str = "NEW"


class Oracle:
    """Places and cancels orders and keeps everybody's money, fees included."""

    def __init__(self, balances: dict[str, dict[str, Decimal]], maker: Decimal, taker: Decimal) -> None:
        self.free = {name: dict(amounts) for name, amounts in balances.items()}
        self.free["fees"] = {"BASE": Decimal(0), "QUOTE": Decimal(0)}
        self.rates = (maker, taker)
        self.orders: list[OracleOrder] = []
        self.fills: list[tuple[int, int, Decimal, Decimal]] = []

    def available(self, account: str, asset: str) -> Decimal:
        """Return what an account has and has not promised to an open order."""
        promised = sum(
            (order.price * order.remaining if asset == "QUOTE" else order.remaining)
            for order in self.open_orders()
            if order.account == account and (order.side == "BUY") == (asset == "QUOTE")
        )
        return self.free[account][asset] - promised

    def open_orders(self) -> list[OracleOrder]:
        """Return the resting orders, oldest first."""
        return [order for order in self.orders if order.status in ("NEW", "PARTIALLY_FILLED")]

    def opponents(self, order: OracleOrder) -> list[OracleOrder]:
        """Return whom an arriving order would meet, best first and oldest first."""
        wanted = [
            other for other in self.open_orders() if other.side != order.side and other is not order
            and (order.kind == "MARKET" or (
                other.price <= order.price if order.side == "BUY" else other.price >= order.price))
        ]
        return sorted(wanted, key=lambda other: (
            other.price if order.side == "BUY" else -other.price, other.number))

    def place(self, order: OracleOrder) -> bool:
        """Place an order; tell whether it was accepted."""
        opponents = self.opponents(order)
        if order.kind == "LIMIT_MAKER" and opponents:
            return False
        offered = sum(other.remaining for other in opponents)
        if order.kind == "MARKET":
            left, cost = order.quantity, Decimal(0)
            for other in opponents:
                cost += min(left, other.remaining) * other.price
                left -= min(left, other.remaining)
            need = cost if order.side == "BUY" else order.quantity
        else:
            need = order.price * order.quantity if order.side == "BUY" else order.quantity
        if need > self.available(order.account, "QUOTE" if order.side == "BUY" else "BASE"):
            return False
        self.orders.append(order)
        if order.tif == "FOK" and offered < order.quantity:
            order.status = "EXPIRED"
            return True
        for other in opponents:
            if not order.remaining:
                break
            self.trade(other, order, min(order.remaining, other.remaining))
        if order.remaining and (order.tif != "GTC" or order.kind == "MARKET"):
            order.status = "EXPIRED"
        return True

    def trade(self, maker: OracleOrder, taker: OracleOrder, quantity: Decimal) -> None:
        """Let two orders trade at the resting one's price."""
        cost = maker.price * quantity
        self.fills.append((maker.number, taker.number, maker.price, quantity))
        for order, rate in ((maker, self.rates[0]), (taker, self.rates[1])):
            order.remaining -= quantity
            order.status = "PARTIALLY_FILLED" if order.remaining else "FILLED"
            got, given = (("BASE", quantity), ("QUOTE", cost))
            if order.side == "SELL":
                got, given = given, got
            fee = (got[1] * rate).quantize(SMALLEST, ROUND_DOWN)
            self.free[order.account][given[0]] -= given[1]
            self.free[order.account][got[0]] += got[1] - fee
            self.free["fees"][got[0]] += fee
