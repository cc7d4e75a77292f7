"""The stock binance connector that buys, far below the market, whenever a pacer says so. Used by `order_latency.py`.

Prints READY once it listens; `INFO` (see stock_connector.py) also has `fifo` and `log` of the pacer.
"""

from stock_connector import INFO, connect, run_to_end, until  # isort: skip  before anything else of Hummingbot

from decimal import Decimal

from hummingbot.core.data_type.common import OrderType

from paced_buyer import PacedBuyer

PAIR = "BTC-USDT"
AMOUNT = Decimal("0.001")
READY_S = 60.0
IDLE_LIMITS = 100_000  # the venue's are raised as much


async def run() -> None:
    """Connect, and buy until the process is ended."""
    exchange, ticking = connect(PAIR, IDLE_LIMITS)
    if not await until(lambda: exchange.ready, READY_S):
        raise TimeoutError(f"the connector was not ready within {READY_S:g} s: {exchange.status_dict}")
    price = exchange.quantize_order_price(PAIR, exchange.get_mid_price(PAIR) / 2)
    buyer = PacedBuyer(INFO["fifo"], INFO["log"], lambda: exchange.buy(PAIR, AMOUNT, OrderType.LIMIT, price))
    print("READY", flush=True)
    await ticking
    del buyer


run_to_end(run())
