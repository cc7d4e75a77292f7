"""A fleet that never ran: fleet.json and counters with figures that tests know."""

from dataclasses import replace

from hive.processes import ProcessFacts
from hive.shm.snapshots import CountersSnapshot, HistogramSnapshot
from hive.top_sample import BookFigures, Sample

SECOND = 1_000_000_000


def histogram(*values_ns: int) -> HistogramSnapshot:
    """Return the histogram of durations (all within one octave's buckets, 8 to an octave from 64 ns)."""
    buckets = [0] * 250
    for value in values_ns:
        octave = value.bit_length() - 1
        buckets[0 if value < 64 else 1 + (octave - 6) * 8 + ((value >> (octave - 3)) & 7)] += 1
    return HistogramSnapshot(sum(values_ns), max(values_ns, default=0), tuple(buckets))


def fleet_json(strategies: int = 3, workers: int = 2) -> dict:
    """Return the fleet.json of a fleet with one simulated venue."""
    roles = [("supervisor", 0), ("sim", 0), ("feed", 0), ("gate", 0), *(("worker", i) for i in range(workers))]
    return {
        "schema": 1,
        "fleet": "demo",
        "fleet_id": "abc23",
        "run": "0123abcd",
        "pid": 1,
        "start_ticks": 1,
        "started_wall_ns": 1_700_000_000 * SECOND,
        "config_path": "/x/fleet.yml",
        "segments": {},
        "processes": [
            {"role": role, "index": index, "pid": 100 + n, "epoch": 1, "counters": None, "restarts": 0, "cpu": None}
            for n, (role, index) in enumerate(roles)
        ],
        "strategies": [
            {
                "id": f"pmm-{index}",
                "tag": f"tag{index}",
                "worker": index % workers,
                "kind": "v1",
                "name": "pure_market_making",
                "pairs": ["BTC-USDT"],
                "state": "running",
                "message": "",
            }
            for index in range(strategies)
        ],
        "venues": [{"name": "binance", "mode": "sim"}],
        "report_base": {},
    }


def counters(strategies: int = 3, *, ticks: int = 100) -> dict[str, CountersSnapshot]:
    """Return the totals of each role: strategy i has ticks + i ticks, 10 orders and 2 i fills."""
    values = {}
    histograms = {}
    for index in range(strategies):
        label = (("strategy", f"pmm-{index}"),)
        values |= {("ticks", label): ticks + index, ("orders_submitted", label): 10, ("fills", label): 2 * index}
        histograms["tick_lateness_ns", label] = histogram(*[200_000] * 98, 3_000_000, 3_000_000)
        histograms["tick_duration_ns", label] = histogram(*[1_000_000 * (index + 1)] * 100)
    venue = (("venue", "binance"),)
    feed = {("updates", venue): 5000, ("market_connections", venue): 1, ("http_429", venue): 1}
    gate = {("orders_sent", venue): 30, ("user_connections", venue): 1, ("http_429", venue): 2}
    return {
        "feed": CountersSnapshot(1, feed, {("book_latency_ns", venue): histogram(50_000)}),
        "gate": CountersSnapshot(1, gate, {("order_latency_ns", venue): histogram(400_000)}),
        "worker": CountersSnapshot(1, values, histograms),
    }


def sample(strategies: int = 3, *, ticks: int = 100, at_s: float = 60.0, alive: bool = True) -> Sample:
    """Return the sample of that fleet `at_s` seconds after its start."""
    fleet = fleet_json(strategies)
    members = [(one["role"], one["index"]) for one in fleet["processes"]]
    return Sample(
        now_ns=int(at_s * SECOND),
        wall_ns=fleet["started_wall_ns"] + int(at_s * SECOND),
        alive=alive,
        fleet=fleet,
        counters=counters(strategies, ticks=ticks),
        beats={member: int(at_s * SECOND) - 5_000_000 for member in members[2:]},
        facts={member: ProcessFacts(2 * SECOND, 80_000_000, 50_000_000) for member in members},
        books={"binance": BookFigures(4, 5, 250_000_000)},
    )


WAITS_NS = (1_000_000,) * 99 + (80_000_000,)


def with_gate(base: Sample, *, sent: int = 100, waits_ns: tuple[int, ...] = WAITS_NS) -> Sample:
    """Return the sample with a gate that counts: pmm-0 waits longest, pmm-1 spends most, pmm-2 is starved and halted.

    `sent` is what each strategy has sent; `waits_ns` how long new orders waited.
    """
    venue = (("venue", "binance"),)
    values = dict(base.counters["gate"].values)
    values |= {
        ("weight_used", venue): 339,
        ("weight_limit", venue): 6000,
        ("drift_weight", venue): 0,
        ("orders_used", venue): 60,
        ("orders_limit", venue): 100,
        ("effective_limit", venue): 70,
        ("drift_orders", venue): 6,
        ("journal_records", venue): 10 * sent,
        ("journal_backlog", venue): 0,
        ("journal_failing", venue): 0,
        ("closed_ms_total", venue): 1500,
        ("foreign_orders", venue): 2,
        ("halted", venue): 0,
        ("breaker_open", venue): 0,
    }
    for reason, count in (("stale_book", 3), ("capital", 12), ("too_old", 0)):
        values["orders_refused", (("reason", reason), ("venue", "binance"))] = count
    for name, depth in (("emergency", 0), ("cancel", 1), ("amend", 0), ("new", 17), ("query", 0)):
        values["queue_depth_class", (("class", name), ("venue", "binance"))] = depth
    for index, (wait_ms, weight_milli, starved_ms) in enumerate(((900, 100, 0), (20, 5000, 0), (20, 100, 2500))):
        for name, value in (
            ("strategy_queue", index),
            ("strategy_sent", sent),
            ("strategy_rejected", 4),
            ("strategy_refused", 5),
            ("starved_ms_total", starved_ms),
            ("starvation_events_total", starved_ms // 1000),
            ("head_wait_ms", wait_ms),
            ("service_deficit", -index),
            ("order_rate_milli", weight_milli),
            ("weight_rate_milli", weight_milli),
            ("halted_strategy", int(index == 2)),
            ("backoff_ms", 0),
        ):
            values[name, (("strategy", f"pmm-{index}"), ("venue", "binance"))] = value
    histograms = dict(base.counters["gate"].histograms)
    histograms["wait_ns", (("class", "new"), ("venue", "binance"))] = histogram(*waits_ns)
    gate = CountersSnapshot(1, values, histograms)
    return replace(base, counters={**base.counters, "gate": gate})
