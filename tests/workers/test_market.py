"""MarketData over real segments that a small feed writes."""

import asyncio
from array import array

import pytest

from hive.shm.book import EMPTY, HALTED, LIVE, REMOVED, WRITER_DEAD
from hive.shm.counters import Counters, counters_size
from hive.shm.liveness import GRACE_NS
from hive.shm.segment import Segment, segment_name
from hive.shm.stale_figures import StaleFigures
from hive.workers.errors import BookMissing, UnknownInstrument
from hive.workers.market import TRADES_KEPT, MarketData
from tests.workers.venue import TinyFeed

MS = 1_000_000
PATIENCE_S = 20


class Now:
    def __init__(self):
        self.ns = 10**12

    def __call__(self):
        return self.ns


@pytest.fixture
def now():
    return Now()


@pytest.fixture
def feeds(run):
    made = []

    def start(epoch=1):
        made.append(TinyFeed(run, epoch))
        return made[-1]

    yield start
    for feed in made:
        feed.close()


@pytest.fixture
def wants():
    return []


@pytest.fixture
def market(now, wants):
    return MarketData(
        boot_ns=now, want=lambda *what: wants.append(what), stale_after_ms=50, name_of=["binance", "kucoin"].__getitem__
    )


def attach(market, feed):
    market.attach(0, feed.epoch, feed.books.name, feed.trades.name)


def test_without_a_feed_there_is_no_book_and_nothing_is_live(market):
    with pytest.raises(BookMissing, match="BTC-USDT: binance has no feed"):
        market.reader(0, "BTC-USDT")
    with pytest.raises(BookMissing):
        market.rules(0, "BTC-USDT")
    assert not market.is_live(0, "BTC-USDT")
    assert market.generation(0) == 0


def test_a_book_is_live_while_its_state_says_so_and_the_feed_beats(market, feeds, now):
    feed = feeds()
    feed.add("BTC-USDT")
    attach(market, feed)
    feed.beat(now.ns)
    assert market.is_live(0, "BTC-USDT")
    now.ns += 50 * MS
    assert market.is_live(0, "BTC-USDT")
    now.ns += GRACE_NS + MS
    assert market.state(0, "BTC-USDT") == WRITER_DEAD
    feed.beat(now.ns)
    feed.stale("BTC-USDT")
    assert not market.is_live(0, "BTC-USDT")
    feed.live("BTC-USDT")
    assert market.is_live(0, "BTC-USDT")
    assert not market.is_live(0, "ETH-USDT")


def test_a_books_version_is_another_after_every_change_and_with_another_feed(market, feeds, now):
    with pytest.raises(BookMissing):
        market.version(0, "BTC-USDT")
    feed = feeds()
    feed.add("BTC-USDT")
    attach(market, feed)
    seen = [market.version(0, "BTC-USDT")]
    one = array("d", [1.0])
    feed.table.writer(feed.slots["BTC-USDT"]).publish(1, 1, 1, 1, one, one, array("d", [2.0]), one)
    seen.append(market.version(0, "BTC-USDT"))
    assert market.version(0, "BTC-USDT") == seen[-1]
    following = feeds(epoch=2)
    following.add("BTC-USDT")
    attach(market, following)
    seen.append(market.version(0, "BTC-USDT"))
    assert len(set(seen)) == 3


def test_an_instrument_that_was_removed_and_is_back_has_a_new_reader(market, feeds, now):
    feed = feeds()
    feed.add("BTC-USDT")
    attach(market, feed)
    feed.beat(now.ns)
    assert market.state(0, "BTC-USDT") == LIVE
    before = (market.reader(0, "BTC-USDT"), market.generation(0), market.changes(0))
    feed.table.remove(feed.slots["BTC-USDT"])
    assert market.state(0, "BTC-USDT") == REMOVED
    assert market.state(0, "ETH-USDT") == EMPTY
    feed.add("ETH-USDT")  # gets the place
    feed.add("BTC-USDT", mid=300.0)
    assert market.state(0, "BTC-USDT") == LIVE
    assert market.reader(0, "BTC-USDT").top()[0] == pytest.approx(299.99)
    after = (market.reader(0, "BTC-USDT"), market.generation(0), market.changes(0))
    assert all(was != now for was, now in zip(before, after, strict=True))


