"""When a strategy is to move by itself, and which, and where. Pure: figures and time in, a move out.

    busy = CPU time of the worker's strategies / time in which it could run        late = missed ticks / all ticks

    |---- 0.35 --------- 0.6 ----------- 0.7 -------------------- busy
             |  room ends ^     overloaded ^
             ^ overloaded from here on, when it is also late

A worker that was overloaded in each of LOOKS looks gives one strategy to the worker where it leaves the busier of the
two least busy. The move must make that GAIN less than what the overloaded one was, so the sum of all workers' squared
loads falls by 2 x GAIN x GAIN at least: as long as strategies cost what they cost, no placement comes twice and moving
ends. Costs do change, so two more rules keep strategies from wandering: PAUSE_S between two moves, in which all is
measured anew, and REST_S before the same one moves again.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

LOOKS = 6
OVERLOADED = 0.7
OVERLOADED_IF_LATE = 0.35
LATE = 0.01
ROOM = 0.6
GAIN = 0.1
PAUSE_S = 60.0
REST_S = 1800.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What a strategy did between two looks: its share of its worker's time, its ticks, and those that it missed."""

    share: float
    ticks: int = 0
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Move:
    """A strategy is to go from one worker to another; `busy` and `late` are what the first one was."""

    strategy: str
    source: int
    target: int
    busy: float
    late: float


type Look = Mapping[int, Mapping[str, Seen]]
"""What the strategies of each worker did since the last look."""


class Rebalance:
    """Judges looks, which come at equal distances of time."""

    def __init__(self) -> None:
        self._looks: deque[Look] = deque(maxlen=LOOKS)
        self._moved: dict[str, float] = {}
        self._pause_until = float("-inf")

    def look(self, now_s: float, look: Look) -> list[int]:
        """Take in a look; returns the workers that have been overloaded for long, busiest first.

        None is while a move is recent. A worker that a look does not have was not there all the time.
        """
        self._looks.append(look)
        if len(self._looks) < LOOKS or now_s < self._pause_until:
            return []
        hot = [worker for worker in self._steady() if all(is_overloaded(one[worker]) for one in self._looks)]
        return sorted(hot, key=lambda worker: (-self._busy(worker), worker))

    def decide(self, now_s: float, source: int, free: Iterable[str], targets: Collection[int]) -> Move | None:
        """Return the move that relieves an overloaded worker best, None when none would.

        Args:
            source: that worker.
            free: strategies that may move: those without exposure.
            targets: workers that may take one more.
        """
        if source not in self._steady():
            return None
        busy = {worker: self._busy(worker) for worker in self._steady()}
        best: tuple[float, str, float, int] | None = None
        for strategy in free:
            share = self._share(source, strategy)
            if share is None or now_s - self._moved.get(strategy, float("-inf")) < REST_S:
                continue
            for target in set(targets) & busy.keys() - {source}:
                after = busy[target] + share
                fullest = max(busy[source] - share, after)
                if after <= ROOM and fullest <= busy[source] - GAIN:
                    found = (fullest, strategy, after, target)
                    best = found if best is None else min(best, found)
        if best is None:
            return None
        return Move(best[1], source, best[3], busy[source], self._late(source))

    def moved(self, now_s: float, strategy: str) -> None:
        """Note that a strategy has moved: what was seen before says nothing any more."""
        self._moved = {one: when for one, when in self._moved.items() if now_s - when < REST_S}
        self._moved[strategy] = now_s
        self.pause(now_s)

    def pause(self, now_s: float) -> None:
        """Have nothing moved for PAUSE_S, and everything measured anew."""
        self._pause_until = now_s + PAUSE_S
        self._looks.clear()

    def _steady(self) -> set[int]:
        """Return the workers that every look has."""
        return set.intersection(*(set(look) for look in self._looks)) if self._looks else set()

    def _busy(self, worker: int) -> float:
        return sum(_busy(look[worker]) for look in self._looks) / len(self._looks)

    def _late(self, worker: int) -> float:
        return sum(_late(look[worker]) for look in self._looks) / len(self._looks)

    def _share(self, worker: int, strategy: str) -> float | None:
        """Return what a strategy costs, None when it was not there in every look."""
        seen = [look[worker].get(strategy) for look in self._looks]
        return None if None in seen else sum(one.share for one in seen) / len(seen)


def is_overloaded(worker: Mapping[str, Seen]) -> bool:
    """Return whether a worker had more to do than it should, by what its strategies did."""
    busy = _busy(worker)
    return busy >= OVERLOADED or (busy >= OVERLOADED_IF_LATE and _late(worker) >= LATE)


def _busy(worker: Mapping[str, Seen]) -> float:
    return sum(one.share for one in worker.values())


def _late(worker: Mapping[str, Seen]) -> float:
    missed = sum(one.missed for one in worker.values())
    return missed / max(1, missed + sum(one.ticks for one in worker.values()))
