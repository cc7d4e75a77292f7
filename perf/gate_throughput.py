"""How many orders a second does the gate take on one core, from decoding an intent to the order's journal record?

    queue -> decode -> ledger, guards -> fair queue, quotas, limits -> journal: write() -> [the venue: nothing is sent]

The gate's own objects run in this process (`account_rig.py`), with real queues, a real journal at its default policy,
and the limits of Binance with numbers that are never met. Timed is the part above, and the task in which the venue is
called; not the putting of intents into the queues, what happens inside the call to the venue, its answers and the
replies. Two ways, with 10 and with 10,000 strategies in turns, in a fresh gate each time:

    flowing   each order leaves at once                  backlog   all wait for a closed venue, then all leave

`gate.orders_per_s` is the least of the four medians of the rounds, `gate.cost_10000_over_10_strategies` the larger
ratio of the two ways. The last goal compares asking and charging the limits for one order (`BinanceLimits`, with 20,000
orders charged on that day) with acquiring the same in Hummingbot's AsyncThrottler, with its rate limits of Binance and
20,000 orders in its log.
"""

import asyncio
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hummingbot.connector.exchange.binance import binance_constants
from hummingbot.core.api_throttler.async_throttler import AsyncThrottler
from hummingbot.core.api_throttler.data_types import TaskLog

from account_rig import SYMBOL, AccountRig
from harness import Args, Goal, Outcome, check, interleaved, pinned, require_cpus, run
from hive.gate.limits import Operation
from hive.gate.process import YOUNG_OBJECTS

FEW, MANY = 10, 10_000
BATCH = 500  # intents in the queues at once
WARMUP = 2_000
QUEUE_PER_STRATEGY = 10_000
ORDERS_TODAY = 20_000
ACQUIRES = {"gate": 20_000, "upstream": 20}

GOALS = (
    Goal("gate.orders_per_s", ">=", 20_000, "1/s"),
    Goal("gate.cost_10000_over_10_strategies", "<=", 1.5),
    Goal("gate.acquire_vs_upstream_at_20000_orders", ">=", 1_000),
)


def timed(rig: AccountRig, call: Callable[[], None]) -> int:
    """Return what a call took in ns, without what happened inside calls to the venue."""
    inside_ns, begun_ns = rig.venue.inside_ns, time.perf_counter_ns()
    call()
    return time.perf_counter_ns() - begun_ns - (rig.venue.inside_ns - inside_ns)


