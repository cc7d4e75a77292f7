"""A fleet that never ran: fleet.json and counters with figures that tests know."""

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
