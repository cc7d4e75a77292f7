"""Ticks strategies when a book of theirs has changed, besides their timer.

    every POLL_S:  version of each watched book -> changed? -> clock.nudge(), not before `spacing` after its last tick

The feed wakes nobody: it does not know who reads. So whoever wants such ticks has the versions looked at, two words of
shared memory for each book; while nobody does, nothing is looked at. Changes between two looks are one.
"""

import asyncio
import contextvars
from collections.abc import Callable
from time import monotonic_ns
from typing import Protocol

from hive.workers.clock import MultiStrategyClock
from hive.workers.context import StrategyContext
from hive.workers.errors import BookMissing

POLL_S = 0.002

Book = tuple[int, str]
"""A venue's index and a pair."""


class Versions(Protocol):
    """What is watched: hive.workers.market.MarketData."""

    def version(self, venue: int, pair: str) -> tuple[int, int]:
        """Return (generation, number of the newest version) of a book; raises BookMissing when there is none."""


class BookWatch:
    """Looks at the books of the strategies that follow them.

    Args:
        clock: is nudged.
        books: tells versions.
        loop: of the worker.
        nudged: called when the clock may have something to do earlier than before.
    """

    def __init__(
        self,
        clock: MultiStrategyClock,
        books: Versions,
        *,
        loop: asyncio.AbstractEventLoop,
        nudged: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._books = books
        self._loop = loop
        self._nudged = nudged
        self._spacings_ns: dict[StrategyContext, int] = {}
        self._seen: dict[Book, tuple[int, int]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._outside = contextvars.Context()

    def follow(self, context: StrategyContext, spacing_ns: int) -> None:
        """Tick a strategy also when one of its books changes, at least `spacing_ns` after the end of its last tick."""
        self._spacings_ns[context] = spacing_ns
        if self._timer is None:
            self._look_later()

    def forget(self, context: StrategyContext) -> None:
        """Look at no books for a strategy any more; one that is not followed is left alone."""
        self._spacings_ns.pop(context, None)
        if not self._spacings_ns:
            self.stop()

    def stop(self) -> None:
        """Look no more, until somebody follows again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self, now_ns: int) -> None:
        """Nudge whose books have changed since the last look."""
        books = {book for context in self._spacings_ns for book in context.books}
        changed = set()
        seen = {}
        for book in books:
            try:
                seen[book] = self._books.version(*book)
            except BookMissing:
                continue
            if book in self._seen and seen[book] != self._seen[book]:
                changed.add(book)
        self._seen = seen
        if not changed:
            return
        for context, spacing_ns in self._spacings_ns.items():
            entry = self._clock.entry(context)
            if entry is not None and not changed.isdisjoint(context.books):
                self._clock.nudge(context, max(now_ns, entry.ended_ns + spacing_ns))
        self._nudged()

    def _look_later(self) -> None:
        self._timer = self._loop.call_later(POLL_S, self._on_timer, context=self._outside)

    def _on_timer(self) -> None:
        self._look_later()
        self.look(monotonic_ns())
