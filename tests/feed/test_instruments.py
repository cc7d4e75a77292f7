"""One instrument from events to real shared memory."""

from dataclasses import replace
from decimal import Decimal

import pytest

from hive.feed.instruments import Instrument
from hive.feed.tape import TradeTape
from hive.feed.venue import DepthSnapshot, Diff, TradeEvent
from hive.shm.book import EMPTY, HALTED, LIVE, RESYNCING, STALE
from hive.shm.instruments import InstrumentRules

MS = 1_000_000
RULES = InstrumentRules(
    "BTC-USDT", "BTCUSDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.001"), Decimal("0.001"), None, Decimal(5)
)
SNAPSHOT = DepthSnapshot(100, 100, [["10.0", "1"], ["9.0", "1"]], [["11.0", "1"], ["12.0", "1"]])


class Clock:
    def __init__(self):
        self.now_ns = 1_000 * MS

    def __call__(self):
        self.now_ns += MS
        return self.now_ns


class Bench:
    """An instrument, its readers, and the snapshots that it asks for."""

    def __init__(self, memory, rules=RULES, limits=(100, 500), **checksum):
        self.asked = []
        self.memory = memory
        self.metrics = memory.metrics
        writer = memory.table.writer(memory.table.add(rules))
        self.instrument = Instrument(
            rules, memory.table, writer, limits, memory.metrics, self.asked.append, Clock(), **checksum
        )
        self.tape = TradeTape(writer, memory.trades, memory.metrics, Clock())
        self.reader = memory.reader(rules.pair)

    def live(self):
        self.instrument.connected()
        self.instrument.subscribed()
        self.serve(SNAPSHOT)
        return self

    def serve(self, snapshot):
        ticket = self.instrument.sync.request(0)
        self.instrument.on_snapshot(ticket, snapshot, 0)

    def diff(self, first, last, bids=(), asks=(), prev=-1, checksum=-1):
        self.instrument.on_diff(Diff("BTCUSDT", first, last, prev, 7, list(bids), list(asks), checksum), 0)


@pytest.fixture
def bench(memory):
    return Bench(memory)


def test_a_book_is_empty_until_its_snapshot_and_live_afterwards(bench):
    bench.instrument.connected()
    bench.instrument.subscribed()
    assert bench.reader.state == EMPTY
    assert bench.asked == [bench.instrument]
    bench.serve(SNAPSHOT)
    assert bench.reader.state == LIVE
    assert bench.reader.top() == (10.0, 1.0, 11.0, 1.0, 100)


def test_a_diff_becomes_visible_with_its_times_and_is_measured(bench):
    bench.live().diff(101, 102, [["10.5", "3"]])
    assert bench.reader.top() == (10.5, 3.0, 11.0, 1.0, 102)
    assert bench.reader.copy().exchange_ns == 7
    assert bench.metrics.updates.value == 2
    assert bench.metrics.book_latency_ns.read().count == 1


def test_a_gap_shows_at_once_and_ends_with_the_next_snapshot(bench):
    bench.live().diff(105, 106, [["10.6", "1"]])
    assert bench.reader.state == RESYNCING
    assert (bench.metrics.gaps.value, bench.metrics.resyncs.value, len(bench.asked)) == (1, 0, 2)
    bench.serve(DepthSnapshot(104, 100, [["10.2", "1"]], [["11.0", "1"]]))
    assert bench.reader.state == LIVE
    assert bench.reader.top() == (10.6, 1.0, 11.0, 1.0, 106)
    assert (bench.metrics.gaps.value, bench.metrics.resyncs.value) == (1, 1)


def test_a_crossed_book_is_never_shown_and_resynced(bench):
    bench.live().diff(101, 101, [["11.5", "1"]])
    assert bench.reader.state == RESYNCING
    assert bench.reader.top()[4] == 100
    assert (bench.metrics.crossed.value, len(bench.asked)) == (1, 2)


def test_a_diff_with_a_malformed_level_is_counted_and_resynced(bench):
    bench.live().diff(101, 101, [["10.5", "1"], ["x", "1"]])
    assert bench.reader.state == RESYNCING
    assert bench.reader.top()[4] == 100
    assert bench.metrics.malformed.value == 1


