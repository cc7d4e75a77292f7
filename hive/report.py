"""The report of a fleet: one documented form for `--report FILE` and `hive status --json` (docs/fleet.md).

Pure: a sample in, a dictionary out. All figures come from counters, /proc and fleet.json.
"""

from collections.abc import Mapping
from typing import Any

from hive import gate_sample
from hive.shm.snapshots import CountersSnapshot
from hive.top_sample import BookFigures, Sample
from hive.totals import micros

SCHEMA = 1
_MB = 1e6
STRATEGY_COUNTS = (
    "ticks",
    "book_ticks",
    "missed_ticks",
    "overruns",
    "fills",
    "errors",
    "slow_callbacks",
    "mixed_books",
    "halts",
    "books_read",
    "events_delivered",
)
ORDER_COUNTS = ("submitted", "refused", "acked", "rejected", "cancelled", "expired", "filled", "unknown")
FEED_COUNTS = (
    "market_connections",
    "instruments",
    "bytes_received",
    "messages",
    "updates",
    "trades",
    "gaps",
    "resyncs",
    "reconnects",
    "malformed",
    "unsubscribed",
    "stale_intervals",
    "stale_ms",
    "lag_events",
    "rotations",
    "audits",
    "audit_differences",
    "halts",
    "rules_changes",
    "candle_series",
    "candles",
    "candle_gaps",
)
GATE_COUNTS = ("user_connections", "weight_used", "weight_limit", "duplicates_dropped", "queue_depth", "open_orders")
VENUE_ORDER_COUNTS = ("sent", "acked", "rejected", "refused_stale", "cancelled", "expired", "filled", "unknown")


def build(sample: Sample) -> dict[str, Any]:
    """Return the report of a sample."""
    fleet = sample.fleet
    feed, gate, worker = (sample.counters[role] for role in ("feed", "gate", "worker"))
    names = [one["name"] for one in fleet["venues"]]
    strategies = [_strategy(one, worker, gate, names) for one in fleet["strategies"]]
    processes = [_process(one, sample) for one in fleet["processes"]]
    venues = [_venue(one, sample) for one in fleet["venues"]]
    return {
        "schema": SCHEMA,
        "hive": fleet.get("version"),
        "hummingbot": fleet.get("hummingbot"),
        "implementation": fleet.get("implementation"),
        "fleet": fleet["fleet"],
        "fleet_id": fleet.get("fleet_id"),
        "run": fleet["run"],
        "state": fleet.get("state", "running") if sample.alive else "gone",
        "started_wall_ns": fleet["started_wall_ns"],
        "duration_s": round((sample.wall_ns - fleet["started_wall_ns"]) / 1e9, 3),
        "first_order_s": fleet.get("first_order_s"),
        "first_fill_s": fleet.get("first_fill_s"),
        "config_path": fleet["config_path"],
        "placement": fleet.get("placement"),
        "host": fleet.get("host"),
        "strategies": strategies,
        "processes": processes,
        "venues": venues,
        "order_latency_us": micros(gate.merged("order_latency_ns")),
        "ack_latency_us": micros(gate.merged("ack_latency_ns")),
        "book_latency_us": micros(feed.merged("book_latency_ns")),
        "tick_lateness_us": micros(worker.merged("tick_lateness_ns")),
        "tick_lateness_by_hive_us": micros(worker.merged("tick_lateness_by_hive_ns")),
        "tick_duration_us": micros(worker.merged("tick_duration_ns")),
        "loop_lag_us": micros(worker.merged("loop_lag_ns")),
        "totals": _totals(strategies, processes, venues, worker),
        "halts": fleet.get("halts", []),
        "alarms": fleet.get("alarms", []),
        "blasts": fleet.get("blasts", []),
        "moves": fleet.get("moves", []),
        "differs": fleet.get("differs", []),
        "stop": fleet.get("stop"),
    }


def _strategy(
    one: Mapping[str, Any], worker: CountersSnapshot, gate: CountersSnapshot, venues: list[str]
) -> dict[str, Any]:
    key = one["id"]
    at_venues = {name: gate_sample.strategy(gate, key, name) for name in venues}
    return {
        **{name: one.get(name) for name in ("id", "worker", "state", "kind", "name", "pairs", "message", "reason")},
        **{name: worker.value(name, strategy=key) for name in STRATEGY_COUNTS},
        "context_unresolved": worker.value("context_unresolved", strategy=key),
        "cpu_seconds": round(worker.value("strategy_cpu_ns", strategy=key) / 1e9, 3),
        "tick_lateness_us": micros(worker.histogram("tick_lateness_ns", strategy=key)),
        "tick_lateness_by_hive_us": micros(worker.histogram("tick_lateness_by_hive_ns", strategy=key)),
        "tick_duration_us": micros(worker.histogram("tick_duration_ns", strategy=key)),
        "orders": {name: worker.value(f"orders_{name}", strategy=key) for name in ORDER_COUNTS},
        "gate": {name: figures for name, figures in at_venues.items() if figures is not None},
    }


