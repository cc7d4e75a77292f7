"""What perf/clock.py ticks: trivial strategies in a worker's clock, and what a worker has for Hummingbot's."""

import asyncio
import importlib
import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from harness import check
from hive.shm.book import LIVE, BookTable, books_size
from hive.shm.broadcast import BroadcastWriter, broadcast_size
from hive.shm.counters import Counters, counters_size
from hive.shm.ids import fleet_id, strategy_tag
from hive.shm.segment import Segment, segment_name
from hive.workers.clock import CallbackCounter, MultiStrategyClock
from hive.workers.context import StrategyContext, StrategyCounters
from hive.workers.host import WorkerServices
from hive.workers.market import MarketData
from hive.workers.orders import OrderRouter
from hive.workers.scheduler import StrategyScheduler
from native import loops

PER_STRATEGY = len(StrategyCounters.__annotations__)
PAIR = "BTC-USDT"


class Trivial:
    """A strategy that does nothing."""

    __slots__ = ()

    def tick(self, timestamp: float) -> None:
        """Do nothing."""


class Counting:
    """A strategy that counts its ticks."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def tick(self, timestamp: float) -> None:
        """Count."""
        self.count += 1


def trivial(count: int) -> list[Counting | Trivial]:
    """Return strategies, the first of which counts for all."""
    return [Counting(), *(Trivial() for _ in range(count - 1))]


class Bench:
    """Counters, contexts and a clock as a worker has them.

    Args:
        count: how many strategies there may be.
        loop: of their contexts.
        order: of the clock.
    """

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop, order: str = "round_robin") -> None:
        capacity = 1 + PER_STRATEGY * count
        name = segment_name(secrets.token_hex(4), "counters.perf", 1)
        segment = Segment.create(name, counters_size(capacity, 3 * count), kind="counters", epoch=1)
        segment.unlink()
        self.counters = Counters.create(segment, capacity)
        self.callbacks = CallbackCounter()
        self.loop = loop
        running = self.counters.counter("running_strategy")
        self.clock = MultiStrategyClock(self.callbacks, order=order, running=running, budget_ns=1 << 60)
        self.contexts: list[StrategyContext] = []
        self.targets: list[Counting | Trivial] = []

    def context(self, name: str) -> StrategyContext:
        """Return one more context."""
        made = StrategyContext(
            name,
            strategy_tag(name),
            len(self.contexts),
            loop=self.loop,
            callbacks=self.callbacks,
            counters=StrategyCounters.of(self.counters, name),
        )
        self.contexts.append(made)
        return made

    def add_trivial(self, count: int, interval_ns: int, phase: Callable[[int], int] = lambda _: 0) -> Counting:
        """Put strategies into the clock, and return the first; `phase(k)` tells when in the interval they are due."""
        made = trivial(count)
        contexts = [self.context(f"s{number}") for number in range(count)]  # first, as a worker makes them at boot
        for number, (context, target) in enumerate(zip(contexts, made, strict=True)):
            self.clock.add(context, target, interval_ns, phase(number))
        self.targets = made
        return made[0]

    def bursts(self, count: int) -> list[float]:
        """Wait for the next due instants and tick all that are due, so often; return the ns per tick of each."""
        took = []
        clock, now = self.clock, time.monotonic_ns
        for _ in range(count):
            due = clock.next_due_ns()
            while now() < due:
                pass
            begun = now()
            ticked = len(clock.advance(begun))
            clock.next_due_ns()
            took.append((now() - begun) / ticked)
        return took

    def bare_calls(self, count: int) -> list[float]:
        """Call all in their contexts without a clock, each time after a burst of it; return the ns per call of each.

        What no clock can save: the calls, and the cache misses on the strategies' own objects.
        """
        counting = Counting()
        targets = [counting, *self.targets[1:]]
        contexts = [context.pycontext for context in self.contexts]
        took = []
        for _ in range(count):
            self.bursts(1)
            took.append(loops.tick_each(contexts, targets, 0.0))
        check(counting.count == count, f"{count} rounds of calls ticked the first {counting.count} times")
        return took


@contextmanager
def hummingbot_worker(folder: Path) -> Iterator[SimpleNamespace]:
    """Give what a worker has before it makes strategies, with one book in shared memory; on the running loop."""
    host = importlib.import_module("hummingbot.runtime.host").HummingbotHost
    config = {"fleet": "perf", "root": str(folder), "data": str(folder / "data"), "venues": ["binance"]}
    host.preload({**config, "strategies": []})
    known = importlib.import_module("hummingbot.runtime.selftest").KNOWN
    run = secrets.token_hex(4)
    books = Segment.create(segment_name(run, "books", 1), books_size(1, 20), kind="books", epoch=1)
    trades = Segment.create(segment_name(run, "trades", 1), broadcast_size(64), kind="trades", epoch=1)
    try:
        table = BookTable(books, 1, 20)
        tape = BroadcastWriter(trades, 64)
        slot = table.add(known)
        now = time.monotonic_ns()
        steps = np.arange(1, 11) * 0.01
        table.writer(slot).publish(now, now, now, now, 100 - steps, np.ones(10), 100 + steps, np.ones(10))
        table.set_state(slot, LIVE, now)
        books.beat(now)
        yield SimpleNamespace(pair=known.pair, table=table, tape=tape, services=services(books.name, trades.name))
    finally:
        for segment in (books, trades):
            with suppress(BufferError):
                segment.close()
            segment.unlink()


def services(books: str, trades: str) -> tuple[WorkerServices, Bench]:
    """Return what a worker offers to its host over these segments, and the bench with its clock."""
    loop = asyncio.get_running_loop()
    bench = Bench(4, loop)
    market = MarketData(want=lambda venue, wishes: None, stale_after_ms=600_000)
    market.attach(0, 1, books, trades)
    router = OrderRouter(loop=loop, now_ns=time.monotonic_ns, market=market)
    scheduler = StrategyScheduler(bench.clock, loop=loop, interval_ns=10**8, report=lambda *_: None)
    made = WorkerServices(
        loop=loop,
        orders=router,
        books=market,
        scheduler=scheduler,
        counters=bench.counters,
        callbacks=bench.callbacks,
        now_ns=time.monotonic_ns,
        log=logging.getLogger("perf"),
        fleet_id=fleet_id("perf"),
        run_dir="",
        worker_epoch=1,
        tick_interval_ns=10**8,
        venues=({"index": 0, "name": "binance"},),
        request=market.instruments,
    )
    return made, bench
