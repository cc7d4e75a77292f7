"""Continuity of one instrument's book: snapshot and diffs into one gapless sequence of updates.

    DOWN --up()--> BUFFERING --subscribed()--> snapshot due --on_snapshot()--> LIVE
      ^                ^                                                        |
      +----down()------+-----------------gap, resync()--------------------------+

A diff says which update ids it covers, `first_id..last_id`, and carries absolute quantities, so applying one that
overlaps what is known is harmless and skipping one is not. Where the venue also names the id of the diff before
(`prev_id`, Binance's `pu` on derivatives, whose ids have holes), that name decides instead, except right after a
snapshot, whose id lies somewhere inside the diff that follows it.

While BUFFERING, diffs wait for a snapshot; a snapshot with id S joins the diffs when the first one that ends after S
begins at S + 1 or before. A refresh is the same join while the book stays LIVE: diffs are applied and kept, until a
new snapshot replaces what lies under them.

Nothing here reads a clock, sends a request or touches a book; the caller does what the return values say.

Source: "How to manage a local order book correctly", Binance spot and USD-M futures API documentation.
"""

from collections import deque
from enum import IntEnum
from typing import Any

from hive.feed.lines import Place
from hive.feed.phase import Phase

BUFFER_DIFFS = 4_096  # 6 minutes of a 100 ms stream; the oldest go first, and a snapshot older than the rest is refused
SNAPSHOTS_BELIEVED_OLD = 8  # 16 s of them
FIRST_RETRY_NS = 100_000_000
LONGEST_RETRY_NS = 5_000_000_000
SNAPSHOT_INTERVAL_NS = 250_000_000  # between two snapshots of one instrument, however often it loses its place


class Verdict(IntEnum):
    """What to do with a diff."""

    APPLY = 0
    BUFFERED = 1
    DUPLICATE = 2
    GAP = 3
    IGNORED = 4


class Join(IntEnum):
    """What became of a snapshot."""

    JOINED = 0
    TOO_OLD = 1
    BROKEN = 2  # the buffered diffs miss one between them
    OUTDATED = 3  # asked for in an earlier life of the stream


