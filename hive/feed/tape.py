"""One instrument's trades: each once, in ascending order of their ids, into the venue's broadcast ring."""

import time
from collections.abc import Callable

from hive.feed.lines import TradeLine
from hive.feed.metrics import VenueMetrics
from hive.shm.book import BookWriter
from hive.shm.broadcast import BroadcastWriter


class TradeTape(TradeLine):
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
        super().__init__(writer, trades, metrics.trades, metrics.duplicates, clock)

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
