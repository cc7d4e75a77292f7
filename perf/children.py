"""Child processes of a measuring script: forked, on a CPU of their own, and never left behind."""

import os
import select
import signal
import sys
import traceback
import warnings
from collections.abc import Callable

KILLED_WITHIN_S = 30  # a large one on a loaded machine


class Child:
    """A child that runs `function(*args)` on `cpu` (None: any) and ends; a context manager that kills what is left.

    Make it before the script starts threads.
    """

    def __init__(self, function: Callable[..., object], *args: object, cpu: int | None = None) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self.code: int | None = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # numpy's pool of idle threads, which takes no lock
            self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                if cpu is not None:
                    os.sched_setaffinity(0, {cpu})
                function(*args)
                code = 0
            except BaseException:  # noqa: BLE001  a forked child must end here, whatever happens
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        self._pidfd = os.pidfd_open(self.pid)

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def ended(self, timeout_s: float) -> bool:
        """Return whether it ends within the time; it stays a zombie until wait()."""
        return self.code is not None or bool(select.select([self._pidfd], [], [], timeout_s)[0])

    def wait(self, timeout_s: float) -> int:
        """Reap it and return its exit code, minus the signal that ended it; TimeoutError when it does not end."""
        if not self.ended(timeout_s):
            raise TimeoutError(f"process {self.pid} did not end within {timeout_s} s")
        if self.code is None:
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            os.close(self._pidfd)
        return self.code

    def kill(self) -> int:
        """SIGKILL it if it still lives, and reap it; return its exit code."""
        if self.code is None and not self.ended(0):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        return self.wait(KILLED_WITHIN_S)
