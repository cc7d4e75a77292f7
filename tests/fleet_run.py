"""Run `hive` as its user does: real commands, a private home, and an exchange that outlives the fleet."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from hive.shm.ids import parse_order_id, strategy_tag

EXAMPLES = Path(__file__).parents[1] / "examples"
HIVE = [str(Path(sys.executable).with_name("hive"))]
PATIENCE_S = 60.0
ENDS = {
    "FILLED": "filled",
    "BuyOrderCompleted": "filled",
    "SellOrderCompleted": "filled",
    "CANCELED": "cancelled",
    "OrderCancelled": "cancelled",
}


def wait_until[T](condition: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
    """Return the condition's first true value; AssertionError with `what` at the deadline."""
    deadline = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not in {patience_s:g} s: {what}"
        time.sleep(0.1)


class FleetRun:
    """One fleet of a test: its files, its `hive up` process, and the commands that look at it."""

    def __init__(self, folder: Path, exchange: Any, strategies: list[dict], name: str = "trial", **sections: Any):
        self.folder = folder
        self.name = name
        self.exchange = exchange
        self.env = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "HOME": str(folder)}
        self.env |= {"TRIAL_KEY": exchange.told["api_key"], "TRIAL_SECRET": exchange.told["api_secret"]}
        self.file = folder / f"{name}.yml"
        self.file.write_text(yaml.safe_dump({**self._fleet(exchange, strategies), **sections}))
        self.process: subprocess.Popen | None = None
        self.report_file = folder / "report.json"
        self.output = folder / "output.txt"

    def _fleet(self, exchange: Any, strategies: list[dict]) -> dict[str, Any]:
        return {
            "name": self.name,
            "venues": {
                "binance": {
                    "mode": "live",
                    "rest_url": exchange.told["rest_url"],
                    "ws_url": exchange.told["ws_url"],
                    "ws_api_url": exchange.told["ws_api_url"],
                    "api_key_env": "TRIAL_KEY",
                    "api_secret_env": "TRIAL_SECRET",
                }
            },
            "strategies": strategies,
        }

    def up(self, *options: str, workers: int = 2) -> None:
        """Start `hive up`; its output goes to a file."""
        command = [*HIVE, "up", "--workers", str(workers), "--strategies", str(self.file), "--root", str(EXAMPLES)]
        command += ["--report", str(self.report_file), *options]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                command, env=self.env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    def hive(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run another command of hive."""
        return subprocess.run([*HIVE, *arguments], env=self.env, capture_output=True, text=True, timeout=60)

    def status(self) -> dict[str, Any] | None:
        """Return `hive status --json`, None while there is none."""
        result = self.hive("status", self.name, "--json")
        return json.loads(result.stdout) if result.returncode == 0 else None

    def wait_running(self, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """Return the status once every strategy runs."""

        def running() -> dict[str, Any] | None:
            assert self.process.poll() is None, self.text()
            status = self.status()
            if status and status["strategies"] and all(s["state"] == "running" for s in status["strategies"]):
                return status
            return None

        return wait_until(running, f"every strategy running\n{self.text()}", patience_s)

    def pids(self, role: str) -> list[int]:
        """Return the processes of a role."""
        return [process["pid"] for process in self.status()["processes"] if process["role"] == role]

    def stop(self, patience_s: float = PATIENCE_S) -> int:
        """Ask `hive up` to stop as an operator does, and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(patience_s)

    def close(self) -> None:
        """End whatever is left of `hive up`, for the case that a test failed."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def text(self) -> str:
        """Return what `hive up` has printed."""
        return self.output.read_text() if self.output.exists() else ""

    def report(self) -> dict[str, Any]:
        """Return the report that `hive up` has written at its end."""
        return json.loads(self.report_file.read_text())

    def recorded_orders(self) -> dict[str, list[dict]]:
        """Return the exchange's orders of this account by strategy tag, oldest first."""
        by_tag: dict[str, list[dict]] = {}
        for order in self.exchange.orders():
            parsed = parse_order_id(order["clientOrderId"])
            by_tag.setdefault(parsed[1] if parsed else "?", []).append(order)
        return by_tag

    def seen_orders(self, strategy: str) -> set[tuple[str, str, str]]:
        """Return (client order id, exchange order id, end) of every order in a strategy's own database."""
        rows = self._select(strategy, 'SELECT id, exchange_order_id, last_status FROM "Order"')
        return {(order, exchange, ENDS.get(status, status)) for order, exchange, status in rows}

    def seen_fills(self, strategy: str) -> set[tuple[str, str]]:
        """Return (client order id, trade id) of every fill in a strategy's own database."""
        rows = self._select(strategy, "SELECT order_id, exchange_trade_id FROM TradeFill")
        return {(order, str(trade)) for order, trade in rows}

    def _select(self, strategy: str, query: str) -> list[tuple]:
        database = self.folder / "state" / "hive" / self.name / "data" / f"{strategy}.sqlite"
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            return connection.execute(query).fetchall()


def ends_of(orders: list[dict]) -> set[tuple[str, str, str]]:
    """Return (client order id, exchange order id, end) of orders that the exchange recorded and has ended."""
    return {(order["clientOrderId"], str(order["orderId"]), ENDS[order["status"]]) for order in orders}


def fills_of(orders: list[dict]) -> set[tuple[str, str]]:
    """Return (client order id, trade id) of every fill that the exchange recorded for these orders."""
    return {(order["clientOrderId"], str(fill["id"])) for order in orders for fill in order["fills"]}


def has_traded(orders: list[dict]) -> bool:
    """Return whether an order was filled and a later one was placed."""
    filled = [order["time"] for order in orders if order["fills"]]
    return bool(filled) and max(order["time"] for order in orders) > min(filled)


def tags(names: list[str]) -> dict[str, str]:
    """Return each strategy's tag by its id."""
    return {name: strategy_tag(name) for name in names}
