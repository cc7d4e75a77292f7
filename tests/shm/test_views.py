"""Books as numpy arrays: what a shell or notebook sees of a table that is being written."""

import re
from array import array
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from hive.shm.atomics import boottime_ns, monotonic_ns
from hive.shm.book import LIVE, RESYNCING, BookTable, books_size
from hive.shm.broadcast import BroadcastWriter, broadcast_size
from hive.shm.errors import LayoutMismatch, SegmentMissing, ShmError
from hive.shm.instruments import InstrumentRules
from hive.shm.views import Books, venue_of

CAPACITY, DEPTH, VERSIONS = 4, 3, 4
DOCS = Path(__file__).parents[2] / "docs" / "development.md"


def rules(base):
    ticks = (Decimal("0.01"), Decimal("0.001"), Decimal("0.001"))
    return InstrumentRules(f"{base}-USDT", f"{base}USDT", base, "USDT", *ticks, None, Decimal(5))


class Feed:
    """A books and a trades segment with their writers."""

    def __init__(self, create, venue="binance"):
        self.segment = create(f"books.{venue}", books_size(CAPACITY, DEPTH, VERSIONS), "books")
        self.table = BookTable(self.segment, CAPACITY, DEPTH, VERSIONS)
        self.trades = BroadcastWriter(create(f"trades.{venue}", broadcast_size(8), "trades"), 8)
        self.writers = {}
        self.updates = 0
        self.segment.beat(monotonic_ns())

    def add(self, base):
        slot = self.table.add(rules(base))
        self.writers[f"{base}-USDT"] = self.table.writer(slot)
        return slot

    def publish(self, pair, bids, asks):
        self.updates += 1
        columns = [array("d", (level[at] for level in side)) for side in (bids, asks) for at in (0, 1)]
        self.writers[pair].publish(self.updates, 7, 8, monotonic_ns(), *columns)


    def live(self):
        slot = self.add("BTC")
        self.publish("BTC-USDT", [(10.0, 1.0), (9.5, 2.0)], [(10.5, 3.0), (11.0, 4.0), (12.0, 5.0)])
        self.table.set_state(slot, LIVE, monotonic_ns())
        return self


@pytest.fixture
def feed(create):
    return Feed(create).live()


@pytest.fixture
def books(feed, run):
    with Books.find(run) as found:
        yield found


def test_books_are_a_mapping_that_follows_the_feed(feed, books):
    assert (books.venue, books.epoch, list(books), len(books)) == ("binance", 1, ["BTC-USDT"], 1)
    slot = feed.add("ETH")
    assert list(books) == ["BTC-USDT", "ETH-USDT"]
    assert books["ETH-USDT"].top() is None
    with pytest.raises(ShmError, match="ETH-USDT has no book to read: it is EMPTY"):
        books["ETH-USDT"].sides()
    gone = books["ETH-USDT"]
    feed.table.remove(slot)
    assert gone.state == "REMOVED"
    with pytest.raises(KeyError, match="ETH-USDT is not followed here; these are: BTC-USDT"):
        books["ETH-USDT"]
    feed.add("ETH")
    assert books["ETH-USDT"].state == "EMPTY"


def test_a_book_shows_its_top_its_sides_and_its_rules(feed, books):
    book = books["BTC-USDT"]
    top = book.top()
    assert (top.bid, top.bid_qty, top.ask, top.ask_qty, top.update_id) == (10.0, 1.0, 10.5, 3.0, 1)
    assert 0 <= top.age_ns < 60e9
    assert book.state == "LIVE"
    bids, asks = book.sides()
    assert bids.tolist() == [[10.0, 1.0], [9.5, 2.0]]
    assert asks.tolist() == [[10.5, 3.0], [11.0, 4.0], [12.0, 5.0]]
    assert book.bids.tolist() == bids.tolist()
    assert book.asks.tolist() == asks.tolist()
    assert book.rules == rules("BTC")
    frame = book.frame()
    assert list(frame) == ["side", "level", "price", "quantity"]
    assert frame["side"].tolist() == ["bid", "bid", "ask", "ask", "ask"]
    assert frame["level"].tolist() == [0, 1, 0, 1, 2]
    assert frame["price"].tolist() == [10.0, 9.5, 10.5, 11.0, 12.0]


