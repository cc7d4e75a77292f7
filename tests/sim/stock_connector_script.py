"""Trade a little with stock Hummingbot's own binance connector, and print one line of JSON with what happened.

Run by `test_stock_connector.py`; `perf/stock_connector.py` says what it reads from stdin.
"""
from __future__ import annotations

from stock_connector import BinanceExchange, connect, run_to_end, until  # isort: skip  before all else of Hummingbot

import asyncio
import json
from decimal import Decimal
from typing import Any

from hummingbot.core.data_type.common import OrderType, TradeType
from hummingbot.core.event.event_forwarder import SourceInfoEventForwarder

PAIR = "BTC-USDT"


async def run() -> None:
    """Trade a little and print what was seen."""
    exchange, ticking = connect(PAIR)
    events: list[tuple[str, str]] = []
    forwarder = SourceInfoEventForwarder(
        lambda tag, source, event: events.append((type(event).__name__, getattr(event, "order_id", "")))
    )
    for tag in exchange.MARKET_EVENTS:
        exchange.add_listener(tag, forwarder)
    ready = await until(lambda: exchange.ready, 40)
    report: dict[str, Any] = {"ready": ready, "status": exchange.status_dict}
    if ready:
        report.update(await trade(exchange, events))
    report["events"] = events
    ticking.cancel()
    print("REPORT " + json.dumps(report))


async def trade(exchange: BinanceExchange, events: list[tuple[str, str]]) -> dict[str, Any]:
    """Take, rest at the top until the flow fills it, rest far away and cancel."""
    rule = exchange.trading_rules[PAIR]
    ask, bid = exchange.get_price(PAIR, True), exchange.get_price(PAIR, False)
    base = exchange.get_balance("BTC")
    amount = Decimal("0.002")
    taken = exchange.buy(PAIR, amount, OrderType.LIMIT, ask * Decimal("1.002"))
    await until(lambda: ("BuyOrderCompletedEvent", taken) in events, 20)
    rested = exchange.sell(PAIR, amount, OrderType.LIMIT, exchange.get_price(PAIR, True))
    await until(lambda: ("SellOrderCompletedEvent", rested) in events, 60)
    far = exchange.buy(PAIR, amount, OrderType.LIMIT_MAKER, bid * Decimal("0.8"))
    await until(lambda: ("BuyOrderCreatedEvent", far) in events, 20)
    exchange.cancel(PAIR, far)
    await until(lambda: ("OrderCancelledEvent", far) in events, 20)
    poor = exchange.buy(PAIR, Decimal("50"), OrderType.LIMIT, bid)
    await until(lambda: ("MarketOrderFailureEvent", poor) in events, 20)
    await asyncio.sleep(0.5)
    return {
        "taken": taken, "rested": rested, "far": far, "poor": poor, "tick": str(rule.min_price_increment),
        "base_before": str(base), "base_after": str(exchange.get_balance("BTC")), "top": [str(bid), str(ask)],
        "trade_type": TradeType.BUY.name,
    }


run_to_end(run())
