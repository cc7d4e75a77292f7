"""The fleet of chaos.py, run by the real supervisor, and the simulated exchange apart from it, which survives it.

    exchange (own process)      hive up: supervisor, feed, gate, worker server, workers with ChaosHost
        /sim/ledger  <- judge -> diaries, one for each strategy
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from chaos_diary import DiaryReader
from hive.processes import is_same
from hive.shm.ids import fleet_id, strategy_tag
from hive.state import FleetDir

PERF = Path(__file__).parent
NAME = "chaos"
WORKERS = 2
PAIRS = ("BTC-USDT", "ETH-USDT", "SOL-USDT", "BNB-USDT")
STRATEGIES = 8
TICK_MS = 50
# Raised: a gate's start costs 300 of weight, and a new fleet's feed is charged all that the dead one spent.
STATED = {"orders-10s": 1500, "weight-limit": 60_000}
LOOK_S = 0.01


class Exchange:
    """The simulated exchange."""

    def __init__(self, seed: int) -> None:
        command = [sys.executable, "-m", "hive.sim", "--exit-on-eof", "--symbols", "5", "--active", "5"]
        command += ["--rate", "150", "--seed", str(seed), "--connection-limit", "1000000", "--keep-orders", "1000000"]
        command += [word for option, limit in STATED.items() for word in (f"--{option}", str(limit))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.told = json.loads(self._process.stdout.readline())

    def get(self, path: str) -> Any:
        """Return the answer to a GET."""
        with urllib.request.urlopen(self.told["rest_url"] + path, timeout=120) as answer:
            return json.load(answer)

    def orders(self) -> list[dict[str, Any]]:
        """Return every order that the exchange ever took, with its fills."""
        (account,) = self.get("/sim/ledger")["accounts"]
        if account["forgotten_orders"]:
            raise ValueError(f"the exchange must remember every order, forgot {account['forgotten_orders']}")
        return account["orders"]

    def refusals(self) -> dict[int, int]:
        """Return how many requests were answered with each HTTP status of refusal."""
        return {int(status): count for status, count in self.get("/sim/state")["refusals"].items()}

    def close(self) -> None:
        """End it."""
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def pair_of(number: int) -> str:
    """Return what a strategy trades."""
    return PAIRS[number % len(PAIRS)]


@dataclass(frozen=True, slots=True)
class Member:
    """A process of the fleet as fleet.json names it."""

    role: str
    index: int
    pid: int
    start_ticks: int

    @property
    def title(self) -> str:
        """Its name."""
        return f"worker {self.index}" if self.role == "worker" else self.role

    def kill(self) -> bool:
        """SIGKILL it; return whether it was there to be killed."""
        try:
            pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if not is_same(self.pid, self.start_ticks):  # the number is another process's by now
                return False
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        except ProcessLookupError:
            return False
        finally:
            os.close(pidfd)
        return True


class Fleet:
    """`hive up` of the fleet, again and again, and the diaries of its strategies; `host` makes the strategies.

    Args:
        folder: private and empty; short, because sockets lie below it.
        exchange: where it trades.
        strategies: how many.
        place_every: so many ticks lie between two orders of a strategy.
    """

    host = "chaos_host:ChaosHost"

    def __init__(self, folder: Path, exchange: Exchange, strategies: int = STRATEGIES, place_every: int = 1) -> None:
        self.names = [f"s{number:02}-{pair_of(number)[:3].lower()}" for number in range(strategies)]
        self.folder = folder
        self.fleet_id = fleet_id(NAME)
        self.tags = {name: strategy_tag(name) for name in self.names}
        self._diaries = folder / "diaries"
        self.readers = {name: DiaryReader(self._diaries / name) for name in self.names}
        self.runs: list[str] = []  # of every supervisor that was seen
        self.process: subprocess.Popen | None = None
        self.folder_of_run = FleetDir(folder / "hive" / NAME)
        self._root = folder / "root"
        self._place_every = place_every
        self._write(exchange)
        self._env = {**os.environ, "XDG_RUNTIME_DIR": str(folder), "XDG_STATE_HOME": str(folder / "state")}
        self._env |= {"CHAOS_KEY": exchange.told["api_key"], "CHAOS_SECRET": exchange.told["api_secret"]}
        self._env["PYTHONPATH"] = os.pathsep.join([str(PERF), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._ups = 0

    def _write(self, exchange: Exchange) -> None:
        self._diaries.mkdir(parents=True)
        (self._root / "scripts").mkdir(parents=True)
        (self._root / "scripts" / "chaos.py").write_text("# ChaosHost makes the strategies\n")
        urls = {key: exchange.told[key] for key in ("rest_url", "ws_url", "ws_api_url")}
        keys = {"api_key_env": "CHAOS_KEY", "api_secret_env": "CHAOS_SECRET"}
        fleet = {
            "name": NAME,
            "runtime": {"tick_interval_ms": TICK_MS, "hang_after_ms": 5000, "restart_wait_max_s": 0.2},
            "on_stale": {"stale_after_ms": 500},
            "feed": {"depth": 20},
            "venues": {"binance": {"mode": "live", **urls, **keys, "recv_window_ms": 1000}},
            "strategies": [
                {
                    "id": name,
                    "script": "chaos",
                    "set": {
                        "trading_pair": pair_of(number),
                        "diaries": str(self._diaries),
                        "place_every": self._place_every,
                    },
                }
                for number, name in enumerate(self.names)
            ],
        }
        (self._root / "fleet.yml").write_text(yaml.safe_dump(fleet))

    @property
    def logs(self) -> Path:
        """Where the processes log."""
        return self.folder / "state" / "hive" / NAME / "logs"

    def up(self) -> None:
        """Start `hive up`."""
        self._ups += 1
        command = [sys.executable, str(PERF / "chaos_up.py"), str(self._root / "fleet.yml"), str(self._root)]
        with (self.folder / "output.txt").open("ab") as output:
            output.write(f"---- hive up, for the {self._ups}. time, at {time.monotonic_ns()}\n".encode())
            self.process = subprocess.Popen(
                [*command, str(WORKERS), self.host],
                env=self._env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )

    def note(self, text: str) -> None:
        """Write a line into the harness's own log."""
        with (self.folder / "harness.txt").open("a") as file:
            file.write(f"{time.monotonic_ns()} {time.strftime('%H:%M:%S')} {text}\n")

    def output(self) -> str:
        """Return the last of what `hive up` has printed."""
        return (self.folder / "output.txt").read_text(errors="replace")[-3000:]

    def members(self) -> list[Member]:
        """Return the processes that fleet.json names and that live; none while another supervisor's lies there."""
        fleet = self.folder_of_run.read()
        if fleet is None:
            return []
        if fleet["run"] not in self.runs:
            self.runs.append(fleet["run"])
        named = [Member(one["role"], one["index"], one["pid"], one["start_ticks"]) for one in fleet["processes"]]
        return [one for one in named if is_same(one.pid, one.start_ticks)]

    def bury_supervisor(self) -> None:
        """Wait for a supervisor that was killed, keep its logs, and start the next one."""
        self.process.wait(10)
        if self.logs.is_dir():
            shutil.copytree(self.logs, self.folder / f"logs-{self._ups}", dirs_exist_ok=True)
        self.up()

    def look(self) -> None:
        """Read what the strategies have written."""
        for reader in self.readers.values():
            reader.read()

    def idle_since(self, since_ns: int) -> list[str]:
        """Return the strategies that have traded no order that they placed after `since_ns`."""
        self.look()
        return [name for name, reader in self.readers.items() if reader.traded_ns <= since_ns]

    def wait(self, ready: Callable[[], object], within_s: float) -> bool:
        """Return whether it becomes true within the time."""
        deadline = time.monotonic() + within_s
        while not ready():
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_S)
        return True

    def pause(self) -> None:
        """Let the strategies place nothing more and cancel all that they have."""
        (self._diaries / "pause").touch()

    def stop(self, within_s: float) -> int | None:
        """Stop the fleet well; return the exit code, None when it had to be killed."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            for one in self.members():
                one.kill()
            self.process.kill()
            self.process.wait()
            return None
