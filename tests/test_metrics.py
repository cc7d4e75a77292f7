"""The Prometheus text: names, labels, buckets."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import synthetic
from hive.gate.figures import HISTOGRAM_NAMES, NAMES, STRATEGY_NAMES
from hive.gate.recorder import COUNTERS
from hive.metric_texts import TEXTS
from hive.metrics import in_base_units, metrics_of, octaves
from hive.shm.counters import Histogram
from hive.workers.context import StrategyCounters


class Fixed:
    """A collector of one sample."""

    def collect(self):
        return metrics_of(synthetic.with_gate(synthetic.sample()))


def families() -> dict:
    registry = CollectorRegistry()
    registry.register(Fixed())
    text = generate_latest(registry).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(family, suffix: str = "", **labels: str) -> float:
    (found,) = [
        one.value for one in family.samples if one.name.endswith(suffix) and labels.items() <= one.labels.items()
    ]
    return found


def test_counters_gauges_and_histograms_have_their_names_and_labels():
    found = families()
    assert value(found["hive_ticks"], strategy="pmm-2") == 102
    assert value(found["hive_market_connections"], venue="binance", role="feed") == 1
    assert value(found["hive_http_429"], venue="binance", role="gate") == 2
    lateness = found["hive_tick_lateness_seconds"]
    assert value(lateness, "_count", strategy="pmm-0") == 100
    assert abs(value(lateness, "_sum", strategy="pmm-0") - (98 * 0.0002 + 2 * 0.003)) < 1e-9
    assert value(found["hive_process_memory_bytes"], role="gate") == 50_000_000
    assert value(found["hive_up"], fleet="demo") == 1


def test_the_gates_figures_are_in_base_units_with_their_labels():
    found = families()
    assert value(found["hive_starved_seconds"], "_total", strategy="pmm-2", venue="binance") == 2.5
    assert value(found["hive_closed_seconds"], "_total", venue="binance") == 1.5
    assert value(found["hive_head_wait_seconds"], strategy="pmm-0") == 0.9
    assert value(found["hive_order_rate"], strategy="pmm-1") == 5
    assert value(found["hive_orders_refused"], "_total", reason="capital") == 12
    assert value(found["hive_queue_depth_class"], **{"class": "new"}) == 17
    assert value(found["hive_wait_seconds"], "_count", **{"class": "new"}) == 100
    kinds = {"hive_starved_seconds": "counter", "hive_effective_limit": "gauge", "hive_wait_seconds": "histogram"}
    assert {name: found[name].type for name in kinds} == kinds


def test_every_counter_has_one_name_and_factor():
    assert in_base_units("ticks") == ("hive_ticks", 1)
    assert in_base_units("clock_offset_ms") == ("hive_clock_offset_seconds", 1e-3)
    assert in_base_units("closed_ms_total") == ("hive_closed_seconds", 1e-3)
    assert in_base_units("weight_rate_milli") == ("hive_weight_rate", 1e-3)


def test_every_counter_of_gate_strategies_and_recorder_has_a_help_text():
    of_strategies = StrategyCounters.__annotations__.items()
    names = [*NAMES, *STRATEGY_NAMES, *(f"recorder_{one}" for one in COUNTERS), "capital_drift_e8"]
    names += [name for name, kind in of_strategies if kind is not Histogram]
    stems = {in_base_units(name)[0].removeprefix("hive_") for name in names}
    histograms = [*HISTOGRAM_NAMES, *(name for name, kind in of_strategies if kind is Histogram)]
    stems |= {f"{name.removesuffix('_ns')}_seconds" for name in histograms}
    assert stems <= TEXTS.keys()


def test_whose_code_runs_is_no_metric():
    assert not any("running_strategy" in name for name in families())


def test_buckets_are_cumulative_octaves_that_hold_what_was_counted():
    buckets = octaves(synthetic.histogram(50, 100, 1_000_000))
    assert buckets[0] == ("6.4e-08", 1.0)
    assert buckets[1] == ("1.28e-07", 2.0)
    assert buckets[-1] == ("+Inf", 3.0)
    counts = [count for _, count in buckets]
    assert counts == sorted(counts)
    first = next(float(bound) for bound, count in buckets if count == 3)
    assert 0.001 < first <= 0.0021
