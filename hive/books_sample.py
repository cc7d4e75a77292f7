"""Measure a fleet's books from outside: fleet.json and the books segments that it names. Nobody is asked.

    BooksSampler.sample() -> BooksSample      every instrument at one moment
    rates(now, before) -> {(venue, pair): updates per second}
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hive.shm.atomics import boottime_ns
from hive.shm.book import STATE_NAMES, WRITER_DEAD, BookDirectory
from hive.shm.errors import ShmError
from hive.shm.instruments import BookSnapshot, InstrumentRules
from hive.shm.segment import Segment
from hive.state import FleetDir, is_alive

Key = tuple[str, str]
"""An instrument: its venue's name and its pair."""


@dataclass(frozen=True, slots=True)
class BookSample:
    """One instrument at one moment; None where nothing is known. `used_by` counts the strategies that name the pair."""

    venue: str
    pair: str
    state: str
    used_by: int
    epoch: int = 0
    depth: int = 0
    rules: InstrumentRules | None = None
    book: BookSnapshot | None = None
    age_ns: int | None = None
    last_trade: float = 0.0


@dataclass(frozen=True, slots=True)
class BooksSample:
    """All instruments of a fleet at one moment; `beats_ns` is the age of each venue's feed heartbeat, None: no feed."""

    now_ns: int
    fleet: str
    run: str
    alive: bool
    books: Mapping[Key, BookSample] = field(default_factory=dict)
    beats_ns: Mapping[str, int | None] = field(default_factory=dict)
    took_ns: int = 0


class BooksSampler:
    """Takes samples of one fleet's books; keeps its segments mapped in between.

    A venue's segment stays mapped until the next feed's is there, so that the last books of a dead feed can be seen.
    """

    def __init__(self, folder: FleetDir) -> None:
        self._folder = folder
        self._mapped: dict[str, tuple[Segment, BookDirectory]] = {}
        self._fleet: dict[str, Any] | None = None

    def sample(self) -> BooksSample | None:
        """Return every instrument as it is now; None when there never was such a fleet."""
        started_ns = time.monotonic_ns()
        self._fleet = self._folder.read() or self._fleet
        if self._fleet is None:
            return None
        books: dict[Key, BookSample] = {}
        beats: dict[str, int | None] = {}
        now_boot_ns = boottime_ns()
        used_by = _used_by(self._fleet)
        for venue in self._fleet["venues"]:
            name = venue["name"]
            mapped = self._open(name, venue.get("books") or "")
            beats[name] = None if mapped is None else now_boot_ns - mapped[0].heartbeat_boot_ns
            found = self._read(name, mapped[1], used_by, now_boot_ns) if mapped else []
            books.update({(name, one.pair): one for one in found})
            if mapped is None:
                dead = STATE_NAMES[WRITER_DEAD]
                books.update({(name, pair): BookSample(name, pair, dead, count) for pair, count in used_by.items()})
        alive = is_alive(self._fleet)
        took_ns = time.monotonic_ns() - started_ns
        return BooksSample(started_ns, self._fleet["fleet"], self._fleet["run"], alive, books, beats, took_ns)

    def close(self) -> None:
        """Unmap everything."""
        for segment, _ in self._mapped.values():
            segment.close()
        self._mapped.clear()

    def _open(self, venue: str, name: str) -> tuple[Segment, BookDirectory] | None:
        mapped = self._mapped.get(venue)
        if not name or (mapped is not None and mapped[0].name == name):
            return mapped
        try:
            segment = Segment.open(name, kind="books")
            fresh = (segment, BookDirectory(segment))
        except ShmError:  # just made, or just gone
            return mapped
        if mapped is not None:
            mapped[0].close()
        self._mapped[venue] = fresh
        return fresh

    @staticmethod
    def _read(
        venue: str, directory: BookDirectory, used_by: Mapping[str, int], now_boot_ns: int
    ) -> list[BookSample]:
        found = []
        for pair in directory.pairs():
            reader, rules = directory.reader_of(pair), directory.rules_of(pair)
            if reader is None or rules is None:  # removed since pairs()
                continue
            top = reader.read_top(now_boot_ns)
            found.append(
                BookSample(
                    venue=venue,
                    pair=pair,
                    state=STATE_NAMES[reader.state_at(now_boot_ns)],
                    used_by=used_by.get(pair, 0),
                    epoch=reader.epoch,
                    depth=reader.depth,
                    rules=rules,
                    book=reader.copy(),
                    age_ns=None if top is None else top.age_ns,
                    last_trade=reader.last_trade,
                )
            )
        return found


def rates(now: BooksSample, before: BooksSample | None) -> dict[Key, float]:
    """Return each instrument's updates per second between two samples; those that cannot be compared are left out."""
    if before is None or now.now_ns <= before.now_ns:
        return {}
    seconds = (now.now_ns - before.now_ns) / 1e9
    found = {}
    for key, one in now.books.items():
        earlier = before.books.get(key)
        if earlier is None or one.book is None or one.epoch != earlier.epoch:
            continue
        versions = one.book.version - (earlier.book.version if earlier.book else 0)
        if versions >= 0:
            found[key] = versions / seconds
    return found


def _used_by(fleet: Mapping[str, Any]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for strategy in fleet["strategies"]:
        for pair in strategy["pairs"]:
            counts[pair] = counts.get(pair, 0) + 1
    return counts
