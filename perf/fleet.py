"""What do a hundred strategies cost in two workers, next to a hundred stock engines, and are they ticked in time?

                         +--> fleet of N, its own tick intervals: memory, growth, start, lateness     (1)
    simulated exchange --+--> fleet of 100, all at 1 s, alone: what a strategy costs; then beside     (2)
    (1,500 symbols,      |     stock engines, one process each, on the same account and market        (3)
     20 of them trade)   +--> fleet of 400, all at 1 s: what it costs there                           (4)

The fleet is perf/hundred.yml. The exchange is a process of the script's; its CPU and memory are not the fleet's. Its
order and request limits are raised, so that all keep trading. Stock engines run in (3), some of every kind of the same
mix; what a hundred of them would take is extrapolated linearly, by kind: CPU, bytes and connections times the number;
memory as private memory times the number, and what they share once.
"""

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet_rig import FleetUnderTest, StockEngines, cpu_s, pss_mb, ticks_cpu_s
from harness import Args, Goal, NotMeasured, Outcome, check, run
from hive.processes import process_facts
from hive.top_sample import Sample
from hive.totals import micros
from hundred import MIX, kind_of
from sim_rig import SimExchange
from tcp_traffic import Traffic

HUNDRED, FOUR_HUNDRED = 100, 400
LIMITS = ("--orders-10s", "10000000", "--orders-day", "1000000000", "--weight-limit", "1000000",
          "--open-orders", "10000", "--message-limit", "1000", "--connection-limit", "100000")  # fmt: skip
ORDERS_BY_THEMSELVES = ("pmm", "touch", "avellaneda", "ladder")  # directional ones wait for the market
FLEET_ORDER = "hv"  # how client order ids of a fleet begin

GOALS = (
    Goal("fleet.pss_mb", "<=", 350, "MB"),
    Goal("fleet.pss_slope_mb_per_min", "<=", 1, "MB/min"),
    Goal("fleet.memory_vs_stock", "<=", 0.02),
    Goal("fleet.marginal_kb", "<=", 300, "kB"),
    Goal("fleet.cpu_vs_stock", "<=", 0.25),
    Goal("fleet.own_cpu_vs_stock", "<=", 0.05),
    Goal("fleet.connections_vs_stock", "<=", 0.01),
    Goal("fleet.bytes_vs_stock", "<=", 0.011),
    Goal("fleet.start_s", "<=", 20, "s"),
    Goal("fleet.lateness_by_hive_p99_ms", "<=", 1, "ms"),
    Goal("fleet.lateness_p99_ms", "<=", 10, "ms"),
    Goal("fleet.skipped_ticks", "<=", 0),
    Goal("fleet.unresolved_contexts", "<=", 0),
    Goal("fleet.slope_400_over_100", "<=", 1.1),
)
OF_A_HUNDRED = ("fleet.pss_mb", "fleet.pss_slope_mb_per_min", "fleet.memory_vs_stock", "fleet.start_s",
                "fleet.lateness_by_hive_p99_ms", "fleet.lateness_p99_ms", "fleet.skipped_ticks",
                "fleet.unresolved_contexts")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Window:
    """What a fleet did in a stretch of time; `end` is the fleet at its end, `during` the difference."""

    seconds: float
    during: Sample
    end: Sample

    @property
    def cores(self) -> float:
        """CPUs that the fleet used, all of its processes."""
        return sum(cpu_s(self.during).values()) / self.seconds

    @property
    def own_cores(self) -> float:
        """The same without the code of its strategies: ticks, and what they do in tasks and event handlers."""
        return self.cores - self.during.counters["worker"].total("strategy_cpu_ns") / 1e9 / self.seconds

    @property
    def skipped(self) -> int:
        """Ticks that were skipped."""
        return self.during.counters["worker"].total("missed_ticks")

    def facts(self) -> dict[str, Any]:
        """Return the figures of the window, JSON-able."""
        worker = self.during.counters["worker"]
        return {
            "seconds": round(self.seconds, 1),
            "cores": round(self.cores, 4),
            "own_cores": round(self.own_cores, 4),
            "tick_cores": round(ticks_cpu_s(worker) / self.seconds, 4),
            "cpu_percent": {name: round(100 * cpu / self.seconds, 2) for name, cpu in cpu_s(self.during).items()},
            "pss_mb": {name: round(value, 1) for name, value in pss_mb(self.end).items()},
            "ticks": worker.total("ticks"),
            "skipped": self.skipped,
            "errors": worker.total("errors"),
            "orders": worker.total("orders_submitted"),
            "orders_by_kind": {
                kind: sum(
                    worker.value("orders_submitted", strategy=one["id"])
                    for one in self.end.fleet["strategies"]
                    if kind_of(one["id"]) == kind
                )
                for kind in MIX
            },
            "orders_rejected": worker.total("orders_rejected") + worker.total("orders_refused"),
            "fills": worker.total("fills"),
            "tick_lateness_us": micros(worker.merged("tick_lateness_ns")),
            "tick_duration_us": micros(worker.merged("tick_duration_ns")),
            "loop_lag_us": micros(worker.merged("loop_lag_ns")),
            "gc_pause_us": micros(worker.merged("gc_pause_ns")),
        }