def test_every_interval_in_which_a_used_book_is_not_current_is_counted(now, feeds, run):
    segment = Segment.create(segment_name(run, "counters.x", 1), counters_size(8, 0), kind="counters", epoch=1)
    counters = Counters.create(segment, 8)
    intervals, ms = counters.counter("stale_intervals"), counters.counter("stale_ms")
    market = MarketData(
        boot_ns=now, want=lambda *_: None, stale_after_ms=50, figures=lambda _: StaleFigures(intervals, ms)
    )
    feed = feeds()
    for pair in ("BTC-USDT", "ETH-USDT", "SOL-USDT"):
        feed.add(pair)
    attach(market, feed)

    def look(after_ms):
        now.ns += after_ms * MS
        feed.beat(now.ns)
        market.look()
        return intervals.value, ms.value

    market.want("left", 0, [("BTC-USDT", "book"), ("ETH-USDT", "book")])
    feed.beat(now.ns)
    assert market.is_live(0, "BTC-USDT")
    assert market.is_live(0, "ETH-USDT")
    assert look(10) == (0, 0)
    feed.stale("BTC-USDT")
    feed.stale("SOL-USDT")  # nobody reads it
    assert look(10) == (1, 0)
    assert look(30) == (1, 0)
    feed.live("BTC-USDT")
    assert look(10) == (1, 40)
    feed.table.set_state(feed.slots["ETH-USDT"], HALTED, 0)  # not traded on, but as the venue has it
    assert look(10) == (1, 40)
    now.ns += 1000 * MS  # the feed hangs, with both books
    market.look()
    assert intervals.value == 3
    assert look(0) == (3, 40)
    market.release("left")
    feed.stale("BTC-USDT")
    assert look(10) == (3, 40)
    segment.unlink()


def test_a_new_feed_epoch_replaces_the_readers_and_the_old_ones_keep_their_last_book(market, feeds, now):
    first = feeds()
    first.add("BTC-USDT", mid=100.0)
    attach(market, first)
    old = market.reader(0, "BTC-USDT")
    assert market.reader(0, "BTC-USDT") is old
    second = feeds(2)
    second.add("ETH-USDT")
    second.add("BTC-USDT", mid=200.0)
    attach(market, second)
    new = market.reader(0, "BTC-USDT")
    assert (old.top()[0], new.top()[0]) == (pytest.approx(99.99), pytest.approx(199.99))
    assert (market.generation(0), market.epoch(0)) == (2, 2)


async def test_instruments_asks_the_feed_and_waits_until_all_are_there(market, feeds, wants):
    waiting = asyncio.ensure_future(market.instruments(0, ["BTC-USDT", "ETH-USDT"]))
    await asyncio.sleep(0)
    everything = [(pair, kind) for pair in ("BTC-USDT", "ETH-USDT") for kind in ("book", "trades")]
    assert wants == [(0, everything)]
    feed = feeds()
    feed.add("ETH-USDT")
    attach(market, feed)
    await asyncio.sleep(0)
    assert not waiting.done()
    feed.add("BTC-USDT")
    assert [rules.pair for rules in await asyncio.wait_for(waiting, PATIENCE_S)] == ["BTC-USDT", "ETH-USDT"]
    assert market.wanted() == {0: everything}
    await market.instruments(0, ["ETH-USDT"])
    assert len(wants) == 1  # nobody is asked twice


def test_what_is_wanted_is_told_as_a_whole_and_goes_with_the_last_owner(market, wants):
    market.want("left", 0, [("BTC-USDT", "book")])
    market.want("right", 0, [("BTC-USDT", "book"), ("BTC-USDT", "candles:1m")])
    market.want("left", 1, [("ETH-USDT", "book")])
    assert wants == [
        (0, [("BTC-USDT", "book")]),
        (0, [("BTC-USDT", "book"), ("BTC-USDT", "candles:1m")]),
        (1, [("ETH-USDT", "book")]),
    ]
    wants.clear()
    market.release("left")
    assert wants == [(1, [])]
    market.unwant("right", 0, [("BTC-USDT", "candles:1m")])
    market.release("right")
    market.release("right")
    assert wants[1:] == [(0, [("BTC-USDT", "book")]), (0, [])]
    assert market.wanted() == {}


async def test_a_pair_that_was_not_known_can_be_asked_for_again(market, feeds, wants):
    feed = feeds()
    attach(market, feed)
    market.want("left", 0, [("NEW-USDT", "book")])
    market.mark_unknown(0, "NEW-USDT", "not listed yet")
    assert market.wanted() == {}  # the feed has dropped it, too
    wants.clear()
    waiting = asyncio.ensure_future(market.instruments(0, ["NEW-USDT"], "left"))
    await asyncio.sleep(0)
    assert wants == [(0, [("NEW-USDT", "book"), ("NEW-USDT", "trades")])]
    feed.add("NEW-USDT")
    assert [rules.pair for rules in await asyncio.wait_for(waiting, PATIENCE_S)] == ["NEW-USDT"]


