"""Measure a fleet from outside: fleet.json, the counters segments that it names, and /proc. Nobody is asked.

    Sampler.sample() -> Sample          what there is now, since the fleet's start
    Sample.since(earlier) -> Sample     what came in between, for rates and recent percentiles

A sample costs the fleet nothing: segments are mapped read-only, values are plain loads.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hive import totals
from hive.processes import ProcessFacts, process_facts
from hive.shm.book import LIVE, BookDirectory
from hive.shm.counters import CountersReader
from hive.shm.errors import ShmError
from hive.shm.segment import Segment
from hive.shm.snapshots import CountersSnapshot
from hive.state import FleetDir, is_alive

ROLES = ("feed", "gate", "worker", "recorder")
Member = tuple[str, int]
"""A process of a fleet: its role and index."""


@dataclass(frozen=True, slots=True)
class BookFigures:
    """A venue's books: how many are live, how many there are, and how long ago the quietest of them changed."""

    live: int = 0
    total: int = 0
    oldest_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A fleet at one moment.

    `fleet` is fleet.json; `counters` the totals of each role, dead epochs included; `beats` each process's heartbeat
    (monotonic ns, 0 when it has none); `facts` CPU and memory of those that live; `took_ns` what the sample cost.
    """

    now_ns: int
    wall_ns: int
    alive: bool
    fleet: Mapping[str, Any]
    counters: Mapping[str, CountersSnapshot]
    beats: Mapping[Member, int]
    facts: Mapping[Member, ProcessFacts]
    books: Mapping[str, BookFigures] = field(default_factory=dict)
    took_ns: int = 0

    def since(self, earlier: "Sample") -> "Sample":
        """Return what came after `earlier`; CPU times are differences too."""
        counters = {
            role: totals.minus(snapshot, earlier.counters.get(role, totals.EMPTY))
            for role, snapshot in self.counters.items()
        }
        facts = {}
        for member, now in self.facts.items():
            before = earlier.facts.get(member)
            cpu_ns = max(0, now.cpu_ns - before.cpu_ns) if before else 0
            waited_ns = max(0, now.waited_ns - before.waited_ns) if before else 0
            facts[member] = replace(now, cpu_ns=cpu_ns, waited_ns=waited_ns)
        return replace(self, counters=counters, facts=facts)


class Sampler:
    """Takes samples of one fleet; keeps its segments mapped in between."""

    def __init__(self, folder: FleetDir) -> None:
        self._folder = folder
        self._mapped: dict[str, tuple[Segment, CountersReader | BookDirectory]] = {}
        self._fleet: dict[str, Any] | None = None

    def sample(self, *, pss: bool = False) -> Sample | None:
        """Return the fleet as it is now; None when there never was one.

        After its end the last fleet.json goes on being returned, with alive False.

        Args:
            pss: read proportional memory too, which takes some milliseconds for each process.
        """
        started_ns = time.monotonic_ns()
        self._fleet = self._folder.read() or self._fleet
        if self._fleet is None:
            return None
        alive = is_alive(self._fleet)
        counters, books = self._read_all(self._fleet)
        sample = take(self._fleet, counters, alive=alive, pss=pss)
        return replace(sample, books=books, took_ns=time.monotonic_ns() - started_ns)

    def close(self) -> None:
        """Unmap everything."""
        for segment, _ in self._mapped.values():
            segment.close()
        self._mapped.clear()

    def _read_all(self, fleet: Mapping[str, Any]) -> tuple[dict[Member, CountersSnapshot], dict[str, BookFigures]]:
        members = {one["counters"]: (one["role"], one["index"]) for one in fleet["processes"] if one["counters"]}
        venues = {one["books"]: one["name"] for one in fleet["venues"] if one.get("books")}
        for gone in self._mapped.keys() - members.keys() - venues.keys():
            self._mapped.pop(gone)[0].close()
        counters = {}
        for name, member in members.items():
            if reader := self._reader(name, "counters", CountersReader):
                counters[member] = reader.read()
        books = {}
        for name, venue in venues.items():
            if directory := self._reader(name, "books", BookDirectory):
                books[venue] = book_figures(directory)
        return counters, books

    def _reader(self, name: str, kind: str, make: Callable[[Segment], Any]) -> Any:
        if name not in self._mapped:
            try:
                segment = Segment.open(name, kind=kind)
                self._mapped[name] = (segment, make(segment))
            except ShmError:  # just made, or just gone
                return None
        return self._mapped[name][1]


def book_figures(directory: BookDirectory) -> BookFigures:
    """Return how the books of a directory are doing now."""
    readers = [reader for pair in directory.pairs() if (reader := directory.reader_of(pair)) is not None]
    now_ns = time.monotonic_ns()
    ages = [age for age in (reader.age_ns(now_ns) for reader in readers) if age >= 0]
    return BookFigures(sum(reader.state == LIVE for reader in readers), len(readers), max(ages, default=None))


def take(
    fleet: Mapping[str, Any], snapshots: Mapping[Member, CountersSnapshot], *, alive: bool = True, pss: bool = False
) -> Sample:
    """Return the sample of a fleet.json whose processes' counters are these."""
    base = fleet.get("report_base") or {}
    counters = {
        role: totals.add([totals.from_json(base.get(role)), *(s for (r, _), s in snapshots.items() if r == role)])
        for role in ROLES
    }
    facts = {}
    for one in fleet["processes"]:
        found = process_facts(one["pid"], pss=pss) if one["pid"] else None
        if found is not None:
            cpu_before_ns = round(one.get("cpu_seconds_before", 0) * 1e9)
            facts[one["role"], one["index"]] = replace(found, cpu_ns=found.cpu_ns + cpu_before_ns)
    beats = {member: snapshot.heartbeat_ns for member, snapshot in snapshots.items()}
    return Sample(time.monotonic_ns(), time.time_ns(), alive, fleet, counters, beats, facts)
