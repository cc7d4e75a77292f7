"""What a reader learns with a book: state, epoch, version and age in one read, and that its writer is silent."""

from array import array
from decimal import Decimal
from math import isnan

import numpy as np
import pytest

from hive.shm.atomics import boottime_ns, monotonic_ns
from hive.shm.book import EMPTY, LIVE, REMOVED, STALE, WRITER_DEAD, BookCopy, BookDirectory, BookTable, books_size
from hive.shm.instruments import InstrumentRules, Top
from hive.shm.layout_dtypes import DTYPES
from hive.shm.segment import Segment

RULES = InstrumentRules("A-USDT", "AUSDT", "A", "USDT", *[Decimal(1)] * 5)
MS = 1_000_000


@pytest.fixture
def segment(create) -> Segment:
    return create("books.test", books_size(2, 3, 4), kind="books", epoch=9)


@pytest.fixture
def table(segment) -> BookTable:
    made = BookTable(segment, 2, 3, 4)
    made.add(RULES)
    return made


@pytest.fixture
def reader(segment, table):
    return BookDirectory(segment).reader(0)


def publish(table: BookTable, update_id: int, local_ns: int = 0) -> None:
    bids, asks = array("d", [10.0, 9.0]), array("d", [11.0])
    table.writer(0).publish(update_id, 1, 2, local_ns, bids, array("d", [1.0, 2.0]), asks, array("d", [3.0]))


def head_word(segment: Segment) -> int:
    header = np.frombuffer(segment.buffer, DTYPES["book_table_header"], 1, segment.payload_offset)[0]
    return int(np.frombuffer(segment.buffer, DTYPES["book_header"], 1, int(header["arena_offset"]))[0]["head"])


def test_version_and_state_are_one_word(segment, table, reader):
    publish(table, 1)
    table.set_state(0, LIVE, 5)
    assert head_word(segment) == 1 << 8 | LIVE
    publish(table, 2)
    assert head_word(segment) == 2 << 8 | LIVE
    table.set_state(0, STALE, 6)
    assert head_word(segment) == 2 << 8 | STALE
    assert (reader.version, reader.state, reader.state_ns) == (2, STALE, 6)


def test_a_copy_has_the_state_and_epoch_of_its_version(table, reader):
    publish(table, 1)
    into = BookCopy(3)
    reader.copy_into(into)
    assert (into.state, into.epoch) == (EMPTY, 9)
    table.set_state(0, LIVE, 5)
    assert (into.state, reader.copy().state, reader.copy().epoch) == (EMPTY, LIVE, 9)


def test_a_top_says_everything_at_once(segment, table, reader):
    assert reader.read_top(0) is None
    publish(table, 77, local_ns=1_000 * MS)
    table.set_state(0, LIVE, 5)
    segment.beat(1_010 * MS, boot_ns=5_010 * MS)  # the machine was suspended for 4 s before
    assert reader.read_top(5_030 * MS) == Top(LIVE, 9, 1, 10.0, 1.0, 11.0, 3.0, 77, 1, 2, 1_000 * MS, 30 * MS)


def test_a_silent_writer_is_dead_and_speaks_again(segment, table, reader):
    publish(table, 1)
    table.set_state(0, LIVE, 5)
    assert reader.state_at(10_000 * MS) == WRITER_DEAD  # it never beat
    segment.beat(0, boot_ns=10_000 * MS)
    assert reader.state_at(10_080 * MS) == LIVE
    assert reader.state_at(10_080 * MS + 1) == WRITER_DEAD
    assert reader.read_top(10_080 * MS + 1).state == WRITER_DEAD
    assert reader.state == LIVE  # as it was stored
    segment.beat(0, boot_ns=10_081 * MS)
    assert reader.read_top(10_100 * MS).state == LIVE


def test_a_suspended_machine_shows_every_book_dead_before_anything_else_runs(segment, table, reader):
    table.set_state(0, LIVE, 5)
    now_ns, boot_ns = monotonic_ns(), boottime_ns()
    segment.beat(now_ns, boot_ns)
    an_hour_ns = 3_600_000 * MS
    assert now_ns - reader.heartbeat_ns <= 80 * MS  # the monotonic clock stood still
    assert reader.state_at(boot_ns + an_hour_ns) == WRITER_DEAD


def test_a_book_is_not_removed_by_silence_nor_dead_when_removed(table, reader):
    table.remove(0)
    assert reader.state_at(10**18) == REMOVED


def test_how_long_a_writer_may_be_silent_can_be_set(segment, table):
    directory = BookDirectory(segment, silent_after_ns=5 * MS)
    reader = directory.reader(0)
    assert (directory.silent_after_ns, reader.silent_after_ns) == (5 * MS, 5 * MS)
    segment.beat(0, boot_ns=100 * MS)
    assert reader.state_at(105 * MS) == EMPTY
    assert reader.state_at(106 * MS) == WRITER_DEAD
    reader.silent_after_ns = 10 * MS
    assert reader.state_at(106 * MS) == EMPTY
    with pytest.raises(ValueError, match="silent_after_ns must be above 0, was 0"):
        BookDirectory(segment, silent_after_ns=0)


def test_a_heartbeat_stores_both_clocks(segment, reader):
    before = monotonic_ns(), boottime_ns()
    segment.beat(before[0])
    assert segment.heartbeat_ns == reader.heartbeat_ns == before[0]
    assert before[1] <= segment.heartbeat_boot_ns == reader.heartbeat_boot_ns <= boottime_ns()
    assert reader.state_at(boottime_ns()) in (EMPTY, WRITER_DEAD)


def test_the_age_of_a_top_counts_from_its_publication(segment, table, reader):
    segment.beat(monotonic_ns())
    local_ns = monotonic_ns()
    publish(table, 1, local_ns)
    age_ns = reader.read_top(boottime_ns()).age_ns
    assert age_ns + MS >= 0  # the two clocks are read one after the other
    assert age_ns <= monotonic_ns() - local_ns + MS


def test_an_empty_side_has_no_price(table, reader):
    none = array("d")
    table.writer(0).publish(1, 0, 0, 0, none, none, none, none)
    top = reader.read_top(0)
    assert isnan(top.bid)
    assert isnan(top.ask)
    assert (top.bid_qty, top.ask_qty) == (0.0, 0.0)


def test_a_version_can_be_looked_at_where_it_lies(segment, table, reader):
    assert reader.borrow() is None
    publish(table, 1)
    table.set_state(0, LIVE, 5)
    borrowed = reader.borrow()
    assert (borrowed.version, borrowed.state, borrowed.n_bids, borrowed.n_asks) == (1, LIVE, 2, 1)
    columns = np.frombuffer(segment.buffer, "<f8", 4 * borrowed.room, borrowed.offset).reshape(4, borrowed.room)
    assert columns[:2, : borrowed.n_bids].tolist() == [[10.0, 9.0], [1.0, 2.0]]
    assert columns[2:, : borrowed.n_asks].tolist() == [[11.0], [3.0]]
    assert reader.still_valid(borrowed.version)
    for update_id in range(2, 5):
        publish(table, update_id)
    assert reader.still_valid(borrowed.version)
    publish(table, 5)
    assert not reader.still_valid(borrowed.version)