def test_a_candle_series_is_where_the_feed_says_until_its_next_epoch(market, feeds):
    attach(market, feeds())
    assert market.series(0, "BTC-USDT", "1m") == (None, "")
    market.mark_series(0, "BTC-USDT", "1m", "/c.1")
    market.mark_series(0, "BTC-USDT", "7m", "", "no such interval")
    assert market.series(0, "BTC-USDT", "1m") == ("/c.1", "")
    assert market.series(0, "BTC-USDT", "7m") == (None, "no such interval")
    attach(market, feeds(2))
    assert market.series(0, "BTC-USDT", "1m") == (None, "")


async def test_a_pair_that_the_venue_does_not_list_is_an_error_for_who_waits(market, feeds):
    attach(market, feeds())
    waiting = asyncio.ensure_future(market.instruments(0, ["BTC-USDT", "NOT-THERE"]))
    await asyncio.sleep(0)
    market.mark_unknown(0, "NOT-THERE")
    with pytest.raises(UnknownInstrument, match="binance: NOT-THERE: the venue does not list it"):
        await asyncio.wait_for(waiting, PATIENCE_S)


def test_each_reader_of_trades_has_its_own_cursor(market, feeds):
    feed = feeds()
    feed.add("BTC-USDT")
    feed.add("ETH-USDT")
    attach(market, feed)
    first, trades = market.trades_since(0, "BTC-USDT", None)
    assert trades == []
    feed.trade("BTC-USDT", 1)
    feed.trade("ETH-USDT", 2)
    feed.trade("BTC-USDT", 3)
    second, trades = market.trades_since(0, "BTC-USDT", first)
    assert [trade.trade_id for trade in trades] == [1, 3]
    late, trades = market.trades_since(0, "BTC-USDT", None)
    assert (late, trades) == (second, [])
    feed.trade("BTC-USDT", 4)
    assert [trade.trade_id for trade in market.trades_since(0, "BTC-USDT", second)[1]] == [4]
    assert [trade.trade_id for trade in market.trades_since(0, "BTC-USDT", first)[1]] == [1, 3, 4]


def test_cursors_outlive_a_restart_of_the_feed(market, feeds):
    feed = feeds()
    feed.add("BTC-USDT")
    attach(market, feed)
    cursor, _ = market.trades_since(0, "BTC-USDT", None)
    feed.trade("BTC-USDT", 1)
    cursor, _ = market.trades_since(0, "BTC-USDT", cursor)
    feed = feeds(2)
    feed.add("ETH-USDT")
    feed.add("BTC-USDT")
    attach(market, feed)
    feed.trade("BTC-USDT", 2)
    assert [trade.trade_id for trade in market.trades_since(0, "BTC-USDT", cursor)[1]] == [2]


def test_a_reader_that_falls_far_behind_misses_the_oldest_trades(market, feeds):
    feed = feeds()
    feed.add("BTC-USDT")
    attach(market, feed)
    behind, _ = market.trades_since(0, "BTC-USDT", None)
    for trade_id in range(TRADES_KEPT + 10):
        feed.trade("BTC-USDT", trade_id)
        market.trades_since(0, "BTC-USDT", None)
    cursor, trades = market.trades_since(0, "BTC-USDT", behind)
    assert cursor == TRADES_KEPT + 10
    assert [trade.trade_id for trade in trades] == list(range(10, TRADES_KEPT + 10))


def test_trades_of_a_pair_that_nobody_wants_any_more_are_forgotten(market, feeds):
    feed = feeds()
    feed.add("BTC-USDT")
    attach(market, feed)
    market.want("a", 0, [("BTC-USDT", "book")])
    market.reader(0, "BTC-USDT")
    market.trades_since(0, "BTC-USDT", None)
    feed.trade("BTC-USDT", 1)
    late, trades = market.trades_since(0, "BTC-USDT", 0)
    assert [trade.trade_id for trade in trades] == [1]
    market.release("a")
    assert market.trades_since(0, "BTC-USDT", 0) == (0, [])
    feed.trade("BTC-USDT", 2)
    assert [trade.trade_id for trade in market.trades_since(0, "BTC-USDT", 0)[1]] == [2]
    assert market.trades_since(0, "BTC-USDT", late) == (1, [])


def test_trades_that_were_overwritten_before_they_were_read_are_counted(market, feeds):
    feed = feeds()
    feed.add("BTC-USDT")
    attach(market, feed)
    cursor, _ = market.trades_since(0, "BTC-USDT", None)
    for trade_id in range(200):
        feed.trade("BTC-USDT", trade_id)
    _, trades = market.trades_since(0, "BTC-USDT", cursor)
    assert len(trades) + market.lapped(0) == 200
    assert trades[-1].trade_id == 199
