"""An event loop selector that beats, remembers when it woke up, and wakes up less often when very much arrives.

asyncio reads sockets in the iteration in which they became readable, and runs a task that waited for the data in the
next one, without looking at a clock in between. So inside such a task the previous wake-up is when the data was read.

A wake-up costs several times what the message costs that it is for. So above MOST_WAKES_PER_S the selector naps for
NAP_S before it waits, and reads at once what came meanwhile: messages that come 100 us apart cost half as much CPU, and
are later by NAP_S at most. Below that rate, and when messages come in bunches, nothing changes.

While it waits, the Heart that it was given beats, and lets the loop's readers read (see heart.pyx).
"""

import asyncio
import selectors
import time
from collections.abc import Callable

from hive.feed.heart import LOOK, Heart

MOST_WAKES_PER_S = 4_000
NAP_S = 0.0003
WAKES_PER_LOOK = 64
FEWEST_NAPS_THAT_FOUND = 56  # of WAKES_PER_LOOK; with fewer, naps no longer gather anything

_Ready = list[tuple[selectors.SelectorKey, int]]


class WakeupSelector(selectors.EpollSelector):
    """Stamps every return of select() with the monotonic clock. `nap` sleeps for that many seconds."""

    def __init__(
        self, clock: Callable[[], int] = time.monotonic_ns, nap: Callable[[float], None] = time.sleep
    ) -> None:
        super().__init__()
        self._clock = clock
        self._nap = nap
        self.woke_ns = clock()
        self.previous_ns = self.woke_ns
        self.napping = False
        self._wakes = 0  # since the last look
        self._found = 0  # naps among them after which something was ready
        self._looked_ns = self.woke_ns
        self._heart: Heart | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._when_late: Callable[[], object] = lambda: None

    def beat(
        self,
        heart: Heart | None,
        when_late: Callable[[], object] = lambda: None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Beat wherever the loop waits from now on; `when_late()` makes each beat that would come late. None: no more.

        It is called before anything that arrived meanwhile is handed to the loop. `loop` is the one that waits here, if
        its readers are to be served without a turn of it.
        """
        self._heart = heart
        self._when_late = when_late
        self._loop = loop

    def select(self, timeout: float | None = None) -> _Ready:
        """Wait as the base class does; remember when this wait and the one before ended."""
        heart = self._heart
        if heart is None or self.napping:
            ready = self._select_at_length(timeout)
        elif self._loop is not None and (timeout is None or timeout > NAP_S):
            ready = self._serve(heart, timeout)
        elif heart.wait(self._selector, timeout, self._fd_to_key) == LOOK:
            self._when_late()
            ready = super().select(0)
        else:
            ready = heart.ready
        self.previous_ns = self.woke_ns
        self.woke_ns = self._clock()
        if timeout is None or timeout > NAP_S:
            self._wakes += 1
            if self._wakes >= WAKES_PER_LOOK:
                self._look()
        return ready

    def last_ns(self) -> int:
        """Return when the wait that brought the data that is being read now ended; for what reads sockets itself."""
        return self.woke_ns if self._heart is None else max(self.woke_ns, self._heart.woke_ns)

    def read_ns(self) -> int:
        """Return when the data that a task has just been given was read."""
        return self.previous_ns

    def _serve(self, heart: Heart, timeout: float | None) -> _Ready:
        """Let readers read until there is something to do for the loop."""
        found = heart.serve(self._selector, timeout, self._fd_to_key, self._loop, WAKES_PER_LOOK - self._wakes)
        if heart.served:
            self.woke_ns = heart.woke_ns
            self._wakes += heart.served - 1
        if found == LOOK:
            self._when_late()
            return super().select(0)
        return heart.ready

    def _select_at_length(self, timeout: float | None) -> _Ready:
        """Nap when it is the time to, then wait; without a heart too."""
        ready: _Ready = []
        if self.napping and (timeout is None or timeout > NAP_S):
            self._nap(NAP_S)
            ready = super().select(0)
            self._found += bool(ready)
        if self._heart is None:
            return ready or super().select(timeout)
        if self._heart.wait(self._selector, 0 if ready else timeout, self._fd_to_key) == LOOK:
            self._when_late()
            return ready or super().select(0)
        return ready or self._heart.ready

    def _look(self) -> None:
        """Decide whether to nap."""
        if self.napping:
            self.napping = self._found >= FEWEST_NAPS_THAT_FOUND
        else:
            took_ns = self.woke_ns - self._looked_ns
            self.napping = took_ns * MOST_WAKES_PER_S < self._wakes * 1_000_000_000
        self._looked_ns = self.woke_ns
        self._wakes = self._found = 0
