"""The books of one connector: where each gets its reader from, and what stands for Hummingbot's order book tracker."""

from collections.abc import Awaitable, Callable

from hummingbot.core.data_type.order_book import OrderBook

from hive.shm.book import BookReader
from hive.workers.errors import BookMissing
from hive.workers.host import WorkerServices


class BookSource:
    """Where one order book gets its reader from: the venue's feed in its current epoch."""

    __slots__ = ("_books", "_pair", "_venue")

    def __init__(self, services: WorkerServices, venue: int, pair: str):
        self._books = services.books
        self._venue = venue
        self._pair = pair

    @property
    def generation(self) -> int:
        """Changes with every new epoch of the feed."""
        return self._books.generation(self._venue)

    def reader(self) -> BookReader | None:
        """Return the reader of the pair in the current epoch, or None while there is none."""
        try:
            return self._books.reader(self._venue, self._pair)
        except BookMissing:
            return None


class SharedBooks:
    """Stands where a connector's `OrderBookTracker` stands; the books fill themselves."""

    data_source = None
    ready = True

    def __init__(self, use_pairs: Callable[[list[str]], Awaitable[None]], drop_pair: Callable[[str], None]):
        self._use_pairs = use_pairs
        self._drop_pair = drop_pair
        self.order_books: dict[str, OrderBook] = {}

    def start(self) -> None:
        """Do nothing: the feed runs in its own process."""

    def stop(self) -> None:
        """Do nothing: the feed runs in its own process."""

    async def add_trading_pair(self, trading_pair: str) -> bool:
        """Subscribe a further pair; returns True when its book is there."""
        await self._use_pairs([trading_pair])
        return True

    async def remove_trading_pair(self, trading_pair: str) -> bool:
        """Forget a pair's book; returns whether there was one. Other strategies keep theirs."""
        known = self.order_books.pop(trading_pair, None) is not None
        if known:
            self._drop_pair(trading_pair)
        return known