def test_a_malformed_snapshot_is_counted_and_asked_for_again(bench):
    bench.instrument.connected()
    bench.instrument.subscribed()
    bench.serve(DepthSnapshot(100, 100, [["10", "1"]], [["x", "1"]]))
    assert bench.reader.state == EMPTY
    assert bench.metrics.malformed.value == 1
    assert bench.instrument.sync.snapshot_due_ns is not None


def test_a_disconnect_makes_the_book_stale_at_once_and_a_reconnect_resyncs(bench):
    bench.live().instrument.disconnected()
    assert bench.reader.state == STALE
    bench.instrument.connected()
    assert bench.reader.state == RESYNCING
    bench.instrument.subscribed()
    bench.serve(SNAPSHOT)
    assert bench.reader.state == LIVE
    assert bench.metrics.resyncs.value == 1


def test_duplicates_change_nothing_and_are_counted(bench):
    bench.live().diff(101, 101, [["10.5", "1"]])
    bench.diff(101, 101, [["10.5", "9"]])
    assert bench.reader.top()[:2] == (10.5, 1.0)
    assert bench.metrics.duplicates.value == 1


def test_a_book_that_runs_past_its_snapshot_is_refreshed_deeper_while_live(memory):
    bench = Bench(memory, limits=(3, 500)).live()  # published depth is 5: a snapshot of 3 is too short
    bench.instrument.connected()
    bench.instrument.subscribed()
    bench.serve(DepthSnapshot(100, 3, [["10", "1"], ["9", "1"], ["8", "1"]], [["11", "1"]]))
    bench.diff(101, 101, [["10", "2"], ["3", "1"]])
    assert len(bench.reader.copy().bid_px) == 3
    assert bench.reader.state == LIVE
    assert bench.instrument.snapshot_limit == 500
    assert bench.instrument.sync.snapshot_due_ns is not None
    bench.serve(DepthSnapshot(101, 500, [["10", "2"], ["9", "1"], ["8", "1"], ["4", "1"], ["3", "1"]], [["11", "1"]]))
    assert list(bench.reader.copy().bid_px) == [10.0, 9.0, 8.0, 4.0, 3.0]
    assert bench.reader.state == LIVE


def test_a_halt_shows_instead_of_live_and_ends(memory):
    halted = InstrumentRules(
        "BTC-USDT", "BTCUSDT", "BTC", "USDT", RULES.tick, RULES.step, RULES.min_qty, None, Decimal(5), trading=False
    )
    bench = Bench(memory, halted).live()
    assert bench.reader.state == HALTED
    bench.instrument.set_rules(RULES)
    assert bench.reader.state == LIVE
    assert memory.directory.rules(0).trading
    bench.instrument.set_rules(halted)
    assert bench.reader.state == HALTED


def test_trades_are_published_once_and_in_order(bench):
    bench.live()
    for trade_id, price in ((7, 10.0), (8, 10.5), (8, 10.5), (6, 9.0), (9, 11.0)):
        bench.tape.on_trade(TradeEvent("BTCUSDT", trade_id, 5, price, 2.0, trade_id == 8), 3)
    trades = bench.memory.trade_reader.drain()
    assert [(one.trade_id, one.price, one.flags, one.slot) for one in trades] == [
        (7, 10.0, 0, 0),
        (8, 10.5, 1, 0),
        (9, 11.0, 0, 0),
    ]
    assert bench.reader.last_trade == 11.0
    assert bench.metrics.duplicates.value == 2


def test_a_diff_that_names_another_before_it_is_a_gap(bench):
    bench.live().diff(101, 105, [["10.1", "1"]], prev=99)  # right after a snapshot its id decides
    bench.diff(110, 112, [["10.2", "1"]], prev=105)  # ids with holes, linked by name
    assert bench.reader.state == LIVE
    assert bench.reader.top()[4] == 112
    bench.diff(113, 115, [["10.3", "1"]], prev=111)
    assert bench.reader.state == RESYNCING
    assert bench.metrics.gaps.value == 1


def level_count(rules, bids, asks):
    return 100 * len(bids) + len(asks)


