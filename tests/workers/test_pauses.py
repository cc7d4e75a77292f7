"""What garbage collections take is counted."""

import gc

import pytest

from hive.workers.pauses import GarbagePauses


@pytest.fixture
def no_collections():
    """Let only those collections happen that a test asks for."""
    enabled = gc.isenabled()
    gc.disable()
    yield
    if enabled:
        gc.enable()


def test_each_collection_is_counted_with_its_length_until_it_is_told_to_stop(counters, no_collections):
    times = iter([1_000, 6_000, 10_000, 12_000])
    pauses = counters.histogram("gc_pause_ns")
    counting = GarbagePauses(pauses, lambda: next(times))
    counting.start()
    gc.collect()
    gc.collect(0)
    counting.stop()
    gc.collect()
    found = pauses.read()
    assert (found.count, found.sum, found.max) == (2, 7_000, 5_000)
