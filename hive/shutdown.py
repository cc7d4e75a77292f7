"""Stops a fleet in order: workers, gate, feed and server, simulated exchanges. Each still finds what it needs.

A phase ends when its processes have; those that are late are killed. Strategies cancel their orders first, the gate
cancels what is left.
"""

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from hive.child import Child, children_of_this_process
from hive.console import Console
from hive.launch import Launcher
from hive.roster import Roster
from hive.shm.segment import list_segments, unlink

PHASES = (("worker",), ("gate",), ("feed", "server", "recorder"), ("sim",))
GRACE_S = 2.0  # beyond the deadline that a child was told
QUICK_S = 2.0  # what is left after a second ctrl-C
SHORT_STOP_S = 3.0  # for those that have nothing to cancel
KILL_WAIT_S = 5.0
GATE_ENDS_S = 20.0  # a gate whose supervisor is gone takes up to 15 s to cancel

log = logging.getLogger("hive.supervisor")


class Shutdown:
    """The end of a run.

    Args:
        roster: who lives.
        launcher: holds the simulated exchanges.
        console: tells the operator.
        timeout_s: how long strategies, then the gate, may take.
        start_gate: starts a gate when none lives; its orders would stay otherwise.
    """

    def __init__(
        self,
        roster: Roster,
        launcher: Launcher,
        console: Console,
        timeout_s: float,
        start_gate: Callable[[], None],
    ) -> None:
        self._roster = roster
        self._launcher = launcher
        self._console = console
        self._timeout_s = timeout_s
        self._start_gate = start_gate
        self._phase = -1
        self._deadline = 0.0
        self._traded = False
        self.clean = True

    @property
    def begun(self) -> bool:
        """Whether the fleet is stopping."""
        return self._phase >= 0

    @property
    def over(self) -> bool:
        """Whether every phase is done."""
        return self._phase == len(PHASES)

    def begin(self, timeout_s: float | None, *, traded: bool) -> None:
        """Start stopping.

        Args:
            timeout_s: how long strategies and gate may take, when that is less than the fleet's own limit.
            traded: workers were started, so there may be orders at the venue.
        """
        self._traded = traded
        if timeout_s is not None:
            self._timeout_s = min(self._timeout_s, timeout_s)
        for worker in self._roster.unnamed_workers():
            self._roster.bury(worker, 0.0)  # the end of its channel ends it, should it be forked yet
            worker.close()
        self._enter(0)

    def hurry(self) -> None:
        """Leave two seconds to each phase."""
        self._timeout_s = QUICK_S
        self._deadline = min(self._deadline, time.monotonic() + QUICK_S)

    def go_on(self) -> None:
        """Enter the next phase when this one is done; kill who is late."""
        while self.begun and not self.over:
            left = self._roster.of_role(*PHASES[self._phase])
            if not left:
                self._enter(self._phase + 1)
                continue
            if time.monotonic() > self._deadline:
                self._kill(left)
            return

    def stopped(self, child: Child, message: dict[str, Any]) -> None:
        """Take a child's last words: open orders, strategies that were late."""
        left = message.get("open_orders")
        if child.role == "gate":
            self._traded = False
            self._roster.facts["stop"] = {"open_orders": left}
            if left is None:
                self._complain("a venue has not told in time: orders may still be open there")
            elif left:
                self._complain(f"{left} orders are still open at the venue")
        for strategy in message.get("late") or ():
            self._tell(f"strategy {strategy} did not stop in time")

    def forced(self) -> None:
        """Say what a forced end leaves."""
        if self._traded:
            self._complain("the gate could not end well: orders may still be open at the venue")

    def _enter(self, phase: int) -> None:
        if phase and "gate" in PHASES[phase - 1]:
            self.forced()
        self._phase = phase
        if self.over:
            return
        roles = PHASES[phase]
        if "gate" in roles and self._traded and not self._roster.of_role("gate"):
            self._start_gate()
        slow = "worker" in roles or "recorder" in roles or ("gate" in roles and self._traded)
        within_s = self._timeout_s if slow else min(SHORT_STOP_S, self._timeout_s)
        self._deadline = time.monotonic() + within_s + GRACE_S
        for child in self._roster.of_role(*roles):
            child.send({"type": "stop", "deadline_s": within_s})
            if child.role == "server" and not child.ready:
                child.kill()  # it is importing, and would read the message seconds later
            elif child.role == "sim":
                self._launcher.end_sim(child.index)
                child.kill(signal.SIGTERM)

    def _kill(self, children: list[Child]) -> None:
        self._deadline = time.monotonic() + KILL_WAIT_S
        for child in children:
            self._tell(f"{child.title} did not end in time: killed")
            child.kill()

    def _complain(self, text: str) -> None:
        self.clean = False
        self._traded = False
        log.error("%s", text)
        self._console.say("error", f"error: {text}")

    def _tell(self, text: str) -> None:
        log.warning("%s", text)
        self._console.say("warning", f"warning: {text}")


def leave_to_gate(roster: Roster) -> None:
    """End all but the gate, and let that do what it does when its supervisor dies: it cancels the fleet's orders."""
    for child in roster.children.values():
        if child.role not in ("gate", "sim"):
            child.kill()
    gates = [gate for gate in roster.of_role("gate") if gate.pid is not None and gate.channel is not None]
    for gate in gates:
        gate.channel.close()
    deadline = time.monotonic() + GATE_ENDS_S
    while any(_lives(gate.pid) for gate in gates) and time.monotonic() < deadline:
        time.sleep(0.05)


def _lives(pid: int) -> bool:
    """Return whether a child runs; one that has ended stays to be waited for."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


def end_everything(roster: Roster, launcher: Launcher, run: str, on_exits: Callable[[], None]) -> None:
    """Kill whoever is left, wait for them, and unlink every segment of the run.

    Args:
        on_exits: takes note of those that have ended.
    """
    deadline = time.monotonic() + KILL_WAIT_S
    while (pids := _pids(roster)) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        on_exits()
        time.sleep(0.01)
    on_exits()
    launcher.close()
    for child in list(roster.children.values()):
        child.close()
    for info in list_segments(run):
        unlink(info.name)


def _pids(roster: Roster) -> set[int]:
    """Return every child, strays of dead children among them."""
    known = {child.pid for child in roster.children.values() if child.pid is not None}
    return known.union(children_of_this_process())
