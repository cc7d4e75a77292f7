"""Counters and histograms: what the writer counts is what a reader sees; percentiles against numpy."""

from itertools import pairwise

import numpy as np
import pytest

from hive.shm.counters import Counter, Counters, CountersReader, counters_size
from hive.shm.errors import LayoutMismatch, NotRepresentable, ShmError, TableFull
from hive.shm.segment import Segment
from hive.shm.snapshots import HistogramSnapshot, bucket_bounds


@pytest.fixture
def segment(create) -> Segment:
    return create("counters.test", counters_size(6, 3), kind="counters")


@pytest.fixture
def counters(segment) -> Counters:
    return Counters.create(segment, 6)


def test_values_cross_with_their_labels(segment, counters):
    ticks = counters.counter("ticks", strategy="a")
    offset = counters.counter("clock_offset_ms", venue="binance", strategy="b")
    reader = CountersReader(segment)
    ticks.inc()
    ticks.inc(41)
    offset.set(-7)
    read = reader.read()
    assert read.values == {
        ("ticks", (("strategy", "a"),)): 42,
        ("clock_offset_ms", (("strategy", "b"), ("venue", "binance"))): -7,
    }
    assert read.value("ticks", strategy="a") == 42 == ticks.value
    assert read.value("clock_offset_ms", venue="binance", strategy="b") == -7
    assert read.value("ticks", strategy="none") == 0
    assert read.histogram("none") == HistogramSnapshot()


def test_totals_and_merges_go_over_all_labels(segment, counters):
    for name, n in (("a", 3), ("b", 4)):
        counters.counter("ticks", strategy=name).inc(n)
        for value in range(n):
            counters.histogram("lateness_ns", strategy=name).record(1000 * n + value)
    read = CountersReader(segment).read()
    assert read.total("ticks") == 7
    assert read.merged("lateness_ns").count == 7
    assert read.merged("lateness_ns").max == 4003
    assert read.merged("none").count == 0


def test_one_name_is_added_up_without_reading_the_others(segment, counters):
    reader = CountersReader(segment)
    assert (reader.total("ticks"), reader.merged("lateness_ns")) == (0, HistogramSnapshot())
    for name, n in (("a", 3), ("b", 4)):
        counters.counter("ticks", strategy=name).inc(n)
        counters.histogram("lateness_ns", strategy=name).record(1000 * n)
    counters.counter("ticks_late", strategy="a").inc(50)
    read = reader.read()
    assert reader.total("ticks") == 7 == read.total("ticks")
    assert reader.merged("lateness_ns") == read.merged("lateness_ns")
    assert reader.merged("lateness_ns").count == 2
    assert (reader.total("tick"), reader.total("lateness_ns"), reader.merged("ticks").count) == (0, 0, 0)


def test_a_name_of_full_length_is_found(create):
    segment = create("counters.long", counters_size(1, 0), kind="counters")
    Counters.create(segment, 1).counter("n" * 40).inc(5)
    assert CountersReader(segment).total("n" * 40) == 5
    assert CountersReader(segment).total("n" * 39) == 0


def test_a_readers_keys_share_their_names_and_labels(segment, counters):
    for name in ("ticks", "fills"):
        for strategy in ("a", "b"):
            counters.counter(name, strategy=strategy)
    keys = list(CountersReader(segment).read().values)
    assert len({id(name) for name, _ in keys}) == len({id(labels) for _, labels in keys}) == 2


def test_the_same_name_and_labels_are_the_same_counter(counters):
    assert counters.counter("x", a="1", b="2") is counters.counter("x", b="2", a="1")
    assert counters.counter("x", a="1") is not counters.counter("x", a="2")
    with pytest.raises(ValueError, match="both a counter and a histogram"):
        counters.histogram("x", a="1")


def test_a_counter_added_later_appears(segment, counters):
    reader = CountersReader(segment)
    assert reader.read().values == {}
    counters.counter("late").inc()
    assert reader.read().value("late") == 1


def test_the_heartbeat_crosses(segment, counters):
    counters.beat(99)
    reader = CountersReader(segment)
    assert [reader.heartbeat_ns, reader.read().heartbeat_ns, segment.heartbeat_ns] == [99, 99, 99]


