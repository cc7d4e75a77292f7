"""The room for a venue's counters."""

import pytest

from hive.feed.metrics import HISTOGRAMS_PER_VENUE, METRICS_PER_VENUE
from hive.shm.counters import CountersReader
from hive.shm.errors import TableFull


def test_a_venues_metrics_fill_the_room_that_is_made_for_them(memory):
    read = CountersReader(memory.counters_segment).read()
    assert len(read.histograms) == HISTOGRAMS_PER_VENUE
    assert len(read.values) + len(read.histograms) == METRICS_PER_VENUE
    with pytest.raises(TableFull):
        memory.counters.counter("one_too_many")
