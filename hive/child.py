"""One child process of the supervisor: how it is started, watched and ended.

    exec'ed (feed, gate, server, sim)   start(): the control channel's end is passed as a descriptor
    forked (workers)                    Child(..., pid=None) and its channel's end sent to the server; adopt() its pid

Every child is a session of its own, so that ctrl-C at the terminal reaches the supervisor alone, and inherits the
fleet's lock, so that the fleet is locked as long as any of its processes lives.
"""

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hive.shm.channel import Channel
from hive.shm.counters import CountersReader
from hive.shm.errors import ShmError
from hive.shm.segment import Segment, process_start_ticks
from hive.shm.snapshots import CountersSnapshot, HistogramSnapshot

EXIT_CANNOT_BOOT = 3
OOM_SCORES = {  # beside this process's own: who goes first when memory ends; a worker adds 100 to the server's
    "server": 400,
    "recorder": 400,
    "feed": 300,
    "sim": 300,
    "gate": 100,
}
OOM_SCORE_MAX = 1000
ORDINALS = {2: "second", 3: "third"}
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36


@dataclass(slots=True, eq=False)
class Child:
    """A process of the fleet. `channel` is None for the simulated exchange; `pid` None until a worker is forked."""

    role: str
    index: int
    epoch: int
    channel: Channel | None
    started_ns: int
    pid: int | None = None
    start_ticks: int = 0
    cpu: int | None = None
    ready: bool = False
    fatal: str = ""
    wake: str = ""
    counters: str | None = None
    late_beats: int = 0
    hung: bool = False
    listener: asyncio.Task | None = None
    _segment: Segment | None = None
    _reader: CountersReader | None = None
    _popen: subprocess.Popen | None = field(default=None, repr=False)

    @property
    def member(self) -> tuple[str, int]:
        """Role and index."""
        return self.role, self.index

    @property
    def title(self) -> str:
        """What the operator is shown."""
        return f"worker {self.index}" if self.role == "worker" else self.role

    @property
    def again(self) -> str:
        """", for the third time" for a third process of this role and index, "" for the first."""
        if self.epoch == 1:
            return ""
        return f", for the {ORDINALS.get(self.epoch, f'{self.epoch}th')} time"

    def adopt(self, pid: int) -> None:
        """Be the process `pid`, which is a child of this one already."""
        self.pid = pid
        self.start_ticks = process_start_ticks(pid) or 0

    def send(self, message: Mapping[str, Any], fds: Iterable[int] = ()) -> None:
        """Send a message; one to a process that is gone is lost."""
        if self.channel is not None:
            self.channel.send(dict(message), list(fds))

    def map_counters(self, name: str) -> None:
        """Map the counters segment that the process has announced; raises ShmError."""
        self.counters = name
        self._segment = Segment.open(name, kind="counters")
        self._reader = CountersReader(self._segment)

    def read_counters(self) -> CountersSnapshot | None:
        """Return the process's counters, None before it announced them; works after its death too."""
        return self._reader.read() if self._reader is not None else None

    def count(self, name: str) -> int:
        """Return a counter over all labels, without reading the others."""
        return self._reader.total(name) if self._reader is not None else 0

    def merged(self, name: str) -> HistogramSnapshot:
        """Return a histogram over all labels, without reading the others."""
        return self._reader.merged(name) if self._reader is not None else HistogramSnapshot()

    def heartbeat_age_ns(self, now_ns: int) -> int | None:
        """Return the age of the last heartbeat, None when there is none to expect."""
        beat_ns = self._reader.heartbeat_ns if self._reader is not None else 0
        return now_ns - beat_ns if beat_ns else None

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal. The pid is still ours: it is free only after the supervisor has waited for it."""
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def unread(self) -> list[dict[str, Any]]:
        """Return the messages that the channel of a dead process still holds."""
        messages = []
        while self.channel is not None:
            try:
                message = self.channel.recv_blocking(0)
            except TimeoutError:
                break
            if message is None:
                break
            messages.append(message)
        return messages

    def close(self, status: int | None = None) -> None:
        """Let go of channel and counters; `status` is what wait() said, for the Popen object."""
        if self._popen is not None and self._popen.returncode is None:
            self._popen.returncode = os.waitstatus_to_exitcode(status) if status is not None else -signal.SIGKILL
        if self.listener is not None:
            self.listener.cancel()  # it closes the channel once it no longer waits on the descriptor
        elif self.channel is not None:
            self.channel.close()
        self._reader = None
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def set_popen(self, popen: subprocess.Popen) -> None:
        """Be the process that was just exec'ed."""
        self._popen = popen
        self.adopt(popen.pid)


def start(
    child: Child,
    arguments: list[str],
    *,
    environment: Mapping[str, str],
    log: Path,
    theirs: socket.socket | None = None,
    keep_fds: Iterable[int] = (),
    stdin: int = subprocess.DEVNULL,
    stdout: int | None = None,
) -> None:
    """Exec a child: this Python with `arguments`.

    Args:
        child: becomes that process.
        arguments: after the interpreter's name; `--channel-fd N` is added when `theirs` is given.
        environment: exactly what the process finds.
        log: stderr (and stdout, unless it is given) are appended there.
        theirs: the other end of the child's channel; closed here.
        keep_fds: descriptors that the process inherits under their numbers.
        stdin, stdout: descriptors, or subprocess.DEVNULL.

    Raises:
        OSError: it cannot be executed.
    """
    fds = [*keep_fds, *([theirs.fileno()] if theirs is not None else [])]
    command = [sys.executable, "-P", *arguments]  # -P: the folder it is started in holds no modules for it
    if theirs is not None:
        command += ["--channel-fd", str(theirs.fileno())]
    try:
        with log.open("ab") as errors:
            popen = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=errors if stdout is None else stdout,
                stderr=errors,
                env=dict(environment),
                pass_fds=fds,
                start_new_session=True,
            )
    finally:
        if theirs is not None:
            theirs.close()
    child.set_popen(popen)
    score = OOM_SCORES.get(child.role)
    if score is not None:
        with contextlib.suppress(OSError):
            own = max(0, int(Path("/proc/self/oom_score_adj").read_text()))  # without root it can only be raised
            Path(f"/proc/{popen.pid}/oom_score_adj").write_text(str(min(OOM_SCORE_MAX, own + score)))


def become_supervisor() -> None:
    """Make this process the reaper of all that its children leave, and forbid others to read its memory."""
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_CHILD_SUBREAPER, 1), (_PR_SET_DUMPABLE, 0)):
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def reap() -> list[tuple[int, int, float]]:
    """Return (pid, wait status, CPU seconds) of every child that has ended; strays of dead children too."""
    ended = []
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended.append((pid, status, _cpu_seconds(usage)))


def children_of_this_process() -> list[int]:
    """Return the pids of all present children."""
    try:
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    except OSError:
        return []
    return [int(pid) for pid in text.split()]


def how_it_ended(status: int) -> str:
    """Return a wait status in words: "ended with exit code 1", "was killed by SIGKILL"."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def map_quietly(child: Child, name: str) -> str:
    """Map a child's counters; return why not, "" when it is done."""
    try:
        child.map_counters(name)
    except ShmError as error:
        return str(error)
    return ""


def _cpu_seconds(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime
