"""The gate's look at the feed's books, over real segments."""

import secrets
from decimal import Decimal

import numpy as np
import pytest

from hive.gate.books import FeedBooks
from hive.shm.book import HALTED, LIVE, STALE, BookTable, books_size
from hive.shm.counters import Counters, counters_size
from hive.shm.errors import SegmentMissing
from hive.shm.instruments import InstrumentRules
from hive.shm.liveness import GRACE_NS
from hive.shm.segment import Segment, segment_name
from hive.shm.stale_figures import StaleFigures

MS = 1_000_000
LIMIT_NS = 80 * MS
PAIR = "BTC-USDT"
RULES = InstrumentRules(
    pair=PAIR,
    symbol="BTCUSDT",
    base="BTC",
    quote="USDT",
    tick=Decimal("0.01"),
    step=Decimal("0.001"),
    min_qty=Decimal("0.001"),
    max_qty=None,
    min_notional=Decimal(5),
)


class Stage:
    """A feed that this test plays, and the gate's view of it."""

    def __init__(self):
        self.run = secrets.token_hex(4)
        self.now_ns = 10**12
        self.segments = []
        counters = self.create("counters.gate", counters_size(4, 0), "counters", 1)
        made = Counters.create(counters, 4)
        self.intervals, self.ms = made.counter("stale_intervals"), made.counter("stale_ms")
        self.books = FeedBooks(LIMIT_NS, StaleFigures(self.intervals, self.ms), lambda: self.now_ns)
        self.feed(1)

    def create(self, name, size, kind, epoch):
        self.segments.append(Segment.create(segment_name(self.run, name, epoch), size, kind=kind, epoch=epoch))
        return self.segments[-1]

    def feed(self, epoch):
        self.segment = self.create("books.sim", books_size(2, 5), "books", epoch)
        self.table = BookTable(self.segment, 2, 5)
        self.add()

    def add(self):
        self.slot = self.table.add(RULES)
        one = np.ones(1)
        self.table.writer(self.slot).publish(1, 0, 0, 0, 99 * one, one, 100 * one, one)
        self.set(LIVE)

    def set(self, state):
        self.table.set_state(self.slot, state, 0)
        self.segment.beat(self.now_ns, self.now_ns)

    def attach(self, epoch=1):
        self.books.attach(epoch, self.segment.name)


@pytest.fixture
def stage():
    made = Stage()
    yield made
    for segment in made.segments:
        segment.unlink()


def test_without_a_feed_no_order_goes(stage):
    assert stage.books.fault(PAIR, 1) == "there is no feed"


def test_an_order_goes_while_its_book_is_live(stage):
    stage.attach()
    assert stage.books.fault(PAIR, 1) == ""
    stage.set(STALE)
    assert stage.books.fault(PAIR, 1) == "book of BTC-USDT is STALE"
    stage.set(HALTED)
    assert stage.books.fault(PAIR, 1) == "book of BTC-USDT is HALTED"
    stage.set(LIVE)
    assert stage.books.fault(PAIR, 1) == ""
    stage.now_ns += LIMIT_NS + GRACE_NS + MS
    assert stage.books.fault(PAIR, 1) == "book of BTC-USDT is WRITER_DEAD"


def test_an_order_that_was_decided_on_another_epoch_is_refused(stage):
    stage.attach()
    assert stage.books.fault(PAIR, 2) == "decided on epoch 2 of the feed, which is in epoch 1"
    stage.feed(2)
    stage.attach(2)
    assert stage.books.fault(PAIR, 1) == "decided on epoch 1 of the feed, which is in epoch 2"
    assert stage.books.fault(PAIR, 2) == ""


def test_a_book_that_is_removed_and_comes_back_is_found_again(stage):
    stage.attach()
    assert stage.books.fault(PAIR, 1) == ""
    stage.table.remove(stage.slot)
    assert stage.books.fault(PAIR, 1) == "book of BTC-USDT is REMOVED"
    stage.add()
    assert stage.books.fault(PAIR, 1) == ""
    assert stage.books.fault("ETH-USDT", 1) == "book of ETH-USDT is REMOVED"


def test_books_that_orders_were_based_on_are_counted_when_they_are_not_current(stage):
    stage.attach()
    stage.books.look()
    stage.books.fault(PAIR, 1)
    stage.books.look()
    stage.now_ns += 10 * MS
    stage.set(STALE)
    stage.books.look()
    stage.now_ns += 30 * MS
    stage.set(LIVE)
    stage.books.look()
    assert (stage.intervals.value, stage.ms.value) == (1, 30)
    stage.table.remove(stage.slot)  # nobody wants it any more
    stage.books.look()
    assert stage.intervals.value == 1


def test_a_feed_that_is_gone_already_leaves_the_one_before(stage):
    stage.attach()
    with pytest.raises(SegmentMissing):
        stage.books.attach(2, "/hive.nowhere.books.sim.2")
    assert stage.books.fault(PAIR, 1) == ""
