"""Whatever a crash or a damaged disk leaves of a journal: what was committed is known, nothing else is believed."""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate import journal_writer
from gate.journal_rig import (
    SECOND,
    WHOLE_LIFE,
    Clock,
    Life,
    facts,
    journal,
    made,
    newest,
    opened,
    recovered,
)
from hive.gate.journal_file import list_files
from hive.gate.journal_format import HEADER_BYTES, RECORD_BYTES
from hive.gate.journal_replay import KEEP_DONE_NS
from hive.gate.ledger import NoRecord
from hive.gate.order import Order

STEPS = journal_writer.STEPS
WRITER = Path(journal_writer.__file__)
KILLS = 30
ORDERS = 80  # of a writer that lives to the end: 400 records, more than a file holds


@pytest.fixture
def clock() -> Clock:
    return Clock()


# ---- Against an oracle -----------------------------------------------------------------------------------------------


@dataclass
class Mark:
    """What was known after a commit, and where the journal ended then."""

    path: Path
    end: int
    orders: dict[str, tuple]
    done_ns: dict[str, int]
    notes: dict[str, str]

    def known_at(self, now_ns: int) -> dict[str, tuple]:
        """Return what is still to be known later: all but what was done too long before."""
        since_ns = now_ns - KEEP_DONE_NS
        return {name: known for name, known in self.orders.items() if self.done_ns.get(name, now_ns) >= since_ns}


