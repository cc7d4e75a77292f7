"""Children of a test that run one function: forked, so that starting a hundred of them takes a second."""

import os
import select
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable


class Forked:
    """A child process that runs `function(*args)` and ends; a context manager that never leaves it behind."""

    def __init__(self, function: Callable[..., object], *args: object) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self.code: int | None = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # numpy's pool of idle threads, which takes no lock
            self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                function(*args)
                code = 0
            except BaseException:  # noqa: BLE001 - a child of pytest must end here, whatever happens
                traceback.print_exc()
            finally:
                os._exit(code)
        self._pidfd = os.pidfd_open(self.pid)

    def __enter__(self) -> "Forked":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def signal(self, number: int) -> None:
        """Send a signal, if it still lives."""
        if self.code is None:
            signal.pidfd_send_signal(self._pidfd, number)

    def ended(self, timeout_s: float) -> bool:
        """Return whether it ends within the time (it stays a zombie until wait())."""
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
        """SIGKILL and reap it."""
        self.signal(signal.SIGKILL)
        return self.wait(30)

    def wait_stopped(self) -> None:
        """Wait until it is stopped (SIGSTOP)."""
        os.waitpid(self.pid, os.WUNTRACED)


def until(condition: Callable[[], object], what: str, timeout_s: float = 30) -> object:
    """Return the condition's first true value; AssertionError when it does not come true in time."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s} s"
        time.sleep(0.0002)
    return value
