"""What follows when processes of a fleet end: each is heard to its last word, buried, and started again, or all ends.

    SIGCHLD ──▶ reap ──▶ its last messages ──▶ who brought it down? ──▶ buried ──▶ the others are told
                                                                        └──▶ started again after a wait, or `fail`

Called from the supervisor's loop only.
"""

import logging
import os
from collections.abc import Callable
from typing import Any

from hive.child import Child, how_it_ended, reap
from hive.members import Resident
from hive.quarantine import Quarantine
from hive.restarts import Restarts
from hive.roster import Roster
from hive.shm.segment import sweep
from hive.top_sample import Member
from hive.wiring import Wiring

AGAIN_S = 0.25  # before a worker is asked for that the dead server was to fork

log = logging.getLogger("hive.supervisor")


class Deaths:
    """Carries out what follows.

    Args:
        roster: who lives.
        wiring: tells processes of each other.
        quarantine: judges the strategies of a dead worker.
        restarts: judges the process itself.
        run: of the fleet, by which segments are named.
        say: say(level, text, **data) tells the operator.
        hear: hear(child, message) takes a last message.
        start_later: start_later(member, wait_s) starts a process again after a wait.
        fail: fail(why) ends the fleet.
        stopping: whether the fleet is ending already; then nobody is started again.
        ran: whether the whole fleet was running once.
    """

    def __init__(
        self,
        roster: Roster,
        wiring: Wiring,
        quarantine: Quarantine,
        restarts: Restarts,
        run: str,
        *,
        say: Callable[..., None],
        hear: Callable[[Child, dict[str, Any]], None],
        start_later: Callable[[Member, float], None],
        fail: Callable[[str], None],
        stopping: Callable[[], bool],
        ran: Callable[[], bool],
    ) -> None:
        self._roster = roster
        self._members = roster.members
        self._wiring = wiring
        self._quarantine = quarantine
        self._restarts = restarts
        self._run = run
        self._say = say
        self._hear = hear
        self._start_later = start_later
        self._fail = fail
        self._stopping = stopping
        self._ran = ran
        self._early: dict[int, tuple[int, float]] = {}
        self.gate_cannot_boot = False  # then there is nobody to cancel orders

    def reap(self) -> None:
        """Take in every process that has ended."""
        for pid, status, cpu_seconds in reap():
            child = self._roster.by_pid(pid)
            if child is not None:
                self._ended(child, status, cpu_seconds)
            elif self._roster.unnamed_workers():
                self._early[pid] = (status, cpu_seconds)  # maybe a worker that died before the server named it

    def named(self, child: Child) -> None:
        """Take in that a worker's pid is known; it may have ended already."""
        early = self._early.pop(child.pid, None)
        if early is not None:
            self._ended(child, *early)

    def _ended(self, child: Child, status: int, cpu_seconds: float) -> None:
        for message in child.unread():
            self._hear(child, message)
        how = "hung and was killed" if child.hung else how_it_ended(status)
        log.info("%s (pid %s) %s", child.title, child.pid, how)
        died = not self._stopping() and (child.role != "worker" or child.index in self._members.workers())
        for one in self._members.on(child.index) if child.role == "worker" else ():
            self._members.keep_pause(one)
        culprit = self._quarantine.dying(child, how, status) if died and child.role == "worker" else None
        self._roster.bury(child, cpu_seconds)
        child.close(status)
        sweep(self._run, keep=("budget",))  # the next gate goes on with the minute of the dead one
        self._wiring.gone(child)
        if died:
            self._after(child, how, os.waitstatus_to_exitcode(status), culprit)
        self._roster.save()

    def _after(self, child: Child, how: str, code: int, culprit: Resident | None) -> None:
        verdict = self._restarts.judge(child, how, code, ran=self._ran())
        if verdict.fatal:
            self.gate_cannot_boot = child.role == "gate" and verdict.cannot_boot
            self._fail(verdict.fatal)
            return
        if child.fatal:
            how = f"cannot start ({child.fatal})"
        if child.role == "worker" and not self._quarantine.after(child, how, culprit):
            return
        for strategy in self._roster.strategies_of(child.index) if child.role == "worker" else ():
            self._roster.set_strategy(strategy, "starting", f"{child.title} {how}")
        if child.role == "server":
            self._ask_again_for_workers()
        self._roster.restarts[child.member] = self._roster.restarts.get(child.member, 0) + 1
        self._say("error", f"{child.title} {how}; it is started again in {verdict.wait_s:.1f} s", role=child.role)
        self._start_later(child.member, verdict.wait_s)

    def _ask_again_for_workers(self) -> None:
        """Forget the workers that the dead server was asked for and had not named; the next one is asked."""
        for worker in self._roster.unnamed_workers():
            self._roster.bury(worker, 0.0)
            worker.close()
            self._start_later(worker.member, AGAIN_S)
