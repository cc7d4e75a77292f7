"""Strategies that move by themselves, with `runtime.rebalance: on`: off a worker that is overloaded, without exposure.

    counters ── look ──▶ rebalance.py ── overloaded ──▶ gate: who has nothing open and no position?
                                                        ──▶ rebalance.py: which, and where
    worker: nothing open, no executor, N orders so far  ──▶ gate: still nothing  ──▶ worker: leave, unless it was N + 1
                                                        ──▶ retire, settle: as any move

An order that the gate has not read yet is one that the worker knows; so the worker is asked first, then the gate, and
then the worker again: it lets go only of a strategy that has made no order since. Otherwise the strategy stays.
"""

import logging
import time
from collections.abc import Callable, Iterable

from hive.child import Child
from hive.members import Resident
from hive.plan import DEDICATED
from hive.processes import run_delay_ns
from hive.rebalance import LOOKS, Look, Move, Rebalance, Seen
from hive.roster import Roster
from hive.shm.snapshots import CountersSnapshot
from hive.steps import CANCEL, Answer, Changes, Steps

STOP_S = 10.0
LEAST_RUN = 0.1  # a worker that had a CPU for less of the time says nothing about its strategies

log = logging.getLogger("hive.supervisor")


class Moves:
    """Looks at the workers, and moves one strategy at a time.

    Args:
        roster: who lives.
        changes: takes the steps.
        say: say(level, text, **data) tells the operator.
        now: monotonic seconds.
        delay_ns: for how long a process had no CPU although it was ready.
    """

    def __init__(
        self,
        roster: Roster,
        changes: Changes,
        say: Callable[..., None],
        now: Callable[[], float] = time.monotonic,
        delay_ns: Callable[[int], int] = run_delay_ns,
    ) -> None:
        runtime = roster.members.fleet().runtime
        self._roster = roster
        self._members = roster.members
        self._changes = changes
        self._say = say
        self._now = now
        self._delay_ns = delay_ns
        self._on = runtime.rebalance == "on"
        self._every_s = runtime.rebalance_after_s / LOOKS
        self._policy = Rebalance()
        self._before: tuple[float, dict[Child, tuple[CountersSnapshot, int]]] = (now(), {})
        self._under_way = False

    def beat(self) -> None:
        """Look, when it is time, and begin what follows."""
        now_s = self._now()
        if not self._on or self._under_way or now_s - self._before[0] < self._every_s:
            return
        hot = self._policy.look(now_s, self._look(now_s))
        if hot:
            self._under_way = True
            self._changes.begin((), self._relieve(hot))

    def _look(self, now_s: float) -> Look:
        """Return what was done since the last look by the workers that strategies share and that lived all the time."""
        then_s, before = self._before
        now = {}
        for index in self._members.shared():
            child = self._roster.children.get(("worker", index))
            snapshot = None if child is None or child.pid is None else child.read_counters()
            if snapshot is not None:
                now[child] = (snapshot, self._delay_ns(child.pid))
        self._before = (now_s, now)
        look = {}
        for child, (snapshot, delay_ns) in now.items():
            if child in before:
                earlier, delayed_ns = before[child]
                seconds = now_s - then_s
                could_run_s = max(seconds * LEAST_RUN, seconds - (delay_ns - delayed_ns) / 1e9)
                look[child.index] = {
                    one.config.id: _seen(earlier, snapshot, one.config.id, could_run_s)
                    for one in self._members.on(child.index)
                }
        return look

    def _relieve(self, hot: Iterable[int]) -> Steps[Answer]:
        for source in hot:
            free = yield from self._free([one for one in self._members.on(source) if self._may_move(one)])
            targets = [index for index in self._members.shared() if not self._members.why_not(index)]
            move = self._policy.decide(self._now(), source, free, targets)
            if move is not None:
                self._changes.begin({move.strategy}, self._carry_out(move))
                return {}
        self._under_way = False
        self._policy.pause(self._now())
        log.info("worker %s is overloaded: no strategy without exposure can be moved off it", ", ".join(map(str, hot)))
        return {}

    def _may_move(self, one: Resident) -> bool:
        settled = one.state == "running" and not one.held and not one.reason and not one.executors
        return settled and one.config.worker != DEDICATED and one.config.id not in self._changes.busy()

    def _free(self, strategies: Iterable[Resident]) -> Steps[list[str]]:
        """Return which of them have, at the gate, nothing open and no position."""
        ids = [one.config.id for one in strategies]
        if not ids:
            return []
        answer = yield from self._changes.ask_gate({"type": "exposure", "ids": ids})
        known = answer.get("strategies", {})
        return [one for one in ids if one in known and not any(known[one].values())]

    def _carry_out(self, move: Move) -> Steps[Answer]:
        try:
            stays = yield from self._moved(move)
        finally:
            self._under_way = False
            self._policy.pause(self._now())
        if stays:
            log.info("strategy %s was to move off worker %d and stays: %s", move.strategy, move.source, stays)
        return {}

    def _moved(self, move: Move) -> Steps[str]:
        """Move a strategy; returns "", or why it stays."""
        one, child = self._members.get(move.strategy), self._roster.children.get(("worker", move.source))
        if one is None or one.worker != move.source or child is None:
            return "it is not there any more"
        idle = yield from self._changes.ask_worker(child, {"type": "idle", "id": move.strategy})
        if idle is None or idle["exposed"]:
            return "its worker died" if idle is None else idle["exposed"]
        free = yield from self._free([one])
        if not free:
            return "it has something at stake at the gate"
        leave = {"type": "remove", "id": move.strategy, "deadline_s": STOP_S, "orders": CANCEL}
        left = yield from self._changes.ask_worker(child, {**leave, "submitted": idle["submitted"]})
        if left is None or left["type"] != "removed":
            return "its worker died" if left is None else left["exposed"] or "it has made an order"
        one.worker, one.state = None, "stopping"
        yield from self._changes.retire(one, CANCEL)
        yield from self._changes.settle(one, self._target(one, move))
        self._tell(one, move)
        yield from self._changes.started(one)
        return ""

    def _target(self, one: Resident, move: Move) -> int:
        """Return where it goes: as decided, unless there is no room any more."""
        return self._members.place(one.config) if self._members.why_not(move.target) else move.target

    def _tell(self, one: Resident, move: Move) -> None:
        self._policy.moved(self._now(), move.strategy)
        why = f"worker {move.source} was {move.busy:.0%} busy, {move.late:.1%} of its ticks were missed"
        self._roster.move(
            {
                "wall_ns": time.time_ns(),
                "strategy": move.strategy,
                "from": move.source,
                "to": one.worker,
                "why": why,
            }
        )
        text = f"strategy {move.strategy} has moved by itself from worker {move.source} to {one.worker}: {why}"
        self._say("warning", text, strategy=move.strategy)


def _seen(before: CountersSnapshot, now: CountersSnapshot, strategy: str, seconds: float) -> Seen:
    ticks, missed = (
        now.value(name, strategy=strategy) - before.value(name, strategy=strategy) for name in ("ticks", "missed_ticks")
    )
    share = (_cpu_ns(now, strategy) - _cpu_ns(before, strategy)) / 1e9 / seconds
    return Seen(max(0.0, share), max(0, ticks), max(0, missed))


def _cpu_ns(counters: CountersSnapshot, strategy: str) -> int:
    """Return the CPU time of a strategy; that of its ticks where nothing else was counted."""
    ticks = counters.histogram("tick_duration_ns", strategy=strategy).sum
    return counters.value("strategy_cpu_ns", strategy=strategy) or ticks
