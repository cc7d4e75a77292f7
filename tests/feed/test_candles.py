"""A candle series: history and stream become one row of candles, in any order of what happens."""

import random

import pytest
from msgspec.structs import replace

from feed.made_candles import FIRST_MS, candle, history
from hive.feed.candles import GAP_PATIENCE_NS, LARGEST_PAGE, CandleSeries, interval_ms
from hive.feed.errors import MalformedMessage
from hive.feed.venue import CandleEvent
from hive.shm.book import EMPTY, LIVE, RESYNCING, STALE
from hive.shm.candle_rows import rows
from hive.shm.candles import CandleReader, CandleWriter, candles_size

SECOND = 1_000_000_000


class Bench:
    """A series of at most `records` candles with a clock that is moved by hand."""

    def __init__(self, memory, records=20):
        self.now_ns = 0
        self.wall_ms = FIRST_MS
        self.joined = 0
        segment = memory._create("candles.test.0", candles_size(records), "candles")
        writer = CandleWriter(segment, "BTC-USDT", "1s", 1000, records)
        self.reader = CandleReader(segment)
        self.metrics = memory.metrics
        self.series = CandleSeries(
            "BTCUSDT", "1s", records, writer, memory.metrics,
            lambda series: None, self._joined, lambda: self.now_ns, lambda: self.wall_ms * 1_000_000, random.Random(1),
        )  # fmt: skip

    def _joined(self, series):
        self.joined += 1

    def start(self, last=30, records=20):
        """Connect, and join a history up to candle `last`, which goes on."""
        self.series.connected()
        self.series.subscribed()
        self.answer(history(last + 1 - records, last))

    def answer(self, answer):
        """Answer the request that is due; return (candles asked for, number of the latest one or None)."""
        assert self.series.due_ns is not None
        assert self.series.due_ns <= self.now_ns
        ticket, asked, end_ms = self.series.request()
        self.series.on_history(ticket, asked, answer)
        return asked, None if end_ms is None else (end_ms - FIRST_MS) // 1000

    def numbers(self):
        """Return the numbers of the candles that a reader sees."""
        return [round(row[0] * 1000 - FIRST_MS) // 1000 for row in rows(self.reader)]


@pytest.fixture
def bench(memory):
    return Bench(memory)


def test_history_and_the_events_that_came_meanwhile_become_one_series(bench):
    series = bench.series
    assert bench.reader.state == EMPTY
    series.connected()
    series.subscribed()
    series.on_event(candle(30, 12, closed=True))
    series.on_event(candle(31, 3))
    assert (bench.reader.count, bench.reader.state) == (0, EMPTY)
    assert bench.answer(history(11, 30)) == (20, None)
    assert bench.numbers() == list(range(12, 32))
    assert (series.state, bench.reader.state, bench.joined) == (LIVE, LIVE, 1)
    assert (rows(bench.reader)[-2, 7], bench.reader.newest.trades) == (12, 3)
    assert not bench.reader.newest.closed


def test_more_candles_than_one_answer_has_are_asked_for_page_by_page(memory):
    bench = Bench(memory, records=2 * LARGEST_PAGE + 10)
    bench.series.connected()
    bench.series.subscribed()
    assert bench.answer(history(9_001, 10_000)) == (LARGEST_PAGE, None)
    assert bench.answer(history(8_001, 9_000)) == (LARGEST_PAGE, 9_000)
    assert bench.reader.state == EMPTY
    assert bench.answer(history(7_991, 8_000)) == (10, 8_000)
    assert bench.numbers() == list(range(7_991, 10_001))
    assert bench.series.due_ns is None


def test_a_venue_with_a_short_past_gives_what_it_has(bench):
    bench.series.connected()
    bench.series.subscribed()
    bench.answer(history(1, 7))
    assert bench.numbers() == list(range(1, 8))
    assert bench.reader.state == LIVE


def test_a_candle_goes_on_closes_and_is_followed_by_the_next(bench):
    bench.start(last=30)
    for trades in (11, 15):
        bench.series.on_event(candle(30, trades))
        assert bench.reader.newest.trades == trades
    bench.series.on_event(candle(30, 16, closed=True))
    assert bench.reader.newest.closed
    bench.series.on_event(candle(31, 1))
    assert bench.numbers() == list(range(12, 32))
    assert rows(bench.reader)[-2, 7] == 16
    assert bench.metrics.candle_gaps.value == 0


def test_what_is_older_or_closed_or_known_changes_nothing(bench):
    bench.start(last=30)
    bench.series.on_event(candle(30, 20))
    before = rows(bench.reader)
    for event in (candle(30, 19), candle(29, 99, closed=True), candle(3)):
        bench.series.on_event(event)
    bench.series.on_event(candle(30, 20, closed=True))
    bench.series.on_event(candle(30, 21))
    assert (rows(bench.reader) == before).all()
    assert (bench.metrics.duplicates.value, bench.reader.state) == (4, LIVE)


def test_a_gap_is_shown_at_once_and_closed_by_history(bench):
    bench.start(last=30)
    bench.series.on_event(candle(33, 5))
    assert (bench.reader.state, bench.metrics.candle_gaps.value) == (RESYNCING, 1)
    assert bench.series.due_ns == GAP_PATIENCE_NS
    bench.now_ns = GAP_PATIENCE_NS
    bench.series.on_event(candle(33, 6))
    assert bench.numbers()[-1] == 30, "nothing is shown that does not follow"
    assert bench.answer(history(30, 33)) == (5, None)
    assert bench.numbers() == list(range(14, 34))
    assert (bench.reader.state, bench.reader.newest.trades) == (LIVE, 10)


def test_a_successor_of_a_candle_that_was_not_seen_to_close_is_a_gap(bench):
    bench.start(last=30)
    bench.series.on_event(candle(31, 1))
    assert bench.reader.state == RESYNCING
    bench.now_ns = GAP_PATIENCE_NS
    bench.answer(history(29, 31))
    assert bench.numbers()[-2:] == [30, 31]
    assert bench.reader.state == LIVE


def test_events_that_were_only_out_of_order_close_the_gap_themselves(bench):
    bench.start(last=30)
    bench.series.on_event(candle(32, 1))
    bench.series.on_event(candle(31, 9, closed=True))
    assert bench.reader.state == RESYNCING
    bench.series.on_event(candle(30, 12, closed=True))
    assert (bench.reader.state, bench.series.due_ns) == (LIVE, None)
    assert bench.numbers() == list(range(13, 33))
    assert list(rows(bench.reader)[-3:, 7]) == [12, 9, 1]


def test_history_that_ends_before_the_held_events_is_asked_for_again(bench):
    bench.start(last=30)
    bench.series.on_event(candle(35, 1))
    bench.now_ns = GAP_PATIENCE_NS
    bench.answer(history(30, 33))
    assert bench.reader.state == RESYNCING
    bench.now_ns = bench.series.due_ns
    bench.answer(history(30, 35))
    assert bench.numbers()[-1] == 35
    assert bench.reader.state == LIVE


def test_a_reconnect_within_a_candle_needs_no_history(bench):
    bench.start(last=30)
    bench.series.disconnected()
    assert bench.reader.state == STALE
    bench.series.connected()
    assert bench.reader.state == RESYNCING
    bench.series.on_event(candle(30, 14))
    assert (bench.reader.state, bench.reader.newest.trades) == (LIVE, 14)
    bench.series.subscribed()
    assert bench.series.due_ns is None


def test_what_was_missed_while_disconnected_comes_from_history(bench):
    bench.start(last=30)
    bench.series.disconnected()
    bench.series.on_event(candle(31, 14))
    bench.wall_ms = FIRST_MS + 34_500
    bench.series.connected()
    bench.series.subscribed()
    assert bench.answer(history(29, 34)) == (6, None)
    assert bench.numbers() == list(range(15, 35))
    assert (bench.reader.state, bench.joined) == (LIVE, 2)


def test_a_gap_that_is_longer_than_what_is_kept_begins_the_series_again(bench):
    bench.start(last=30)
    bench.series.disconnected()
    bench.wall_ms = FIRST_MS + 500_000
    bench.series.connected()
    bench.series.subscribed()
    assert bench.answer(history(481, 500)) == (20, None)
    assert bench.numbers() == list(range(481, 501))


def test_clocks_that_disagree_cost_a_request_and_no_candle(bench):
    bench.start(last=30)
    bench.series.disconnected()
    bench.wall_ms = FIRST_MS + 30_000  # ten seconds behind the venue's
    bench.series.connected()
    bench.series.subscribed()
    assert bench.answer(history(39, 40)) == (2, None)
    assert bench.reader.state == RESYNCING
    assert bench.answer(history(21, 38)) == (18, 38)
    assert bench.numbers() == list(range(21, 41))


def test_a_late_answer_to_a_lost_connection_is_dropped(bench):
    bench.series.connected()
    bench.series.subscribed()
    ticket, asked, _ = bench.series.request()
    bench.series.disconnected()
    bench.series.on_history(ticket, asked, history(11, 30))
    bench.series.history_failed(ticket)
    assert (bench.reader.count, bench.series.due_ns) == (0, None)
    bench.series.connected()
    bench.series.on_history(ticket, asked, history(11, 30))
    assert bench.reader.count == 0


def test_a_refused_request_is_repeated_later_and_later(bench):
    bench.series.connected()
    bench.series.subscribed()
    waits = []
    for _ in range(6):
        bench.now_ns = bench.series.due_ns
        ticket, *_ = bench.series.request()
        bench.series.history_failed(ticket)
        waits.append(bench.series.due_ns - bench.now_ns)
    assert waits == sorted(waits)
    assert waits[-1] > 10 * waits[0] > 0


def test_an_answer_that_is_not_in_order_is_malformed(bench):
    bench.series.connected()
    bench.series.subscribed()
    ticket, asked, _ = bench.series.request()
    with pytest.raises(MalformedMessage, match="candles of BTCUSDT 1s must be in order"):
        bench.series.on_history(ticket, asked, history(11, 30)[::-1])
    assert bench.reader.count == 0


def test_a_connection_that_lags_is_stale_until_it_is_proven(bench):
    bench.start(last=30)
    bench.series.lagging()
    assert bench.reader.state == STALE
    bench.series.on_event(candle(30, 15))
    assert (bench.reader.state, bench.reader.newest.trades) == (STALE, 15)
    bench.series.doubted()
    bench.series.proven()
    assert bench.reader.state == LIVE


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_the_series_is_the_venues_when_it_is_live(memory, seed):
    """The oracle is the venue: lost, doubled and reordered events, reconnects and late answers change nothing."""
    rng = random.Random(seed)
    bench = Bench(memory, records=15)
    truth: dict[int, CandleEvent] = {number: candle(number, closed=True) for number in range(40)}
    newest = 40
    truth[newest] = candle(newest, 0)
    wire: list[CandleEvent] = []
    up = False
    compared = 0

    def event():
        nonlocal newest
        if rng.random() < 0.3:
            truth[newest] = replace(truth[newest], closed=True)
            wire.append(truth[newest])
            newest += 1
            truth[newest] = candle(newest, 0)
        else:
            truth[newest] = candle(newest, truth[newest].trades + rng.randint(1, 5))
            if rng.random() < 0.9:
                wire.append(truth[newest])

    for _ in range(1500):
        bench.now_ns += SECOND // 10
        bench.wall_ms = truth[newest].open_ms + rng.choice((-3000, 0, 500))
        event()
        if wire and rng.random() < 0.1:
            del wire[rng.randrange(len(wire))]
        if wire and rng.random() < 0.1:
            wire.append(rng.choice(wire))
        if len(wire) > 1 and rng.random() < 0.1:
            wire.insert(rng.randrange(len(wire)), wire.pop())
        if not up:
            wire.clear()
            if rng.random() < 0.3:
                bench.series.connected()
                bench.series.subscribed()
                up = True
        elif rng.random() < 0.03:
            bench.series.disconnected()
            up = False
        while wire and rng.random() < 0.8:
            bench.series.on_event(wire.pop(0))
        if bench.series.due_ns is not None and bench.series.due_ns <= bench.now_ns and rng.random() < 0.7:
            ticket, asked, end_ms = bench.series.request()
            if rng.random() < 0.2:
                bench.series.history_failed(ticket)
            else:
                known = [one for one in truth.values() if end_ms is None or one.open_ms <= end_ms]
                answer = [replace(one, symbol="", closed=True) for one in known[-asked:]]
                answer[-1:] = [replace(answer[-1], closed=False)]
                bench.series.on_history(ticket, asked, answer)
        read = rows(bench.reader)
        if bench.reader.state == LIVE:
            numbers = bench.numbers()
            assert numbers == list(range(numbers[0], numbers[-1] + 1))
            assert len(numbers) == 15
            for number, row in zip(numbers[:-1], read[:-1], strict=True):
                assert row[7] == truth[number].trades, "a closed candle is as the venue has it"
            compared += 1
    assert compared > 300


def test_intervals_have_their_length():
    assert [interval_ms(one) for one in ("1s", "15m", "4h", "1d", "1w", "1M")] == [
        1_000, 900_000, 14_400_000, 86_400_000, 604_800_000, 2_592_000_000,
    ]  # fmt: skip
    for bad in ("", "m", "0m", "1x", "-1m", "1.5h", "m1"):
        with pytest.raises(ValueError, match="an interval must be a count and one of"):
            interval_ms(bad)
