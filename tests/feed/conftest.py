"""Real segments of a run of their own for the feed's unit tests."""

import os

import pytest

from hive.feed.metrics import HISTOGRAMS_PER_VENUE, METRICS_PER_VENUE, VenueMetrics
from hive.shm.book import BookDirectory, BookTable, books_size
from hive.shm.broadcast import BroadcastReader, BroadcastWriter, TopReader, TopWriter, broadcast_size
from hive.shm.counters import Counters, counters_size
from hive.shm.segment import Segment, segment_name

CAPACITY, DEPTH, VERSIONS, TRADES = 8, 5, 4, 64


class Memory:
    """Books, trades and counters of one venue, and their readers; `epoch` tells several apart."""

    def __init__(self, epoch=1):
        self._epoch = epoch
        self.segments = []
        books = self._create("books.test", books_size(CAPACITY, DEPTH, VERSIONS), "books")
        trades = self._create("trades.test", broadcast_size(TRADES), "trades")
        counters = self._create("counters.feed", counters_size(METRICS_PER_VENUE, HISTOGRAMS_PER_VENUE), "counters")
        self.table = BookTable(books, CAPACITY, DEPTH, VERSIONS)
        self.trades = BroadcastWriter(trades, TRADES)
        self.counters_segment = counters
        self.counters = Counters.create(counters, METRICS_PER_VENUE)
        self.metrics = VenueMetrics(self.counters, "test")
        self.directory = BookDirectory(books)
        self.trade_reader = BroadcastReader(trades)
        tops = self._create("tops.test", broadcast_size(TRADES), "tops")
        self.tops = TopWriter(tops, TRADES)
        self.top_reader = TopReader(tops)

    def reader(self, pair):
        return self.directory.reader(self.directory.find(pair))

    def close(self):
        for segment in self.segments:
            segment.unlink()
            segment.close()

    def _create(self, name, size, kind):
        epoch = self._epoch
        segment = Segment.create(segment_name(f"{os.getpid():08x}", name, epoch), size, kind=kind, epoch=epoch)
        self.segments.append(segment)
        return segment


@pytest.fixture
def memory():
    made = Memory()
    yield made
    made.close()
