"""What follows when a strategy has brought its worker down, or its worker complains of it.

    a worker died, and a strategy of it was running      it goes alone to a quarantine worker; its neighbours come back
    that one ends ENDS_MAX times because of it           it is stopped, until `hive restart ID`
    "misbehaved": quarantine                             it is moved alone to a quarantine worker
    "misbehaved": stop                                   it is stopped

Who was running is what the worker's counter says. It counts only for a death that code can cause: a hang, an exit, a
fault of memory, the kernel's killing for want of memory; a SIGKILL from outside finds just anybody running.

A death's blast radius is told: which strategies start again, what they had at stake, as the gate knows it, and which
executors died with them, as the worker had told.
"""

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hive.child import Child
from hive.members import Resident
from hive.roster import Roster
from hive.status_view import stake_text
from hive.steps import CANCEL, Answer, Changes, Steps

ENDS_MAX = 3
MISBEHAVED_STOP_S = 5.0  # for the stop of one that does not behave
VMSTAT = Path("/proc/vmstat")
OWN_FAULTS = frozenset(
    {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGSYS, signal.SIGTRAP}
)


class Quarantine:
    """Judges strategies by what became of their workers.

    Args:
        roster: who lives.
        changes: takes the steps.
        say: say(level, text, **data) tells the operator.
        oom_kills: how many processes the kernel has killed for want of memory since its start.
    """

    def __init__(
        self,
        roster: Roster,
        changes: Changes,
        say: Callable[..., None],
        oom_kills: Callable[[], int] | None = None,
    ) -> None:
        self._roster = roster
        self._members = roster.members
        self._changes = changes
        self._say = say
        self._oom_kills = oom_kills or read_oom_kills
        self._killed_before = self._oom_kills()

    def culprit(self, child: Child, status: int) -> Resident | None:
        """Return the strategy that brought a worker down, None when that cannot be told."""
        out_of_memory = self._ran_out_of_memory()
        code = os.waitstatus_to_exitcode(status)
        by_itself = child.hung or code >= 0 or -code in OWN_FAULTS or (code == -signal.SIGKILL and out_of_memory)
        snapshot = child.read_counters()
        if not by_itself or snapshot is None:
            return None
        one = self._members.by_number(snapshot.value("running_strategy") - 1)
        return one if one is not None and one.worker == child.index else None

    def dying(self, child: Child, how: str, status: int) -> Resident | None:
        """Return who brought a worker down, and ask the gate what its strategies have at stake.

        Called before the worker is buried, and before the gate hears of its death and cancels.

        Args:
            how: it ended, in words.
            status: as wait() gave it.
        """
        culprit = self.culprit(child, status)
        lost = {one.config.id: one.executors for one in self._members.on(child.index)}
        if lost and child.ready:
            self._changes.begin((), self._tell_blast(child, how, culprit, lost))
            self._changes.go_on()  # the question leaves now
        return culprit

    def after(self, child: Child, how: str, culprit: Resident | None) -> bool:
        """Take the culprit off a dead worker; returns whether that worker is to be started again."""
        index = child.index
        if self._members.is_quarantine(index):
            for one in self._members.on(index) if not child.fatal else ():  # it was alone, and not made yet
                self._bring_down(one, f"{how}, in quarantine")
        elif culprit is not None:
            culprit.worker, culprit.state = None, "stopping"
            culprit.reason = culprit.message = f"{child.title} {how} while it was running"
            self._begin(culprit, self._isolate(culprit))
        self._members.drop_if_empty(index)
        return index in self._members.workers()

    def misbehaved(self, child: Child, message: Mapping[str, Any]) -> None:
        """Take a worker's complaint: {"id", "what", "verdict": "quarantine" | "stop", "reason"}."""
        one = self._members.get(message["id"])
        if one is None or one.worker != child.index:
            return  # it has left meanwhile
        reason = str(message.get("reason") or message.get("what") or "it misbehaved")
        self._say("error", f"strategy {one.config.id} misbehaved: {reason}", strategy=one.config.id)
        if message.get("verdict") == "stop":
            one.reason = reason
            self._begin(one, self._stop(one))
        elif self._members.is_quarantine(one.worker):
            one.ends += 1
            if one.ends >= ENDS_MAX:
                one.reason = f"{reason}, in quarantine, {one.ends} times"
                self._begin(one, self._stop(one))
        else:
            one.reason = reason
            self._begin(one, self._isolate(one))

    def _bring_down(self, one: Resident, how: str) -> None:
        one.ends += 1
        if one.ends >= ENDS_MAX:
            one.worker = None
            one.reason = f"its worker {how}, {one.ends} times"
            self._begin(one, self._stop(one))

    def _isolate(self, one: Resident) -> Steps[Answer]:
        yield from self._changes.leave(one, CANCEL, MISBEHAVED_STOP_S)
        yield from self._changes.retire(one, CANCEL)
        worker = self._members.new_worker(quarantine=True)
        self._say("error", f"strategy {one.config.id} goes to quarantine, worker {worker}: {one.reason}")
        yield from self._changes.settle(one, worker)
        return {}

    def _stop(self, one: Resident) -> Steps[Answer]:
        yield from self._changes.leave(one, CANCEL, MISBEHAVED_STOP_S)
        yield from self._changes.retire(one, CANCEL)
        one.state, one.message = "stopped", one.reason
        how = f"`hive restart {one.config.id}` starts it again"
        self._say("error", f"strategy {one.config.id} is stopped: {one.reason}; {how}", strategy=one.config.id)
        return {}

    def _begin(self, one: Resident, steps: Steps[Answer]) -> None:
        if one.config.id in self._changes.busy():
            self._changes.begin((), self._when_free(one, one.life, steps))
        else:
            self._changes.begin({one.config.id}, steps)

    def _when_free(self, one: Resident, life: int, steps: Steps[Answer]) -> Steps[Answer]:
        """Begin a change after the one that is under way, unless that has ended the life that misbehaved."""
        yield lambda: one.config.id not in self._changes.busy()
        if self._members.get(one.config.id) is one and one.life == life:
            self._changes.begin({one.config.id}, steps)
        else:
            steps.close()
        return {}

    def _tell_blast(
        self, child: Child, how: str, culprit: Resident | None, executors: Mapping[str, list[dict[str, Any]]]
    ) -> Steps[Answer]:
        """Tell what a death has done; `executors` are those of each strategy that stood still, all lost."""
        strategies = list(executors)
        answer = yield from self._changes.ask_gate({"type": "exposure", "ids": strategies})
        known = answer.get("strategies", {})
        at_stake = {key: {**known.get(key, {}), "executors": lost} for key, lost in executors.items()}
        whose = None if culprit is None else culprit.config.id
        self._roster.blast(
            {
                "wall_ns": time.time_ns(),
                "worker": child.index,
                "how": how,
                "culprit": whose,
                "strategies": strategies,
                "at_stake": {key: one for key, one in at_stake.items() if any(one.values())},
            }
        )
        lost = [f"{key}: {text}" for key, stake in at_stake.items() if (text := stake_text(stake))]
        text = f"{child.title} {how}: {len(strategies)} strategies stood still"
        text += f", by {whose}" if whose else ""
        self._say("error", f"{text}; at stake: {'; '.join(lost) or 'nothing'}", worker=child.index, culprit=whose)
        return {}

    def _ran_out_of_memory(self) -> bool:
        before, self._killed_before = self._killed_before, self._oom_kills()
        return self._killed_before > before


def read_oom_kills() -> int:
    """Return how many processes this host's kernel has killed for want of memory."""
    try:
        lines = VMSTAT.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