def test_a_full_segment_says_so(counters):
    for i in range(3):
        counters.histogram("h", n=str(i))
    with pytest.raises(TableFull, match="3 histograms are in use: no room for h"):
        counters.histogram("h", n="3")
    for i in range(3):
        counters.counter("c", n=str(i))
    with pytest.raises(TableFull, match="6 counters are in use: no room for c"):
        counters.counter("c", n="3")


def test_names_and_labels_that_do_not_fit_are_refused(counters):
    for name, labels in (("n" * 41, {}), ("é", {}), ("n", {"strategy": "s" * 96})):
        with pytest.raises(NotRepresentable, match="must be at most"):
            counters.counter(name, **labels)
    for value in ("a,b", "a=b", ""):
        with pytest.raises(ValueError, match="a label must not be empty nor hold"):
            counters.counter("n", strategy=value)


def test_counters_never_resume_in_a_used_segment(segment, counters, create):
    with pytest.raises(ShmError, match="is in use"):
        Counters.create(segment, 6)
    with pytest.raises(LayoutMismatch, match="holds no counters yet"):
        CountersReader(create("empty", counters_size(1, 0), kind="counters"))
    with pytest.raises(ValueError, match="must have"):
        Counters.create(create("small", counters_size(1, 0), kind="counters"), 2)
    with pytest.raises(TypeError, match="comes from"):
        Counter()


def test_every_duration_falls_into_the_bucket_that_holds_it(counters):
    rng = np.random.default_rng(1)
    values = np.concatenate([np.arange(0, 300), 2 ** rng.uniform(0, 40, 500), [2**37 - 1, 2**37, 2**62]])
    before = counters.histogram("h").read()
    for value in values.astype(np.int64).tolist():
        counters.histogram("h").record(value)
        after = counters.histogram("h").read()
        (index,) = [i for i, (a, b) in enumerate(zip(after.buckets, before.buckets, strict=True)) if a != b]
        lower, upper = bucket_bounds(index)
        assert lower <= value
        assert value < upper or index == 249
        before = after


def test_buckets_join_without_gaps_and_are_an_eighth_of_an_octave():
    bounds = [bucket_bounds(index) for index in range(250)]
    assert bounds[0] == (0, 64)
    assert all(left[1] == right[0] for left, right in pairwise(bounds))
    assert bounds[249][0] == 2**37
    assert all((upper - lower) * 8 <= lower for lower, upper in bounds[1:249])


@pytest.mark.parametrize("seed", range(4))
def test_percentiles_are_within_a_sixteenth_of_numpys(counters, seed):
    rng = np.random.default_rng(seed)  # 4999 values: no rank is a whole number, where floats would decide
    values = np.clip(np.exp(rng.normal(rng.uniform(6, 16), 2, 4999)), 64, 2**37 - 1).astype(np.int64)
    histogram = counters.histogram("h", seed=str(seed))
    for value in values.tolist():
        histogram.record(value)
    read = histogram.read()
    assert (read.count, read.sum, read.max) == (4999, values.sum(), values.max())
    assert read.mean == pytest.approx(values.mean())
    for p in (0, 1, 10, 50, 90, 99, 99.9, 100):
        exact = np.percentile(values, p, method="inverted_cdf")
        assert abs(read.percentile(p) - exact) <= exact / 16


def test_an_empty_histogram_has_no_percentile_and_no_negative_duration(counters):
    assert HistogramSnapshot().percentile(99) == 0
    assert HistogramSnapshot().mean == 0
    with pytest.raises(ValueError, match=r"p must be within 0\.\.100, was 101"):
        HistogramSnapshot().percentile(101)
    histogram = counters.histogram("h")
    histogram.record(-5)
    assert (histogram.read().count, histogram.read().sum, histogram.read().percentile(50)) == (1, 0, 0)


def test_a_difference_is_what_came_in_between(counters):
    histogram = counters.histogram("h")
    for value in (100, 10_000_000):
        histogram.record(value)
    before = histogram.read()
    for value in (200, 210, 3000):
        histogram.record(value)
    window = histogram.read().minus(before)
    assert (window.count, window.sum) == (3, 3410)
    assert 3000 <= window.max <= 3000 * 9 / 8
    assert window.merge(before).count == 5
    assert before.minus(before) == HistogramSnapshot()
