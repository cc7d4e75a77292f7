"""What a process that a strategy's code forks must not share with its worker: its signals, and the fleet's lock.

multiprocessing forks the whole worker. Its child has the worker's handlers, so `Process.terminate()` would not end it,
and what would wake the worker's loop for a signal of the child's. A child that outlives its fleet would also keep the
fleet's lock, and no `hive up` could start it again. Programs that a strategy starts inherit the lock even less.
"""

import contextvars
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

LOCK = "lock"
OWN_SIGNALS = (signal.SIGTERM, signal.SIGALRM)  # that the worker handles


def part_from(run_dir: Path) -> None:
    """Have every child that this process forks from now on let go of both; for the rest of the process's life."""
    for fd in _locks(run_dir / LOCK):
        os.set_inheritable(fd, False)
    os.register_at_fork(after_in_child=lambda: contextvars.Context().run(_let_go, run_dir / LOCK))


def _let_go(lock: Path) -> None:
    signal.set_wakeup_fd(-1)
    for number in OWN_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    for fd in _locks(lock):
        os.close(fd)


def _locks(lock: Path) -> Iterator[int]:
    """Yield the descriptors of a file that this process has open."""
    path = os.path.realpath(lock)
    for fd in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{fd}") == path:
                yield int(fd)
