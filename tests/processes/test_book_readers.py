"""Books and rings under writers at full speed and under kill -9: never torn, and the last version stays readable."""

import itertools
import random
import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

import forks
from hive.shm.arena import version_bytes
from hive.shm.book import EMPTY, LIVE, REMOVED, BookDirectory, BookReader, BookTable, BookWriter, books_size
from hive.shm.broadcast import BroadcastReader, BroadcastWriter, broadcast_size
from hive.shm.instruments import BookSnapshot, InstrumentRules, Trade
from hive.shm.layout import BOOK_VERSION
from hive.shm.segment import Segment, segment_name

DEEP = 5000  # a write and a copy take tens of microseconds each, so that they overlap nearly always
CYCLE = 64  # version n carries the numbers of n % CYCLE
RULES = InstrumentRules("A-B", "AB", "A", "B", *[Decimal(1)] * 5)
SIDES = (0.0, 1e9, 2e9, 3e9)  # bid_px, bid_qty, ask_px, ask_qty
STRESS_S = 2.0
SLOTS = 3
NAMES = [f"{letter}-USDT" for letter in "ABCDEFG"]
DEPTHS = (1, 2, 5)


@pytest.fixture
def run() -> str:
    return secrets.token_hex(4)


@pytest.fixture
def segment(run: str) -> Iterator[Segment]:
    size = max(books_size(1, DEEP, 8), broadcast_size(64))
    made = Segment.create(segment_name(run, "stress", 1), size, kind="stress", epoch=1)
    yield made
    made.unlink()
    made.close()


def columns(number: int, depth: int) -> list[np.ndarray]:
    """Return the four columns of a book whose every number is made of `number`, and its count of levels too."""
    levels = max(1, depth - number % 7)
    return [side + number + np.arange(levels, dtype=np.float64) for side in SIDES]


def write_for_ever(writer: BookWriter) -> None:
    made = [(n, n, n, n, *columns(n, writer.depth)) for n in range(CYCLE)]
    for n in itertools.count(1):
        writer.publish(*made[n % CYCLE])


def whole(book: BookSnapshot, depth: int) -> bool:
    numbers = {book.version % CYCLE, book.update_id, book.exchange_ns, book.recv_ns, book.local_ns}
    read = (book.bid_px, book.bid_qty, book.ask_px, book.ask_qty)
    expected = columns(book.update_id, depth)
    return len(numbers) == 1 and all(np.array_equal(*pair) for pair in zip(read, expected, strict=True))


def books(segment: Segment, depth: int, versions: int) -> tuple[BookWriter, BookReader]:
    table = BookTable(segment, 1, depth, versions)
    return table.writer(table.add(RULES)), BookDirectory(segment).reader(0)


def read_books(seconds: float, reader: BookReader) -> None:
    deadline = time.monotonic() + seconds
    seen = set()
    while time.monotonic() < deadline or len(seen) <= 50:
        book = reader.copy()
        if book is not None:
            assert whole(book, reader.depth)
            seen.add(book.version)


def read_tops(seconds: float, reader: BookReader) -> None:
    deadline = time.monotonic() + seconds
    seen = 0
    while time.monotonic() < deadline or seen <= 1000:
        for _ in range(1000):
            top = reader.top()
            if top is not None:
                n = top[4]
                assert top == (n, 1e9 + n, 2e9 + n, 3e9 + n, n)
                seen += 1


@pytest.mark.parametrize(
    ("depth", "versions", "read"), [(DEEP, 2, read_books), (DEEP, 8, read_books), (1, 2, read_tops)]
)
def test_no_reader_ever_sees_a_torn_book(segment, depth, versions, read):
    writer, reader = books(segment, depth, versions)
    with forks.Forked(write_for_ever, writer):
        read(STRESS_S, reader)


def test_a_writer_killed_anywhere_leaves_its_last_version_readable(run):
    rng = random.Random(8)
    died_inside = 0
    for epoch in range(50):
        name = segment_name(run, "books.kill", epoch)
        segment = Segment.create(name, books_size(1, DEEP, 4), kind="books", epoch=epoch)
        try:
            writer, reader = books(segment, DEEP, 4)
            with forks.Forked(write_for_ever, writer) as child:
                forks.until(lambda: reader.version > 5, "the first versions")  # noqa: B023 - called in this turn
                time.sleep(rng.random() * 0.002)
                child.kill()
            book = reader.copy()
            assert book is not None
            assert book.version == reader.version
            assert whole(book, DEEP)
            assert reader.top()[4] == book.update_id
            died_inside += odd_sequences(segment, reader)
        finally:
            segment.unlink()
            segment.close()
    assert died_inside > 0, "no kill hit a write: the test proves nothing"


def odd_sequences(segment: Segment, reader: BookReader) -> bool:
    size = version_bytes(DEEP)
    borrowed = reader.borrow()
    first = borrowed.offset - BOOK_VERSION.size - borrowed.version % 4 * size
    return any(segment.memory().load(first + i * size) % 2 for i in range(4))


