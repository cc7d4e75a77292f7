"""One instrument's way from market messages to shared memory: continuity, book, state, trades.

    Diff ----> BookSync --apply--> PriceLevelBook --publish--> BookWriter
    Trade ---> trade ids ascend ---------------------------->  BroadcastWriter

The book's state as readers see it: EMPTY until the first snapshot, LIVE while it follows the venue without a gap,
RESYNCING from the moment that a diff is missing until a new snapshot joined, STALE while nothing arrives, HALTED
instead of LIVE while the venue does not trade it.
"""

import time
from collections.abc import Callable, Sequence

from hive.feed.book import PriceLevelBook
from hive.feed.errors import MalformedMessage
from hive.feed.metrics import VenueMetrics
from hive.feed.sync import BookSync, Join, Phase, Verdict
from hive.feed.venue import DepthSnapshot, Diff, TradeEvent
from hive.shm.book import EMPTY, HALTED, LIVE, RESYNCING, STALE, BookTable
from hive.shm.broadcast import BroadcastWriter
from hive.shm.counters import Counter
from hive.shm.instruments import InstrumentRules

BUYER_IS_MAKER = 1


class Instrument:
    """An instrument that the feed follows.

    `limits` are the snapshot sizes to ask for, cheapest first; `want_snapshot` is called whenever `sync` has one due.
    """

    def __init__(
        self,
        rules: InstrumentRules,
        table: BookTable,
        trades: BroadcastWriter,
        limits: Sequence[int],
        metrics: VenueMetrics,
        want_snapshot: Callable[["Instrument"], None],
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.pair = rules.pair
        self.symbol = rules.symbol
        self.slot = table.add(rules)
        self.sync = BookSync()
        self.trading = rules.trading
        self._table = table
        self._writer = table.writer(self.slot)
        self._book = PriceLevelBook(self._writer.depth)
        self._trades = trades
        self._limits = limits
        self._size = 0
        self._metrics = metrics
        self._want_snapshot = want_snapshot
        self._clock = clock
        self._state = EMPTY
        self._was_live = False
        self._trade_id = -1

    @property
    def snapshot_limit(self) -> int:
        """How many levels per side the next snapshot is to have."""
        return self._limits[self._size]

    @property
    def state(self) -> int:
        """The state that readers see."""
        return self._state

    def connected(self) -> None:
        """The connection that will carry this instrument is open."""
        self.sync.up()
        self._lost(RESYNCING)

    def subscribed(self) -> None:
        """The venue sends every diff from now on."""
        self.sync.subscribed(self._clock())
        self._want_snapshot(self)

    def disconnected(self) -> None:
        """Nothing arrives any more."""
        self.sync.down()
        self._lost(STALE)

    def set_rules(self, rules: InstrumentRules) -> None:
        """Take over the venue's rules, read again; a halt or its end shows in the state."""
        if rules != self._table.rules(self.slot):
            self._table.add(rules)
        self.trading = rules.trading
        if self.sync.phase is Phase.LIVE:
            self._set_state(LIVE if self.trading else HALTED)

    def on_diff(self, diff: Diff, read_ns: int) -> None:
        """Apply a diff, or begin again when one before it is missing."""
        verdict = self.sync.on_diff(diff.first_id, diff.last_id, diff, self._clock())
        if verdict is Verdict.APPLY:
            if self._apply(diff):
                self._publish(diff.last_id, diff.exchange_ns, read_ns)
                self._metrics.book_latency_ns.record(self._clock() - read_ns)
                if self._book.short:
                    self._look_deeper()
        elif verdict is Verdict.GAP:
            self._metrics.gaps.inc()
            self._lost(RESYNCING)
            self._want_snapshot(self)
        elif verdict is Verdict.DUPLICATE:
            self._metrics.duplicates.inc()

    def on_trade(self, event: TradeEvent, read_ns: int) -> None:
        """Make a trade visible, once; an id that is not above the last one is a duplicate."""
        if event.trade_id <= self._trade_id:
            self._metrics.duplicates.inc()
            return
        self._trade_id = event.trade_id
        flags = BUYER_IS_MAKER if event.buyer_is_maker else 0
        self._trades.publish(self.slot, flags, event.trade_id, event.exchange_ns, read_ns, event.price, event.quantity)
        self._writer.set_last_trade(event.price, self._clock())
        self._metrics.trades.inc()

    def on_snapshot(self, ticket: int, snapshot: DepthSnapshot, read_ns: int) -> None:
        """Join a snapshot, read off the socket at `read_ns`, with the diffs that came meanwhile."""
        join, diffs = self.sync.on_snapshot(ticket, snapshot.last_id, self._clock())
        if join is not Join.JOINED:
            if join is Join.BROKEN:
                self._metrics.gaps.inc()
            return
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
        if self._was_live and self._state not in (LIVE, HALTED):
            self._metrics.resyncs.inc()
        self._was_live = True
        self._publish(self.sync.last_id, exchange_ns, read_ns)
        self._set_state(LIVE if self.trading else HALTED)

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
        return True

    def _publish(self, update_id: int, exchange_ns: int, read_ns: int) -> None:
        self._book.publish(self._writer, update_id, exchange_ns, read_ns, self._clock())
        self._metrics.updates.inc()

    def _look_deeper(self) -> None:
        """The market moved past the snapshot: put a larger one under the live book."""
        if not self.sync.refreshing:
            self._size = min(self._size + 1, len(self._limits) - 1)
            self.sync.refresh(self._clock())
            self._want_snapshot(self)

    def _begin_again(self, why: Counter) -> None:
        why.inc()
        self.sync.resync(self._clock())
        self._lost(RESYNCING)
        self._want_snapshot(self)

    def _lost(self, state: int) -> None:
        """Show that the book is not to be used; one that never was live stays EMPTY."""
        if self._was_live:
            self._set_state(state)

    def _set_state(self, state: int) -> None:
        if state != self._state:
            self._state = state
            self._table.set_state(self.slot, state, self._clock())
