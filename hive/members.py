"""Which strategies a running fleet has, and on which worker each lives: the supervisor's truth.

    placed workers 0 .. W-1          from the fleet's placement; they stay, whoever is on them
    further ones  W, W+1, ...        made for one strategy (`hive move ID new`, `worker: dedicated`, quarantine), and
                                     ended with it; a number is never used again

Whatever starts again, a worker or the gate, starts with what stands here. A strategy has a life on a worker: a number
greater than that of any life before, by which the gate tells the orders of one from those of the next.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from hive.fleet import FleetConfig, StrategyConfig
from hive.plan import DEDICATED, Placement, WorkerPlan

NOWHERE = -1  # the worker of a strategy that lives on none


@dataclass(slots=True)
class Resident:
    """One strategy of the fleet.

    Attributes:
        number: its own in this run, from 0 on; a worker's counter names it by that
        worker: None while it lives nowhere
        life: of the present or the last one, 0 before the first
        state, message: as its worker says
        held: why an operator has paused it, "" when nobody has
        rests: why it was paused otherwise, kept over its worker's death; "" when it was not
        reason: why it is in quarantine or was stopped, "" when neither
        ends: how often it has brought its quarantine worker down, or had to be told off there
        executors: of its present life, as its worker told them last
        kept: the life whose orders rest until the gate has handed them over to the next one, 0: none
    """

    config: StrategyConfig
    number: int
    worker: int | None
    life: int = 0
    state: str = "starting"
    message: str = ""
    held: str = ""
    rests: str = ""
    reason: str = ""
    ends: int = 0
    executors: list[dict[str, Any]] = field(default_factory=list)
    kept: int = 0


@dataclass(slots=True)
class _Workers:
    placed: dict[int, WorkerPlan]
    further: set[int] = field(default_factory=set)
    quarantine: set[int] = field(default_factory=set)


class Members:
    """The strategies and workers of a run.

    Args:
        fleet: as it is started.
        placement: of its strategies.
    """

    def __init__(self, fleet: FleetConfig, placement: Placement) -> None:
        self._fleet = fleet
        self._limit = fleet.runtime.max_strategies_per_container
        where = {one.id: plan.index for plan in placement.workers for one in plan.strategies}
        self._residents = {
            one.id: Resident(one, number, where.get(one.id)) for number, one in enumerate(fleet.strategies)
        }
        self._numbers = {one.id: number for number, one in enumerate(fleet.strategies)}
        self._workers = _Workers({plan.index: plan for plan in placement.workers})
        self._next_worker = len(placement.workers)
        self._lives = 0

    def __iter__(self) -> Iterator[Resident]:
        return iter(list(self._residents.values()))

    def __len__(self) -> int:
        return len(self._residents)

    def get(self, strategy: str) -> Resident | None:
        """Return a strategy, None when the fleet has none of that id."""
        return self._residents.get(strategy)

    def ids(self) -> list[str]:
        """Return the id of every strategy, in the order in which they came."""
        return list(self._residents)

    def on(self, worker: int | None) -> list[Resident]:
        """Return the strategies of a worker; None: those that live nowhere."""
        return [one for one in self._residents.values() if one.worker == worker]

    def by_number(self, number: int) -> Resident | None:
        """Return the strategy of that number, None when it is none of the fleet's any more."""
        return next((one for one in self._residents.values() if one.number == number), None)

    def fleet(self) -> FleetConfig:
        """Return the fleet as it is now."""
        return replace(self._fleet, strategies=tuple(one.config for one in self._residents.values()))

    def workers(self) -> list[int]:
        """Return the numbers of the workers that there should be."""
        return sorted({*self._workers.placed, *self._workers.further})

    def plan(self, worker: int) -> WorkerPlan:
        """Return a worker's plan, with the strategies that it has now."""
        strategies = tuple(one.config for one in self.on(worker))
        placed = self._workers.placed.get(worker)
        return WorkerPlan(worker, None, strategies) if placed is None else replace(placed, strategies=strategies)

    def plans(self) -> list[WorkerPlan]:
        """Return the plans of all workers; strategies that live nowhere are on worker NOWHERE."""
        lost = self.on(None)
        nowhere = [WorkerPlan(NOWHERE, None, tuple(one.config for one in lost))] if lost else []
        return [*(self.plan(worker) for worker in self.workers()), *nowhere]

    def numbers(self) -> dict[str, int]:
        """Return the number of each strategy by its id."""
        return {one.config.id: one.number for one in self._residents.values()}

    def lives(self) -> dict[str, int]:
        """Return the life of each strategy that has had one, by its id."""
        return {one.config.id: one.life for one in self._residents.values() if one.life}

    def kept(self) -> dict[str, int]:
        """Return the life whose orders rest for the next one, by the ids of strategies that are between two lives."""
        return {one.config.id: one.kept for one in self._residents.values() if one.kept}

    def lives_on(self, worker: int) -> dict[str, int]:
        """Return the lives of a worker's strategies, by their tags."""
        return {one.config.tag: one.life for one in self.on(worker)}

    def begin(self, one: Resident, worker: int) -> None:
        """Let a strategy begin a life on a worker."""
        self._lives += 1
        one.worker, one.life, one.state, one.message, one.executors = worker, self._lives, "starting", "", []

    def begin_all(self, worker: int) -> None:
        """Let all strategies of a worker that is about to start begin a life; they share its number."""
        self._lives += 1
        for one in self.on(worker):
            one.life, one.executors = self._lives, []

    def keep_pause(self, one: Resident) -> None:
        """Have a strategy that was paused, by its errors or because it asked to be stopped, be so in its next life."""
        if one.state == "paused" and not one.held:
            one.rests = one.message or "paused"

    def hold(self, strategy: str, worker: int, executors: list[dict[str, Any]]) -> None:
        """Note which executors a worker says that a strategy has; nothing, when it does not live there any more."""
        one = self._residents.get(strategy)
        if one is not None and one.worker == worker:
            one.executors = executors

    def add(self, config: StrategyConfig) -> Resident:
        """Take in one more strategy, which lives nowhere yet; one that was here before has its number again."""
        number = self._numbers.setdefault(config.id, len(self._numbers))
        one = self._residents[config.id] = Resident(config, number, None)
        return one

    def discard(self, strategy: str) -> None:
        """Forget a strategy."""
        self._residents.pop(strategy, None)

    def place(self, config: StrategyConfig) -> int:
        """Return where a strategy that lives nowhere is to live: the placed worker with least to do, or a new one."""
        room = [index for index in self.shared() if len(self.on(index)) < self._limit]
        if config.worker == DEDICATED or not room:
            return self.new_worker()
        return min(room, key=lambda index: (sum(one.config.weight for one in self.on(index)), index))

    def shared(self) -> list[int]:
        """Return the placed workers that are for any strategy."""
        return [index for index, plan in self._workers.placed.items() if not plan.dedicated]

    def why_not(self, worker: int) -> str:
        """Return why no further strategy may come to a worker, "" when one may."""
        if worker not in self.workers():
            known = ", ".join(map(str, self.workers()))
            return f"worker must be one of {known}, or new for one of its own, was {worker}"
        if worker in self._workers.quarantine:
            return f"worker {worker} is a quarantine worker: it is for one strategy alone"
        if len(self.on(worker)) >= self._limit:
            return f"worker {worker} must hold at most {self._limit} strategies (runtime.max_strategies_per_container)"
        return ""

    def new_worker(self, *, quarantine: bool = False) -> int:
        """Return the number of a worker that is to be started."""
        index = self._next_worker
        self._next_worker += 1
        self._workers.further.add(index)
        if quarantine:
            self._workers.quarantine.add(index)
        return index

    def is_quarantine(self, worker: int | None) -> bool:
        """Return whether a worker is there for a strategy that has brought down another."""
        return worker in self._workers.quarantine

    def drop_if_empty(self, worker: int | None) -> bool:
        """Forget a further worker that has no strategy any more; returns whether it is to be ended."""
        if worker not in self._workers.further or self.on(worker):
            return False
        self._workers.further.discard(worker)
        self._workers.quarantine.discard(worker)
        return True
