"""The Prometheus text: names, labels, buckets."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import synthetic
from hive.metrics import metrics_of, octaves


class Fixed:
    """A collector of one sample."""

    def collect(self):
        return metrics_of(synthetic.sample())


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


def test_buckets_are_cumulative_octaves_that_hold_what_was_counted():
    buckets = octaves(synthetic.histogram(50, 100, 1_000_000))
    assert buckets[0] == ("6.4e-08", 1.0)
    assert buckets[1] == ("1.28e-07", 2.0)
    assert buckets[-1] == ("+Inf", 3.0)
    counts = [count for _, count in buckets]
    assert counts == sorted(counts)
    first = next(float(bound) for bound, count in buckets if count == 3)
    assert 0.001 < first <= 0.0021
