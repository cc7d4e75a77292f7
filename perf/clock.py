"""What does a tick cost, beside what the strategy itself does in it?

    bare      MultiStrategyClock ── tick() ──▶ trivial strategies, 1, 100 and 10,000, all due at the same instants
    loop      the same, driven by StrategyScheduler on a worker's event loop   ┐ the same loop, the same instants,
    upstream  Hummingbot's Clock on it, with as many trivial iterators         ┘ one after the other, CPU time per tick
    runtime   MultiStrategyClock ─▶ HummingbotContext.tick() ─▶ a real connector and an idle strategy with a book
              less the same two ticked by Hummingbot's Clock

A trivial strategy is a Python object whose tick() does nothing (one of all counts); a trivial iterator is Hummingbot's
`PyTimeIterator` with such a tick(). Hive's side keeps, as in a worker, three histograms, ticks, CPU time and whose turn
it is, and each tick runs in its strategy's context. The bare clock is timed by the wall, per burst; the median counts,
of the worst of the three sizes. Printed beside it: a loop in C that only calls each strategy in its context, after a
burst of the clock. Its cost grows with their number as well, by cache misses that no clock can save. On a loop each
clock runs for seconds at 10 ticks a second, and the CPU time of the thread is divided by the ticks; what counts is a
hundred strategies, a fleet's number. Hummingbot has all iterators tick at the same instants; Hive spreads strategies
over the interval, each with a wake-up of its own: what that costs is printed beside it.
"""

import asyncio
import gc
import importlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from clock_rig import Bench, Counting, hummingbot_worker
from harness import Args, Goal, Outcome, check, interleaved, per_call_ns, run
from hive.workers.book_watch import BookWatch
from hive.workers.clock import ORDERS, CallbackCounter
from hive.workers.host import WorkerServices
from hive.workers.loop import new_loop
from hive.workers.market import MarketData
from hive.workers.phases import phase_ns
from hive.workers.scheduler import StrategyScheduler

GOALS = (
    Goal("clock.us_per_tick", "<=", 1, "us"),
    Goal("clock.cost_10000_over_100", "<=", 1.5),
    Goal("clock.vs_upstream_clock", "<=", 1),
    Goal("clock.runtime_us_per_strategy_tick", "<=", 5, "us"),
)
SIZES = (1, 100, 10_000)
INTERVALS_NS = {1: 500_000, 100: 2_000_000, 10_000: 40_000_000}
LOOP_INTERVAL_S = 0.1


def measure(args: Args) -> Outcome:
    """Measure the bare clock, both clocks on a loop, and Hummingbot's strategies."""
    gc.collect()
    gc.freeze()  # as a worker does once its strategies are made
    rounds = args.size("rounds of bursts", 12, 4)
    seconds = args.size("seconds on the loop, for each clock and size", 6, 2)
    ticks = args.size("ticks of an idle strategy, in thousands", 8, 2)
    bare, by_order, floor = bare_us(rounds)
    with tempfile.TemporaryDirectory() as folder:
        runtime = asyncio.run(runtime_us(Path(folder), ticks))
    loops = {size: on_loop(size, seconds) for size in SIZES}
    values = {
        "clock.us_per_tick": max(bare.values()),
        "clock.cost_10000_over_100": bare[10_000] / bare[100],
        "clock.vs_upstream_clock": loops[100]["hive"] / loops[100]["upstream"],
        "clock.runtime_us_per_strategy_tick": runtime["hive"] - runtime["upstream"],
    }
    lines = [
        *(f"bare, {size:>6} strategies: {us:.3f} us a tick" for size, us in bare.items()),
        f"calls without a clock: {floor[100]:.3f} us at 100, {floor[10_000]:.3f} us at 10000: "
        f"{floor[10_000] - floor[100]:.3f} us more, with the clock {bare[10_000] - bare[100]:.3f} us",
        *(f"bare, 100 strategies, {order}: {us:.3f} us a tick" for order, us in by_order.items()),
        *(
            f"on a loop, {size:>6}: hive {one['hive']:.2f}, upstream {one['upstream']:.2f} us of CPU a tick, "
            f"ratio {one['hive'] / one['upstream']:.2f}; hive with phases {one['spread']:.2f} us"
            for size, one in loops.items()
        ),
        f"an idle strategy: hive {runtime['hive']:.2f}, upstream {runtime['upstream']:.2f} us a tick",
        f"a look at 20 books for strategies that tick on them: {runtime['look']:.2f} us, 500 times a second",
    ]
    details = {"bare_us": bare, "floor_us": floor, "orders_us": by_order, "loop_us": loops, "runtime_us": runtime}
    return Outcome(values, details, lines)


def bare_us(rounds: int) -> tuple[dict[int, float], dict[str, float], dict[int, float]]:
    """Return us per tick by the number of strategies, by the clock's order for a hundred, and by number without it."""
    loop = asyncio.new_event_loop()
    rivals: dict[tuple[str, int], Callable[[], list[float]]] = {}
    benches = []
    for order, size in [*(("round_robin", size) for size in SIZES), *((order, 100) for order in ORDERS[1:])]:
        bench = Bench(size, loop, order)
        benches.append((bench, bench.add_trivial(size, INTERVALS_NS[size])))
        rivals[order, size] = lambda bench=bench, size=size: bench.bursts(bursts_at(size))
    found = interleaved(rivals, repeats=rounds)
    calls = {
        size: lambda bench=bench, size=size: bench.bare_calls(bursts_at(size))
        for size, (bench, _) in zip(SIZES, benches, strict=False)
    }
    floor = interleaved(calls, repeats=rounds)
    for bench, first in benches:
        check_counted(bench, first)
    loop.close()
    us = median_us(found)
    by_size = {size: us["round_robin", size] for size in SIZES}
    return by_size, {order: us[order, 100] for order in ORDERS}, median_us(floor)


