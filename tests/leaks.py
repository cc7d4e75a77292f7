"""What a test may leave behind and must not: segments, semaphores, processes, sockets and FIFOs.

Processes are known by a mark in their environment, so that one that changed its parent is found as well, and children
that were only forked, whose environment is this process's own, by their parent. Other sessions may run on this machine
at the same time: a segment of a living process that is not ours is theirs, and so is what its run's dead ones left.
"""

import os
import shutil
import signal
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from hive.shm.segment import list_segments

SHM = Path("/dev/shm")
MARK = "HIVE_TEST_SESSION"
RUN_DIR = "hv"
PATIENCE_S = 5.0
PF_KTHREAD = 0x00200000  # linux/sched.h
_not_ours: set[int] = set()  # processes that were looked at: to do it each time takes longer than most tests


@dataclass(frozen=True, slots=True)
class Left:
    """Names of things that exist now and that this session could have made."""

    segments: frozenset[str]
    processes: frozenset[tuple[int, str]]
    endpoints: frozenset[str]

    def beyond(self, before: "Left") -> list[str]:
        """Return a line for each thing that was not there before; a process that runs another program now was."""
        known = {pid for pid, _ in before.processes}
        return [
            *(f"segment /dev/shm/{name}" for name in sorted(self.segments - before.segments)),
            *(f"process {pid}: {what}" for pid, what in sorted(self.processes) if pid not in known),
            *(f"socket or FIFO {path}" for path in sorted(self.endpoints - before.endpoints)),
        ]


def private_run_dir() -> str:
    """Give this session, and every process that it starts, a mark and a run directory of its own; return that."""
    sweep_run_dirs()
    os.environ[MARK] = str(os.getpid())
    # Short: a socket's path has 107 bytes at most.
    os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix=f"{RUN_DIR}{os.getpid()}_")
    return os.environ["XDG_RUNTIME_DIR"]


def sweep_run_dirs() -> None:
    """Remove the run directories of sessions that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{RUN_DIR}*_*"):
        pid = folder.name.removeprefix(RUN_DIR).partition("_")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def look() -> Left:
    """Return what there is now."""
    processes = frozenset(our_processes())
    return Left(our_segments({pid for pid, _ in processes}), processes, frozenset(our_endpoints()))


def new_since(before: Left, patience_s: float = PATIENCE_S) -> list[str]:
    """Return what is there and was not before, after waiting a little for things that are just going."""
    deadline = time.monotonic() + patience_s
    while (new := look().beyond(before)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return new


def clear(before: Left) -> None:
    """Kill and unlink what was not there before, so that the next test is not blamed for it."""
    known = {pid for pid, _ in before.processes}
    for pid in {pid for pid, _ in look().processes} - known:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    now = look()
    for path in [
        *(SHM / name for name in now.segments - before.segments),
        *map(Path, now.endpoints - before.endpoints),
    ]:
        path.unlink(missing_ok=True)


def our_segments(pids: set[int]) -> frozenset[str]:
    """Return the files of Hive in /dev/shm, without those of runs that a living process which is not ours has."""
    ours = pids | {os.getpid(), 0}  # 0: no header, so nobody's
    infos = list_segments()
    their_runs = {info.run for info in infos if info.alive and info.creator_pid not in ours}
    theirs = {info.name.lstrip("/") for info in infos if info.run in their_runs}
    names = {path.name for path in SHM.iterdir() if path.name.startswith(("hive.", "sem.hive"))}
    return frozenset(names - theirs)


def our_processes() -> list[tuple[int, str]]:
    """Return (pid, command line) of every living process that this session started, at any depth."""
    pids = {int(name) for name in os.listdir("/proc") if name.isdigit()}
    _not_ours.intersection_update(pids)
    mark = f"{MARK}={os.environ.get(MARK)}".encode()
    found = []
    for pid in pids - _not_ours - {os.getpid()}:
        entry = Path(f"/proc/{pid}")
        try:
            if is_no_program(pid):
                _not_ours.add(pid)
                continue
            if not is_descendant(pid):
                environment = (entry / "environ").read_bytes()
                if mark not in environment.split(b"\0"):
                    if environment:  # without one it is on its way to another program
                        _not_ours.add(pid)
                    continue
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except PermissionError:
            _not_ours.add(pid)
            continue
        except OSError:  # it ended
            continue
        if command and "multiprocessing.resource_tracker" not in command:  # lives as long as the session
            found.append((pid, command[:200]))
    return found


def is_descendant(pid: int) -> bool:
    """Return whether this process is among the process's ancestors."""
    while pid > 1:
        pid = int(fields_of(pid)[1])
        if pid == os.getpid():
            return True
    return False


def is_no_program(pid: int) -> bool:
    """Return whether it is a thread of the kernel, or a zombie."""
    fields = fields_of(pid)
    return fields[0] == b"Z" or bool(int(fields[6]) & PF_KTHREAD)


def fields_of(pid: int) -> list[bytes]:
    """Return what /proc/PID/stat has after the command's name, which may hold blanks and brackets."""
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()


def our_endpoints() -> list[str]:
    """Return the sockets and FIFOs below this session's run directory."""
    found = []
    for folder, _, names in os.walk(os.environ["XDG_RUNTIME_DIR"]):
        for name in names:
            path = os.path.join(folder, name)
            try:
                mode = os.lstat(path).st_mode
            except FileNotFoundError:
                continue
            if stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode):
                found.append(path)
    return found