def book_of(pair: str, turn: int) -> tuple[int, list[np.ndarray]]:
    """Return the depth that an instrument has in a turn, and the columns of its book: all of one number."""
    number = NAMES.index(pair) + 10.0 * turn
    return DEPTHS[(NAMES.index(pair) + turn) % len(DEPTHS)], [np.array([number])] * 4


def has_table(segment: Segment) -> bool:
    """Return whether the table's capacity, which is stored last, is there."""
    return segment.memory().load(segment.payload_offset) & 0xFFFFFFFF != 0


def come_and_go_for_ever(segment: Segment) -> None:
    """Add, publish, remove in every slot, at full speed; the number in a book names its instrument and its turn."""
    table = BookTable(segment, SLOTS, max(DEPTHS), 2)
    held: list[int] = []
    for turn in itertools.count():
        pair = NAMES[turn % len(NAMES)]
        if len(held) == SLOTS:
            table.remove(held.pop(0))
        depth, columns = book_of(pair, turn)
        slot = table.add(replace(RULES, pair=pair), depth)
        writer = table.writer(slot)
        for n in range(turn % 5):
            writer.publish(turn, turn, turn, n, *columns)
        table.set_state(slot, LIVE, turn)
        writer.set_last_trade(columns[0][0], turn)
        held.append(slot)


def read_what_comes_and_goes(segment: Segment, seconds: float) -> None:
    """Read for so long, and until many books were read and readers saw the end of theirs."""
    directory = BookDirectory(segment)
    read = ended = 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline or read <= 100 or ended <= 10:
        for pair in directory.pairs():
            try:
                reader = directory.reader(directory.find(pair))
            except IndexError:  # it went meanwhile
                continue
            for _ in range(10):
                book, trade = reader.copy(), reader.last_trade
                if book is not None:
                    depth, columns = book_of(reader.pair, book.update_id)
                    assert (reader.depth, list(book.bid_px)) == (depth, list(columns[0]))
                    assert book.state in (EMPTY, LIVE, REMOVED)
                    assert list(book.ask_qty) == list(columns[0])
                    assert trade in (0.0, columns[0][0])
                    read += 1
            if reader.state == REMOVED:
                assert reader.copy() is None
                ended += 1


def test_instruments_come_and_go_under_their_readers_and_are_never_mixed_up(run):
    size = books_size(SLOTS, max(DEPTHS), 2)
    segment = Segment.create(segment_name(run, "books.change", 1), size, kind="books", epoch=1)
    try:
        with forks.Forked(come_and_go_for_ever, segment):
            forks.until(lambda: has_table(segment), "the table")
            read_what_comes_and_goes(segment, STRESS_S)
    finally:
        segment.unlink()
        segment.close()


def test_a_writer_killed_while_instruments_come_and_go_leaves_a_directory_that_works(run):
    rng = random.Random(9)
    for epoch in range(30):
        name = segment_name(run, "books.kill", epoch)
        segment = Segment.create(name, books_size(SLOTS, max(DEPTHS), 2), kind="books", epoch=epoch)
        try:
            with forks.Forked(come_and_go_for_ever, segment) as child:
                forks.until(lambda: has_table(segment), "the table")  # noqa: B023
                directory = BookDirectory(segment)
                forks.until(lambda: directory.changes > 20, "some changes")  # noqa: B023
                time.sleep(rng.random() * 0.002)
                child.kill()
            pairs = directory.pairs()
            assert SLOTS - 1 <= len(pairs) <= SLOTS
            for pair in pairs:
                reader = directory.reader(directory.find(pair))
                assert (reader.pair, reader.version >= 0) == (pair, reader.copy() is not None)
        finally:
            segment.unlink()
            segment.close()


def publish_for_ever(writer: BroadcastWriter) -> None:
    for n in itertools.count():
        writer.publish(n & 0xFFFF, n & 1, n, n + 1, n + 2, n + 0.5, n * 2.0)


def drain_for(seconds: float, reader: BroadcastReader, max_drain: int) -> None:
    deadline = time.monotonic() + seconds
    last = reader.cursor - 1
    seen = 0
    first = reader.cursor
    while time.monotonic() < deadline or seen <= 10 or not reader.lapped:  # a ring of 2 is lapped nearly always
        for trade in reader.drain(max_drain):
            n = trade.trade_id
            assert trade == Trade(n & 0xFFFF, n & 1, n, n + 1, n + 2, n + 0.5, n * 2.0)
            assert n > last
            last = n
            seen += 1
    assert seen + reader.lapped == reader.cursor - first


@pytest.mark.parametrize("capacity", [2, 64])
def test_ring_readers_see_whole_records_in_order_and_count_what_they_lost(segment, capacity):
    writer = BroadcastWriter(segment, capacity)
    reader = BroadcastReader(segment)
    with forks.Forked(publish_for_ever, writer):
        drain_for(STRESS_S, reader, 1024)
