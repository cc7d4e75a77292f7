"""What is left of the books when writers and readers are killed, thousands of times?

    writer   a new epoch: sweeps what the dead left, makes its segment, then publishes, or adds and removes instruments
    readers  two, by the segment's name: copy books and look at every number
    script   kill -9 of one of them, at a random moment; then reads every book itself

Each kill is one of: the writer anywhere in its life, its start included; a reader, after which the writer must go on.
In two of three epochs the writer is in a loop without the interpreter, so that most kills hit it inside a publication.
A book is unreadable when the directory lists it, it has a version, and no whole one can be copied. A segment has leaked
when it is there after the next writer's start, and no living process made it; a file that died before it had a creator
in it is given the 10 s that a sweep gives it.
"""

import os
import random
import sys
import time
from array import array
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from children import Child
from harness import Args, Goal, Outcome, check, run
from hive.shm.arena import version_bytes
from hive.shm.book import LIVE, BookDirectory, BookReader, BookTable, books_size
from hive.shm.errors import ShmError
from hive.shm.layout import BOOK_VERSION
from hive.shm.segment import Segment, list_segments, segment_name, sweep
from native import torn
from shm_rig import RULES, Rig, Words

GOALS = (
    Goal("kills.unreadable_books", "<=", 0),
    Goal("kills.leaked_segments", "<=", 0),
)
SLOTS = 3
DEPTH = torn.LEVELS
VERSIONS = 4
NAMES = [f"{letter}-USDT" for letter in "ABCDEFG"]
READERS = 2
WITHIN_S = 20.0
ORPHAN_S = 11.0
NEVER = 0  # a word that stays 0


@dataclass
class Tally:
    """What was seen."""

    kills: Counter = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    books_read: int = 0
    inside: int = 0  # writers that died inside a publication


def measure(args: Args) -> Outcome:
    """Kill as often as asked."""
    tally = play(args.size("kills", 10_000, 200), seed=20261124)
    lines = [
        f"killed: {', '.join(f'{count} {what}' for what, count in sorted(tally.kills.items()))}; "
        f"{tally.inside} writers died inside a publication; {tally.books_read} books read afterwards",
        *tally.unreadable[:5],
        *tally.leaked[:5],
    ]
    check(tally.inside > 0, "no writer died inside a publication: the run proves nothing")
    values = {"kills.unreadable_books": len(tally.unreadable), "kills.leaked_segments": len(tally.leaked)}
    return Outcome(values, {"kills": dict(tally.kills), "inside": tally.inside, "read": tally.books_read}, lines)


def play(kills: int, seed: int) -> Tally:
    """Start epochs and kill in them until there were so many kills."""
    rng = random.Random(seed)
    tally = Tally()
    with Rig() as rig:
        words = rig.words("control", 1)
        epoch = 1
        while tally.kills.total() < kills:
            epoch += 1
            one_epoch(rig.run, epoch, rng, words, tally, kills)
        sweep(rig.run)
        deadline = time.monotonic() + ORPHAN_S
        while nameless(rig.run) and time.monotonic() < deadline:
            time.sleep(0.5)
            sweep(rig.run)
        tally.leaked += [f"{name} is left at the end" for name in orphans(rig.run) + nameless(rig.run)]
    return tally


def one_epoch(run_: str, epoch: int, rng: random.Random, words: Words, tally: Tally, kills: int) -> None:
    """Start a writer and readers, kill readers for a while, then the writer, and read what it left."""
    native = rng.random() < 2 / 3
    with ExitStack() as stack:
        writer = stack.enter_context(Child(write, run_, epoch, native, words))
        if rng.random() < 0.1:  # while it starts
            time.sleep(rng.random() * 0.003)
            writer.kill()
            tally.kills["writers while they started"] += 1
            return
        segment, directory = opened(run_, epoch, writer)
        readers = held(directory)
        tally.leaked += [f"{name} is left after the start of epoch {epoch}" for name in orphans(run_)]
        for _ in range(READERS):
            if tally.kills.total() >= kills - 1:
                break
            with Child(read_for_ever, run_, epoch) as reader:
                time.sleep(rng.random() * 0.004)
                check(not reader.ended(0), "a reader has failed")
                reader.kill()
            tally.kills["readers"] += 1
            goes_on(directory, writer)
        time.sleep(rng.random() * 0.002)
        check(not writer.ended(0), "a writer has failed")
        writer.kill()
        tally.kills["writers"] += 1
        look(segment, directory, readers, tally, epoch)


def orphans(run_: str) -> list[str]:
    """Return the names of segments whose creator is dead."""
    return [info.name for info in list_segments(run_) if not info.alive and info.creator_pid]


def nameless(run_: str) -> list[str]:
    """Return the names of files that died before there was a creator in them."""
    return [info.name for info in list_segments(run_) if not info.creator_pid]


# ---- Writers and readers -----------------------------------------------------------------------------------------