def test_a_wrong_checksum_is_counted_and_resynced(memory):
    bench = Bench(memory, checksum=level_count, checksum_levels=10).live()
    bench.diff(101, 101, [["10.5", "1"]], checksum=302)
    assert bench.reader.state == LIVE
    bench.diff(102, 102, [["10.6", "1"]], checksum=999)
    assert bench.reader.state == RESYNCING
    assert (bench.metrics.checksums.value, len(bench.asked)) == (1, 2)


def test_a_lagging_book_is_stale_while_it_is_still_written_and_live_when_it_is_proven(bench):
    bench.live().instrument.lagging()
    assert bench.reader.state == STALE
    bench.diff(101, 101, [["10.5", "1"]])
    assert bench.reader.top()[4] == 101
    assert bench.reader.state == STALE
    bench.instrument.proven()
    assert bench.reader.state == LIVE
    assert bench.metrics.stale_intervals.value == 1
    assert bench.metrics.stale_ms.value > 0


def test_a_resync_of_a_lagging_book_does_not_make_it_live(bench):
    bench.live().instrument.lagging()
    bench.diff(105, 106)
    assert bench.reader.state == RESYNCING
    bench.serve(DepthSnapshot(106, 100, [["10.2", "1"]], [["11.0", "1"]]))
    assert bench.reader.state == STALE
    bench.instrument.proven()
    assert bench.reader.state == LIVE


def test_a_reconnect_ends_the_lag_of_the_old_connection(bench):
    bench.live().instrument.lagging()
    bench.instrument.disconnected()
    bench.instrument.connected()
    bench.instrument.subscribed()
    bench.serve(SNAPSHOT)
    assert bench.reader.state == LIVE


def test_a_book_in_doubt_is_stale_until_the_next_diff_follows(bench):
    bench.live().instrument.doubted()
    assert bench.reader.state == STALE
    bench.diff(101, 101, [["10.5", "1"]])
    assert bench.reader.state == LIVE
    assert len(bench.asked) == 1


def test_a_book_in_doubt_without_a_diff_is_verified_by_a_snapshot(bench):
    bench.live().instrument.doubted()
    bench.instrument.verify()
    assert len(bench.asked) == 2
    bench.serve(DepthSnapshot(103, 100, [["10.2", "1"]], [["11.0", "1"]]))  # a diff was lost: 101..103
    assert bench.reader.state == LIVE
    assert bench.reader.top() == (10.2, 1.0, 11.0, 1.0, 103)
    bench.instrument.verify()
    assert len(bench.asked) == 2


def test_a_doubt_that_was_right_is_a_gap(bench):
    bench.live().instrument.doubted()
    bench.diff(102, 102, [["10.5", "1"]])
    assert bench.reader.state == RESYNCING


def test_a_closed_instrument_touches_its_slot_no_more(bench):
    bench.live().instrument.close()
    bench.memory.table.remove(bench.instrument.slot)
    bench.instrument.disconnected()
    bench.instrument.lagging()
    bench.diff(101, 101, [["10.5", "1"]])
    other = replace(RULES, pair="ETH-USDT", symbol="ETHUSDT", base="ETH")
    assert bench.memory.table.add(other) == bench.instrument.slot
    assert bench.memory.reader("ETH-USDT").state == EMPTY
    assert bench.memory.reader("ETH-USDT").top() is None


def test_changes_of_the_best_prices_are_events_while_somebody_wants_them(bench):
    bench.live()
    bench.instrument.tops = bench.memory.tops
    bench.diff(101, 101, [["9.5", "1"]])  # the first: what the best prices are
    bench.diff(102, 102, [["9.4", "1"]])  # below the best
    bench.diff(103, 103, [["10.0", "2"]])
    bench.diff(104, 104, [], [["11.0", "0"]])
    bench.instrument.tops = None
    bench.diff(105, 105, [["10.1", "1"]])
    events = bench.memory.top_reader.drain()
    assert [(one.slot, one.update_id, one.bid, one.bid_qty, one.ask, one.ask_qty) for one in events] == [
        (0, 101, 10.0, 1.0, 11.0, 1.0),
        (0, 103, 10.0, 2.0, 11.0, 1.0),
        (0, 104, 10.0, 2.0, 12.0, 1.0),
    ]
