"""The feed's books as the gate looks at them: an order goes only while the book that it was decided on is live.

attach(epoch, segment)     the feed's current epoch
fault(pair, book_epoch)    at the moment of sending: why not, "" when it may go
touch(pair)                best bid and ask, for limits on prices and losses
"""

import asyncio
from collections.abc import Callable

from hive.shm.atomics import boottime_ns
from hive.shm.book import LIVE, REMOVED, STATE_NAMES, WRITER_DEAD, BookDirectory, BookReader
from hive.shm.liveness import SegmentWriter, Verdict
from hive.shm.segment import Segment
from hive.shm.stale_figures import StaleFigures


class FeedBooks:
    """The books of one venue.

    Args:
        stale_after_ns: age of the feed's heartbeat from which on none of its books is live, see hive.shm.liveness
        figures: counts the books that are not current
        boot_ns: CLOCK_BOOTTIME
    """

    def __init__(self, stale_after_ns: int, figures: StaleFigures, boot_ns: Callable[[], int] = boottime_ns) -> None:
        self._stale_after_ns = stale_after_ns
        self._figures = figures
        self._boot_ns = boot_ns
        self._epoch = -1
        self._directory: BookDirectory | None = None
        self._writer: SegmentWriter | None = None
        self._readers: dict[str, BookReader | None] = {}

    def attach(self, epoch: int, books: str, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Follow the feed's next epoch, whose end `loop` notices at once; ShmError when it cannot be mapped."""
        segment = Segment.open(books, kind="books")
        self._directory = BookDirectory(segment, self._stale_after_ns)
        self.close()
        self._writer = SegmentWriter(segment, self._stale_after_ns)
        if loop is not None:
            self._writer.watch(loop)
        self._epoch = epoch
        self._readers = dict.fromkeys(self._readers)

    def fault(self, pair: str, book_epoch: int) -> str:
        """Return why an order that was decided on a book of `book_epoch` may not be sent now, "" when it may."""
        if self._directory is None:
            return "there is no feed"
        if book_epoch != self._epoch:
            return f"decided on epoch {book_epoch} of the feed, which is in epoch {self._epoch}"
        if self._writer.verdict(self._boot_ns()) is not Verdict.ALIVE:
            return f"book of {pair} is WRITER_DEAD"
        state = self._state(pair)
        return "" if state == LIVE else f"book of {pair} is {STATE_NAMES[state]}"

    def touch(self, pair: str) -> tuple[float, float] | None:
        """Return a live book's best bid and ask (NaN: that side is empty), None when it is not live."""
        if self._directory is None or self._writer.verdict(self._boot_ns()) is not Verdict.ALIVE:
            return None
        if self._state(pair) != LIVE:
            return None
        top = self._readers[pair].top()
        return (top[0], top[2]) if top is not None else None

    def look(self) -> None:
        """Look at the feed and at every book that an order was based on; call it with every beat."""
        if self._writer is None:
            return
        now_ns = self._boot_ns()
        alive = self._writer.verdict(now_ns) is Verdict.ALIVE
        for pair in self._readers:
            state = self._state(pair) if alive else WRITER_DEAD
            if state == REMOVED:
                self._figures.forget(pair)  # the last strategy that wanted it is gone
            else:
                self._figures.note(pair, state, now_ns)

    def close(self) -> None:
        """Watch the feed no longer."""
        if self._writer is not None:
            self._writer.close()

    def _state(self, pair: str) -> int:
        reader = self._readers.get(pair)
        state = REMOVED if reader is None else reader.state
        if state == REMOVED:  # or not there yet, or there again
            reader = self._readers[pair] = self._directory.reader_of(pair)
            state = REMOVED if reader is None else reader.state
        return state
