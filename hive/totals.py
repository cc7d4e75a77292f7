"""Counters of a fleet's past and present epochs, added up by role, and their form in fleet.json.

A process that dies takes its counters segment along; the supervisor adds its last values to the fleet's base first, so
that totals never go back. Gauges say what is now, so a dead process has none.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from hive.shm.snapshots import CountersSnapshot, HistogramSnapshot

GAUGES = frozenset(
    {
        "market_connections",
        "user_connections",
        "instruments",
        "candle_series",
        "unknown_now",
        "open_orders",
        "queue_depth",
        "weight_used",
        "weight_limit",
        "clock_offset_ms",
        "running_strategy",
        "foreign_orders",
        "journal_backlog",
        "journal_failing",
        "drift_weight",
        "drift_orders",
        "orders_limit",
        "orders_used",
        "effective_limit",
        "halted",
        "breaker_open",
        "queue_depth_class",
        "strategy_queue",
        "head_wait_ms",
        "service_deficit",
        "order_rate_milli",
        "weight_rate_milli",
        "halted_strategy",
        "backoff_ms",
        "capital_drift_e8",
        "recorder_waiting",
        "recorder_failing",
    }
)

EMPTY = CountersSnapshot(0, {}, {})


def add(snapshots: Iterable[CountersSnapshot]) -> CountersSnapshot:
    """Return the sum of snapshots: equal names and labels added, histograms merged, the oldest heartbeat."""
    values: dict = {}
    histograms: dict = {}
    beats = []
    for snapshot in snapshots:
        if snapshot.heartbeat_ns:
            beats.append(snapshot.heartbeat_ns)
        for key, value in snapshot.values.items():
            values[key] = values.get(key, 0) + value
        for key, histogram in snapshot.histograms.items():
            histograms[key] = histograms[key].merge(histogram) if key in histograms else histogram
    return CountersSnapshot(min(beats, default=0), values, histograms)


def without_gauges(snapshot: CountersSnapshot) -> CountersSnapshot:
    """Return what of a dead process still counts."""
    values = {key: value for key, value in snapshot.values.items() if key[0] not in GAUGES}
    return CountersSnapshot(0, values, snapshot.histograms)


def to_json(snapshot: CountersSnapshot) -> dict[str, Any]:
    """Return a snapshot as JSON can say it; empty buckets are left out."""
    return {
        "values": [[name, dict(labels), value] for (name, labels), value in snapshot.values.items()],
        "histograms": [
            [name, dict(labels), one.sum, one.max, {str(i): n for i, n in enumerate(one.buckets) if n}]
            for (name, labels), one in snapshot.histograms.items()
        ],
    }


def from_json(raw: Mapping[str, Any] | None) -> CountersSnapshot:
    """Return the snapshot that to_json() wrote; an empty one for None."""
    if not raw:
        return EMPTY
    values = {(name, _labels(labels)): value for name, labels, value in raw["values"]}
    histograms = {}
    for name, labels, total, longest, sparse in raw["histograms"]:
        buckets = [0] * len(HistogramSnapshot().buckets)
        for index, count in sparse.items():
            buckets[int(index)] = count
        histograms[name, _labels(labels)] = HistogramSnapshot(total, longest, tuple(buckets))
    return CountersSnapshot(0, values, histograms)


def minus(now: CountersSnapshot, before: CountersSnapshot) -> CountersSnapshot:
    """Return what came between two snapshots; gauges stay as they are now."""
    values = {
        key: value if key[0] in GAUGES else max(0, value - before.values.get(key, 0))
        for key, value in now.values.items()
    }
    histograms = {
        key: histogram.minus(before.histograms[key]) if key in before.histograms else histogram
        for key, histogram in now.histograms.items()
    }
    return CountersSnapshot(now.heartbeat_ns, values, histograms)


def micros(histogram: HistogramSnapshot) -> dict[str, Any]:
    """Return a histogram as microseconds; figures are None when it is empty."""
    count = histogram.count
    figures = {"p50": histogram.percentile(50), "p99": histogram.percentile(99), "max": histogram.max}
    return {"count": count, **{name: round(ns / 1e3, 1) if count else None for name, ns in figures.items()}}


def _labels(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))
