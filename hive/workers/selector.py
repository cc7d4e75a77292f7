"""The selector of a worker's loop: each return of select() begins a new callback generation."""

import selectors
from collections.abc import Sequence

from hive.workers.clock import CallbackCounter


class CountingSelector(selectors.EpollSelector):
    """An EpollSelector that bumps a CallbackCounter whenever the loop has waited for, or looked at, its files."""

    def __init__(self, callbacks: CallbackCounter) -> None:
        super().__init__()
        self._bump = callbacks.bump

    def select(self, timeout: float | None = None) -> Sequence[tuple[selectors.SelectorKey, int]]:
        """Wait as EpollSelector does, then begin a new callback."""
        events = super().select(timeout)
        self._bump()
        return events
