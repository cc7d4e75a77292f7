"""A listener of the engine that writes everything down."""
from __future__ import annotations

from typing import Any


class Recording:
    """What the engine told, in order."""

    def __init__(self) -> None:
        self.trades: list[Any] = []
        self.reports: list[tuple[str, str, str]] = []
        self.events: list[tuple[Any, ...]] = []

    def on_trade(self, trade: Any) -> None:
        """Record a trade."""
        self.trades.append(trade)
        self.events.append((
            "trade", trade.symbol.name, trade.trade_id, trade.price, trade.quantity, trade.maker.order_id,
            trade.taker.order_id,
        ))

    def on_report(self, order: Any, execution: str, fill: Any, now_ms: int) -> None:
        """Record an order's report."""
        self.reports.append((order.client_id, execution, order.status))

    def on_done(self, account: Any, symbol: Any, now_ms: int) -> None:
        """Record that balances may have changed."""
        self.reports.append((account.name, "balances", symbol.name))
