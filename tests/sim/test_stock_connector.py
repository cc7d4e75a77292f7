"""Stock Hummingbot's own binance connector, pointed at the exchange, becomes ready, trades and cancels."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from sim.sim_process import Client, SimProcess

SCRIPT = Path(__file__).with_name("stock_connector_script.py")
PERF = Path(__file__).parents[2] / "perf"


@pytest.fixture(scope="module")
def traded(tmp_path_factory):
    """Run the connector once; return the exchange, its report and what it wrote to stderr."""
    exchange = SimProcess("--seed", "7", "--rate", "400", "--active", "4", "--symbols", "4")
    folder = tmp_path_factory.mktemp("hummingbot")
    try:
        result = subprocess.run(
            [sys.executable, str(SCRIPT)], input=json.dumps({**exchange.info, "folder": str(folder)}) + "\n",
            env={**os.environ, "PYTHONPATH": str(PERF)},
            capture_output=True, text=True, timeout=240, cwd=folder, check=False,
        )
        lines = [line for line in result.stdout.splitlines() if line.startswith("REPORT ")]
        assert lines, result.stderr[-4000:]
        yield exchange, json.loads(lines[0].removeprefix("REPORT ")), result.stderr
    finally:
        exchange.stop()


def test_the_connector_becomes_ready(traded):
    _, report, stderr = traded
    assert report["ready"], (report, stderr[-2000:])


def test_a_marketable_order_is_filled_at_once(traded):
    _, report, _ = traded
    assert ["OrderFilledEvent", report["taken"]] in report["events"]
    assert ["BuyOrderCompletedEvent", report["taken"]] in report["events"]


def test_a_resting_order_is_filled_by_the_flow(traded):
    _, report, _ = traded
    assert ["SellOrderCreatedEvent", report["rested"]] in report["events"]
    assert ["SellOrderCompletedEvent", report["rested"]] in report["events"]


def test_an_order_far_away_is_cancelled(traded):
    _, report, _ = traded
    assert ["OrderCancelledEvent", report["far"]] in report["events"]


def test_an_order_beyond_the_balance_fails(traded):
    _, report, _ = traded
    assert ["MarketOrderFailureEvent", report["poor"]] in report["events"]


def test_the_connector_logged_no_error(traded):
    _, report, stderr = traded
    lines = [line for line in stderr.splitlines() if line.startswith("ERROR") and report["poor"] not in line]
    assert not lines, lines


async def test_what_the_connector_saw_is_what_the_exchange_recorded(traded):
    exchange, report, _ = traded
    async with Client(exchange.info) as client:
        ledger = (await client.control("ledger"))["accounts"][0]
    orders = {order["clientOrderId"]: order for order in ledger["orders"]}
    assert set(orders) == {report["taken"], report["rested"], report["far"]}
    assert orders[report["taken"]]["status"] == orders[report["rested"]]["status"] == "FILLED"
    assert orders[report["far"]]["status"] == "CANCELED"
    for name in ("taken", "rested"):
        seen = sum(1 for event in report["events"] if event == ["OrderFilledEvent", report[name]])
        assert seen == len(orders[report[name]]["fills"])
    assert Decimal(ledger["balances"]["BTC"]["free"]) == Decimal(report["base_after"])