class Account:
    """A few orders that live at random, and the marks of all commits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.journal = opened(folder, self.clock)
        self.lives: list[Life] = []
        self.notes: dict[str, str] = {}
        self.marks: list[Mark] = []
        self.mark()

    def act(self, what: str, which: int, choice: int) -> None:
        """Do one thing and commit it."""
        self.clock.pass_ns(SECOND)
        if what == "hours":
            self.clock.pass_ns(choice * KEEP_DONE_NS // 8)
        elif what == "reopen":
            self.journal.close()
            self.journal = opened(self.folder, self.clock)
            for life in self.lives:
                life.journal = self.journal
        elif what == "note":
            key, value = f"key {which % 3}", str(choice) * (choice % 3)
            self.journal.note(key, value)
            self.notes = {name: text for name, text in (self.notes | {key: value}).items() if text}
        elif what == "adopt" or which >= len(self.lives):
            life = Life(self.journal, made(len(self.lives), self.clock), self.clock)
            self.lives.append(life)
            if what == "adopt":
                self.journal.adopted(life.order)
            else:
                life.sent()
        else:
            life = self.lives[which]
            steps = life.steps()
            if life.order.done and self.clock.now - life.done_ns > KEEP_DONE_NS:
                return  # forgotten
            step = steps[choice % len(steps)]
            for _ in range(40 if step == "fills" else 1):  # each a commit, so that the oracle knows of each
                life.live_through("fill" if step == "fills" else step)
                self.commit()
            return
        self.commit()

    def commit(self) -> None:
        assert self.journal.commit()
        self.mark()

    def mark(self) -> None:
        path = newest(self.folder)
        self.marks.append(
            Mark(
                path,
                end_of(path),
                {life.order.client_order_id: facts(life.order) for life in self.lives},
                {life.order.client_order_id: life.done_ns for life in self.lives if life.order.done},
                dict(self.notes),
            )
        )

    def mark_at(self, path: Path, cut: int) -> Mark:
        """Return the last mark that a file holds up to a byte; a file that has not even its snapshot is nothing."""
        first_of_newest = next(index for index, mark in enumerate(self.marks) if mark.path == path)
        held = [mark for mark in self.marks[first_of_newest:] if mark.end <= cut]
        return held[-1] if held else self.marks[first_of_newest]


def end_of(path: Path) -> int:
    """Return where the records of a file end, by what is not zero."""
    used = len(path.read_bytes().rstrip(b"\0"))
    return HEADER_BYTES + -(-(used - HEADER_BYTES) // RECORD_BYTES) * RECORD_BYTES


ACTS = st.tuples(
    st.sampled_from(["order", "order", "order", "order", "adopt", "note", "hours", "reopen"]),
    st.integers(0, 5),
    st.integers(0, 9),
)


@settings(max_examples=150, deadline=None)
@given(acts=st.lists(ACTS, max_size=40), crash=st.floats(0, 1), truncate=st.booleans())
def test_after_a_crash_at_any_byte_the_journal_says_what_an_oracle_says(acts, crash, truncate):
    with TemporaryDirectory() as folder:
        account = Account(Path(folder) / "journal")
        for act in acts:
            account.act(*act)
        image = shutil.copytree(account.folder, Path(folder) / "killed")
        account.journal.close()
        path = account.marks[-1].path
        cut = int(crash * account.marks[-1].end)
        if len(list_files(image)) == 1:
            cut = max(cut, account.marks[0].end)  # before that nothing was ever sent
        expected = account.mark_at(path, cut_off(image / path.name, cut, truncate))
        with journal(image, account.clock) as one:
            assert {order.client_order_id: facts(order) for order in one.recovered.orders} == expected.known_at(
                account.clock.now
            )
            assert one.recovered.notes == expected.notes
            assert not one.recovered.damage


def cut_off(path: Path, cut: int, truncate: bool) -> int:
    """Leave of a file what is before a byte: the rest does not exist, or was not written yet.

    Returns:
        Up to where it is as it was: not written is zeros, and a record may end in zeros of its own.
    """
    data = path.read_bytes()
    path.write_bytes(data[:cut] if truncate else data[:cut].ljust(len(data), b"\0"))
    return cut if truncate else len(data) - len(data[cut:].lstrip(b"\0"))


# ---- The end ---------------------------------------------------------------------------------------------------------


def some_orders(folder: Path, clock: Clock, count: int = 6) -> tuple[list[Life], Path]:
    """Return orders in a file that has no snapshot, as a kill leaves it."""
    one = opened(folder / "journal", clock)
    lives = [Life(one, made(number, clock), clock) for number in range(count)]
    for life in lives:
        life.live_through("sent", "acked", "fill")
        assert one.commit()
    image = shutil.copytree(folder / "journal", folder / "image")
    one.close()
    return lives, newest(image)


def images(path: Path) -> Iterator[Path]:
    """Yield folders with a copy of a file each."""
    folder = path.parent.with_name("one")
    while True:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield Path(shutil.copy(path, folder))


@pytest.mark.parametrize("truncate", [False, True])
def test_a_tail_torn_at_any_byte_of_the_last_three_records_costs_the_record_that_is_torn(tmp_path, clock, truncate):
    _, path = some_orders(tmp_path, clock)
    whole, end = path.read_bytes(), end_of(path)
    stories = []
    for missing, image in zip(range(4), images(path), strict=False):
        cut_off(image, end - missing * RECORD_BYTES, truncate)
        stories.append(recovered(image.parent, clock))
    assert len({str(story) for story in stories}) == 4
    for cut, image in zip(range(end - 3 * RECORD_BYTES, end + 1), images(path), strict=False):
        cut_off(image, cut, truncate)
        left = image.read_bytes()
        starts = range(end - 3 * RECORD_BYTES, end, RECORD_BYTES)  # a record may end in zeros of its own
        missing = sum(left[at : at + RECORD_BYTES] != whole[at : at + RECORD_BYTES] for at in starts)
        with journal(image.parent, clock) as one:
            assert {order.client_order_id: facts(order) for order in one.recovered.orders} == stories[missing]
            assert one.recovered.torn == max(0, len(left.rstrip(b"\0")) - (end - missing * RECORD_BYTES))
            assert not one.recovered.damage


def test_a_flipped_bit_in_the_middle_is_damage_and_costs_one_record(tmp_path, clock):
    lives, path = some_orders(tmp_path, clock)
    rng = random.Random(4)
    place = HEADER_BYTES + 7 * RECORD_BYTES  # the ACKED of the third order
    for byte, image in zip(range(RECORD_BYTES), images(path), strict=False):
        flip(image, place + byte, rng.randrange(8))
        with journal(image.parent, clock) as one:
            assert one.recovered.damage == f"{path.name}: 1 records before its last cannot be read, from serial 8"
            known = {order.client_order_id: facts(order) for order in one.recovered.orders}
        others = {life.order.client_order_id: facts(life.order) for life in lives if life is not lives[2]}
        third = known.pop(lives[2].order.client_order_id)
        assert known == others
        assert third[2][0] == "ACKED"  # what trades, lives


def test_an_order_whose_beginning_is_damaged_is_named(tmp_path, clock):
    lives, path = some_orders(tmp_path, clock)
    flip(path, HEADER_BYTES + 6 * RECORD_BYTES + 50, 3)
    with journal(path.parent, clock) as one:
        assert len(one.recovered.orders) == len(lives) - 1
        assert f"order {lives[2].order.client_order_id}: its beginning is missing" in one.recovered.damage
    assert len(recovered(path.parent, clock)) == len(lives) - 1  # said once


def test_damage_in_the_header_costs_no_record(tmp_path, clock):
    lives, path = some_orders(tmp_path, clock)
    for byte, image in zip(range(HEADER_BYTES), images(path), strict=False):
        flip(image, byte, byte % 8)
        with journal(image.parent, clock) as one:
            assert "its header cannot be read" in one.recovered.damage
            known = {order.client_order_id: facts(order) for order in one.recovered.orders}
        assert known == {life.order.client_order_id: facts(life.order) for life in lives}


def test_a_record_that_belongs_to_another_place_is_not_believed(tmp_path, clock):
    lives, path = some_orders(tmp_path, clock)
    data = bytearray(path.read_bytes())
    end = end_of(path)
    data[end : end + 5 * RECORD_BYTES] = data[HEADER_BYTES : HEADER_BYTES + 5 * RECORD_BYTES]
    path.write_bytes(data)
    with journal(path.parent, clock) as one:
        assert 4 * RECORD_BYTES < one.recovered.torn <= 5 * RECORD_BYTES
        assert len(one.recovered.orders) == len(lives)


def flip(path: Path, byte: int, bit: int) -> None:
    """Flip one bit of a file."""
    with path.open("r+b") as file:
        value = os.pread(file.fileno(), 1, byte)[0]
        os.pwrite(file.fileno(), bytes([value ^ 1 << bit]), byte)


# ---- Two files -------------------------------------------------------------------------------------------------------


def two_files(tmp_path: Path, clock: Clock) -> tuple[dict[str, tuple], Path]:
    """Return what is known, and the newest of two files: a snapshot, and something after it."""
    folder = tmp_path / "journal"
    with journal(folder, clock) as one:
        lives = [Life(one, made(number, clock), clock).live_through("sent", "acked", "fill") for number in range(6)]
    one = opened(folder, clock)
    later: list[Order] = [Life(one, made(number, clock), clock).live_through(*WHOLE_LIFE) for number in range(10, 14)]
    assert one.commit()
    image = shutil.copytree(folder, tmp_path / "image")
    one.close()
    return {order.client_order_id: facts(order) for order in lives + later}, newest(image)


def test_a_new_file_that_never_reached_the_disk_is_made_up_for_by_the_one_before(tmp_path, clock):
    known, path = two_files(tmp_path, clock)
    path.write_bytes(bytes(path.stat().st_size))
    early = {name: what for name, what in known.items() if int(name.rpartition("-")[2]) < 10}
    assert recovered(path.parent, clock) == early
    assert recovered(path.parent, clock) == early


@pytest.mark.parametrize("first", range(0, 18, 5))
def test_a_damaged_snapshot_is_made_up_for_by_the_file_before(tmp_path, clock, first):
    known, path = two_files(tmp_path, clock)
    for record in range(first, min(first + 5, 18)):
        flip(path, HEADER_BYTES + record * RECORD_BYTES + 40, 1)
    with journal(path.parent, clock) as one:
        assert "records before its last cannot be read" in one.recovered.damage
        assert {order.client_order_id: facts(order) for order in one.recovered.orders} == known
    assert recovered(path.parent, clock) == known


def test_a_snapshot_without_an_older_file_says_what_it_has_and_that_it_is_not_all(tmp_path, clock):
    known, path = two_files(tmp_path, clock)
    list_files(path.parent)[0].unlink()
    cut_off(path, HEADER_BYTES + 10 * RECORD_BYTES, truncate=False)
    with journal(path.parent, clock) as one:
        assert "its snapshot is not whole, and there is no older file" in one.recovered.damage
        assert {order.client_order_id for order in one.recovered.orders} == set(list(known)[:4])


# ---- kill -9 ---------------------------------------------------------------------------------------------------------


def test_what_a_killed_writer_had_committed_is_always_known(tmp_path):
    rng = random.Random(20261126)
    clock = Clock()
    in_the_middle = files = 0
    for turn in range(KILLS):
        folder = tmp_path / f"journal-{turn // 3}"
        if turn % 3 == 0:  # else it goes on where the last one was killed
            before: dict[str, tuple] = {}
        said = killed_writer(folder, len(before), rng, ("interval", "every", "none")[turn % 3])
        files += len(list_files(folder))
        known = recovered(folder, clock)
        assert before.items() <= known.items()
        expected = [lived(len(before) + count, clock) for count in range(said // len(STEPS))]
        assert known.items() >= {name: states[-1] for name, states in expected}.items()
        fresh = len(known) - len(before)
        assert len(expected) <= fresh <= len(expected) + 1
        if fresh > len(expected):  # the one that it was at: what it said of it, or more
            name, states = lived(len(known) - 1, clock)
            how_far = states.index(known[name]) + 1
            assert how_far >= said % len(STEPS)
            in_the_middle += how_far < len(STEPS)
        before = known
    assert in_the_middle > KILLS // 4  # not every writer was at rest
    assert files > 2 * KILLS  # some had begun a file before


def killed_writer(folder: Path, first: int, rng: random.Random, policy: str) -> int:
    """Start a writer and kill it; return how many steps it had said."""
    command = [sys.executable, str(WRITER), str(folder), str(first), str(ORDERS), policy]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(WRITER.parents[1]), str(WRITER.parents[2])])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as writer:
        assert writer.stdout.readline() == b"open\n"
        lines = 0
        for _ in range(rng.randrange(ORDERS * len(STEPS))):
            lines += writer.stdout.readline().endswith(b"\n")
        writer.kill()
        return lines + writer.stdout.read().count(b"\n")


def lived(number: int, clock: Clock) -> tuple[str, list[tuple]]:
    """Return an order's id, and what is known of it after each step of its life."""
    life = Life(NoRecord(), made(number, clock), clock)
    states = [facts(life.live_through(step)) for step in STEPS]
    return life.order.client_order_id, states
