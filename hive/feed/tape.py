"""One instrument's trades: each once, in ascending order of their ids, into the venue's broadcast ring."""

import time
from collections.abc import Callable

from hive.feed.metrics import VenueMetrics
from hive.feed.venue import TradeEvent
from hive.shm.book import BookWriter
from hive.shm.broadcast import BroadcastWriter

BUYER_IS_MAKER = 1


class TradeTape:
    """Publishes the trades of the instrument in the writer's slot.

    A trade that falls into the time without a connection is not fetched later: the ring is what was seen.
    """

    def __init__(
        self,
        writer: BookWriter,
        trades: BroadcastWriter,
        metrics: VenueMetrics,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._writer = writer
        self._trades = trades
        self._metrics = metrics
        self._clock = clock
        self._last_id = -1

    def on_trade(self, event: TradeEvent, read_ns: int) -> None:
        """Make a trade visible; an id that is not above the last one is a duplicate."""
        if event.trade_id <= self._last_id:
            self._metrics.duplicates.inc()
            return
        self._last_id = event.trade_id
        flags = BUYER_IS_MAKER if event.buyer_is_maker else 0
        writer = self._writer
        self._trades.publish(
            writer.slot,
            flags,
            event.trade_id,
            event.exchange_ns,
            read_ns,
            event.price,
            event.quantity,
            writer.generation,
        )
        writer.set_last_trade(event.price, self._clock())
        self._metrics.trades.inc()

    def connected(self) -> None:
        """Nothing changes: a trade is news whenever it comes."""

    def subscribed(self) -> None:
        """Nothing changes."""

    def disconnected(self) -> None:
        """Nothing changes: the book's state says whether the market is seen."""

    def lagging(self) -> None:
        """Nothing changes."""

    def proven(self) -> None:
        """Nothing changes."""

    def doubted(self) -> None:
        """Nothing changes: ids of trades have no continuity that could be restored."""
