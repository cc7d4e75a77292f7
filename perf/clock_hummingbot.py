"""Hummingbot's side of perf/clock.py: imported once its paths are set (`HummingbotHost.preload`)."""

import statistics
import time
from types import SimpleNamespace

from hummingbot.core.clock import Clock
from hummingbot.core.clock_mode import ClockMode
from hummingbot.core.py_time_iterator import PyTimeIterator
from hummingbot.strategy.strategy_py_base import StrategyPyBase

from clock_rig import Bench
from harness import check, interleaved
from hive.workers.host import WorkerServices
from hummingbot.runtime.clock import ContextClock
from hummingbot.runtime.connector import SharedExchange
from hummingbot.runtime.context import HummingbotContext
from hummingbot.runtime.rules import VenueRules

INTERVAL_NS = 400_000
AT_ONCE = 250  # ticks of one turn


class Trivial(PyTimeIterator):
    """An iterator of Hummingbot's clock that does nothing."""

    def tick(self, timestamp: float) -> None:
        """Do nothing."""


class Counting(PyTimeIterator):
    """An iterator that counts its ticks."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def tick(self, timestamp: float) -> None:
        """Count."""
        self.count += 1


def trivial(count: int) -> list[Counting | Trivial]:
    """Return iterators, the first of which counts for all."""
    return [Counting(), *(Trivial() for _ in range(count - 1))]


class Idle(StrategyPyBase):
    """A strategy of Hummingbot's in Python that has nothing to do."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def tick(self, timestamp: float) -> None:
        """Count."""
        self.count += 1


class Core:
    """What HummingbotContext.tick() ticks, without the start of a strategy."""

    tick = HummingbotContext.tick

    def __init__(self, strategy: Idle, connector: SharedExchange, context: object, now: float) -> None:
        self.context = context
        self.connector_manager = SimpleNamespace(connectors={connector.name: connector})
        self.clock = ContextClock(0.1, now)
        self.clock.add_iterator(connector)
        self.clock.add_iterator(strategy)


def make(services: WorkerServices, bench: Bench, pair: str, name: str) -> tuple[object, Idle, SharedExchange]:
    """Return an idle strategy with a connector of its own, and their context."""
    context = bench.context(name)

    def inside() -> tuple[Idle, SharedExchange]:
        connector = SharedExchange("binance", 0, [pair], True, context, services, VenueRules())
        strategy = Idle()
        strategy.add_markets([connector])
        return strategy, connector

    return context, *context.run(inside)


def idle_us(services: WorkerServices, bench: Bench, pair: str, thousands: int) -> dict[str, float]:
    """Return us per tick of an idle strategy with its connector: by Hive's clock and context, by upstream's clock."""
    context, strategy, connector = make(services, bench, pair, "hive")
    core = context.run(Core, strategy, connector, context, time.time())
    bench.clock.add(context, core, INTERVAL_NS, 0)
    other, idle, exchange = make(services, bench, pair, "upstream")
    at = time.time()
    clock = Clock(ClockMode.BACKTEST, 0.1, at, at + 10**9)
    clock.add_iterator(exchange)
    clock.add_iterator(idle)
    clock.__enter__()  # starts the iterators

    def by_hive() -> float:
        return statistics.median(bench.bursts(AT_ONCE)) / 1e3

    def by_upstream() -> float:
        nonlocal at
        at += AT_ONCE * 0.1
        begun = time.perf_counter_ns()
        clock.backtest_til(at)
        return (time.perf_counter_ns() - begun) / AT_ONCE / 1e3

    found = interleaved({"hive": by_hive, "upstream": by_upstream}, repeats=4 * thousands)
    check(strategy.count == context.counters.ticks.value > 0, "a tick did not reach the strategy")
    check(abs(idle.count - (4 * thousands + 1) * AT_ONCE) <= 2 * (4 * thousands + 1), f"upstream ticked {idle.count}")
    other.run(clock.__exit__, None, None, None)
    context.run(core.clock.close)
    return {name: statistics.median(us) for name, us in found.items()}