def _process(one: Mapping[str, Any], sample: Sample) -> dict[str, Any]:
    member = (one["role"], one["index"])
    facts = sample.facts.get(member)
    beat_ns = sample.beats.get(member, 0)
    return {
        "role": one["role"],
        "index": one["index"],
        "pid": one["pid"],
        "epoch": one["epoch"],
        "cpu": one["cpu"],
        "nice": one.get("nice"),
        "restarts": one["restarts"],
        "cpu_seconds": round(facts.cpu_ns / 1e9, 3) if facts else one.get("cpu_seconds_before", 0),
        "waited_seconds": round(facts.waited_ns / 1e9, 3) if facts else None,
        "rss_mb": round(facts.rss / _MB, 1) if facts else None,
        "pss_mb": round(facts.pss / _MB, 1) if facts and facts.pss is not None else None,
        "loop_lag_us": _loop_lag(one, sample),
        "heartbeat_age_ms": round(max(0, sample.now_ns - beat_ns) / 1e6, 1) if beat_ns else None,
    }


def _loop_lag(one: Mapping[str, Any], sample: Sample) -> dict[str, Any] | None:
    if one["role"] != "worker":
        return None
    return micros(sample.counters["worker"].histogram("loop_lag_ns", worker=str(one["index"])))


def _venue(one: Mapping[str, Any], sample: Sample) -> dict[str, Any]:
    name = one["name"]
    feed, gate = sample.counters["feed"], sample.counters["gate"]
    books = sample.books.get(name, BookFigures())
    return {
        "name": name,
        "mode": one.get("mode"),
        **{count: feed.value(count, venue=name) for count in FEED_COUNTS},
        **{count: gate.value(count, venue=name) for count in GATE_COUNTS},
        "http_429": feed.value("http_429", venue=name) + gate.value("http_429", venue=name),
        "orders": {count: gate.value(f"orders_{count}", venue=name) for count in VENUE_ORDER_COUNTS},
        "books": {
            "live": books.live,
            "total": books.total,
            "oldest_ms": None if books.oldest_ns is None else round(books.oldest_ns / 1e6, 1),
        },
        "stale": {role: _stale(sample.counters[role], name) for role in ("feed", "worker", "gate")},
        "unknown_now": gate.value("unknown_now", venue=name),
        "fills": gate.value("fills", venue=name),
        "cancels_sent": gate.value("cancels_sent", venue=name),
        "book_latency_us": micros(feed.histogram("book_latency_ns", venue=name)),
        "order_latency_us": micros(gate.histogram("order_latency_ns", venue=name)),
        "ack_latency_us": micros(gate.histogram("ack_latency_ns", venue=name)),
        "gate": gate_sample.venue(gate, name),
    }


def _stale(counters: CountersSnapshot, venue: str) -> dict[str, int]:
    """Return how often, and how long in all, books of a venue were not current as one role saw them."""
    return {what: counters.value(f"stale_{what}", venue=venue) for what in ("intervals", "ms")}


def _totals(strategies: list, processes: list, venues: list, worker: CountersSnapshot) -> dict[str, Any]:
    own = [one for one in processes if one["role"] != "sim"]
    memory = [one["pss_mb"] if one["pss_mb"] is not None else one["rss_mb"] for one in own]
    return {
        **{name: sum(one[name] for one in strategies) for name in ("ticks", "missed_ticks", "fills", "mixed_books")},
        "errors": sum(one["errors"] for one in strategies),
        "context_unresolved": worker.total("context_unresolved"),
        "orders": {name: sum(one["orders"][name] for one in strategies) for name in ORDER_COUNTS},
        "updates": sum(one["updates"] for one in venues),
        "unknown_now": sum(one["unknown_now"] for one in venues),
        **gate_sample.total([one["gate"] for one in venues]),
        "restarts": sum(one["restarts"] for one in processes),
        "cpu_seconds": round(sum(one["cpu_seconds"] for one in own), 3),
        "pss_mb": round(sum(one for one in memory if one is not None), 1),
    }
