"""One strategy's view of one instrument in pure Python, the twin of order_book.pyx: Hummingbot's own `OrderBook`.

The first read in a callback pins a version: a copy from shared memory is applied to the book as a snapshot, and every
read until the next callback comes from there. An iterator keeps the version that it was made from.

A subclass in Python cannot replace C methods, so this is how compiled code sees the pinned version: its volume queries
walk `bid_entries()` and `ask_entries()`, which pin; `c_get_price()` reads what the last snapshot left, and the one
place of Hummingbot that calls it asks the connector for the book first, which pins (`SharedExchange.get_order_book`).
Compiled code of one's own that keeps a book and calls `c_get_price()` on it sees the version pinned last.
"""

from collections.abc import Iterator
from math import isnan, nan

from hummingbot.core.data_type.order_book import OrderBook
from hummingbot.core.data_type.order_book_row import OrderBookRow

from hive.shm.book import EMPTY, BookCopy, BookReader
from hive.shm.book_reader import GONE, OK
from hive.workers.clock import CallbackCounter


class SharedOrderBook(OrderBook):
    """An `OrderBook` over a `BookReader`; prices and amounts are float64, as in the stock book.

    Attributes:
        pins: versions taken.
        mixed: versions whose record and arrays disagree: must stay 0.
    """

    pins: int
    mixed: int

    def __init__(self, source, callbacks: CallbackCounter, books_read=None, mixed_books=None) -> None:
        """Make a book.

        Args:
            source: has `generation`, which changes whenever the feed starts a new epoch, and `reader()`, which returns
                the `BookReader` of the current epoch, or None while there is none.
            callbacks: the worker's callback counter; a new value means a new callback.
            books_read: counts `pins` too, with those of other books of the strategy; mixed_books: the same of `mixed`.
        """
        super().__init__(False)
        self.pins = 0
        self.mixed = 0
        self._source = source
        self._generation = None
        self._reader: BookReader | None = None
        self._copy: BookCopy | None = None
        self._callbacks = callbacks
        self._books_read = books_read
        self._mixed_books = mixed_books
        self._pinned_in = 0
        self._version = -1
        self._epoch = -1
        self._state = EMPTY
        self._pinned_trade_price = nan
        self._bids: list[OrderBookRow] = []  # replaced, never changed: an iterator may still walk it
        self._asks: list[OrderBookRow] = []

    def pin(self) -> None:
        """Take this callback's version, unless it is taken already; every read does this by itself."""
        if self._callbacks.value != self._pinned_in or self._version < 0:
            self._take_version()

    def _take_version(self) -> None:
        if self._source.generation != self._generation:
            self._reader = self._source.reader()
            self._generation = self._source.generation if self._reader is not None else None
        if self._reader is None:
            return
        copy = self._copy
        if copy is None or copy.depth != self._reader.depth:
            copy = self._copy = BookCopy(self._reader.depth)
        status = self._reader.copy_into(copy)
        self._pinned_in = self._callbacks.value
        if status == GONE:  # the instrument was removed; when it is back, there is another reader
            self._generation = None
        if status != OK:  # nothing published yet, or the writer lapped every try: the last good version stays pinned
            return
        uid = copy.update_id
        self._bids = _rows(copy.bid_px, copy.bid_qty, copy.n_bids, uid)
        self._asks = _rows(copy.ask_px, copy.ask_qty, copy.n_asks, uid)
        self._version = copy.version
        self._epoch = copy.epoch
        self._state = copy.state
        self._pinned_trade_price = self._reader.last_trade or nan
        self.pins += 1
        if self._books_read is not None:
            self._books_read.inc()
        if (self._bids and self._bids[0][:2] != (copy.bid, copy.best_bid_qty)) or (
            self._asks and self._asks[0][:2] != (copy.ask, copy.best_ask_qty)
        ):
            self.mixed += 1
            if self._mixed_books is not None:
                self._mixed_books.inc()
        super().apply_snapshot(self._bids, self._asks, uid)

    @property
    def version(self) -> int:
        """Number of the pinned version in the feed's current epoch, or -1 before the first."""
        self.pin()
        return self._version

    @property
    def epoch(self) -> int:
        """The feed's epoch that the pinned version is of, or -1 before the first."""
        self.pin()
        return self._epoch

    @property
    def state(self) -> int:
        """The book's state (hive.shm.book) as it was published with the pinned version; EMPTY before the first."""
        self.pin()
        return self._state

    @property
    def snapshot_uid(self) -> int:
        """Update id of the pinned version, or 0 before the first."""
        self.pin()
        return super().snapshot_uid

    @property
    def last_diff_uid(self) -> int:
        """Update id of the pinned version, or 0 before the first."""
        return self.snapshot_uid

    @property
    def last_trade_price(self) -> float:
        """Price of the last trade that the feed saw before the pinned version was taken, or NaN."""
        self.pin()
        return super().last_trade_price if isnan(self._pinned_trade_price) else self._pinned_trade_price

    @last_trade_price.setter
    def last_trade_price(self, value: float) -> None:
        OrderBook.last_trade_price.__set__(self, value)

    def get_price(self, is_buy: bool) -> float:
        """Return the best ask (to buy) or bid of the pinned version; EnvironmentError when the side is empty."""
        self.pin()
        return super().get_price(is_buy)

    def bid_entries(self) -> Iterator[OrderBookRow]:
        """Return an iterator over the pinned version's bids, best first."""
        self.pin()
        return iter(self._bids)

    def ask_entries(self) -> Iterator[OrderBookRow]:
        """Return an iterator over the pinned version's asks, best first."""
        self.pin()
        return iter(self._asks)

    def apply_snapshot(self, bids, asks, update_id) -> None:
        """Refuse: only the feed writes books."""
        raise NotImplementedError("this order book comes from the feed and cannot be written")

    def apply_diffs(self, bids, asks, update_id) -> None:
        """Refuse: only the feed writes books."""
        raise NotImplementedError("this order book comes from the feed and cannot be written")

    def apply_numpy_snapshot(self, bids_array, asks_array) -> None:
        """Refuse: only the feed writes books."""
        raise NotImplementedError("this order book comes from the feed and cannot be written")

    def apply_numpy_diffs(self, bids_array, asks_array) -> None:
        """Refuse: only the feed writes books."""
        raise NotImplementedError("this order book comes from the feed and cannot be written")


def _rows(prices, amounts, count: int, update_id: int) -> list[OrderBookRow]:
    return [OrderBookRow(prices[level], amounts[level], update_id) for level in range(count)]
