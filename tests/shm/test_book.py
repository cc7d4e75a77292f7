"""Books: what is published is what is read, version by version, and a half-written cell is never read."""

import random
from array import array
from dataclasses import replace
from decimal import Decimal
from math import isnan

import numpy as np
import pytest

from hive.shm.arena import place_bytes, version_bytes
from hive.shm.book import (
    EMPTY,
    HALTED,
    LIVE,
    REMOVED,
    RESYNCING,
    BookCopy,
    BookDirectory,
    BookReader,
    BookTable,
    BookWriter,
    books_size,
)
from hive.shm.errors import LayoutMismatch, NotRepresentable, ShmError, TableFull
from hive.shm.instruments import InstrumentRules
from hive.shm.layout import BOOK_HEADER, BOOK_VERSION
from hive.shm.layout_dtypes import DTYPES
from hive.shm.segment import Segment

CAPACITY, DEPTH, VERSIONS = 3, 5, 4
RULES = InstrumentRules(
    pair="BTC-USDT",
    symbol="BTCUSDT",
    base="BTC",
    quote="USDT",
    tick=Decimal("0.01"),
    step=Decimal("0.00001"),
    min_qty=Decimal("0.00001000"),
    max_qty=Decimal("9000"),
    min_notional=Decimal("5"),
)


@pytest.fixture
def segment(create) -> Segment:
    return create("books.test", books_size(CAPACITY, DEPTH, VERSIONS), kind="books")


@pytest.fixture
def table(segment) -> BookTable:
    return BookTable(segment, CAPACITY, DEPTH, VERSIONS)


@pytest.fixture
def writer(table) -> BookWriter:
    return table.writer(table.add(RULES))


@pytest.fixture
def reader(writer, segment) -> BookReader:
    return BookDirectory(segment).reader(writer.slot)


def publish(writer: BookWriter, update_id: int, bids: list, asks: list, times=(1, 2, 3)) -> None:
    columns = [array("d", [level[i] for level in side]) for side in (bids, asks) for i in (0, 1)]
    writer.publish(update_id, *times, *columns)


def test_nothing_published_is_nothing_read(reader):
    assert (reader.version, reader.top(), reader.copy(), reader.age_ns(5), reader.state) == (-1, None, None, -1, EMPTY)
    assert reader.copy_into(BookCopy(DEPTH)) == 0


def test_a_book_is_read_as_it_was_published(writer, reader):
    publish(writer, 77, [(100.0, 1.0), (99.5, 2.0)], [(100.5, 3.0)], times=(10, 20, 30))
    assert reader.top() == (100.0, 1.0, 100.5, 3.0, 77)
    book = reader.copy()
    assert (book.version, book.update_id) == (1, 77)
    assert (book.exchange_ns, book.recv_ns, book.local_ns) == (10, 20, 30)
    assert (list(book.bid_px), list(book.bid_qty)) == ([100.0, 99.5], [1.0, 2.0])
    assert (list(book.ask_px), list(book.ask_qty)) == ([100.5], [3.0])
    assert reader.age_ns(50) == 20


def test_an_empty_side_has_no_price(writer, reader):
    publish(writer, 1, [], [(2.0, 1.0)])
    bid, bid_qty, ask, ask_qty, _ = reader.top()
    assert isnan(bid)
    assert (bid_qty, ask, ask_qty) == (0.0, 2.0, 1.0)
    publish(writer, 2, [], [])
    assert isnan(reader.top()[2])
    assert (len(reader.copy().bid_px), len(reader.copy().ask_px)) == (0, 0)


def test_random_books_of_every_size_equal_what_was_published(writer, reader):
    rng = random.Random(3)
    into = BookCopy(DEPTH)
    for update_id in range(500):
        sides = [[(rng.random(), rng.random()) for _ in range(rng.randint(0, DEPTH))] for _ in range(2)]
        publish(writer, update_id, *sides)
        book = reader.copy()
        columns = (book.bid_px, book.bid_qty), (book.ask_px, book.ask_qty)
        assert [list(zip(*side, strict=True)) for side in columns] == sides
        assert book.version == update_id + 1 == reader.version
        assert reader.copy_into(into) == 1
        assert into.snapshot() == book


