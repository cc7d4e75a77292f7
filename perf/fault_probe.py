"""Reads every book of a fleet as a worker would, about a thousand times a second, and writes down what it was told.

    python perf/fault_probe.py FLEET FILE     until SIGTERM, or until who started it is gone

A line of JSON for each stretch in which a book's version and state did not change:

    [pair, epoch, first ns, last ns, reads, state, update id, bid, bid qty, ask, ask qty, bids, asks, checksum]

Times are monotonic and taken before the read, so a claim is never judged later than it was made. The checksum is that
of `hive.sim.tops`. A line ["late", from ns, to ns] tells of a time in which the probe itself was not scheduled.
"""

import json
import os
import signal
import sys
import time
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from zlib import crc32

from hive.shm.atomics import boottime_ns
from hive.shm.book import STATE_NAMES, WRITER_DEAD, BookDirectory, BookReader
from hive.shm.errors import ShmError
from hive.shm.instruments import BookSnapshot
from hive.shm.liveness import SegmentWriter, Verdict
from hive.shm.segment import Segment
from hive.state import FleetDir

INTERVAL_S = 0.001
LOOK_EVERY_NS = 20_000_000  # for a new feed's segments, and for pairs that came or went
LATE_NS = 20_000_000
NEVER_SILENT_NS = 1 << 62  # the stored state is wanted here; whether the writer lives is judged as workers do
STALE_AFTER_NS = 80_000_000  # the fleet file's default


@dataclass(slots=True)
class Claim:
    """What a reader was told of a book, and for how long it was told the same."""

    pair: str
    epoch: int
    first_ns: int
    last_ns: int
    reads: int
    state: str
    update_id: int = -1
    bid: float = 0.0
    bid_qty: float = 0.0
    ask: float = 0.0
    ask_qty: float = 0.0
    bids: int = 0
    asks: int = 0
    checksum: int = 0

    def row(self) -> list:
        """Return the claim as it is written."""
        return [getattr(self, name) for name in self.__slots__]


class FleetBooks:
    """The books of a fleet's first venue, those of the newest feed; attached again whenever fleet.json names others."""

    def __init__(self, fleet: str) -> None:
        self._folder = FleetDir.of(fleet)
        self._segment: Segment | None = None
        self._writer: SegmentWriter | None = None
        self._directory: BookDirectory | None = None
        self._changes = -1
        self.readers: dict[str, BookReader] = {}

    def look(self) -> None:
        """Follow the fleet: a new feed's segment, pairs that came or went."""
        fleet = self._folder.read()
        name = fleet["venues"][0].get("books") if fleet and fleet["venues"] else None
        if name and (self._segment is None or self._segment.name != name):
            try:
                segment = Segment.open(name, kind="books")
                directory = BookDirectory(segment, NEVER_SILENT_NS)
            except ShmError:  # just made, or just gone
                return
            self._segment, self._directory, self._changes = segment, directory, -1
            self._writer = SegmentWriter(segment, STALE_AFTER_NS)
        if self._directory is not None and self._directory.changes != self._changes:
            self._changes = self._directory.changes
            slots = {pair: self._directory.find(pair) for pair in self._directory.pairs()}
            self.readers = {pair: self._directory.reader(slot) for pair, slot in slots.items() if slot >= 0}

    def alive(self) -> bool:
        """Return whether the feed is at work."""
        return self._writer is not None and self._writer.verdict(boottime_ns()) is Verdict.ALIVE

    @property
    def epoch(self) -> int:
        """The feed's epoch, 0 before the first."""
        return 0 if self._segment is None else self._segment.epoch

    def claim(self, pair: str, alive: bool, before: Claim | None = None) -> Claim:
        """Return what a read tells now; `before` is returned with its time moved on when nothing has changed."""
        now_ns = time.monotonic_ns()
        reader = self.readers[pair]
        top = reader.read_top(boottime_ns())
        state = STATE_NAMES[WRITER_DEAD if not alive else reader.state if top is None else top.state]
        update_id = -1 if top is None else top.update_id
        if before is not None and (before.state, before.update_id, before.epoch) == (state, update_id, reader.epoch):
            before.last_ns = now_ns
            before.reads += 1
            return before
        book = None if top is None else reader.copy()
        if book is None:
            return Claim(pair, reader.epoch, now_ns, now_ns, 1, state)
        state = STATE_NAMES[book.state] if alive else state
        bid, bid_qty = (book.bid_px[0], book.bid_qty[0]) if len(book.bid_px) else (0.0, 0.0)
        ask, ask_qty = (book.ask_px[0], book.ask_qty[0]) if len(book.ask_px) else (0.0, 0.0)
        levels = (len(book.bid_px), len(book.ask_px), checksum(book))
        return Claim(
            pair, reader.epoch, now_ns, now_ns, 1, state, book.update_id, bid, bid_qty, ask, ask_qty, *levels
        )


def checksum(book: BookSnapshot) -> int:
    """Return the checksum of all levels of a book."""
    return crc32(_flat(book.ask_px, book.ask_qty), crc32(_flat(book.bid_px, book.bid_qty)))


def _flat(prices: array, quantities: array) -> array:
    flat = array("d", bytes(16 * len(prices)))
    flat[0::2], flat[1::2] = prices, quantities
    return flat


def watch(fleet: str, file: IO[str]) -> None:
    """Read until SIGTERM."""
    going_on = True

    def end(*_: object) -> None:
        nonlocal going_on
        going_on = False

    signal.signal(signal.SIGTERM, end)
    books = FleetBooks(fleet)
    claims: dict[str, Claim] = {}
    parent = os.getppid()
    looked_ns = before_ns = 0
    while going_on and os.getppid() == parent:
        now_ns = time.monotonic_ns()
        if before_ns and now_ns - before_ns > LATE_NS:
            _write(file, ["late", before_ns, now_ns])
        before_ns = now_ns
        if now_ns - looked_ns > LOOK_EVERY_NS:
            looked_ns = now_ns
            books.look()
            for pair in claims.keys() - books.readers.keys():
                _write(file, claims.pop(pair).row())
        alive = books.alive()
        for pair in books.readers:
            before = claims.get(pair)
            claim = claims[pair] = books.claim(pair, alive, before)
            if before is not None and claim is not before:
                _write(file, before.row())
        time.sleep(INTERVAL_S)
    for claim in claims.values():
        _write(file, claim.row())
    file.flush()


def _write(file: IO[str], row: list) -> None:
    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    with Path(sys.argv[2]).open("w", buffering=1 << 20) as output:
        watch(sys.argv[1], output)
