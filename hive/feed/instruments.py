"""One instrument's way from diffs and snapshots to its book in shared memory: continuity, levels, state.

    Diff ----> BookSync --apply--> PriceLevelBook --publish--> BookWriter --top changed--> TopWriter

The book's state as readers see it, the first that holds:

    EMPTY       until the first snapshot joined
    STALE       nothing arrives
    RESYNCING   a diff is missing, until a new snapshot joined
    STALE       what arrives may be old (lagging), or a message that nobody could read may have been a diff (doubted)
    HALTED      the venue does not trade it
    LIVE        it follows the venue without a gap
"""

import time
from collections.abc import Callable, Sequence

from hive.feed.book import PriceLevelBook
from hive.feed.errors import MalformedMessage
from hive.feed.lines import BookLine
from hive.feed.metrics import VenueMetrics
from hive.feed.phase import Phase
from hive.feed.sync import BookSync, Join, Verdict
from hive.feed.venue import DepthSnapshot, Diff, Levels
from hive.shm.book import EMPTY, HALTED, LIVE, RESYNCING, STALE, BookTable, BookWriter
from hive.shm.counters import Counter
from hive.shm.instruments import InstrumentRules

MS_NS = 1_000_000

type Checksum = Callable[[InstrumentRules, Sequence, Sequence], int]


