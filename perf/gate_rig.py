"""A real gate process behind real queues, for measurements; the script stands for the supervisor and all workers.

    script: Workers --(order queues, wake FIFO)--> gate process --> simulated exchange
                    <---------- replies -----------

The boot message is the one that a supervisor sends for such a fleet, so the gate runs at every default of a fleet file.
"""

import os
import secrets
import select
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hive import keys
from hive.boots import Endpoint, Run, gate_boot
from hive.fleet import (
    EnvironmentKeys,
    FeedConfig,
    FleetConfig,
    LiveVenue,
    MonitoringConfig,
    MultiplexerConfig,
    OnStale,
    RateLimitingConfig,
    RuntimeConfig,
    StrategyConfig,
)
from hive.plan import WorkerPlan
from hive.shm.channel import Channel
from hive.shm.counters import CountersReader
from hive.shm.ids import fleet_id, order_prefix, strategy_tag
from hive.shm.link import Link
from hive.shm.messages import Intent, Reply, ReplyKind, unpack
from hive.shm.order_queue import OrderQueue
from hive.shm.segment import Segment, list_segments, segment_name, unlink
from hive.shm.snapshots import CountersSnapshot
from hive.shm.wake import Waker, WakeReceiver

NAME, VENUE = "perf-gate", "binance"
DEADLINE_S = 30.0
EPOCH = 1


URLS = ("rest_url", "ws_url", "ws_api_url")


def fleet_of(strategies: Iterable[str], venues: dict[str, dict[str, Any]], folder: Path) -> FleetConfig:
    """Return a fleet of strategies without code at these venues, everything else at its default."""
    return FleetConfig(
        name=NAME,
        fleet_id=fleet_id(NAME),
        path=folder / "fleet.yml",
        root=folder,
        runtime=RuntimeConfig(),
        multiplexer=MultiplexerConfig(),
        rate_limiting=RateLimitingConfig(),
        monitoring=MonitoringConfig(),
        feed=FeedConfig(),
        on_stale=OnStale(),
        on_crash="cancel",
        venues=tuple(
            LiveVenue(name, VENUE, **{key: told[key] for key in URLS}, keys=EnvironmentKeys("KEY", "SECRET"))
            for name, told in venues.items()
        ),
        strategies=tuple(StrategyConfig(name, strategy_tag(name), "script", name) for name in strategies),
    )


class Worker:
    """One worker's queues and link."""

    def __init__(self, rig: "GateRig", index: int) -> None:
        self.receiver = WakeReceiver(rig.run_dir / f"wake.worker{index}.{EPOCH}")
        names = [segment_name(rig.run.run, f"queue.{way}.worker{index}.{EPOCH}", EPOCH) for way in ("up", "down")]
        self._queues = [OrderQueue.create(name, EPOCH) for name in names]
        self._waker = Waker(rig.wake)
        up, down = self._queues
        self._link = Link(down, up, self._waker, EPOCH)
        place = {"type": "worker", "index": index, "epoch": EPOCH, "wake": str(self.receiver.path)}
        rig.channel.send({**place, "inbound": up.name, "outbound": down.name})

    def send(self, intent: Intent) -> None:
        """Hand an intent to the gate."""
        self._link.send(intent.pack())
        self._link.flush()

    def listen(self) -> list[Reply]:
        """Return what the gate has told since, and acknowledge it."""
        self.receiver.drain()
        replies = []
        while payloads := self._link.poll():
            replies += [unpack(payload) for payload in payloads]
        self._link.flush()
        return replies

    def close(self) -> None:
        """Close everything."""
        for queue in self._queues:
            queue.close()
        self._waker.close()
        self.receiver.close()