def write(run_: str, epoch: int, native: bool, words: Words) -> None:
    """Start as a feed does, and write for ever."""
    sweep(run_)
    name = segment_name(run_, "books.kills", epoch)
    segment = Segment.create(name, books_size(SLOTS, DEPTH, VERSIONS), kind="books", epoch=epoch)
    table = BookTable(segment, SLOTS, DEPTH, VERSIONS)
    if native:
        writers = [table.writer(table.add(replace(RULES, pair=name))) for name in NAMES[:SLOTS]]
        first = 1
        while True:
            for writer in writers:
                torn.write_versions(writer, first, 20_000, words.memory, words.at(NEVER))
            first += 20_000
    come_and_go(table)


def come_and_go(table: BookTable) -> None:
    """Add, publish, set states and remove, at full speed."""
    turn = 0
    present: list[int] = []
    while True:
        turn += 1
        if len(present) == SLOTS:
            table.remove(present.pop(0))
        pair = NAMES[turn % len(NAMES)]
        slot = table.add(replace(RULES, pair=pair), 1 + turn % DEPTH)
        writer = table.writer(slot)
        column = array("d", [float(turn)] * (1 + turn % DEPTH))
        for _ in range(1 + turn % 4):
            writer.publish(turn, turn, turn, turn, column, column, column, column)
        table.set_state(slot, LIVE, turn)
        present.append(slot)


def read_for_ever(run_: str, epoch: int) -> None:
    """Open the segment by its name, and look at every book."""
    directory = BookDirectory(Segment.open(segment_name(run_, "books.kills", epoch), kind="books"))
    while True:
        for reader in held(directory):
            problem = wrong(reader, written=True)
            check(not problem, problem)


# ---- Looking -----------------------------------------------------------------------------------------------------


def opened(run_: str, epoch: int, writer: Child) -> tuple[Segment, BookDirectory]:
    """Wait until the writer has books with versions; return its segment and directory."""
    name = segment_name(run_, "books.kills", epoch)
    deadline = time.monotonic() + WITHIN_S
    segment = None
    while True:
        check(not writer.ended(0), "a writer has failed at its start")
        check(time.monotonic() < deadline, "a writer does not start")
        try:
            segment = segment or Segment.open(name, kind="books")
            directory = BookDirectory(segment)
            if len(directory.pairs()) == SLOTS and max(reader.version for reader in held(directory)) > 10:
                return segment, directory
        except (ShmError, ValueError):  # not there yet; all of them changed meanwhile
            pass
        os.sched_yield()


def held(directory: BookDirectory) -> list[BookReader]:
    """Return a reader of every book that is there now."""
    readers = []
    for pair in directory.pairs():
        slot = directory.find(pair)
        try:
            readers.append(directory.reader(slot))
        except IndexError:  # it went meanwhile
            pass
    return readers


def goes_on(directory: BookDirectory, writer: Child) -> None:
    """Check that the writer does not mind the death of a reader."""
    before = directory.changes, [reader.version for reader in held(directory)]
    deadline = time.monotonic() + WITHIN_S
    while (directory.changes, [reader.version for reader in held(directory)]) == before:
        check(not writer.ended(0) and time.monotonic() < deadline, "the writer stopped when a reader was killed")


def wrong(reader: BookReader, written: bool = False) -> str:
    """Return what is wrong with a book, "" when it can be read and is whole, or has no version.

    While it is `written` without a pause, four versions pass within a copy: then there may be none for this moment.
    """
    before = reader.version
    book = reader.copy()
    if book is None:
        gone = written or before < 0 or reader.version < 0
        return "" if gone else f"{reader.pair}: no whole version, the newest is {reader.version}"
    numbers = {book.update_id, book.exchange_ns, book.recv_ns, book.local_ns}
    numbers.update(book.bid_px, book.bid_qty, book.ask_px, book.ask_qty)
    top = written or reader.top()
    return "" if (len(numbers) == 1 and top) or reader.version < 0 else f"{reader.pair}: torn: {book}"


def look(segment: Segment, directory: BookDirectory, readers: list[BookReader], tally: Tally, epoch: int) -> None:
    """Read every book that a dead writer left, through old readers and new ones."""
    fresh = held(directory)
    for reader in [*fresh, *readers]:
        problem = wrong(reader)
        if problem:
            tally.unreadable.append(f"epoch {epoch}: {problem}")
        tally.books_read += 1
    if len(fresh) < SLOTS - 1:
        tally.unreadable.append(f"epoch {epoch}: the directory lists {len(fresh)} books of {SLOTS}")
    for reader in fresh:
        try:
            directory.rules(reader.slot)
        except ShmError as error:
            tally.unreadable.append(f"epoch {epoch}: {reader.pair}: {error}")
    tally.inside += any(died_inside(segment, reader) for reader in fresh)


def died_inside(segment: Segment, reader: BookReader) -> bool:
    """Return whether the version after the newest is half written."""
    borrowed = reader.borrow()
    if borrowed is None:
        return False
    size = version_bytes(borrowed.room)
    first = borrowed.offset - BOOK_VERSION.size - borrowed.version % VERSIONS * size
    following = borrowed.version + 1
    return segment.memory().load(first + following % VERSIONS * size) == 2 * following + 1


if __name__ == "__main__":
    sys.exit(run(__doc__, GOALS, measure))
