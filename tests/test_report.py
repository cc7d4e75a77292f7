"""The report: its schema, its sums, and totals that outlive a process."""

import json
from dataclasses import replace

import synthetic
from hive import totals
from hive.report import build
from hive.shm.snapshots import CountersSnapshot
from hive.top_sample import take


def test_the_schema_holds_what_is_promised():
    report = build(synthetic.sample())
    assert json.loads(json.dumps(report)) == report
    strategy = report["strategies"][1]
    assert {"id", "worker", "state", "ticks", "missed_ticks", "errors"} <= strategy.keys()
    assert {"p50", "p99", "max"} <= strategy["tick_lateness_us"].keys() & strategy["tick_duration_us"].keys()
    assert {"submitted", "acked", "rejected", "cancelled", "filled", "unknown"} <= strategy["orders"].keys()
    for process in report["processes"]:
        assert {"role", "pid", "cpu_seconds", "rss_mb", "pss_mb", "restarts"} <= process.keys()
    (venue,) = report["venues"]
    assert {
        "name",
        "market_connections",
        "user_connections",
        "bytes_received",
        "updates",
        "gaps",
        "resyncs",
        "http_429",
    } <= venue.keys()
    for latency in ("order_latency_us", "book_latency_us"):
        assert {"p50", "p99", "max"} <= report[latency].keys()


def test_figures_come_from_the_right_counters():
    report = build(synthetic.sample())
    strategy = report["strategies"][2]
    assert (strategy["id"], strategy["ticks"], strategy["fills"]) == ("pmm-2", 102, 4)
    assert strategy["orders"]["submitted"] == 10
    assert abs(strategy["tick_lateness_us"]["p50"] / 200 - 1) < 1 / 16
    assert strategy["tick_lateness_us"]["max"] == 3000
    assert report["venues"][0]["http_429"] == 3
    assert report["totals"]["orders"]["submitted"] == 30
    assert report["duration_s"] == 60
    assert report["processes"][3]["heartbeat_age_ms"] == 5


def test_memory_is_that_of_all_processes_but_the_simulator():
    report = build(synthetic.sample())
    assert len(report["processes"]) == 6
    assert report["totals"]["pss_mb"] == 5 * 50


def test_resident_memory_stands_in_where_the_proportional_may_not_be_read():
    sample = synthetic.sample()
    sample.facts["gate", 0] = replace(sample.facts["gate", 0], pss=None)
    assert build(sample)["totals"]["pss_mb"] == 4 * 50 + 80


def test_an_empty_histogram_has_no_figures():
    empty = replace(synthetic.sample(), counters=dict.fromkeys(("feed", "gate", "worker"), totals.EMPTY))
    assert build(empty)["order_latency_us"] == {"count": 0, "p50": None, "p99": None, "max": None}


def test_a_fleet_that_is_gone_is_told_so():
    assert build(synthetic.sample(alive=False))["state"] == "gone"


def test_the_counters_of_dead_epochs_are_added():
    before, now = synthetic.counters()["worker"], synthetic.counters(ticks=7)["worker"]
    fleet = synthetic.fleet_json() | {"report_base": {"worker": totals.to_json(before)}}
    report = build(take(fleet, {("worker", 0): now}))
    assert report["strategies"][1]["ticks"] == 101 + 8
    assert report["strategies"][1]["tick_duration_us"]["count"] == 200
    assert report["strategies"][1]["orders"]["submitted"] == 20


def test_a_snapshot_survives_the_way_through_json():
    snapshot = synthetic.counters()["worker"]
    back = totals.from_json(json.loads(json.dumps(totals.to_json(snapshot))))
    assert (back.values, back.histograms) == (snapshot.values, snapshot.histograms)
    assert totals.from_json(None) == totals.EMPTY


def test_gauges_of_the_dead_do_not_count():
    venue = (("venue", "binance"),)
    dead = CountersSnapshot(9, {("market_connections", venue): 1, ("updates", venue): 5}, {})
    assert totals.without_gauges(dead).values == {("updates", venue): 5}


def test_differences_keep_gauges_and_are_never_negative():
    venue = (("venue", "binance"),)
    before = CountersSnapshot(1, {("market_connections", venue): 3, ("updates", venue): 9}, {})
    now = CountersSnapshot(2, {("market_connections", venue): 1, ("updates", venue): 5}, {})
    assert totals.minus(now, before).values == {("market_connections", venue): 1, ("updates", venue): 0}