@dataclass(frozen=True, slots=True)
class Stock:
    """A hundred stock engines, extrapolated from those that ran, and the fleet in the same seconds."""

    cores: float
    memory_mb: float
    connections: float
    bytes_per_s: float
    fleet: Window
    fleet_connections: float
    fleet_bytes_per_s: float
    engines: dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Traded:
    """What the fleet with its own tick intervals showed."""

    start_s: float
    pss_mb: float
    slope_mb_per_min: float
    window: Window
    memory: list[float]


def watched(fleet: FleetUnderTest, seconds: float) -> Window:
    """Return what the fleet does in so many seconds from now."""
    before, began = fleet.sample(), time.monotonic()
    time.sleep(seconds)
    end = fleet.sample()
    return Window(time.monotonic() - began, end.since(before), end)


def traded(folder: Path, exchange: SimExchange, size: int, trade_s: int, more_s: int, every_s: int) -> Traded:
    """Run the fleet with its own tick intervals; look at its memory after `trade_s`, and as it grows in `more_s`."""
    with FleetUnderTest(folder, exchange, size=size) as fleet:
        fleet.wait_running()
        before, began = fleet.sample(), time.monotonic()
        time.sleep(trade_s)
        memory = []
        for turn in range(more_s // every_s + 1):
            time.sleep(max(0.0, began + trade_s + turn * every_s - time.monotonic()))
            memory.append(sum(pss_mb(fleet.sample()).values()))
        end = fleet.sample()
        window = Window(time.monotonic() - began, end.since(before), end)
        minutes = [turn * every_s / 60 for turn in range(len(memory))]
        check_trading(end)
        slope = statistics.linear_regression(minutes, memory).slope
        return Traded(fleet.start_s, memory[0], slope, window, [round(one, 2) for one in memory])


def check_trading(sample: Sample) -> None:
    """Every strategy that quotes by itself must have had orders acknowledged."""
    worker = sample.counters["worker"]
    names = [one["id"] for one in sample.fleet["strategies"] if kind_of(one["id"]) in ORDERS_BY_THEMSELVES]
    silent = [name for name in names if not worker.value("orders_acked", strategy=name)]
    check(not silent, f"every strategy that quotes must have placed an order, these have not: {', '.join(silent)}")


def beside_stock(
    folder: Path, exchange: SimExchange, fleet: FleetUnderTest, each: int, settle_s: int, window_s: int
) -> Stock:
    """Run stock engines beside the fleet of a hundred, and return what a hundred of them would take."""
    with StockEngines(folder, exchange, each=each) as stock:
        stock.wait_ready()
        time.sleep(settle_s)
        exchange.requests()
        before = {kind: stock.cpu_s(kind) for kind in MIX}
        traffic = Traffic({"fleet": fleet.pids(), **{kind: stock.pids(kind) for kind in MIX}})
        window = watched(fleet, window_s)
        traffic.stop()
        engines = {}
        for kind in MIX:
            private, shared = stock.memory_mb(kind)
            engines[kind] = {
                "cores": (stock.cpu_s(kind) - before[kind]) / window.seconds,
                "private_mb": private,
                "shared_mb": shared,
                "connections": traffic.connections(kind) / each,
                "bytes_per_s": traffic.bytes(kind) / each / window.seconds,
            }
        placed = [one.order for one in exchange.requests() if one.kind == "place"]
        own = sum(order.startswith(FLEET_ORDER) for order in placed)
        check(own > 0, "the fleet must have traded beside the stock engines, had no order")
        check(len(placed) > own, f"stock engines must have traded, of {len(placed)} orders none was theirs")
    whole = {name: sum(MIX[kind] * engines[kind][name] for kind in MIX) for name in engines["pmm"]}
    return Stock(
        cores=whole["cores"],
        memory_mb=whole["private_mb"] + max(one["shared_mb"] for one in engines.values()),
        connections=whole["connections"],
        bytes_per_s=whole["bytes_per_s"],
        fleet=window,
        fleet_connections=traffic.connections("fleet"),
        fleet_bytes_per_s=traffic.bytes("fleet") / window.seconds,
        engines=engines,
    )


def measure(args: Args) -> Outcome:
    """Run the fleets one after the other, the stock engines beside the second."""
    size = args.options.size
    trade_s = args.size("seconds of trading", 600, 15)
    more_s = args.size("seconds of growth", 600, 16)
    every_s = args.size("seconds between two looks at memory", 10, 2)
    settle_s = args.size("seconds to settle at 1 s ticks", 60, 5)
    window_s = args.size("seconds at 1 s ticks", 180, 12)
    each = args.size("stock engines of each kind", 2, 1)
    with tempfile.TemporaryDirectory(prefix="hive-perf-") as scratch:
        root = Path(scratch)
        exchange = SimExchange("--symbols", "1500", *LIMITS)
        try:
            own_ticks = traded(root / "1", exchange, size, trade_s, more_s, every_s)
            print(f"(1) done: {size} strategies, {own_ticks.window.facts()}", flush=True)
            with FleetUnderTest(root / "2", exchange, size=HUNDRED, tick_ms=1000) as fleet:
                fleet.wait_running()
                time.sleep(settle_s)
                alone = watched(fleet, window_s)
                print(f"(2) done: {alone.facts()}", flush=True)
                stock = beside_stock(root, exchange, fleet, each, settle_s, window_s)
                print(f"(3) done: {stock.fleet.facts()}", flush=True)
            with FleetUnderTest(root / "4", exchange, size=FOUR_HUNDRED, tick_ms=1000) as fleet:
                fleet.wait_running()
                time.sleep(settle_s)
                larger = watched(fleet, window_s)
                print(f"(4) done: {larger.facts()}", flush=True)
            sim_cpu_s, sim = exchange.cpu_s(), process_facts(exchange.pid, pss=True)
        finally:
            exchange.close()
    values = judged(own_ticks, alone, stock, larger)
    if size != HUNDRED:
        values |= dict.fromkeys(OF_A_HUNDRED, NotMeasured(f"its limit is for {HUNDRED} strategies, had {size}"))
    details = {
        "size": size,
        "own_ticks": own_ticks.window.facts() | {"start_s": own_ticks.start_s, "pss_mb_each": own_ticks.memory},
        "alone": alone.facts(),
        "beside_stock": stock.fleet.facts(),
        "stock_engines": stock.engines,
        "larger": larger.facts(),
        "simulator": {"cpu_s": round(sim_cpu_s, 1), "pss_mb": round((sim.pss or sim.rss) / 1e6, 1)},
    }
    return Outcome(values, details, told(own_ticks, alone, stock, larger, each, details["simulator"]))


def judged(own_ticks: Traded, alone: Window, stock: Stock, larger: Window) -> dict[str, float | NotMeasured]:
    """Return the value of each goal."""
    worker = own_ticks.window.during.counters["worker"]
    by_hive = worker.merged("tick_lateness_by_hive_ns")
    grown_mb = sum(pss_mb(larger.end).values()) - sum(pss_mb(alone.end).values())
    skipped = {HUNDRED: alone.skipped, FOUR_HUNDRED: larger.skipped}
    late = " and ".join(f"{count} at {size}" for size, count in skipped.items() if count)
    slope = larger.cores / FOUR_HUNDRED / (alone.cores / HUNDRED)
    return {
        "fleet.pss_mb": own_ticks.pss_mb,
        "fleet.pss_slope_mb_per_min": own_ticks.slope_mb_per_min,
        "fleet.memory_vs_stock": own_ticks.pss_mb / stock.memory_mb,
        "fleet.marginal_kb": grown_mb * 1e3 / (FOUR_HUNDRED - HUNDRED),
        "fleet.cpu_vs_stock": stock.fleet.cores / stock.cores,
        "fleet.own_cpu_vs_stock": stock.fleet.own_cores / stock.cores,
        "fleet.connections_vs_stock": stock.fleet_connections / stock.connections,
        "fleet.bytes_vs_stock": stock.fleet_bytes_per_s / stock.bytes_per_s,
        "fleet.start_s": own_ticks.start_s,
        "fleet.lateness_by_hive_p99_ms": by_hive.percentile(99) / 1e6
        if by_hive.count
        else NotMeasured("workers count no lateness by its cause"),
        "fleet.lateness_p99_ms": worker.merged("tick_lateness_ns").percentile(99) / 1e6,
        "fleet.skipped_ticks": own_ticks.window.skipped,
        "fleet.unresolved_contexts": own_ticks.window.end.counters["worker"].total("context_unresolved"),
        "fleet.slope_400_over_100": NotMeasured(f"ticks were skipped: {late}") if late else slope,
    }


def told(
    own_ticks: Traded, alone: Window, stock: Stock, larger: Window, each: int, simulator: dict[str, float]
) -> list[str]:
    """Return lines for the reader."""
    lines = ["engine         cores  private MB  shared MB  connections  kB/s"]
    for kind, one in stock.engines.items():
        lines.append(
            f"{kind:12} {one['cores']:7.4f} {one['private_mb']:11.1f} {one['shared_mb']:10.1f} "
            f"{one['connections']:12.1f} {one['bytes_per_s'] / 1e3:5.1f}"
        )
    lines += [
        f"a hundred stock engines, from {each * len(MIX)} that ran ({each} of each kind), linearly by kind: "
        f"{stock.cores:.2f} cores, {stock.memory_mb:.0f} MB, {stock.connections:.0f} connections, "
        f"{stock.bytes_per_s / 1e3:.0f} kB/s",
        f"the fleet beside them: {stock.fleet.cores:.3f} cores, {stock.fleet.own_cores:.3f} without its "
        f"strategies' code, "
        f"{stock.fleet_connections:.1f} connections, {stock.fleet_bytes_per_s / 1e3:.1f} kB/s",
        f"alone at 1 s: {alone.cores:.3f} cores; with {FOUR_HUNDRED}: {larger.cores:.3f} cores",
        f"memory by process: {own_ticks.window.facts()['pss_mb']} MB",
        f"CPU by process: {own_ticks.window.facts()['cpu_percent']} %",
        f"garbage collections in both workers: {own_ticks.window.facts()['gc_pause_us']} us",
        f"simulator, not counted: {simulator['cpu_s']} s of CPU, {simulator['pss_mb']} MB",
    ]
    return lines


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the size of the first fleet."""
    parser.add_argument(
        "size", type=int, nargs="?", default=HUNDRED, metavar="N", help="strategies of the first fleet (default 100)"
    )


if __name__ == "__main__":
    sys.exit(run(__doc__, GOALS, measure, add_options=add_options))
