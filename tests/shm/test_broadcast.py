"""The broadcast ring: in order, no duplicates, and being lapped is counted."""

import random

import numpy as np
import pytest

from hive.shm.broadcast import (
    BUYER_IS_MAKER,
    BroadcastReader,
    BroadcastWriter,
    TopReader,
    TopWriter,
    broadcast_size,
)
from hive.shm.errors import LayoutMismatch, ShmError
from hive.shm.instruments import TopEvent, Trade
from hive.shm.layout import TRADE_RECORD
from hive.shm.layout_dtypes import DTYPES

CAPACITY = 16


@pytest.fixture
def segment(create):
    return create("trades.test", broadcast_size(CAPACITY), kind="trades")


@pytest.fixture
def writer(segment) -> BroadcastWriter:
    return BroadcastWriter(segment, CAPACITY)


def publish(writer: BroadcastWriter, n: int, first: int = 0) -> None:
    for i in range(first, first + n):
        writer.publish(i % 7, i & 1, i, i * 10, i * 100, i * 0.5, i * 2.0)


def ids(trades: list[Trade]) -> list[int]:
    return [trade.trade_id for trade in trades]


def test_a_reader_sees_what_is_published_after_it_came(segment, writer):
    publish(writer, 3)
    reader = BroadcastReader(segment)
    assert reader.drain() == []
    publish(writer, 2, first=3)
    assert reader.drain() == [Trade(3, 1, 3, 30, 300, 1.5, 6.0), Trade(4, 0, 4, 40, 400, 2.0, 8.0)]
    assert reader.drain() == []
    assert (reader.lapped, reader.cursor, writer.head) == (0, 5, 5)


def test_a_record_lies_in_memory_as_the_layout_says(segment, writer):
    writer.publish(5, BUYER_IS_MAKER, 77, 1, 2, 3.5, 4.5)
    (row,) = segment_records(segment)[:1]
    names = ("seq", "instrument", "flags", "trade_id", "exchange_ns", "recv_ns", "price", "qty", "generation")
    assert [row[name] for name in names] == [2, 5, 1, 77, 1, 2, 3.5, 4.5, 0]


def segment_records(segment):
    offset = segment.payload_offset + DTYPES["broadcast_header"].itemsize
    return np.frombuffer(segment.buffer, DTYPES["trade_record"], CAPACITY, offset)


def test_a_reader_may_look_back_at_what_is_there(segment, writer):
    assert BroadcastReader(segment, back=3).drain() == []
    publish(writer, 5)
    assert [ids(BroadcastReader(segment, back=back).drain()) for back in (0, 2, 9)] == [[], [3, 4], [0, 1, 2, 3, 4]]
    publish(writer, 3 * CAPACITY - 5, first=5)
    reader = BroadcastReader(segment, back=10 * CAPACITY)
    seen = ids(reader.drain())
    assert seen == list(range(3 * CAPACITY - len(seen), 3 * CAPACITY))
    assert len(seen) >= CAPACITY // 2
    assert reader.lapped == 0


def test_records_are_the_bytes_of_the_trades_that_a_drain_returns(segment, writer):
    one, two = BroadcastReader(segment), BroadcastReader(segment)
    publish(writer, CAPACITY + 3)  # laps both
    trades, records = one.drain(), two.drain_records(5)
    records += two.drain_records()
    assert [Trade._make(TRADE_RECORD.struct.unpack(record)[1:]) for record in records] == trades
    assert [TRADE_RECORD.struct.unpack(record)[0] for record in records] == [
        2 * number + 2 for number in range(one.cursor - len(trades), one.cursor)
    ]
    assert (two.cursor, two.lapped, two.drain_records()) == (one.cursor, one.lapped, [])