def test_numpy_arrays_are_published_too(writer, reader):
    columns = [np.array([value]) for value in (1.0, 2.0, 3.0, 4.0)]
    writer.publish(1, 0, 0, 0, *columns)
    assert reader.top() == (1.0, 2.0, 3.0, 4.0, 1)


def test_a_copy_deeper_than_the_book_works_and_a_shallower_one_is_refused(writer, reader):
    publish(writer, 1, [(1.0, 1.0)], [(2.0, 1.0)])
    assert reader.copy_into(BookCopy(DEPTH + 3)) == 1
    assert reader.copy_into(BookCopy(DEPTH - 1)) == -2


def test_uneven_and_overlong_sides_are_refused(writer):
    one, two = array("d", [1.0]), array("d", [1.0, 2.0])
    with pytest.raises(ValueError, match="bid_px and bid_qty must have the same length <= 5, was 1 and 2"):
        writer.publish(1, 0, 0, 0, one, two, one, one)
    long = array("d", [0.0] * 6)
    with pytest.raises(ValueError, match="ask_px and ask_qty must have the same length <= 5, was 6 and 6"):
        writer.publish(1, 0, 0, 0, one, one, long, long)


def cell(segment: Segment, table_offset: int) -> np.ndarray:
    return np.frombuffer(segment.buffer, DTYPES["book_version"], 1, table_offset)


def version_offset(segment: Segment, slot: int, version: int) -> int:
    header = np.frombuffer(segment.buffer, DTYPES["book_table_header"], 1, segment.payload_offset)[0]
    book = int(header["arena_offset"]) + slot * place_bytes(DEPTH, VERSIONS)
    return book + BOOK_HEADER.size + version % VERSIONS * version_bytes(DEPTH)


def test_a_version_that_is_being_written_is_not_read_and_the_last_one_is(segment, writer, reader):
    for update_id in range(1, 7):
        publish(writer, update_id, [(float(update_id), 1.0)], [(9.0, 1.0)])
    segment.memory().store(version_offset(segment, 0, 7), 2 * 7 + 1)  # a writer that died inside version 7
    assert reader.copy().update_id == 6
    assert reader.top()[4] == 6


def test_a_cell_that_is_overwritten_is_refused_and_not_waited_for(segment, writer, reader):
    publish(writer, 1, [(1.0, 1.0)], [(2.0, 1.0)])
    for seq in (2 * 1 + 1, 2 * (1 + VERSIONS) + 1, 2 * (1 + VERSIONS) + 2):
        segment.memory().store(version_offset(segment, 0, 1), seq)
        assert (reader.copy(), reader.top(), reader.age_ns(0)) == (None, None, -1)
        assert reader.copy_into(BookCopy(DEPTH)) == -1


def test_a_wrong_level_count_leads_nowhere(segment, writer, reader):
    publish(writer, 1, [(1.0, 1.0)], [(2.0, 1.0)])
    offset = version_offset(segment, 0, 1) + BOOK_VERSION.offset("n_bids")
    segment.memory().store(offset, 2**63)
    assert reader.copy() is None


def test_the_record_carries_its_instrument_and_epoch(segment, writer, reader):
    publish(writer, 1, [(1.0, 1.0)], [(2.0, 1.0)])
    (row,) = cell(segment, version_offset(segment, 0, 1))
    assert (row["instrument"], row["epoch"], row["seq"]) == (0, 1, 4)
    assert reader.epoch == 1


def test_states_cross_with_their_time(table, reader):
    for state in (LIVE, RESYNCING, HALTED, EMPTY):
        table.set_state(0, state, 100 + state)
        assert (reader.state, reader.state_ns) == (state, 100 + state)
    with pytest.raises(ValueError, match=r"state must be one of 0\.\.4, was 5"):
        table.set_state(0, REMOVED, 0)


