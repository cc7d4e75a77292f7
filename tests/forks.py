"""Children of a test that run one function: forked, so that starting a hundred of them takes a second."""

import os
import signal
import time
from collections.abc import Callable

from children import Child


class Forked(Child):
    """A child that a test stops, continues and kills."""

    def signal(self, number: int) -> None:
        """Send a signal, if it still lives."""
        if self.code is None:
            signal.pidfd_send_signal(self._pidfd, number)

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
