"""The fleet of feed_faults.py and the simulated exchange under it, which outlives it and remembers its own books."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fault_judge import Truth, Window
from fault_probe import Claim, FleetBooks
from harness import WrongAnswer, check

ROOT = Path(__file__).parents[1]
HIVE = Path(sys.executable).with_name("hive")
NAME = "perf-feed-faults"
PAIRS = ("BNB-USDT", "BTC-USDT", "ETH-USDT", "SOL-USDT", "XRP-USDT")
DEPTH = 50
RATE = 400  # steps of the simulated market per second, over the 8 pairs that trade
PATIENCE_S = 60.0


class Exchange:
    """The simulated exchange, and a thread that fetches what it remembers."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "hive.sim", "--exit-on-eof", "--rate", str(RATE), "--symbols", "30"]
        command += ["--active", "8", "--seed", "11", "--connection-limit", "100000", "--ban-after", "1000"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.told = json.loads(self._process.stdout.readline())
        self.truths = {pair.replace("-", ""): Truth() for pair in PAIRS}
        self.offset_ns = 0  # wall minus monotonic
        self.missed = 0
        self._next = 0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._fetch_for_ever, daemon=True)
        self.post("/sim/tops", {"symbols": list(self.truths), "levels": DEPTH, "keep": 50_000})
        self._thread.start()

    def get(self, path: str) -> Any:
        """Return the answer to a GET."""
        with urllib.request.urlopen(self.told["rest_url"] + path, timeout=30) as answer:
            return json.load(answer)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Return the answer to a POST."""
        data, kind = json.dumps(body).encode(), {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.told["rest_url"] + path, data, kind), timeout=30) as it:
            return json.load(it)

    def fetch(self) -> None:
        """Take over what the exchange has remembered since."""
        with self._lock:
            found = self.get(f"/sim/tops?after={self._next}")
            self._next = found["next"]
            self.missed += found["missed"]
            self.offset_ns = found["wall_ms"] * 1_000_000 - found["ns"]
            for record in found["records"]:
                self.truths[record[1]].add(record)

    def orders(self) -> list[tuple[str, int]]:
        """Return (symbol, arrival in monotonic ns) of every order that the exchange took."""
        accounts = self.get("/sim/ledger")["accounts"]
        return [
            (order["symbol"], order["time"] * 1_000_000 - self.offset_ns)
            for account in accounts for order in account["orders"]
        ]

    def close(self) -> None:
        """End it."""
        self._stop.set()
        self._thread.join()
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def _fetch_for_ever(self) -> None:
        while not self._stop.wait(1.0):
            try:
                self.fetch()
            except OSError:  # it is ending
                return


@dataclass(slots=True)
class Run:
    """The fleet, its books and what was found while it ran."""

    exchange: Exchange
    folder: Path
    fleet: subprocess.Popen
    books: FleetBooks
    windows: list[Window] = field(default_factory=list)
    unequal: int = 0
    compared: int = 0
    lines: list[str] = field(default_factory=list)

    def wait(self, condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
        """Return the first true value."""
        deadline = time.monotonic() + patience_s
        while not (value := condition()):
            if self.fleet.poll() is not None:
                raise WrongAnswer(f"hive up ended while this was waited for: {what}\n{self.output()}")
            check(time.monotonic() < deadline, f"not in {patience_s:g} s: {what}\n{self.output()}")
            time.sleep(0.005)
        return value

    def output(self) -> str:
        """Return the last of what `hive up` has printed."""
        return (self.folder / "output.txt").read_text()[-3000:]

    def status(self) -> dict[str, Any]:
        """Return `hive status --json`."""
        result = subprocess.run([HIVE, "status", NAME, "--json"], capture_output=True, text=True, timeout=60)
        return json.loads(result.stdout) if result.returncode == 0 else {}

    def feed_pid(self) -> int:
        """Return the feed's pid, 0 while there is none."""
        return next((one["pid"] for one in self.status().get("processes", ()) if one["role"] == "feed"), 0)

    def live(self) -> dict[str, Claim]:
        """Return what a reader is told of each book, {} unless all are LIVE."""
        self.books.look()
        if not self.books.alive() or set(self.books.readers) != set(PAIRS):
            return {}
        claims = {pair: self.books.claim(pair, True) for pair in PAIRS}
        return claims if all(claim.state == "LIVE" for claim in claims.values()) else {}

    def compare(self, what: str) -> None:
        """Wait until every book is LIVE and has the newest update, and compare it with the exchange's."""
        newest = {pair: self.exchange.get(f"/sim/book?symbol={pair}")["update_id"] for pair in PAIRS}
        left = set(PAIRS)
        deadline = time.monotonic() + 20
        while left and time.monotonic() < deadline:
            claims = self.live()
            self.exchange.fetch()
            for pair in [pair for pair in left if pair in claims and claims[pair].update_id >= newest[pair]]:
                claim = claims[pair]
                mine = (claim.bid, claim.bid_qty, claim.ask, claim.ask_qty, claim.bids, claim.asks, claim.checksum)
                if self.exchange.truths[pair.replace("-", "")].content.get(claim.update_id) == mine:
                    left.discard(pair)
            time.sleep(0.02)
        self.compared += len(PAIRS)
        self.unequal += len(left)
        if left:
            self.lines.append(f"unequal after {what}: {', '.join(sorted(left))}")


def write_fleet(folder: Path, exchange: Exchange) -> Path:
    """Copy the examples and return the file of the example fleet at this exchange."""
    shutil.copytree(ROOT / "examples", folder, dirs_exist_ok=True)
    fleet = yaml.safe_load((folder / "fleet.yml").read_text())
    urls = {key: exchange.told[key] for key in ("rest_url", "ws_url", "ws_api_url")}
    fleet["venues"] = {
        "binance": {"mode": "live", **urls, "api_key_env": "PERF_KEY", "api_secret_env": "PERF_SECRET"}
    }
    fleet["name"] = NAME
    fleet["feed"] = {"depth": DEPTH, "rules_interval_s": 2, "audit_interval_s": 30}
    fleet["monitoring"]["metrics_port"] = None
    path = folder / "fleet.yml"
    path.write_text(yaml.safe_dump(fleet))
    return path


@contextmanager
def fleet_run(folder: Path) -> Iterator[Run]:
    """Run exchange and fleet; end both."""
    exchange = Exchange()
    try:
        path = write_fleet(folder / "root", exchange)
        os.environ |= {"XDG_STATE_HOME": str(folder / "state"), "XDG_RUNTIME_DIR": str(folder)}
        keys = {"PERF_KEY": exchange.told["api_key"], "PERF_SECRET": exchange.told["api_secret"]}
        with (folder / "output.txt").open("wb") as output:
            fleet = subprocess.Popen(
                [HIVE, "up", "--workers", "2", "--strategies", path, "--report", folder / "report.json"],
                env={**os.environ, **keys}, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )
        try:
            yield Run(exchange, folder, fleet, FleetBooks(NAME))
        finally:
            if fleet.poll() is None:
                fleet.send_signal(signal.SIGTERM)
                try:
                    fleet.wait(90)
                except subprocess.TimeoutExpired:
                    fleet.kill()
                    fleet.wait()
    finally:
        exchange.close()
