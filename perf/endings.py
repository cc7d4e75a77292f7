"""The end of a measuring script before its time: what it has started ends with it.

    SIGTERM, ctrl-C, hang-up -> SystemExit in the main thread -> every context closes -> children that are left

A second signal changes nothing: what is being closed is a fleet that cancels its orders.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
ORDERLY_S = 60.0  # for a fleet to cancel its orders and end


@contextmanager
def ends_in_order() -> Iterator[None]:
    """Let the first signal that asks for the end unwind what runs inside, and then end the children that are left.

    Raises:
        SystemExit: there was one; the status is 128 and its number.
    """
    asked: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        if not asked:
            asked.append(number)
            raise SystemExit(128 + number)  # asyncio lets this one and KeyboardInterrupt through, no other

    before = {one: signal.getsignal(one) for one in SIGNALS}
    taken = [one for one, handler in before.items() if handler is not signal.SIG_IGN]  # ignored under nohup
    for one in taken:
        signal.signal(one, end)
    try:
        yield
    finally:
        if asked:
            print(f"ended by {signal.Signals(asked[0]).name}: nothing is measured", file=sys.stderr, flush=True)
            end_children()
        for one in taken:
            signal.signal(one, before[one])


def completed(
    command: Sequence[str | Path], env: Mapping[str, str], within_s: float
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return what it said; it gets SIGTERM when it is not waited for any more.

    Raises:
        subprocess.TimeoutExpired: it took longer.
    """
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        output, errors = process.communicate(timeout=within_s)
    except BaseException:
        end([process.pid])
        raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def end_children() -> None:
    """End every child of this process."""
    tasks = Path("/proc/self/task").glob("*/children")
    end([int(pid) for task in tasks for pid in task.read_text().split()])


def end(pids: Sequence[int], orderly_s: float = ORDERLY_S) -> None:
    """End children of this process: SIGTERM, time to end well, then SIGKILL."""
    deadline = time.monotonic() + orderly_s
    left = [pid for pid in pids if not _reaped(pid)]
    for pid in left:
        os.kill(pid, signal.SIGTERM)
    while left := [pid for pid in left if not _reaped(pid)]:
        if time.monotonic() > deadline:
            for pid in left:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            return
        time.sleep(0.02)


def _reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:  # somebody else has
        return True
