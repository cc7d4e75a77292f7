"""The steps of a change to a running fleet: how one strategy leaves a worker, and how it begins a life on one.

    leave     supervisor ── remove ──▶ worker ── removed ──▶       it has stopped, and knows what it was told
    retire                  ── retire ──▶ gate ── retire ──▶       nothing more of it is sent; fills are kept
    settle                  ── add ──▶ worker ── expecting ──▶     there is a place for what the gate tells it
                            ── adopt ──▶ gate ── adopt ──▶         its orders are taken from there, from nowhere else
                            ── go ──▶ worker                       it is made and ticked

A change is a generator that yields conditions; `go_on`, called after every event of the supervisor's loop, takes each
as far as its conditions are true. So nothing waits for anything else, and no state changes outside that loop. Whoever
dies meanwhile starts again with what `Members` says, which each step has changed before it asks.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

from hive.boots import owner_entry, strategy_spec
from hive.child import Child
from hive.cli_errors import ERROR, TIMEOUT
from hive.members import NOWHERE, Resident
from hive.roster import Roster

STARTED_WITHIN_S = 60.0
KEEP, CANCEL = "keep", "cancel"

Condition = Callable[[], bool]
type Steps[Result] = Generator[Condition, None, Result]
Answer = dict[str, Any]

log = logging.getLogger("hive.supervisor")


class Refused(Exception):
    """A request that cannot be carried out; `code` is the command's exit code."""

    def __init__(self, message: str, code: int = ERROR) -> None:
        super().__init__(message)
        self.code = code


@dataclass(eq=False, slots=True)
class _Job:
    strategies: frozenset[str]
    steps: Steps[Answer]
    answer: asyncio.Future[Answer] | None
    may_go_on: Condition = lambda: True


