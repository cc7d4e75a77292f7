"""What a fleet under chaos.py keeps that it should have given back: segments, FIFOs, descriptors, memory.

Looked at after each recovery, when all processes are there. A supervisor's life is one series, and so is the worker
server's; gates do not live long here, so theirs is a series over all of them: what each has after its recovery. A
count has leaked when the median of a series' last third is above that of its first. Memory may grow by MEMORY_SLACK,
and between the two medians by so much for each kill (supervisor, server), or for each order that the exchange took
(gate: it remembers an hour of them).
"""

import os
from dataclasses import dataclass, field
from statistics import median

from chaos_fleet import Fleet
from hive.processes import process_facts
from hive.shm.segment import list_segments

FEWEST = 9  # looks that make a series
MEMORY_SLACK = 2_000_000
MEMORY_PER_KILL = 20_000
MEMORY_PER_ORDER = 5_000
CONNECTIONS = 16  # a gate may have so many more open at one look than at another: one for each question


@dataclass(slots=True)
class Series:
    """What was seen of one thing, look by look; `work` is how many kills, or orders, there had been."""

    work: list[int] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)

    def add(self, work: int, seen: int) -> None:
        """Take one look."""
        self.work.append(work)
        self.seen.append(seen)

    def growth(self) -> tuple[float, float] | None:
        """Return how much it grew from its first to its last third, and how much work lay between; None: too short."""
        third = len(self.seen) // 3
        if len(self.seen) < FEWEST:
            return None
        grown = median(self.seen[-third:]) - median(self.seen[:third])
        return grown, median(self.work[-third:]) - median(self.work[:third])


class Leaks:
    """Watches one fleet through all its lives.

    Attributes:
        series: by what was looked at and in which life.
        left: a line for each segment that outlived its owner.
    """

    def __init__(self) -> None:
        self.series: dict[tuple[str, int], Series] = {}
        self.left: list[str] = []
        self._dead: set[str] = set()
        self._names: dict[int, list[str]] = {}  # by life: the segments of the last look

    def look(self, fleet: Fleet, kills: int, orders: int) -> None:
        """Look at a fleet whose processes are all there."""
        members = {one.role: one for one in fleet.members()}
        if not {"supervisor", "server", "gate"} <= members.keys():
            return
        life = members["supervisor"].pid
        for role in ("supervisor", "server", "gate"):
            facts, open_fds = process_facts(members[role].pid), descriptors(members[role].pid)
            if facts is None or open_fds is None:
                return
            which, work = (0, orders) if role == "gate" else (members[role].pid, kills)
            self._add(f"descriptors of the {role}", which, work, open_fds)
            self._add(f"memory of the {role}", which, work, facts.rss)
        segments = list_segments(fleet.runs[-1])
        self._add("segments", life, kills, len(segments))
        self._names[life] = [one.name for one in segments]
        self._add("FIFOs", life, kills, len(list(fleet.folder_of_run.path.glob("wake.*"))))
        dead = {one.name for one in segments if not one.alive and one.kind != "budget"}
        self.left += [f"segment {name} outlived its owner" for name in sorted(dead & self._dead)]
        self._dead = dead

    def look_at_the_end(self, fleet: Fleet) -> None:
        """Look when the fleet was stopped: nothing may be left of any of its runs."""
        for run in fleet.runs:
            self.left += [f"segment {one.name} is left at the end" for one in list_segments(run)]
        self.left += [f"{path.name} is left at the end" for path in fleet.folder_of_run.path.glob("wake.*")]

    def leaked(self) -> list[str]:
        """Return a line for each thing that leaked."""
        lines = list(self.left)
        for (what, life), series in self.series.items():
            growth = series.growth()
            if growth is None:
                continue
            grown, work = growth
            if grown > allowed(what, work):
                names = f": {' '.join(self._names.get(life, ()))}" if what == "segments" else ""
                looks = f"{len(series.seen)} looks, work {work:.0f}"
                lines.append(f"{what} (life {life}) grew by {grown:.0f} over {looks}{names}")
        return lines

    def slopes(self) -> dict[str, float]:
        """Return the steepest growth of each thing per kill, or per order, bytes for memory."""
        found: dict[str, float] = {}
        for (what, _), series in self.series.items():
            growth = series.growth()
            if growth is not None and growth[1] > 0:
                found[what] = max(found.get(what, float("-inf")), round(growth[0] / growth[1], 3))
        return found

    def _add(self, what: str, life: int, work: int, seen: int) -> None:
        self.series.setdefault((what, life), Series()).add(work, seen)


def allowed(what: str, work: float) -> float:
    """Return how much a thing may grow by while there was so much work."""
    if not what.startswith("memory"):
        return CONNECTIONS if what == "descriptors of the gate" else 0.5  # a median may lie between two counts
    return MEMORY_SLACK + work * (MEMORY_PER_ORDER if what.endswith("gate") else MEMORY_PER_KILL)


def descriptors(pid: int) -> int | None:
    """Return how many descriptors a process has open; None when it is gone or this may not be known."""
    folder = f"/proc/{pid}/fd"
    try:
        return os.stat(folder).st_size or len(os.listdir(folder))  # the size says so from Linux 6.2 on
    except OSError:
        return None
