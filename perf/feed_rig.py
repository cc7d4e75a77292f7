"""A real feed process and a sender in front of it, for measurements: started here, and ended by close()."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from hive.priority import prefer
from hive.shm.book import LIVE, BookDirectory
from hive.shm.channel import Channel
from hive.shm.counters import CountersReader
from hive.shm.segment import Segment

HERE = Path(__file__).parent
DEADLINE_S = 180.0
SCHEDULER_CLOCK = 2  # of a process, in the numbers that clock_gettime takes


class Sender:
    """The process of market_sender.py. `cpus`: what it may use."""

    def __init__(self, instruments: int, cpus: set[int], seed: int = 1) -> None:
        self._process = subprocess.Popen(
            [sys.executable, HERE / "market_sender.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        os.sched_setaffinity(self._process.pid, cpus)
        self.where = self._ask({"instruments": instruments, "seed": seed})
        self.pairs: list[str] = self.where["pairs"]

    def generate(self, count: int, group: int) -> None:
        """Make the next `count` messages ready, to be sent `group` at a time."""
        self._ask({"generate": count, "group": group})

    def send(self, rate: float, group: int, log: Path | None = None) -> dict[str, float]:
        """Send what was generated, and wait for the end; return {"sent", "seconds", "cpu_s", "late_us"}."""
        return self._ask({"rate": rate, "group": group, "log": str(log) if log else ""})

    def close(self) -> None:
        """End it."""
        self._process.stdin.close()
        self._process.wait(DEADLINE_S)
        self._process.stdout.close()

    def _ask(self, wish: dict[str, Any]) -> dict[str, Any]:
        self._process.stdin.write(json.dumps(wish) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


class Feed:
    """The process of hive.feed.process, preferred by the scheduler as `hive up` has it. `cpus`: what it may use."""

    def __init__(self, sender: Sender, depth: int, cpus: set[int]) -> None:
        self._channel, theirs = Channel.pair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hive.feed.process", "--channel-fd", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
            )
        os.sched_setaffinity(self._process.pid, cpus)
        prefer(self._process.pid)
        venue = {"index": 0, "name": "perf", "kind": "binance", "max_connections": 1}
        venue |= {"audit_interval_s": 0, "silence_s": 3600}  # nothing is sent before every book is live
        venue |= {"feed_share": 0.99}  # 1,000 snapshots within the first minute
        venue |= {"rest_url": sender.where["rest_url"], "ws_url": sender.where["ws_url"]}
        sizes = {"depth": depth, "versions": 4, "capacity": len(sender.pairs), "trades_capacity": 4096}
        boot = {"type": "boot", "run": f"{os.getpid():08x}", "fleet": "perf", "epoch": 1, "log_level": "WARNING"}
        self._channel.send({**boot, "supervisor_pid": os.getpid(), "venues": [venue], **sizes})
        ready = self._message("ready")
        self.books_segment: str = ready["venues"][0]["books"]
        self._counters = Segment.open(ready["counters"], kind="counters")
        self._books = Segment.open(self.books_segment, kind="books")
        self._reader = CountersReader(self._counters)
        self.directory = BookDirectory(self._books)

    def follow(self, pairs: list[str]) -> None:
        """Want the books of `pairs`, and wait until each is live."""
        wants = [[pair, "book"] for pair in pairs]
        self._channel.send({"type": "want", "venue": "perf", "who": "perf", "wants": wants})
        deadline = time.monotonic() + DEADLINE_S
        while len(self.live(pairs)) < len(pairs):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self.live(pairs))} of {len(pairs)} books were live within {DEADLINE_S:g} s")
            time.sleep(0.05)

    def live(self, pairs: list[str]) -> list[str]:
        """Return which of `pairs` have a live book."""
        slots = {pair: self.directory.find(pair) for pair in pairs}
        return [pair for pair, slot in slots.items() if slot >= 0 and self.directory.reader(slot).state == LIVE]

    def counter(self, name: str) -> int:
        """Return one of the feed's counters."""
        return self._reader.read().values[name, (("venue", "perf"),)]

    def wait_for(self, name: str, value: int) -> bool:
        """Return whether a counter reaches a value within a second."""
        deadline = time.monotonic() + 1.0
        while self.counter(name) < value and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.counter(name) >= value

    def cpu_s(self) -> float:
        """Return the CPU seconds that the process has used."""
        return time.clock_gettime(~self._process.pid << 3 | SCHEDULER_CLOCK)

    def close(self) -> None:
        """Stop it."""
        self._channel.send({"type": "stop"})
        self._process.wait(DEADLINE_S)
        self._counters.close()
        self._books.close()
        self._channel.close()

    def _message(self, kind: str) -> dict[str, Any]:
        while True:
            message = self._channel.recv_blocking(DEADLINE_S)
            if message is None or message["type"] == "fatal":
                raise RuntimeError(f"the feed did not start: {message}")
            if message["type"] == kind:
                return message