def bursts_at(size: int) -> int:
    """Return how many bursts of so many strategies a round has."""
    return 5 if size == 10_000 else 40


def median_us[K](rounds: dict[K, list[list[float]]]) -> dict[K, float]:
    """Return the median of all bursts, given in ns."""
    return {key: statistics.median(ns for burst in bursts for ns in burst) / 1e3 for key, bursts in rounds.items()}


def check_counted(bench: Bench, first: Counting) -> None:
    """Check that all were ticked, the first as often as was counted, and that each tick is in every histogram."""
    check(first.count == bench.contexts[0].counters.ticks.value, f"the first was ticked {first.count} times")
    for context in bench.contexts:
        counters = context.counters
        count = counters.ticks.value
        check(count > 0, f"{context.id} was not ticked")
        for histogram in (counters.tick_lateness_ns, counters.tick_lateness_by_hive_ns, counters.tick_duration_ns):
            check(histogram.read().count == count, f"{context.id}: a tick is missing in a histogram")


def on_loop(size: int, seconds: float) -> dict[str, float]:
    """Return us of CPU time per tick on an event loop: hive, upstream, and hive with the phases it really gives."""
    rivals = {
        "hive": lambda: hive_on_loop(size, seconds, lambda _: 0),
        "upstream": lambda: upstream_on_loop(size, seconds),
        "spread": lambda: hive_on_loop(size, seconds, lambda k: phase_ns(k, round(LOOP_INTERVAL_S * 1e9))),
    }
    return {name: statistics.median(one) for name, one in interleaved(rivals, repeats=3, warmup=0).items()}


def cpu_of(loop: asyncio.AbstractEventLoop, seconds: float) -> int:
    """Run a loop for so long; return the CPU time that it took in ns."""
    begun = time.thread_time_ns()
    loop.run_until_complete(asyncio.sleep(seconds))
    return time.thread_time_ns() - begun


def hive_on_loop(size: int, seconds: float, phase: Callable[[int], int]) -> float:
    """Return us of CPU per tick of Hive's clock."""
    loop = new_loop(CallbackCounter())
    bench = Bench(size, loop)
    interval_ns = round(LOOP_INTERVAL_S * 1e9)
    scheduler = StrategyScheduler(bench.clock, loop=loop, interval_ns=interval_ns, report=lambda *_: None)
    bench.add_trivial(size, interval_ns, phase)
    scheduler.start()
    took_ns = cpu_of(loop, seconds)
    scheduler.stop()
    loop.close()
    ticked = sum(context.counters.ticks.value for context in bench.contexts)
    check(ticked >= size * (seconds / LOOP_INTERVAL_S - 2) / 2, f"{ticked} ticks of {size} strategies are too few")
    return took_ns / ticked / 1e3


def upstream_on_loop(size: int, seconds: float) -> float:
    """Return us of CPU per tick of Hummingbot's clock."""
    rival = importlib.import_module("clock_hummingbot")  # its paths are set by now
    iterators = rival.trivial(size)
    clock = rival.Clock(rival.ClockMode.REALTIME, LOOP_INTERVAL_S)
    for iterator in iterators:
        clock.add_iterator(iterator)
    loop = new_loop(CallbackCounter())
    with clock:
        task = loop.create_task(clock.run())
        took_ns = cpu_of(loop, seconds)
        task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()
    ticked = size * iterators[0].count
    check(ticked >= size * (seconds / LOOP_INTERVAL_S - 2) / 2, f"{ticked} ticks of {size} iterators are too few")
    return took_ns / ticked / 1e3


async def runtime_us(folder: Path, thousands: int) -> dict[str, float]:
    """Return us per tick of an idle Hummingbot strategy, and us per look at the books that strategies tick on."""
    with hummingbot_worker(folder) as worker:
        services, bench = worker.services
        found = importlib.import_module("clock_hummingbot").idle_us(services, bench, worker.pair, thousands)
        return {**found, "look": look_us(services, worker.pair)}


def look_us(services: WorkerServices, pair: str) -> float:
    """Return us per look of BookWatch at 20 books for 10 strategies with two each, while none changes."""
    bench = Bench(10, services.loop)
    bench.add_trivial(10, 10**9)
    books = Same(services.books, pair)
    watch = BookWatch(bench.clock, books, loop=services.loop, nudged=lambda: None)
    for number, context in enumerate(bench.contexts):
        context.books.update({(0, f"{2 * number}"), (0, f"{2 * number + 1}")})
        watch.follow(context, 10_000_000)
    now_ns = time.monotonic_ns()
    took = per_call_ns(lambda: watch.look(now_ns), calls=500)
    watch.stop()
    check(books.asked == 20 * 600, f"{books.asked} versions were looked at")
    return statistics.median(took) / 1e3


class Same:
    """Stands for many books with the reader of one."""

    def __init__(self, market: MarketData, pair: str) -> None:
        self._market = market
        self._pair = pair
        self.asked = 0

    def version(self, venue: int, pair: str) -> tuple[int, int]:
        """Return the one book's version."""
        self.asked += 1
        return self._market.version(venue, self._pair)


if __name__ == "__main__":
    sys.exit(run(__doc__, GOALS, measure))
