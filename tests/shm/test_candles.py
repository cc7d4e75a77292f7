"""Candle series: what a writer publishes is what readers get, whole, at any moment of its life."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hive.shm.book import LIVE, STALE, WRITER_DEAD
from hive.shm.candle_rows import NAMES, rows
from hive.shm.candles import COLUMNS, SLACK, Candle, CandleReader, CandleWriter, candles_size
from hive.shm.errors import LayoutMismatch, NotRepresentable, ShmError
from hive.shm.segment import Segment, segment_name, unlink

MINUTE = 60_000
FIRST = 1_700_000_040_000
CAPACITY = 8


def candle(number, change=0, closed=False):
    """Return a candle whose every value is told by its number and how often it changed."""
    base = 1000.0 * number + change
    return Candle(
        FIRST + number * MINUTE, FIRST + (number + 1) * MINUTE - 1,
        base + 1, base + 2, base + 3, base + 4, base + 5, base + 6, int(base) + 7, base + 8, base + 9, closed,
    )  # fmt: skip


def row(number, change=0):
    one = candle(number, change)
    return [
        one.open_ms / 1000, one.open, one.high, one.low, one.close, one.volume, one.quote_volume, one.trades,
        one.taker_base, one.taker_quote,
    ]  # fmt: skip


def put(writer, one, now_ns=0):
    return writer.update(
        one.open_ms, one.close_ms, one.open, one.high, one.low, one.close, one.volume, one.quote_volume, one.trades,
        one.taker_base, one.taker_quote, one.closed, now_ns,
    )  # fmt: skip


@pytest.fixture
def series(create):
    """(segment, writer, reader) of a series of at most CAPACITY candles."""
    segment = create("candles.test.0", candles_size(CAPACITY), "candles")
    writer = CandleWriter(segment, "BTC-USDT", "1m", MINUTE, CAPACITY)
    return segment, writer, CandleReader(Segment.open(segment.name, kind="candles"))


def test_a_reader_knows_whose_candles_they_are(series):
    segment, writer, reader = series
    named = (reader.pair, reader.interval, reader.interval_ms, reader.capacity, reader.epoch)
    assert named == ("BTC-USDT", "1m", MINUTE, CAPACITY, segment.epoch)
    assert (reader.count, reader.revision, reader.newest, writer.count, writer.newest) == (0, 0, None, 0, None)
    assert rows(reader).shape == (0, COLUMNS)
    assert len(NAMES) == COLUMNS


def test_candles_are_read_in_order_with_the_newest_as_it_is_now(series):
    _, writer, reader = series
    for number in range(3):
        for change in range(4):
            assert put(writer, candle(number, change))
    np.testing.assert_array_equal(rows(reader), [row(0, 3), row(1, 3), row(2, 3)])
    assert reader.newest == candle(2, 3)
    assert (reader.count, writer.count, reader.revision) == (3, 3, 12)
    np.testing.assert_array_equal(rows(reader, 2), [row(1, 3), row(2, 3)])
    np.testing.assert_array_equal(rows(reader, 1), [row(2, 3)])
    assert rows(reader, 0).shape == (0, COLUMNS)


def test_a_closed_candle_never_changes(series):
    _, writer, reader = series
    put(writer, candle(0))
    put(writer, candle(0, 1, closed=True))
    assert reader.newest == candle(0, 1, closed=True)
    assert not put(writer, candle(0, 2))
    assert put(writer, candle(1))
    assert not put(writer, candle(0, 3, closed=True))
    assert not put(writer, candle(-5))
    np.testing.assert_array_equal(rows(reader), [row(0, 1), row(1)])
    assert writer.count == 2


def test_a_series_keeps_the_newest_of_its_capacity(series):
    _, writer, reader = series
    for number in range(3 * (CAPACITY + SLACK)):
        put(writer, candle(number, closed=True))
        first = max(0, number + 1 - CAPACITY)
        np.testing.assert_array_equal(rows(reader), [row(one) for one in range(first, number + 1)])
        assert reader.count == number + 1 - first


def test_after_a_hole_the_series_begins_again(series):
    _, writer, reader = series
    for number in range(4):
        put(writer, candle(number, closed=True))
    writer.begin_again()
    assert reader.count == 4, "the old candles stay until there is a new one"
    put(writer, candle(40))
    put(writer, candle(40, 1))
    np.testing.assert_array_equal(rows(reader), [row(40, 1)])
    put(writer, candle(41))
    np.testing.assert_array_equal(rows(reader), [row(40, 1), row(41)])
    assert (reader.count, writer.count) == (2, 6)


def test_a_state_is_published_with_the_candles_and_a_silent_writer_is_dead(series):
    segment, writer, reader = series
    put(writer, candle(0))
    writer.set_state(LIVE, 5)
    segment.beat(0, 1_000_000_000)
    assert (reader.state, reader.state_ns, writer.state, reader.revision) == (LIVE, 5, LIVE, 1)
    put(writer, candle(0, 1))
    assert (reader.state, reader.revision) == (LIVE, 2)
    writer.set_state(STALE, 6)
    assert reader.newest == candle(0, 1)
    assert reader.state_at(1_000_000_000 + reader.silent_after_ns) == STALE
    assert reader.state_at(1_000_000_001 + reader.silent_after_ns) == WRITER_DEAD
    assert reader.heartbeat_boot_ns == 1_000_000_000
    assert reader.state_at() == WRITER_DEAD, "now is far beyond that heartbeat"


def test_what_does_not_fit_is_refused_with_the_value(series, create):
    segment, *_ = series
    with pytest.raises(ShmError, match="is in use"):
        CandleWriter(segment, "BTC-USDT", "1m", MINUTE, CAPACITY)
    small = create("candles.small", candles_size(CAPACITY), "candles")
    with pytest.raises(ValueError, match=f"must have {candles_size(CAPACITY + 1)} bytes, was {candles_size(CAPACITY)}"):
        CandleWriter(small, "BTC-USDT", "1m", MINUTE, CAPACITY + 1)
    with pytest.raises(NotRepresentable, match="interval must be 1 to 8 ASCII characters, was 'a long one'"):
        CandleWriter(small, "BTC-USDT", "a long one", MINUTE, CAPACITY)
    with pytest.raises(LayoutMismatch, match="holds no candle series yet"):
        CandleReader(small)
    with pytest.raises(ValueError, match=r"capacity must be 2\.\.16777216, was 1"):
        candles_size(1)
    reader = series[2]
    with pytest.raises(ValueError, match="rows must have 10 columns, was 9"):
        reader.read_into(np.empty((3, 9)))
    with pytest.raises(ValueError, match="most must be >= 0, was -1"):
        rows(reader, -1)


def test_random_updates_read_as_a_plain_list_would_tell():
    """The oracle keeps every candle in a list."""
    rng = random.Random(11)
    name = segment_name(f"{os.getpid():08x}", "candles.oracle.0", 1)
    segment = Segment.create(name, candles_size(CAPACITY), kind="candles", epoch=1)
    try:
        writer, reader = CandleWriter(segment, "A-B", "1m", MINUTE, CAPACITY), CandleReader(segment)
        kept: list[list] = []
        number, closed = -1, True
        for _ in range(5000):
            kind = rng.random()
            if number < 0 or kind < 0.3:
                number, closed = number + rng.choice((1, 1, 1, 2)), False
                kept.append([])
            elif kind < 0.32:
                writer.begin_again()
                number, closed, kept = number + 9, False, [[]]
            elif closed:
                assert not put(writer, candle(number, 1))
                continue
            closed, change = rng.random() < 0.3, rng.randrange(900)
            assert put(writer, candle(number, change, closed))
            kept[-1] = row(number, change)
            np.testing.assert_array_equal(rows(reader), kept[-CAPACITY:])
    finally:
        segment.unlink()
        segment.close()


WRITER = Path(__file__).with_name("candle_writer.py")


def torn(read):
    """Return what is wrong with rows that candle_writer.py wrote, "" when nothing is."""
    opens = read[:, 0] * 1000
    if not (np.diff(opens) == 1000).all():
        return f"not in order: {opens}"
    base = read[:, 1]
    if not (read[:, 2:] - base[:, None] == np.arange(1, 9)).all():
        return f"torn: {read}"
    if not (base[:-1] % 10 == 9).all():
        return f"a candle went on after it was closed: {base}"
    return ""


def started(run):
    """Start a writer; return it and its segment once it has written."""
    writer = subprocess.Popen([sys.executable, str(WRITER), run], stdout=subprocess.PIPE)
    assert writer.stdout.readline() == b"ready\n"
    return writer, segment_name(run, "candles.stress.0", 1)


def test_no_reader_sees_a_torn_candle_while_a_process_writes_as_fast_as_it_can(run):
    writer, name = started(run)
    try:
        reader = CandleReader(Segment.open(name, kind="candles"))
        seen = set()
        until = time.monotonic() + 3
        while time.monotonic() < until or len(seen) <= 1000:
            assert writer.poll() is None
            read = rows(reader)
            assert torn(read) == ""
            seen.add(read[-1, 1])
        assert reader.capacity == len(read)
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()
        unlink(name)


def test_a_writer_killed_at_any_moment_leaves_a_series_that_can_be_read(run):
    rng = random.Random(5)
    for _ in range(15):
        writer, name = started(run)
        try:
            reader = CandleReader(Segment.open(name, kind="candles"))
            time.sleep(rng.random() * 0.02)
            writer.send_signal(signal.SIGKILL)
            writer.wait()
            read = rows(reader)
            assert torn(read) == ""
            assert len(read) == reader.count > 0
            np.testing.assert_array_equal(rows(reader), read)
        finally:
            writer.stdout.close()
            unlink(name)