class Instrument(BookLine):
    """The book of one instrument.

    Args:
        rules: of an instrument whose book `writer` writes.
        limits: the snapshot sizes to ask for, cheapest first.
        want_snapshot: called whenever `sync` has one due.
        checksum, checksum_levels: how the venue computes Diff.checksum, and over how many levels; 0: it sends none.
    """

    def __init__(
        self,
        rules: InstrumentRules,
        table: BookTable,
        writer: BookWriter,
        limits: Sequence[int],
        metrics: VenueMetrics,
        want_snapshot: Callable[["Instrument"], None],
        clock: Callable[[], int] = time.monotonic_ns,
        *,
        checksum: Checksum | None = None,
        checksum_levels: int = 0,
    ) -> None:
        super().__init__(
            BookSync(),
            PriceLevelBook(writer.depth),
            writer,
            checksum_levels,
            metrics.updates,
            metrics.book_latency_ns,
            clock,
        )
        self.pair = rules.pair
        self.symbol = rules.symbol
        self.slot = writer.slot
        self.rules = rules
        self.audited_ns = 0
        self._table = table
        self._limits = limits
        self._size = 0
        self._metrics = metrics
        self._want_snapshot = want_snapshot
        self._checksum = checksum
        self._state = EMPTY
        self._joined = False  # once
        self._lagging = False
        self._closed = False
        self._not_live_ns = 0
        self._top: tuple | None = None

    @property
    def snapshot_limit(self) -> int:
        """How many levels per side the next snapshot is to have."""
        return self._limits[self._size]

    @property
    def state(self) -> int:
        """The state that readers see."""
        return self._state

    @property
    def depth(self) -> int:
        """How many levels per side readers see."""
        return self._book.depth

    # --- the stream

    def connected(self) -> None:
        """The stream is being subscribed: what arrives from now on is buffered."""
        self._lagging = self._doubted = False
        self.applied = None
        self.sync.up()
        self._show()

    def subscribed(self) -> None:
        """The venue sends every diff from now on."""
        self.sync.subscribed(self._clock())
        self._want_snapshot(self)

    def disconnected(self) -> None:
        """Nothing arrives any more."""
        self.applied = None
        self.sync.down()
        self._show()

    def lagging(self) -> None:
        """What arrives may be old."""
        self._lagging = True
        self._show()

    def proven(self) -> None:
        """What arrives is current again."""
        self._lagging = False
        self._show()

    def doubted(self) -> None:
        """A diff may have been lost: not live until the next one follows or a snapshot joined."""
        if self.sync.phase is Phase.LIVE:
            self._doubted = True
            self._show()

    def verify(self) -> None:
        """Ask for a snapshot to put under a book in doubt."""
        if self._doubted:
            self.sync.refresh(self._clock())
            self._want_snapshot(self)

    def resync(self) -> None:
        """Give the book up: what is known cannot be right."""
        self.applied = None
        self.sync.resync(self._clock())
        self._show()
        self._want_snapshot(self)

    def close(self) -> None:
        """End: the slot is going to be given back."""
        self._closed = True
        self.applied = None
        self.sync.down()

    def set_rules(self, rules: InstrumentRules) -> None:
        """Take over the venue's rules, read again; a halt or its end shows in the state."""
        if rules != self.rules:
            self._table.add(rules)
            self.rules = rules
            self._show()

    # --- what arrives

    def on_diff(self, diff: Diff, read_ns: int) -> None:
        """Apply a diff and publish the book, or begin again when one before it is missing; c_follow() in whole."""
        if not self.sync.advance(diff.first_id, diff.last_id, diff.prev_id) and not self._decide(diff):
            return
        if self._checksum_levels:  # what does not sum up must not be seen
            if not self._apply(diff):
                return
            self._book.publish(self._writer, diff.last_id, diff.exchange_ns, read_ns, self._clock())
            done_ns = self._clock()
        else:
            try:
                done_ns = self._book.follow(
                    self._writer, diff.bids, diff.asks, diff.last_id, diff.exchange_ns, read_ns, self._clock
                )
            except MalformedMessage:
                self._begin_again(self._metrics.malformed)
                return
            if done_ns < 0:
                self._begin_again(self._metrics.crossed)
                return
        if self.tops is not None:
            self._publish_top(diff.last_id, done_ns)
        if self.applied is not None:
            self.applied.append(diff)
        if self._doubted:
            self._doubted = False
            self._show()
        self.followed(done_ns - read_ns)

    def follows(self, diff: Diff) -> bool:
        """Return whether a diff could be applied now, or is known already."""
        return self.sync.phase is not Phase.LIVE or self.sync.follows(diff.first_id, diff.last_id, diff.prev_id)

    def on_snapshot(self, ticket: int, snapshot: DepthSnapshot, read_ns: int) -> None:
        """Join a snapshot, read off the socket at `read_ns`, with the diffs that came meanwhile."""
        join, diffs = self.sync.on_snapshot(ticket, snapshot.last_id, self._clock())
        if join is not Join.JOINED:
            if join is Join.BROKEN:
                self._metrics.gaps.inc()
            return
        self.applied = None
        try:
            self._book.replace(snapshot.bids, snapshot.asks, snapshot.limit)
        except MalformedMessage:
            self._begin_again(self._metrics.malformed)
            return
        exchange_ns = 0
        for diff in diffs:
            if not self._apply(diff):
                return
            exchange_ns = diff.exchange_ns
        if self._book.crossed:
            self._begin_again(self._metrics.crossed)
            return
        self._metrics.snapshots.inc()
        if self._joined and self._state not in (LIVE, HALTED):
            self._metrics.resyncs.inc()
        self._joined = True
        self._doubted = False
        self._publish(self.sync.last_id, exchange_ns, read_ns)
        self._show()

    def look_deeper(self) -> None:
        """Put a larger snapshot under the live book: the market moved past the one that is there."""
        if not self.sync.refreshing:
            self._size = min(self._size + 1, len(self._limits) - 1)
            self.sync.refresh(self._clock())
            self._want_snapshot(self)

    def begin_audit(self) -> int:
        """Keep every diff that is applied from now on; return the update id that the book has now."""
        self.applied = []
        return self.sync.last_id

    def differences(self, bids: Levels, asks: Levels, limit: int, diffs: Sequence[Diff]) -> int:
        """Return how many levels that readers see differ from a snapshot with `diffs` applied.

        Levels are compared as far as both books are known without a hole. Raises MalformedMessage.
        """
        fresh = PriceLevelBook(self._book.depth)
        fresh.replace(bids, asks, limit)
        for diff in diffs:
            fresh.apply(diff.bids, diff.asks)
        holes = self._book.short or fresh.short
        count = 0
        for mine, other in zip(self._book.top(), fresh.top(), strict=True):
            both = min(len(mine), len(other)) if holes else None
            here, there = dict(mine[:both]), dict(other[:both])
            count += sum(here.get(price) != there.get(price) for price in here.keys() | there.keys())
        return count

    # --- inside

    def _decide(self, diff: Diff) -> bool:
        """Return whether a diff that is unusual in some way is to be applied now."""
        verdict = self.sync.on_diff(diff.first_id, diff.last_id, diff, self._clock(), diff.prev_id)
        if verdict is Verdict.GAP:
            self._metrics.gaps.inc()
            self.applied = None
            self._show()
            self._want_snapshot(self)
        elif verdict is Verdict.DUPLICATE:
            self._metrics.duplicates.inc()
        return verdict is Verdict.APPLY

    def _apply(self, diff: Diff) -> bool:
        """Apply a diff that follows; False when the book had to be given up."""
        try:
            self._book.apply(diff.bids, diff.asks)
        except MalformedMessage:
            self._begin_again(self._metrics.malformed)
            return False
        if self._book.crossed:
            self._begin_again(self._metrics.crossed)
            return False
        if diff.checksum >= 0 and self._checksum_levels and not self._sums_up(diff):
            self._begin_again(self._metrics.checksums)
            return False
        return True

    def _sums_up(self, diff: Diff) -> bool:
        bids, asks = (side[: self._checksum_levels] for side in self._book.top())
        return self._checksum(self.rules, bids, asks) == diff.checksum

    def _publish(self, update_id: int, exchange_ns: int, read_ns: int) -> None:
        now_ns = self._clock()
        self._book.publish(self._writer, update_id, exchange_ns, read_ns, now_ns)
        self._metrics.updates.inc()
        if self.tops is not None:
            self._publish_top(update_id, now_ns)

    def _publish_top(self, update_id: int, now_ns: int) -> None:
        """Make a change of the best prices or quantities an event."""
        bids, asks = self._book.top()
        top = (*(bids[0] if bids else (float("nan"), 0.0)), *(asks[0] if asks else (float("nan"), 0.0)))
        if top != self._top:
            self._top = top
            self.tops.publish(self.slot, self._writer.generation, update_id, now_ns, *top)

    def _begin_again(self, why: Counter) -> None:
        why.inc()
        self.resync()

    def _show(self) -> None:
        """Let readers see the state that follows from what is known."""
        phase = self.sync.phase
        if not self._joined:
            state = EMPTY
        elif phase is Phase.DOWN:
            state = STALE
        elif phase is Phase.BUFFERING:
            state = RESYNCING
        elif self._lagging or self._doubted:
            state = STALE
        else:
            state = LIVE if self.rules.trading else HALTED
        if state == self._state or self._closed:
            return
        now_ns = self._clock()
        if self._state in (LIVE, HALTED) and state not in (LIVE, HALTED):
            self._metrics.stale_intervals.inc()
            self._not_live_ns = now_ns
        elif self._not_live_ns and state in (LIVE, HALTED):
            self._metrics.stale_ms.inc((now_ns - self._not_live_ns) // MS_NS)
            self._not_live_ns = 0
        self._state = state
        self._table.set_state(self.slot, state, now_ns)
