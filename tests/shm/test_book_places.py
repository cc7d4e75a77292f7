"""Instruments that come and go while they are read: depths of their own, reused slots and places, no mixing up."""

import random
from array import array
from dataclasses import replace
from decimal import Decimal

import pytest

from hive.shm.book import EMPTY, LIVE, REMOVED, STATE_NAMES, WRITER_DEAD, BookCopy, BookDirectory, BookTable, books_size
from hive.shm.errors import ShmError, TableFull
from hive.shm.instruments import InstrumentRules

CAPACITY, DEPTH, VERSIONS = 3, 5, 4
RULES = InstrumentRules("A-USDT", "AUSDT", "A", "USDT", *[Decimal(1)] * 5)


def rules(pair: str) -> InstrumentRules:
    return replace(RULES, pair=pair, symbol=pair.replace("-", ""))


@pytest.fixture
def segment(create):
    return create("books.test", books_size(CAPACITY, DEPTH, VERSIONS, depths=[20]), kind="books")


@pytest.fixture
def table(segment) -> BookTable:
    return BookTable(segment, CAPACITY, DEPTH, VERSIONS)


@pytest.fixture
def directory(segment, table) -> BookDirectory:
    return BookDirectory(segment)


def publish(writer, number: int, levels: int = 1) -> None:
    column = array("d", [float(number + i) for i in range(levels)])
    writer.publish(number, number, number, number, column, column, column, column)


def test_the_states_have_names():
    assert STATE_NAMES[EMPTY] == "EMPTY"
    assert (STATE_NAMES[REMOVED], REMOVED) == ("REMOVED", 5)
    assert (STATE_NAMES[WRITER_DEAD], WRITER_DEAD) == ("WRITER_DEAD", 6)


def test_every_instrument_has_the_depth_that_it_was_added_with(table, directory):
    shallow, usual, deep = table.add(rules("S-USDT"), 2), table.add(rules("U-USDT")), table.add(rules("D-USDT"), 20)
    for slot, depth in ((shallow, 2), (usual, DEPTH), (deep, 20)):
        writer, reader = table.writer(slot), directory.reader(slot)
        assert (writer.depth, reader.depth) == (depth, depth)
        publish(writer, 7, levels=depth)
        assert list(reader.copy().ask_qty) == [7.0 + i for i in range(depth)]
        with pytest.raises(ValueError, match=f"same length <= {depth}"):
            publish(writer, 8, levels=depth + 1)
    assert directory.reader(deep).copy_into(BookCopy(DEPTH)) == -2
    assert directory.depth == DEPTH


def test_a_depth_out_of_range_or_for_which_there_is_no_place_is_refused(table):
    for depth in (0, 5001):
        with pytest.raises(ValueError, match=rf"depth of A-USDT must be 1\.\.5000, was {depth}"):
            table.add(RULES, depth)
    with pytest.raises(TableFull, match="no place left for 1000 levels per side: no room for A-USDT"):
        table.add(RULES, 1000)
    assert table.add(RULES, 20) == 0  # what was refused took nothing
    with pytest.raises(ValueError, match="depth of A-USDT is 20 levels per side for as long as it is there, was 5"):
        table.add(RULES, 5)
    assert table.add(RULES, 20) == table.add(RULES) == 0


def test_depths_out_of_range_are_refused_by_the_size():
    with pytest.raises(ValueError, match=r"depths must be 1\.\.5000, was 20, 5001"):
        books_size(1, 5, 4, depths=[20, 5001])


def test_a_removed_instrument_is_gone_for_directory_readers_and_writer(table, directory):
    slot = table.add(RULES)
    writer, reader = table.writer(slot), directory.reader(slot)
    publish(writer, 1)
    table.set_state(slot, LIVE, 1)
    writer.set_last_trade(9.0, 1)
    table.remove(slot)
    assert (directory.find("A-USDT"), directory.pairs(), table.find("A-USDT")) == (-1, [], -1)
    assert (reader.state, reader.state_at(0)) == (REMOVED, REMOVED)
    assert (reader.version, reader.top(), reader.copy(), reader.borrow(), reader.read_top(0)) == (-1, *[None] * 4)
    assert (reader.copy_into(BookCopy(DEPTH)), reader.last_trade) == (-3, 0.0)
    with pytest.raises(ShmError, match="the instrument of slot 0 was removed"):
        publish(writer, 2)
    for refused in (directory.reader, directory.rules, table.writer, table.rules, table.remove):
        with pytest.raises(IndexError, match="slot 0 holds no instrument: it was removed"):
            refused(slot)
    with pytest.raises(IndexError, match="slot 0 holds no instrument"):
        table.set_state(slot, LIVE, 1)