class Changes:
    """Carries out changes, each in its own time.

    Args:
        roster: who lives.
        say: say(level, text, **data) tells the operator.
        stop_within_s: how long a strategy may take to stop.
        now: monotonic seconds.
    """

    def __init__(
        self,
        roster: Roster,
        say: Callable[..., None],
        stop_within_s: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._roster = roster
        self._members = roster.members
        self._say = say
        self._stop_within_s = stop_within_s
        self._now = now
        self._jobs: list[_Job] = []
        self._removed: set[str] = set()
        self._expecting: set[str] = set()
        self._asked = 0
        self._answers: dict[int, Answer] = {}
        self._over = False

    # the jobs

    def begin(
        self, strategies: Iterable[str], steps: Steps[Answer], answer: asyncio.Future[Answer] | None = None
    ) -> None:
        """Begin a change. Raises Refused while another one of the same strategies is under way."""
        whom = frozenset(strategies)
        if busy := sorted(whom & self.busy()):
            steps.close()
            raise Refused(f"strategy {', '.join(busy)} is being changed already: try again when that is done")
        self._jobs.append(_Job(whom, steps, answer))

    def busy(self) -> set[str]:
        """Return the strategies that are being changed."""
        return {one for job in self._jobs for one in job.strategies}

    def go_on(self) -> None:
        """Take every change as far as it goes now."""
        for job in list(self._jobs):
            while job in self._jobs and job.may_go_on():
                try:
                    job.may_go_on = next(job.steps)
                except StopIteration as done:
                    self._end(job, {"ok": True, **(done.value or {})})
                except Refused as refused:
                    self._end(job, {"ok": False, "error": str(refused), "code": refused.code})

    def end(self, why: str) -> None:
        """Let every change be: the fleet is stopping."""
        self._over = True
        for job in list(self._jobs):
            job.steps.close()
            self._end(job, {"ok": False, "error": why, "code": ERROR})

    def told(self, message: dict[str, Any]) -> None:
        """Take what a worker ("removed", "expecting", "idle") or the gate ("retire", "adopt", "exposure") answers."""
        match message["type"]:
            case "removed":
                self._removed.add(message["id"])
                if message.get("late"):
                    self._say("warning", f"strategy {message['id']} did not stop in time", strategy=message["id"])
                if "change" in message:
                    self._answers[message["change"]] = message
            case "expecting":
                self._expecting.add(message["id"])
            case _:
                self._answers[message["change"]] = message

    def _end(self, job: _Job, answer: Answer) -> None:
        self._jobs.remove(job)
        if not answer["ok"] and not self._over:
            self._say("error", answer["error"])
        self._roster.save()
        if job.answer is not None and not job.answer.done():
            job.answer.set_result(answer)

    # the steps

    def leave(self, one: Resident, orders: str, within_s: float | None = None) -> Steps[None]:
        """Take a strategy off its worker; it lives nowhere then. `orders` is KEEP or CANCEL."""
        strategy, index = one.config.id, one.worker
        one.worker, one.state = None, "stopping"
        one.kept = one.life if orders == KEEP else 0
        child = None if index is None else self._roster.children.get(("worker", index))
        if child is not None:
            self._removed.discard(strategy)
            deadline_s = self._stop_within_s if within_s is None else within_s
            child.send({"type": "remove", "id": strategy, "deadline_s": deadline_s, "orders": orders})
            yield lambda: strategy in self._removed or self._is_gone(child)
        self.end_if_empty(index)

    def retire(self, one: Resident, orders: str) -> Steps[Answer]:
        """Have the gate take nothing more of a strategy; returns its answer."""
        return (yield from self.ask_gate({"type": "retire", "id": one.config.id, "cancel": orders == CANCEL}))

    def settle(self, one: Resident, worker: int) -> Steps[None]:
        """Let a strategy that lives nowhere begin a life on a worker, which is started when it does not run.

        Raises:
            Refused: the worker or the gate cannot take it; it lives nowhere still.
        """
        strategy = one.config.id
        self._members.begin(one, worker)
        child = self._roster.children.get(("worker", worker))
        if child is not None:
            self._expecting.discard(strategy)
            child.send({"type": "add", "strategy": strategy_spec(one.config, one.number, one.held or one.rests)})
            yield lambda: strategy in self._expecting or one.state == "failed" or self._is_gone(child)
            if one.state == "failed":
                self._give_up(one, child, one.message)
        answer = yield from self.adopt(one)
        if answer.get("error"):
            self._give_up(one, child, answer["error"])
        one.kept = 0
        for halt in self._roster.halts_of_this_fleet():
            if halt.strategy == strategy:
                self._tell_gate({"type": "halt", **halt.scope()})
        if child is not None:
            child.send({"type": "go", "id": strategy})

    def adopt(self, one: Resident) -> Steps[Answer]:
        """Tell the gate of a strategy's life, limits and capital; returns its answer."""
        worker = NOWHERE if one.worker is None else one.worker
        return (yield from self.ask_gate({"type": "adopt", "strategy": owner_entry(one.config, worker, one.life)}))

    def started(self, one: Resident) -> Steps[None]:
        """Wait until a strategy runs. Raises Refused when it does not."""
        deadline = self._now() + STARTED_WITHIN_S
        yield lambda: one.state != "starting" or self._now() > deadline
        if one.state == "starting":
            raise Refused(f"strategy {one.config.id} has not started within {STARTED_WITHIN_S:g} s", TIMEOUT)
        if one.state not in ("running", "paused"):
            raise Refused(f"strategy {one.config.id} {one.state}: {one.message}")

    def ask_gate(self, message: dict[str, Any]) -> Steps[Answer]:
        """Ask the gate, and the next one when it dies before it answers."""
        while True:
            yield lambda: ("gate", 0) in self._roster.children
            gate = self._roster.children["gate", 0]
            self._asked += 1
            number = self._asked
            gate.send({**message, "change": number})
            yield lambda: number in self._answers or self._is_gone(gate)  # noqa: B023 - yielded, and asked, at once
            answer = self._answers.pop(number, None)
            if answer is not None:
                return answer

    def ask_worker(self, child: Child, message: dict[str, Any]) -> Steps[Answer | None]:
        """Ask a worker about one of its strategies; None when it died before it answered."""
        self._asked += 1
        number = self._asked
        child.send({**message, "change": number})
        yield lambda: number in self._answers or self._is_gone(child)
        return self._answers.pop(number, None)

    def end_if_empty(self, index: int | None) -> None:
        """End a worker that was there for one strategy, when that has left."""
        if self._members.drop_if_empty(index):
            child = self._roster.children.get(("worker", index))
            if child is not None:
                child.send({"type": "stop", "deadline_s": self._stop_within_s})

    def _give_up(self, one: Resident, child: Child | None, why: str) -> NoReturn:
        index, one.worker, one.state, one.message = one.worker, None, "failed", why
        one.kept = 0
        if child is not None:
            child.send({"type": "remove", "id": one.config.id, "deadline_s": self._stop_within_s, "orders": CANCEL})
        self.end_if_empty(index)
        raise Refused(f"strategy {one.config.id} cannot live on worker {index}: {why}")

    def _tell_gate(self, message: dict[str, Any]) -> None:
        for gate in self._roster.of_role("gate"):
            gate.send(message)

    def _is_gone(self, child: Child) -> bool:
        return self._roster.children.get(child.member) is not child