def test_a_copy_is_the_callers_own(feed, books):
    bids, _ = books["BTC-USDT"].sides()
    bids[0, 0] = 1.0
    feed.publish("BTC-USDT", [(20.0, 1.0)], [])
    assert bids[0, 0] == 1.0
    bids, asks = books["BTC-USDT"].sides()
    assert (bids.shape, asks.shape) == ((1, 2), (0, 2))


def test_a_borrowed_view_is_the_memory_itself_and_knows_when_it_was_overwritten(feed, books):
    book = books["BTC-USDT"]
    with book.borrow() as view:
        assert (view.state, view.bid_px.tolist(), view.ask_qty.tolist()) == ("LIVE", [10.0, 9.5], [3.0, 4.0, 5.0])
        assert not view.bid_px.flags.owndata
        with pytest.raises(ValueError, match="read-only"):
            view.bid_px[0] = 1.0
        for _ in range(VERSIONS - 1):
            feed.publish("BTC-USDT", [(20.0, 1.0)], [])
        assert view.valid
        assert view.bid_px.tolist() == [10.0, 9.5]
        feed.publish("BTC-USDT", [(30.0, 1.0)], [])
        assert not view.valid
        assert view.bid_px[0] == 30.0  # the same bytes, of another version
    assert view.bid_px is None


def test_the_state_is_the_feeds_and_ends_with_its_heartbeat(feed, books):
    feed.table.set_state(0, RESYNCING, monotonic_ns())
    assert books["BTC-USDT"].state == "RESYNCING"
    assert books["BTC-USDT"].top().state == RESYNCING
    feed.segment.beat(monotonic_ns(), boottime_ns() - 5_000_000_000)
    assert books["BTC-USDT"].state == "WRITER_DEAD"
    assert books.heartbeat_age_s >= 5
    assert books["BTC-USDT"].top().bid == 10.0  # the last that was known can still be looked at


def test_the_latest_trades_come_with_their_pairs(feed, books):
    assert books.trades() == []
    for number in range(20):
        feed.trades.publish(0, 0, number, 1, 2, 10.0 + number, 1.0)
    seen = books.trades(3)
    assert [(pair, trade.trade_id) for pair, trade in seen] == [("BTC-USDT", number) for number in (17, 18, 19)]
    assert [trade.trade_id for _, trade in books.trades(100)][-1] == 19


def test_what_cannot_be_opened_says_why(feed, run, create):
    assert Books.segments(run) == [feed.segment.name]
    assert Books.segments(run, "binance") == [feed.segment.name]
    assert Books.segments(run, "kraken") == []
    with pytest.raises(SegmentMissing, match=r"no living feed has books \(run .*\) \(venue kraken\)"):
        Books.find(run, "kraken")
    create("books.kraken", books_size(1, 1, 2), "books")
    with pytest.raises(SegmentMissing, match="several have books, open one: /hive"):
        Books.find(run)
    with pytest.raises(SegmentMissing):
        Books.open(f"/hive.{run}.books.nowhere.1")
    with pytest.raises(LayoutMismatch):
        Books.open(f"/hive.{run}.trades.binance.1")


@pytest.mark.parametrize(
    ("name", "venue"),
    [
        ("/hive.00c0ffee.books.binance.12", "binance"),
        ("/hive.00c0ffee.books.my.venue.1", "my.venue"),
        ("/hive.00c0ffee.trades.binance.1", ""),
        ("/hive.00c0ffee.books.1", ""),
    ],
)
def test_the_venue_is_read_from_a_segments_name(name, venue):
    assert venue_of(name) == venue


def test_the_documented_example_runs_as_it_stands(create, capsys):
    feed = Feed(create, "demo").live()
    feed.trades.publish(0, 0, 1, 1, 2, 10.0, 1.0)
    (example,) = re.findall(r"```python\n(.*?Books.*?)```", DOCS.read_text(), re.DOTALL)
    scope = {}
    exec(example, scope)
    shown = capsys.readouterr().out
    assert shown.splitlines() == ["BTC-USDT LIVE 10.0 10.5", "0.25"]
    assert isinstance(scope["bids"], np.ndarray)
    assert [pair for pair, _ in scope["latest"]] == ["BTC-USDT"]
    scope["books"].close()