def test_a_bounded_drain_goes_on_where_it_stopped(segment, writer):
    reader = BroadcastReader(segment)
    publish(writer, 10)
    assert [ids(reader.drain(4)) for _ in range(3)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_a_full_ring_loses_nothing(segment, writer):
    reader = BroadcastReader(segment)
    publish(writer, CAPACITY)
    assert ids(reader.drain()) == list(range(CAPACITY))
    assert reader.lapped == 0


def test_random_lapping_against_the_list_of_everything(segment, writer):
    rng = random.Random(4)
    reader = BroadcastReader(segment)
    published = received = 0
    for _ in range(2000):
        n = rng.randint(0, 40) if rng.random() < 0.2 else rng.randint(0, 6)
        publish(writer, n, first=published)
        published += n
        got = reader.drain()
        lost = reader.lapped
        assert len(got) + received + lost == published  # every record is either seen or counted
        received += len(got)
        assert ids(got) == list(range(published - len(got), published))
    assert reader.lapped > 0
    assert received > reader.lapped


def test_a_record_that_is_being_written_is_waited_for(segment, writer):
    reader = BroadcastReader(segment)
    segment.memory().store(segment.payload_offset + 128, 1)  # seq of record 0: a writer inside
    assert reader.drain() == []
    publish(writer, 1)
    assert ids(reader.drain()) == [0]


def test_a_record_that_is_being_overwritten_is_lost_and_counted(segment, writer):
    reader = BroadcastReader(segment)
    publish(writer, CAPACITY)
    segment.memory().store(segment.payload_offset + 128, 2 * CAPACITY + 1)  # record 16 begins over record 0
    assert ids(reader.drain()) == list(range(2, CAPACITY))  # and an eighth of the ring with it
    assert reader.lapped == 2


def test_readers_do_not_disturb_each_other(segment, writer):
    one, two = BroadcastReader(segment), BroadcastReader(segment)
    publish(writer, 5)
    assert ids(one.drain()) == ids(two.drain()) == list(range(5))


def test_sizes_and_used_segments_are_refused(segment, writer, create):
    for bad in (0, 1, 3, 12):
        with pytest.raises(ValueError, match=f"capacity must be a power of two >= 2, was {bad}"):
            broadcast_size(bad)
    with pytest.raises(ShmError, match="is in use"):
        BroadcastWriter(segment, CAPACITY)
    with pytest.raises(ValueError, match="must have"):
        BroadcastWriter(create("small", broadcast_size(2), kind="trades"), 4)
    with pytest.raises(LayoutMismatch, match="holds no broadcast ring yet"):
        BroadcastReader(create("empty", broadcast_size(2), kind="trades"))


def test_a_trade_says_which_instrument_had_the_slot(segment, writer):
    reader = BroadcastReader(segment)
    writer.publish(3, 0, 1, 2, 3, 4.0, 5.0, 77)
    writer.publish(3, 0, 2, 2, 3, 4.0, 5.0)
    assert [trade.generation for trade in reader.drain()] == [77, 0]


def test_changes_of_the_top_cross_and_lapping_is_counted(segment):
    writer, reader = TopWriter(segment, CAPACITY), TopReader(segment)
    nan = float("nan")
    writer.publish(3, (7 << 32) + 5, 100, 200, 1.0, 2.0, 3.0, 4.0)
    writer.publish(4, 6, 101, 201, nan, 0.0, 3.0, 4.0)
    first, second = reader.drain()
    assert first == TopEvent(3, 5, 100, 200, 1.0, 2.0, 3.0, 4.0)
    assert second[:4] == (4, 6, 101, 201)
    assert np.isnan(second.bid)
    assert (reader.drain(), reader.lapped, writer.head) == ([], 0, 2)
    for n in range(CAPACITY + 1):
        writer.publish(0, 1, n, 0, 1.0, 1.0, 2.0, 1.0)
    seen = [event.update_id for event in reader.drain()]
    assert seen == list(range(CAPACITY + 1 - len(seen), CAPACITY + 1))
    assert reader.lapped == CAPACITY + 1 - len(seen) > 0


def test_a_top_record_lies_in_memory_as_the_layout_says(segment):
    TopWriter(segment, CAPACITY).publish(3, 5, 100, 200, 1.0, 2.0, 3.0, 4.0)
    offset = segment.payload_offset + DTYPES["broadcast_header"].itemsize
    (row,) = np.frombuffer(segment.buffer, DTYPES["top_record"], 1, offset)
    assert row.tolist() == (2, 3, 5, 100, 200, 1.0, 2.0, 3.0, 4.0)
