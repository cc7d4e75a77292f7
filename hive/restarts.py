"""What follows the death of a process: it is started again after a wait, or the fleet ends.

A fleet that has run ends for no process but a simulated exchange: what runs goes on, and the host's lack (memory,
descriptors, room in /dev/shm) may be over at the next try.
"""

import time
from dataclasses import dataclass

from hive.backoff import Backoff
from hive.child import EXIT_CANNOT_BOOT, Child
from hive.top_sample import Member

NEVER_READY_MAX = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """`fatal` says why the fleet ends; when it is "", the process is started again after `wait_s`.

    `cannot_boot`: it said itself that another try would end the same way.
    """

    fatal: str = ""
    cannot_boot: bool = False
    wait_s: float = 0.0


class Restarts:
    """Judges deaths by what came before them; a restart waits `wait_max_s` at most."""

    def __init__(self, wait_max_s: float) -> None:
        self._never_ready: dict[Member, int] = {}
        self._backoff = Backoff(longest_s=wait_max_s)

    def ready(self, child: Child) -> None:
        """Note that a process has become ready."""
        self._never_ready.pop(child.member, None)

    def again_s(self, member: Member) -> float:
        """Return the wait before another try of what could not even be started."""
        return self._backoff.wait_s(member, 0.0)

    def judge(self, child: Child, how: str, code: int, *, ran: bool = False) -> Verdict:
        """Return what follows a death.

        Args:
            child: who died.
            how: in words.
            code: its exit code, negative for a signal.
            ran: the whole fleet was running once.
        """
        lived_s = (time.monotonic_ns() - child.started_ns) / 1e9
        if ran and child.role != "sim":
            return Verdict(wait_s=self._backoff.wait_s(child.member, lived_s))
        said_so = code == EXIT_CANNOT_BOOT and not (child.role == "worker" and child.ready)  # then a strategy exited so
        if said_so or child.fatal:
            return Verdict(child.fatal or f"{child.title} cannot start: see its log", cannot_boot=True)
        if child.role == "sim":
            return Verdict(f"the simulated exchange {how}: its orders are gone with it")
        tries = self._never_ready[child.member] = self._never_ready.get(child.member, 0) + (not child.ready)
        if tries >= NEVER_READY_MAX:
            return Verdict(f"{child.title} {how} {tries} times before it was ready: see its log")
        return Verdict(wait_s=self._backoff.wait_s(child.member, lived_s))
