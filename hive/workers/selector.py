"""The selector of a worker's loop: each return of select() begins a new callback generation.

epoll_wait() counts time in milliseconds and Python rounds up, so a timer would come half a millisecond late on average.
An epoll file can be waited for like any other, and select() counts microseconds: it waits, epoll then only looks.
"""

import select
import selectors
from collections.abc import Callable, Sequence

from hive.workers.beats import LOOK, READABLE, Beats
from hive.workers.clock import CallbackCounter

FD_SETSIZE = 1024  # select() takes no descriptor from here on


class CountingSelector(selectors.EpollSelector):
    """An EpollSelector that bumps a CallbackCounter whenever the loop has waited for, or looked at, its files.

    `before_wait` is called before it does so: the callbacks before have run.
    """

    def __init__(self, callbacks: CallbackCounter) -> None:
        super().__init__()
        self._precise = (self.fileno(),) if self.fileno() < FD_SETSIZE else ()
        self._bump = callbacks.bump
        self.before_wait: Callable[[], object] = lambda: None
        self._beats: Beats | None = None
        self._look: Callable[[], object] = lambda: None

    def beat(self, beats: Beats | None, look: Callable[[], object] = lambda: None) -> None:
        """Beat wherever the loop waits, from now on, and call `look()` when somebody has to; None: no more."""
        self._beats = beats
        self._look = look

    def select(self, timeout: float | None = None) -> Sequence[tuple[selectors.SelectorKey, int]]:
        """Wait as EpollSelector does, then begin a new callback."""
        self.before_wait()
        events: Sequence[tuple[selectors.SelectorKey, int]] = ()
        if self._beats is not None:
            found = self._beats.wait(self.fileno(), timeout)
            if found == LOOK:
                self._look()
            if found in (LOOK, READABLE):
                events = super().select(0)
        elif timeout is None or timeout <= 0 or not self._precise:
            events = super().select(timeout)
        elif select.select(self._precise, (), (), timeout)[0]:
            events = super().select(0)
        self._bump()
        return events