def test_the_last_trade_and_the_heartbeat_cross(segment, writer, reader):
    assert reader.last_trade == 0.0
    writer.set_last_trade(123.5, 9)
    segment.beat(44)
    assert (reader.last_trade, reader.heartbeat_ns) == (123.5, 44)


def test_the_directory_grows_while_it_is_read(segment, table):
    directory = BookDirectory(segment)
    assert (directory.pairs(), directory.find("BTC-USDT")) == ([], -1)
    other = replace(RULES, pair="ETH-USDT", symbol="ETHUSDT", base="ETH", max_qty=None, trading=False)
    assert [table.add(RULES), table.add(other)] == [0, 1]
    assert (directory.find("ETH-USDT"), directory.pairs()) == (1, ["BTC-USDT", "ETH-USDT"])
    assert [directory.rules(slot) for slot in (0, 1)] == [RULES, other]
    assert directory.depth == DEPTH
    with pytest.raises(IndexError, match="slot must be below 2, was 2"):
        directory.reader(2)


def test_rules_can_change_and_keep_their_slot(segment, table, writer, reader):
    publish(writer, 1, [(1.0, 1.0)], [(2.0, 1.0)])
    changed = replace(RULES, tick=Decimal("0.1"), trading=False)
    assert table.add(changed) == writer.slot
    assert BookDirectory(segment).rules(0) == changed == table.rules(0)
    assert reader.top() == (1.0, 1.0, 2.0, 1.0, 1)


def test_half_written_rules_are_an_error_and_not_a_mixture(segment, table, writer):
    directory = BookDirectory(segment)
    header = np.frombuffer(segment.buffer, DTYPES["book_table_header"], 1, segment.payload_offset)[0]
    segment.memory().store(int(header["directory_offset"]) + 184, 3)
    with pytest.raises(ShmError, match="half written"):
        directory.rules(0)


def test_a_full_table_says_so(table):
    for i in range(CAPACITY):
        table.add(replace(RULES, pair=f"P{i}-USDT"))
    with pytest.raises(TableFull, match="3 instruments is full: no room for BTC-USDT"):
        table.add(RULES)
    assert table.find("P2-USDT") == 2
    assert table.find("BTC-USDT") == -1


def test_rules_that_do_not_fit_are_refused(table):
    with pytest.raises(NotRepresentable, match="base must be 1 to 12"):
        table.add(replace(RULES, base="B" * 13))
    with pytest.raises(NotRepresentable, match="decimal"):
        table.add(replace(RULES, tick=Decimal("1E-200")))


def test_a_table_never_resumes_in_a_used_segment(segment, table):
    with pytest.raises(ShmError, match="is in use"):
        BookTable(segment, CAPACITY, DEPTH, VERSIONS)


def test_a_directory_wants_a_table(create):
    with pytest.raises(LayoutMismatch, match="holds no book table yet"):
        BookDirectory(create("empty", books_size(1, 1, 2), kind="books"))


def test_sizes_out_of_range_are_refused(create):
    for bad in ((0, 5, 4), (1, 0, 4), (1, 5001, 4), (1, 5, 1)):
        with pytest.raises(ValueError, match="a book table needs"):
            books_size(*bad)
    small = create("small", books_size(1, 5, 4), kind="books")
    with pytest.raises(ValueError, match="must have"):
        BookTable(small, 2, 5, 4)


def test_readers_and_writers_are_not_made_by_hand():
    for made in (BookReader, BookWriter):
        with pytest.raises(TypeError, match="comes from"):
            made()


def test_a_reader_outlives_its_closed_and_unlinked_segment(segment, writer, reader):
    publish(writer, 1, [(1.0, 1.0)], [(2.0, 1.0)])
    segment.unlink()
    segment.close()
    assert reader.top() == (1.0, 1.0, 2.0, 1.0, 1)