class GateRig:
    """One gate, and `workers` workers that share the strategies evenly.

    Args:
        told: what the exchange announced
        strategies: their ids
        workers: how many
        folder: for everything that the gate writes
        others: what further exchanges announced, the venues 1, 2, ...
    """

    def __init__(
        self,
        told: dict[str, Any],
        strategies: list[str],
        workers: int,
        folder: Path,
        others: Sequence[dict[str, Any]] = (),
    ) -> None:
        venues = {VENUE: told} | {f"{VENUE}{number}": one for number, one in enumerate(others, 1)}
        fleet = fleet_of(strategies, venues, folder)
        self.run_dir = folder / "run" / NAME
        for made in (self.run_dir, folder / "state" / "logs"):
            made.mkdir(parents=True)
        self.run = Run(secrets.token_hex(4), fleet, self.run_dir, folder / "state", os.getpid(), log_level="WARNING")
        plans = tuple(WorkerPlan(i, None, fleet.strategies[i::workers]) for i in range(workers))
        self.worker_of = {one.id: plan.index for plan in plans for one in plan.strategies}
        self.prefix_of = {one.id: order_prefix(fleet.fleet_id, one.tag) for one in fleet.strategies}
        sealed = [keys.seal(one["api_key"], one["api_secret"]) for one in venues.values()]
        endpoints = [
            Endpoint(index, name, VENUE, "live", *(one[key] for key in URLS), fleet.venues[0].recv_window_ms, key_fd)
            for index, ((name, one), key_fd) in enumerate(zip(venues.items(), sealed, strict=True))
        ]
        boot = gate_boot(self.run, EPOCH, endpoints, plans, living=dict.fromkeys(range(workers), EPOCH))
        boot["stale_after_ms"] = None  # there is no feed: orders go whatever the books do
        self.workers: list[Worker] = []
        self._counters: Segment | None = None
        self.channel, theirs = Channel.pair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hive.gate.process", "--channel-fd", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
            )
        self.channel.send(boot, sealed)
        for key_fd in sealed:
            os.close(key_fd)
        try:
            ready = self._message("ready")
            self._counters = Segment.open(ready["counters"], kind="counters")
            self.wake = ready["wake"]
            self.workers = [Worker(self, index) for index in range(workers)]
            self._wait_opened()
        except BaseException:
            self.close()
            raise

    def counters(self) -> CountersSnapshot:
        """Return the gate's counters."""
        return CountersReader(self._counters).read()

    def log(self) -> str:
        """Return what the gate has logged."""
        path = self.run.log_file("gate")
        return path.read_text() if path.exists() else ""

    def stop(self) -> None:
        """Let the gate cancel what is open, and wait for its end."""
        self.channel.send({"type": "stop", "deadline_s": DEADLINE_S})
        self._message("stopped")
        self.process.wait(DEADLINE_S)

    def close(self) -> None:
        """End what still runs; nothing of the run is left."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.channel.close()
        for worker in self.workers:
            worker.close()
        if self._counters is not None:
            self._counters.close()
        for info in list_segments(self.run.run):
            unlink(info.name)

    def _message(self, kind: str) -> dict[str, Any]:
        deadline = time.monotonic() + DEADLINE_S
        while (left_s := deadline - time.monotonic()) > 0:
            message = self.channel.recv_blocking(left_s)
            if message is None or message["type"] == "fatal":
                break
            if message["type"] == kind:
                return message
        raise RuntimeError(f"the gate must say {kind} within {DEADLINE_S:g} s, has logged:\n{self.log()}")

    def _wait_opened(self) -> None:
        deadline = time.monotonic() + DEADLINE_S
        waiting = set(self.workers)
        closed = {worker: dict.fromkeys(range(len(self.run.fleet.venues)), "not told yet") for worker in self.workers}
        while waiting:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the account must be open within {DEADLINE_S:g} s, logged:\n{self.log()}")
            select.select([worker.receiver for worker in waiting], [], [], 0.1)
            for worker in list(waiting):
                closed[worker] |= {one.venue: one.text for one in worker.listen() if one.kind is ReplyKind.OPENED}
                if not any(closed[worker].values()):
                    waiting.discard(worker)