async def flowing(rig: AccountRig, count: int) -> float:
    """Return the ns per order when each leaves at once."""
    took_ns = 0
    for _ in range(count // BATCH):
        rig.put(BATCH)
        before = rig.venue.placed
        took_ns += timed(rig, rig.intake.poll)
        check(rig.venue.placed == before + BATCH, "an intent was decoded and its order was not written")
        await rig.settle()
    return took_ns / count


async def backlog(rig: AccountRig, count: int) -> float:
    """Return the ns per order when all wait for the venue first."""
    took_ns, before = 0, rig.venue.placed
    rig.venue.closed = True
    for _ in range(count // BATCH):
        rig.put(BATCH)
        took_ns += timed(rig, rig.intake.poll)
        await rig.settle()
    check(rig.venue.placed == before, "an order was written to a closed venue")
    rig.venue.closed = False
    took_ns += timed(rig, rig.account.pump)
    check(rig.venue.placed == before + count, f"{rig.venue.placed - before} of {count} orders that waited were written")
    await rig.settle()
    return took_ns / count


WAYS = {"flowing": flowing, "backlog": backlog}


async def measure_gate(strategies: int, count: int) -> dict[str, float]:
    """Return the ns per order of each way, in a fresh gate that has warmed up."""
    with tempfile.TemporaryDirectory(prefix="hive-perf-") as scratch:
        rig = AccountRig(strategies, Path(scratch), QUEUE_PER_STRATEGY)
        gc.collect()
        thresholds = gc.get_threshold()
        gc.freeze()  # as the gate's process does when it has booted
        gc.set_threshold(YOUNG_OBJECTS)
        try:
            await flowing(rig, WARMUP)
            took = {way: await measure_way(rig, count) for way, measure_way in WAYS.items()}
        finally:
            recorded = rig.close()
            gc.set_threshold(*thresholds)
            gc.unfreeze()
        check(recorded == rig.venue.placed, f"{rig.venue.placed} orders were sent, the journal has {recorded}")
    return took


def measure_account(rounds: int, count: int) -> dict[str, dict[int, float]]:
    """Return the median ns per order of each way and number of strategies."""
    rivals = {str(strategies): partial(one_gate, strategies, count) for strategies in (FEW, MANY)}
    found = interleaved(rivals, repeats=rounds)
    return {
        way: {int(name): statistics.median(one[way] for one in each) for name, each in found.items()} for way in WAYS
    }


def one_gate(strategies: int, count: int) -> dict[str, float]:
    """Measure one gate on an event loop of its own."""
    return asyncio.run(measure_gate(strategies, count))


async def measure_gates_limits() -> float:
    """Return the ns to ask and charge the limits for one order, with many charged today."""
    with tempfile.TemporaryDirectory(prefix="hive-perf-") as scratch:
        rig = AccountRig(1, Path(scratch), 1)
        limits = rig.limits
        try:
            for _ in range(ORDERS_TODAY):
                limits.charge(Operation.PLACE, SYMBOL)
            granted, begun_ns = 0, time.perf_counter_ns()
            for _ in range(ACQUIRES["gate"]):
                if limits.wait_ns(Operation.PLACE, SYMBOL, time.monotonic_ns()) == 0:
                    limits.charge(Operation.PLACE, SYMBOL)
                    granted += 1
            took_ns = time.perf_counter_ns() - begun_ns
            check(granted == ACQUIRES["gate"], f"{granted} of {ACQUIRES['gate']} orders were granted")
        finally:
            rig.close()
    return took_ns / ACQUIRES["gate"]


async def measure_upstream() -> float:
    """Return the ns that AsyncThrottler takes to acquire one order, with many in its log of the day."""
    throttler = AsyncThrottler(binance_constants.RATE_LIMITS)
    of_the_day, _ = throttler.get_related_limits(binance_constants.ORDERS_24HR)
    hour_ago = time.time() - 3600
    throttler._task_logs.extend(TaskLog(hour_ago, of_the_day, 1) for _ in range(ORDERS_TODAY))
    begun_ns = time.perf_counter_ns()
    for _ in range(ACQUIRES["upstream"]):
        async with throttler.execute_task(binance_constants.ORDER_PATH_URL):
            pass
    return (time.perf_counter_ns() - begun_ns) / ACQUIRES["upstream"]


def measure(args: Args) -> Outcome:
    """Measure the account, then both limiters."""
    rounds, count = args.size("rounds", 5, 2), args.size("orders a round and way", 10_000, 10_000)
    with pinned(*require_cpus(1)):
        each = measure_account(rounds, count)
        ours_ns = asyncio.run(measure_gates_limits())
        theirs_ns = asyncio.run(measure_upstream())
    slowest_ns = max(ns for by in each.values() for ns in by.values())
    ratios = {way: by[MANY] / by[FEW] for way, by in each.items()}
    values = {
        "gate.orders_per_s": 1e9 / slowest_ns,
        "gate.cost_10000_over_10_strategies": max(ratios.values()),
        "gate.acquire_vs_upstream_at_20000_orders": theirs_ns / ours_ns,
    }
    lines = [
        f"{way}: {by[FEW] / 1e3:.1f} us an order with {FEW} strategies, {by[MANY] / 1e3:.1f} us with {MANY}"
        for way, by in each.items()
    ]
    lines.append(f"limits for one order: {ours_ns / 1e3:.2f} us; AsyncThrottler {theirs_ns / 1e6:.1f} ms")
    return Outcome(values, {"ns_per_order": each, "acquire_ns": {"gate": ours_ns, "upstream": theirs_ns}}, lines)


if __name__ == "__main__":
    sys.exit(run(__doc__, GOALS, measure))