class BookSync(Place):
    """The state machine of one instrument; every `now_ns` is monotonic."""

    __slots__ = (
        "_buffer",
        "_failures",
        "_requested_ns",
        "_ticket",
        "snapshot_due_ns",
    )

    def __init__(self) -> None:
        super().__init__()
        self.snapshot_due_ns: int | None = None
        self._buffer: deque[tuple[int, int, int, Any]] = deque(maxlen=BUFFER_DIFFS)
        self._failures = 0
        self._ticket = 0
        self._requested_ns = -SNAPSHOT_INTERVAL_NS

    def up(self) -> None:
        """Start to buffer: the stream is being subscribed."""
        self._restart()
        self.phase = Phase.BUFFERING

    def subscribed(self, now_ns: int) -> None:
        """Ask for a snapshot: from now on the venue sends every diff."""
        if self.phase is Phase.BUFFERING:
            self._schedule(now_ns)

    def down(self) -> None:
        """Forget everything: the stream is gone."""
        self._restart()
        self.phase = Phase.DOWN

    def resync(self, now_ns: int) -> None:
        """Give the book up and ask for a snapshot: what is known cannot be right."""
        if self.phase is not Phase.DOWN:
            self._restart()
            self.phase = Phase.BUFFERING
            self._schedule(now_ns)

    def refresh(self, now_ns: int) -> None:
        """Ask for a snapshot to put under a LIVE book; nothing happens in another phase."""
        if self.phase is Phase.LIVE and not self.refreshing:
            self.refreshing = True
            self._schedule(now_ns)

    def on_diff(self, first_id: int, last_id: int, payload: Any, now_ns: int, prev_id: int = -1) -> Verdict:
        """Return what to do with a diff. On GAP the book has been given up and a snapshot is due.

        prev_id is the last id of the diff before, -1 where the venue does not tell.
        """
        if self.phase is Phase.LIVE:
            if last_id <= self.last_id:
                return Verdict.DUPLICATE
            if not _follows(first_id, prev_id, self.last_id, self.chained):
                self.resync(now_ns)
                self._buffer.append((first_id, last_id, prev_id, payload))
                return Verdict.GAP
            self.last_id = last_id
            self.chained = True
            if self.refreshing:
                self._buffer.append((first_id, last_id, prev_id, payload))
            return Verdict.APPLY
        if self.phase is Phase.BUFFERING:
            self._buffer.append((first_id, last_id, prev_id, payload))
            return Verdict.BUFFERED
        return Verdict.IGNORED

    def follows(self, first_id: int, last_id: int, prev_id: int = -1) -> bool:
        """Return whether a diff would leave no gap before it: it follows, or is known already."""
        return last_id <= self.last_id or _follows(first_id, prev_id, self.last_id, self.chained)

    def request(self, now_ns: int) -> int:
        """Return the ticket of a snapshot that is now being asked for; hand it in with the answer."""
        self.snapshot_due_ns = None
        self._requested_ns = now_ns
        self._ticket += 1
        return self._ticket

    def on_snapshot(self, ticket: int, snapshot_id: int, now_ns: int) -> tuple[Join, list[Any]]:
        """Join a snapshot with the buffered diffs.

        Returns (JOINED, payloads to apply over the snapshot, in order): the book is LIVE. With any other Join the list
        is empty, and unless it is OUTDATED another snapshot is due.
        """
        if ticket != self._ticket or self.phase is Phase.DOWN:
            return Join.OUTDATED, []
        reached = snapshot_id
        chained = False
        payloads = []
        while self._buffer and self._buffer[0][1] <= snapshot_id:
            self._buffer.popleft()
        if self._buffer and self._buffer[0][0] > snapshot_id + 1:
            self._retry(now_ns)
            if not self.refreshing and self._failures >= SNAPSHOTS_BELIEVED_OLD:
                self._buffer.clear()  # so many snapshots do not lag: it is the first diff whose id is wrong
            return Join.TOO_OLD, []
        for position, (first_id, last_id, prev_id, payload) in enumerate(self._buffer):
            if last_id <= reached:
                continue  # came twice
            if not _follows(first_id, prev_id, reached, chained):
                for _ in range(position):
                    self._buffer.popleft()
                self._retry(now_ns)
                return Join.BROKEN, []
            payloads.append(payload)
            reached = last_id
            chained = True
        if reached < self.last_id:  # a refresh from a lagging replica: it would take the book back
            self._retry(now_ns)
            return Join.TOO_OLD, []
        self._buffer.clear()
        self._failures = 0
        self.refreshing = False
        self.snapshot_due_ns = None
        self.phase = Phase.LIVE
        self.chained = chained or (self.chained and reached == self.last_id)
        self.last_id = reached
        return Join.JOINED, payloads

    def snapshot_failed(self, ticket: int, now_ns: int) -> None:
        """Ask again later: the request brought no snapshot."""
        if ticket == self._ticket and self.phase is not Phase.DOWN:
            self._retry(now_ns)

    def _restart(self) -> None:
        self._buffer.clear()
        self.refreshing = False
        self.last_id = -1
        self.chained = False
        self.snapshot_due_ns = None
        self._failures = 0
        self._ticket += 1  # an answer still under way belongs to the past

    def _schedule(self, now_ns: int) -> None:
        self.snapshot_due_ns = max(now_ns, self._requested_ns + SNAPSHOT_INTERVAL_NS)

    def _retry(self, now_ns: int) -> None:
        self.snapshot_due_ns = now_ns + min(FIRST_RETRY_NS << min(self._failures, 16), LONGEST_RETRY_NS)
        self._failures += 1


def _follows(first_id: int, prev_id: int, last_id: int, chained: bool) -> bool:
    """Return whether a diff follows what was reached with `last_id`."""
    if prev_id >= 0 and chained:
        return prev_id == last_id
    return first_id <= last_id + 1
