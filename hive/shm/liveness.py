"""Whether the process that writes a segment is at work, by its heartbeat and, when that is late, by /proc.

A heartbeat (CLOCK_BOOTTIME) younger than half of `silent_after_ns` is believed. An older one is a reason for a look at
the process, and what the kernel says of it decides:

    gone, a zombie, another start time     DEAD, for good
    stopped (SIGSTOP, a debugger)          SILENT at once
    older than silent_after_ns             SILENT, unless the process waits for a CPU
    ready to run, and hardly ran since     ALIVE for up to GRACE_NS more: others have its CPU, the fault is not its own

A process that computes instead of beating is told from one that is starved by the CPU time that it got since the first
look. What was called SILENT stays so until the heartbeat moves: a process that runs again has yet to say that its data
is good. After a suspend of the machine the age by CLOCK_BOOTTIME is the length of the suspend, so that everything is
SILENT before anything else runs.
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from hive.shm.segment import Segment, process_start_ticks

GRACE_NS = 120_000_000  # beyond silent_after_ns, for a process that the scheduler lets wait
BUSY_NS = 15_000_000  # CPU time without a heartbeat that is overdue: a loop that works beats with its next turn


class Verdict(IntEnum):
    """What a look found."""

    ALIVE = 0
    SILENT = 1
    DEAD = 2


@dataclass(frozen=True, slots=True)
class ProcessLook:
    """A process as the kernel shows it: `state` as in /proc/PID/stat, `ran_ns` the CPU time of its main thread."""

    start_ticks: int
    state: str
    ran_ns: int


def look_at(pid: int) -> ProcessLook | None:
    """Return a process's state, None when there is none of that number."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
        fields = text[text.rindex(b")") + 2 :].split()  # the command's name may hold spaces and brackets
        return ProcessLook(int(fields[19]), fields[0].decode("ascii"), _ran_ns(pid, fields))
    except (FileNotFoundError, ProcessLookupError):
        return None


def _ran_ns(pid: int, fields: list[bytes]) -> int:
    try:
        return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_bytes().split()[0])
    except FileNotFoundError:  # a kernel without it counts in ticks
        return (int(fields[11]) + int(fields[12])) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class WriterLiveness:
    """Judges one process by its heartbeats; time is a parameter.

    Args:
        pid, start_ticks: which process; see segment.process_start_ticks().
        silent_after_ns: age of the heartbeat from which on it is silent.
        look: what asks the kernel.
    """

    def __init__(
        self,
        pid: int,
        start_ticks: int,
        silent_after_ns: int,
        *,
        look: Callable[[int], ProcessLook | None] = look_at,
    ) -> None:
        if silent_after_ns <= 0:
            raise ValueError(f"silent_after_ns must be above 0, was {silent_after_ns}")
        self.pid = pid
        self.start_ticks = start_ticks
        self.dead = False
        self._silent_after_ns = silent_after_ns
        self._suspicious_ns = silent_after_ns // 2
        self._look = look
        self._beat_ns = 0  # the heartbeat that the next two are about
        self._silent = False
        self._ran_ns: int | None = None

    def died(self) -> None:
        """Note that the process has ended."""
        self.dead = True

    def look(self, heartbeat_boot_ns: int, now_boot_ns: int) -> Verdict:
        """Judge the process by its last heartbeat, 0 for none yet; both times are CLOCK_BOOTTIME."""
        if self.dead:
            return Verdict.DEAD
        age_ns = now_boot_ns - heartbeat_boot_ns
        if age_ns <= self._suspicious_ns:
            return Verdict.ALIVE
        if heartbeat_boot_ns != self._beat_ns:
            self._beat_ns, self._silent, self._ran_ns = heartbeat_boot_ns, False, None
        if not self._silent and heartbeat_boot_ns:
            self._silent = self._is_silent(age_ns)
            if self.dead:
                return Verdict.DEAD
        return Verdict.SILENT if self._silent or not heartbeat_boot_ns else Verdict.ALIVE

    def _is_silent(self, age_ns: int) -> bool:
        seen = self._look(self.pid)
        if seen is None or seen.start_ticks != self.start_ticks or seen.state in "ZX":
            self.dead = True
            return True
        if seen.state in "Tt":
            return True
        if self._ran_ns is None:
            self._ran_ns = seen.ran_ns
        if age_ns <= self._silent_after_ns:
            return False
        starved = seen.state == "R" and seen.ran_ns - self._ran_ns < BUSY_NS
        return not starved or age_ns > self._silent_after_ns + GRACE_NS


class SegmentWriter:
    """The process that writes a segment, as one of its readers watches it.

    Args:
        segment: a mapped one, whose creator writes and beats it.
        silent_after_ns: as in WriterLiveness.
    """

    def __init__(self, segment: Segment, silent_after_ns: int) -> None:
        self._segment = segment
        self._liveness = WriterLiveness(segment.creator_pid, segment.creator_start, silent_after_ns)
        self._pidfd = -1
        self._loop: asyncio.AbstractEventLoop | None = None

    def verdict(self, now_boot_ns: int) -> Verdict:
        """Judge the writer at `now_boot_ns` (CLOCK_BOOTTIME)."""
        beat_ns = self._segment.heartbeat_boot_ns
        verdict = self._liveness.look(beat_ns, now_boot_ns)
        if verdict is Verdict.SILENT and self._segment.heartbeat_boot_ns != beat_ns:
            return self._liveness.look(self._segment.heartbeat_boot_ns, now_boot_ns)  # it beat while it was looked at
        return verdict

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have `loop` notice the writer's end at once, until close(); without pidfds its silence is what is noticed."""
        live = self._liveness
        try:
            self._pidfd = os.pidfd_open(live.pid)
        except ProcessLookupError:
            live.died()
            return
        except OSError:
            return
        if process_start_ticks(live.pid) != live.start_ticks:  # only now is it certain which process the descriptor is
            live.died()
        self._loop = loop
        loop.add_reader(self._pidfd, self._on_end)

    def close(self) -> None:
        """Watch no longer."""
        if self._pidfd >= 0:
            if self._loop is not None:
                self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def _on_end(self) -> None:
        self._liveness.died()
        self.close()
