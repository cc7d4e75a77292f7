"""An event loop selector that remembers when it woke up.

asyncio reads sockets in the iteration in which they became readable, and runs a task that waited for the data in the
next one, without looking at a clock in between. So inside such a task the previous wake-up is when the data was read.
"""

import selectors
import time


class WakeupSelector(selectors.DefaultSelector):
    """Stamps every return of select() with the monotonic clock."""

    def __init__(self) -> None:
        super().__init__()
        self.woke_ns = time.monotonic_ns()
        self.previous_ns = self.woke_ns

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait as the base class does; remember when this wait and the one before ended."""
        ready = super().select(timeout)
        self.previous_ns = self.woke_ns
        self.woke_ns = time.monotonic_ns()
        return ready

    def last_ns(self) -> int:
        """Return when the wait that brought the data that is being read now ended; for what reads sockets itself."""
        return self.woke_ns

    def read_ns(self) -> int:
        """Return when the data that a task has just been given was read."""
        return self.previous_ns
