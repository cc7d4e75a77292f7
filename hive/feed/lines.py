"""The twin of lines.pyx in pure Python: the same bases, without a shortcut that could use more of them."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from hive.feed.book import PriceLevelBook
from hive.feed.phase import Phase
from hive.shm.book import BookWriter
from hive.shm.broadcast import BroadcastWriter, TopWriter
from hive.shm.counters import Counter, Histogram

if TYPE_CHECKING:
    from hive.feed.venue import Diff, TradeEvent

BUYER_IS_MAKER = 1


class Place:
    """Where one instrument's book stands in its venue's sequence of updates."""

    __slots__ = ("chained", "last_id", "phase", "refreshing")

    def __init__(self) -> None:
        self.phase = Phase.DOWN
        self.last_id = -1
        self.refreshing = False
        self.chained = False

    def advance(self, first_id: int, last_id: int, prev_id: int = -1) -> bool:
        """Follow a diff when nothing is unusual; False when it is: nothing has changed, and on_diff() has to decide."""
        known_id = self.last_id
        if last_id <= known_id or self.phase is not Phase.LIVE or self.refreshing:
            return False
        if first_id > known_id + 1 or prev_id >= 0:
            return False
        self.last_id = last_id
        self.chained = True
        return True


class BookLine:
    """What of an instrument a usual diff passes through.

    Args:
        sync: where it stands.
        book, writer: its levels, and where they are published.
        checksum_levels: over how many levels the venue's checksum goes; 0: it sends none.
        updates, latency_ns: of VenueMetrics.
    """

    sync: Place
    tops: TopWriter | None  # while anybody wants the changes of the best prices
    applied: "list[Diff] | None"  # the diffs since begin_audit(), while the book is known to be whole

    def __init__(
        self,
        sync: Place,
        book: PriceLevelBook,
        writer: BookWriter,
        checksum_levels: int,
        updates: Counter,
        latency_ns: Histogram,
        clock: Callable[[], int],
    ) -> None:
        self.sync = sync
        self.tops = None
        self.applied = None
        self._book = book
        self._writer = writer
        self._checksum_levels = checksum_levels
        self._doubted = False
        self._clock = clock
        self._updates = updates
        self._latency_ns = latency_ns

    def followed(self, took_ns: int) -> None:
        """Count an update that was made visible so long after its message was read."""
        self._updates.inc()
        self._latency_ns.record(took_ns)
        if self._book.short:
            self.look_deeper()

    def look_deeper(self) -> None:
        """Put a larger snapshot under the book: the market moved past the one that is there."""


class TradeLine:
    """Publishes the trades of the instrument in the writer's slot, each once, in ascending order of their ids."""

    def __init__(
        self,
        writer: BookWriter,
        trades: BroadcastWriter,
        count: Counter,
        duplicates: Counter,
        clock: Callable[[], int],
    ) -> None:
        self._last_id = -1
        self._writer = writer
        self._trades = trades
        self._count = count
        self._duplicates = duplicates
        self._clock = clock

    def on_trade(self, event: "TradeEvent", read_ns: int) -> None:
        """Make a trade visible; an id that is not above the last one is a duplicate."""
        if event.trade_id <= self._last_id:
            self._duplicates.inc()
            return
        self._last_id = event.trade_id
        writer = self._writer
        self._trades.publish(
            writer.slot,
            BUYER_IS_MAKER if event.buyer_is_maker else 0,
            event.trade_id,
            event.exchange_ns,
            read_ns,
            event.price,
            event.quantity,
            writer.generation,
        )
        writer.set_last_trade(event.price, self._clock())
        self._count.inc()
