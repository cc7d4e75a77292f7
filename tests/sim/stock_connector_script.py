"""Run stock Hummingbot's own binance connector against a simulated exchange.

Reads one line of JSON from stdin (the exchange's announcement, with a folder for Hummingbot's files), and prints
one line of JSON with what happened. Runs in a process of its own, because Hummingbot keeps its state in singletons.
"""
from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
import types
from decimal import Decimal
from typing import Any

INFO: dict[str, Any] = json.loads(sys.stdin.readline())

import hummingbot  # noqa: E402  - the folders must be set before anything else of Hummingbot is imported

hummingbot.set_prefix_path(INFO["folder"])
hummingbot.set_data_path(INFO["folder"])

import hummingbot.connector.exchange.binance.binance_constants as constants  # noqa: E402
import hummingbot.connector.exchange.binance.binance_utils as utils  # noqa: E402
from hummingbot.client import hummingbot_application  # noqa: E402
from hummingbot.client.settings import AllConnectorSettings, ConnectorSetting, ConnectorType  # noqa: E402
from hummingbot.connector.exchange.binance.binance_exchange import BinanceExchange  # noqa: E402
from hummingbot.core.clock import Clock, ClockMode  # noqa: E402
from hummingbot.core.data_type.common import OrderType, TradeType  # noqa: E402
from hummingbot.core.event.event_forwarder import SourceInfoEventForwarder  # noqa: E402

PAIR = "BTC-USDT"


async def until(condition: Any, seconds: float) -> bool:
    """Wait until a condition holds; tell whether it did in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True


async def run() -> dict[str, Any]:
    """Trade a little and return what was seen."""
    constants.REST_URL = INFO["rest_url"] + "/api/"
    constants.WSS_URL = INFO["ws_url"]
    constants.WSS_API_URL = INFO["ws_api_url"]
    exchange = BinanceExchange(INFO["api_key"], INFO["api_secret"], trading_pairs=[PAIR])
    events: list[tuple[str, str]] = []
    forwarder = SourceInfoEventForwarder(
        lambda tag, source, event: events.append((type(event).__name__, getattr(event, "order_id", "")))
    )
    for tag in exchange.MARKET_EVENTS:
        exchange.add_listener(tag, forwarder)
    clock = Clock(ClockMode.REALTIME)
    clock.add_iterator(exchange)

    async def tick() -> None:
        with clock:
            await clock.run()

    ticking = asyncio.create_task(tick())
    ready = await until(lambda: exchange.ready, 40)
    report: dict[str, Any] = {"ready": ready, "status": exchange.status_dict}
    if ready:
        report.update(await trade(exchange, events))
    report["events"] = events
    ticking.cancel()
    return report


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


def main() -> None:
    """Run and print the report."""
    logging.basicConfig(level="WARNING", stream=sys.stderr)
    AllConnectorSettings.all_connector_settings = {
        "binance": ConnectorSetting(
            "binance", ConnectorType.Exchange, utils.EXAMPLE_PAIR, True, False, utils.DEFAULT_FEES, utils.KEYS, False,
            None, None, False,
        )
    }
    hummingbot_application.HummingbotApplication._main_app = types.SimpleNamespace(
        notify=print, add_application_warning=lambda warning: None, _mqtt=None
    )
    print("REPORT " + json.dumps(asyncio.run(run())), flush=True)
    # Hummingbot leaves tasks and threads behind that would hold the process up.
    os._exit(0)


main()