def test_the_next_owner_of_a_place_starts_empty_and_the_old_reader_sees_none_of_it(table, directory):
    slot = table.add(RULES)
    old_writer, old = table.writer(slot), directory.reader(slot)
    for number in range(1, 8):
        publish(old_writer, number)
    old_writer.set_last_trade(9.0, 1)
    table.remove(slot)
    assert table.add(rules("B-USDT")) == slot
    new_writer, new = table.writer(slot), directory.reader(slot)
    assert (new.pair, old.pair) == ("B-USDT", "A-USDT")
    assert new.generation > old.generation > 0
    assert (new.state, new.version, new.top(), new.copy(), new.last_trade) == (EMPTY, -1, None, None, 0.0)
    publish(new_writer, 100)
    new_writer.set_last_trade(11.0, 2)
    table.set_state(slot, LIVE, 2)
    assert (new.state, new.copy().update_id, new.last_trade) == (LIVE, 100, 11.0)
    assert new.version == 8  # the place's numbers go on
    assert (old.state, old.copy(), old.last_trade, old.version) == (REMOVED, None, 0.0, -1)
    old_writer.set_last_trade(13.0, 3)
    assert new.last_trade == 11.0


def test_a_version_that_was_borrowed_before_its_place_was_passed_on_is_found_out(table, directory):
    slot = table.add(RULES)
    reader = directory.reader(slot)
    publish(table.writer(slot), 1)
    borrowed = reader.borrow()
    table.remove(slot)
    assert reader.still_valid(borrowed.version)  # nobody has written over it yet
    table.add(rules("B-USDT"))
    writer = table.writer(slot)
    for number in range(VERSIONS):
        publish(writer, 50 + number)
    assert not reader.still_valid(borrowed.version)


def test_slots_are_reused_the_longest_free_first(table):
    slots = [table.add(rules(f"{name}-USDT")) for name in "ABC"]
    assert slots == [0, 1, 2]
    table.remove(1)
    table.remove(0)
    assert [table.add(rules(f"{name}-USDT")) for name in "DE"] == [1, 0]
    with pytest.raises(TableFull, match="3 instruments is full: no room for F-USDT"):
        table.add(rules("F-USDT"))


def test_changes_count_what_comes_goes_and_changes(table, directory):
    assert directory.changes == 0
    slot = table.add(RULES)
    assert directory.changes == 1
    table.add(replace(RULES, tick=Decimal("0.5")))
    assert directory.changes == 2
    assert directory.rules(slot).tick == Decimal("0.5")
    table.remove(slot)
    assert directory.changes == 3


def test_a_room_of_the_size_asked_for_always_suffices_for_the_depths_named(create):
    depths = {"D-USDT": 20, "E-USDT": 40, "F-USDT": 2}
    names = [f"{name}-USDT" for name in "ABCDEFGH"]
    segment = create("many", books_size(4, DEPTH, 2, depths=depths.values()), kind="books")
    table, directory = BookTable(segment, 4, DEPTH, 2), BookDirectory(segment)
    rng = random.Random(5)
    present: set[str] = set()
    for turn in range(1000):
        pair = rng.choice(names)
        if pair in present:
            table.remove(table.find(pair))
            present.remove(pair)
        elif len(present) < 4:
            slot = table.add(rules(pair), depths.get(pair))
            publish(table.writer(slot), turn, levels=depths.get(pair, DEPTH))
            present.add(pair)
        assert set(directory.pairs()) == present
        for one in present:
            reader = directory.reader(directory.find(one))
            assert (reader.pair, reader.depth) == (one, depths.get(one, DEPTH))
            assert len(reader.copy().bid_px) == reader.depth


def test_who_asks_by_pair_never_gets_the_book_that_took_its_slot(table, directory):
    slot = table.add(rules("A-USDT"))
    assert (directory.reader_of("A-USDT").pair, directory.rules_of("A-USDT").pair) == ("A-USDT", "A-USDT")
    table.remove(slot)
    assert table.add(rules("B-USDT")) == slot
    assert (directory.reader_of("A-USDT"), directory.rules_of("A-USDT")) == (None, None)
    assert (directory.reader_of("B-USDT").pair, directory.rules_of("B-USDT").pair) == ("B-USDT", "B-USDT")
