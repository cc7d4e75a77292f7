"""What a test may leave behind and must not: segments, semaphores, processes, sockets and FIFOs.

Processes are known by a mark in their environment, so that one that changed its parent is found as well, and children
that were only forked, whose environment is this process's own, by their parent. Other sessions may run on this machine
at the same time: a segment of a living process that is not ours is theirs.
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
_not_ours: frozenset[str] = frozenset()  # the pids there were when none was ours


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
    """Return the files of Hive in /dev/shm, without those whose living creator is not one of ours."""
    ours = pids | {os.getpid(), 0}  # 0: no header, so nobody's
    theirs = {info.name.lstrip("/") for info in list_segments() if info.alive and info.creator_pid not in ours}
    names = {path.name for path in SHM.iterdir() if path.name.startswith(("hive.", "sem.hive"))}
    return frozenset(names - theirs)


def our_processes() -> list[tuple[int, str]]:
    """Return (pid, command line) of every living process that this session started, at any depth."""
    global _not_ours
    pids = frozenset(name for name in os.listdir("/proc") if name.isdigit())
    if pids <= _not_ours:  # nobody has come since, and to look at each again takes longer than most tests
        return []
    mark = f"{MARK}={os.environ.get(MARK)}".encode()
    forked = {child.pid for child in psutil.Process().children(recursive=True)}
    found = []
    for pid in map(int, pids):
        entry = Path(f"/proc/{pid}")
        if pid == os.getpid():
            continue
        try:
            if pid not in forked and mark not in (entry / "environ").read_bytes().split(b"\0"):
                continue
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:  # it ended, or it is another user's
            continue
        if command and "multiprocessing.resource_tracker" not in command:  # lives as long as the session
            found.append((pid, command[:200]))
    if not found:
        _not_ours = pids
    return found


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
