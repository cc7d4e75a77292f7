"""Stock Hummingbot's own binance connector at a simulated exchange: import it first, in a process made for it.

Hummingbot keeps its state in singletons and its folders in module globals, which must be set before anything else of
it is imported. So importing this module reads a line of JSON from stdin: what the exchange announced, and a `folder`
for Hummingbot's files. It is `INFO` from then on.
"""

import asyncio
import json
import logging
import os
import sys
import time
import types
from collections.abc import Callable, Coroutine
from typing import Any

import hummingbot

INFO: dict[str, Any] = json.loads(sys.stdin.readline())
hummingbot.set_prefix_path(INFO["folder"])
hummingbot.set_data_path(INFO["folder"])

import hummingbot.connector.exchange.binance.binance_constants as constants  # noqa: E402
import hummingbot.connector.exchange.binance.binance_utils as utils  # noqa: E402
from hummingbot.client import hummingbot_application  # noqa: E402
from hummingbot.client.settings import AllConnectorSettings, ConnectorSetting, ConnectorType  # noqa: E402
from hummingbot.connector.exchange.binance.binance_exchange import BinanceExchange  # noqa: E402
from hummingbot.core.clock import Clock, ClockMode  # noqa: E402

POLL_S = 0.05


async def until(condition: Callable[[], Any], seconds: float) -> bool:
    """Wait until a condition holds; return whether it did in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True


def connect(pair: str, limits_factor: int = 1) -> tuple[BinanceExchange, asyncio.Task[None]]:
    """Return the connector and the task of its clock.

    Args:
        pair: the only one that it trades
        limits_factor: by which its own idea of the venue's limits is raised
    """
    constants.REST_URL = INFO["rest_url"] + "/api/"
    constants.WSS_URL = INFO["ws_url"]
    constants.WSS_API_URL = INFO["ws_api_url"]
    for limit in constants.RATE_LIMITS:
        limit.limit *= limits_factor
    exchange = BinanceExchange(INFO["api_key"], INFO["api_secret"], trading_pairs=[pair])
    clock = Clock(ClockMode.REALTIME)
    clock.add_iterator(exchange)

    async def tick() -> None:
        with clock:
            await clock.run()

    return exchange, asyncio.create_task(tick())


def run_to_end(main: Coroutine[Any, Any, None]) -> None:
    """Run `main` and end the process: Hummingbot leaves tasks and threads behind that would hold it up."""
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
    asyncio.run(main)
    sys.stdout.flush()
    os._exit(0)
