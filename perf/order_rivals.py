"""The two that `order_latency.py` compares, at one simulated exchange: a fleet of Hive and the stock connector.

    pacer (the script) --(FIFO)--> buy() in a strategy of `hive up`, or in a process with the stock connector

Each takes rounds: so many orders at a rate, and then a list of when each was to be called and was.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

import yaml

from harness import check, paced, wait_until
from hive.shm.snapshots import HistogramSnapshot
from hive.state import FleetDir
from hive.top_sample import Sampler
from paced_buyer import INTENDED
from sim_rig import SimExchange

HERE = Path(__file__).parent
HIVE = Path(sys.executable).with_name("hive")
NAME = "perf-order-latency"
VENUE = "binance"
START_S = 120.0
ROUND_S = 120.0  # for a round's list to appear after its last order

type Row = tuple[str, int, int]
"""Client order id, intended time, time of the call; monotonic ns."""


class Pacer:
    """Tells a PacedBuyer when to buy."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.fifo = folder / "pacer"
        self.log = folder / "round"
        os.mkfifo(self.fifo)
        self._fd = os.open(self.fifo, os.O_RDWR)
        self._round = 0

    def buy(self, rate: float, count: int) -> list[Row]:
        """Let `count` orders be placed at `rate` a second; return the list of them."""
        for intended_ns in paced(round(1e9 / rate), count):
            os.write(self._fd, INTENDED.pack(intended_ns))
        self._round += 1
        os.write(self._fd, INTENDED.pack(-self._round))
        path = Path(f"{self.log}.{self._round}")
        wait_until(path.exists, lambda: f"{path.name}, the list of {count} orders", ROUND_S)
        rows = [(order, intended_ns, called_ns) for order, intended_ns, called_ns in json.loads(path.read_text())]
        check(len(rows) == count, f"{count} orders were to be placed, buy() was called {len(rows)} times")
        return rows

    def close(self) -> None:
        """Close the FIFO."""
        os.close(self._fd)


class Rival(Protocol):
    """Who is measured."""

    pacer: Pacer

    def close(self) -> None:
        """End it."""


class HiveFleet:
    """`hive up` with one worker and one script, at the journal's and everything else's defaults.

    Args:
        folder: for all files
        exchange: where it trades
    """

    def __init__(self, folder: Path, exchange: SimExchange) -> None:
        self.pacer = Pacer(folder / "hive")
        self._folder = folder
        root = folder / "root"
        (root / "scripts").mkdir(parents=True)
        (root / "conf" / "scripts").mkdir(parents=True)
        for name in ("latency_script.py", "paced_buyer.py"):
            (root / "scripts" / name).write_text((HERE / name).read_text())
        script = {"script_file_name": "latency_script.py", "fifo": str(self.pacer.fifo), "log": str(self.pacer.log)}
        (root / "conf" / "scripts" / "latency.yml").write_text(yaml.safe_dump(script))
        urls = {key: exchange.told[key] for key in ("rest_url", "ws_url", "ws_api_url")}
        keys = {"PERF_KEY": exchange.told["api_key"], "PERF_SECRET": exchange.told["api_secret"]}
        fleet = {
            "name": NAME,
            "runtime": {"tick_interval_ms": 1000},  # as the stock client has it
            "venues": {VENUE: {"mode": "live", **urls, "api_key_env": "PERF_KEY", "api_secret_env": "PERF_SECRET"}},
            "strategies": [{"id": "buyer", "script": "latency_script", "config": "latency.yml"}],
        }
        (folder / "fleet.yml").write_text(yaml.safe_dump(fleet))
        os.environ |= {"XDG_STATE_HOME": str(folder / "state"), "XDG_RUNTIME_DIR": str(folder)}
        command = [HIVE, "up", "--workers", "1", "--strategies", folder / "fleet.yml", "--root", root]
        with (folder / "output.txt").open("wb") as output:
            self._process = subprocess.Popen(
                command, env={**os.environ, **keys}, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        self._sampler = Sampler(FleetDir.of(NAME))

    def wait_ready(self) -> None:
        """Wait until the strategy runs."""
        wait_until(self._runs, lambda: "the fleet's strategy runs", START_S)

    def gate_histogram(self, name: str) -> HistogramSnapshot | None:
        """Return a histogram of the gate as it is now, None when it has none of that name."""
        sample = self._sampler.sample()
        return sample.counters["gate"].histograms.get((name, (("venue", VENUE),)))

    def close(self) -> None:
        """Stop it as an operator does."""
        self._sampler.close()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self.pacer.close()

    def _runs(self) -> bool:
        output = (self._folder / "output.txt").read_text()
        check(self._process.poll() is None, f"hive up ended:\n{output}")
        status = subprocess.run([HIVE, "status", NAME, "--json"], capture_output=True, text=True, timeout=60)
        found: dict[str, Any] = json.loads(status.stdout) if status.returncode == 0 else {}
        return [one["state"] for one in found.get("strategies", ())] == ["running"]


class StockConnector:
    """The process of stock_buyer.py."""

    def __init__(self, folder: Path, exchange: SimExchange) -> None:
        self.pacer = Pacer(folder / "stock")
        told = {"folder": str(folder / "stock"), "fifo": str(self.pacer.fifo), "log": str(self.pacer.log)}
        with (folder / "stock.txt").open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, HERE / "stock_buyer.py"], cwd=folder / "stock",
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            )
        self._errors = folder / "stock.txt"
        self._process.stdin.write(json.dumps({**exchange.told, **told}) + "\n")
        self._process.stdin.flush()

    def wait_ready(self) -> None:
        """Wait until it can trade."""
        line = self._process.stdout.readline()
        check(line == "READY\n", f"the stock connector did not start:\n{self._errors.read_text()[-3000:]}")

    def close(self) -> None:
        """Kill it: it has no other end."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            pipe.close()
        self.pacer.close()
