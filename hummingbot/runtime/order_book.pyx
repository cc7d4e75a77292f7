# distutils: language=c++
"""One strategy's view of one instrument: a Hummingbot order book whose levels come from shared memory.

The first read in a callback pins a version: one validated copy of it goes into a buffer that belongs to this book
alone, and every read until the next callback comes from there. So mid price, volume prices and entries of one tick
agree, whatever the feed publishes meanwhile. An iterator keeps the version it was made from; a version that somebody
still iterates is replaced, never overwritten.

The depth is copied with the first read, not when it is first asked for: a version in the shared ring lives for a few
updates only, and a tick can outlast it.
"""

from cpython.object cimport PyObject
from libc.math cimport NAN
from libc.stdint cimport int64_t, uint64_t

from hive.shm.book cimport BookCopy, BookReader
from hive.shm.book_reader cimport GONE, OK
from hive.shm.counters cimport Counter
from hive.workers.clock cimport CallbackCounter
from hummingbot.core.data_type.order_book cimport OrderBook
from hummingbot.core.data_type.order_book_query_result cimport OrderBookQueryResult

from hummingbot.core.data_type.order_book_row import OrderBookRow

from hive.shm.book import EMPTY

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject* value)


cdef class Entries:
    """Iterates one side of one version, best price first."""

    @staticmethod
    cdef Entries over(BookCopy copy, bint bids):
        cdef Entries entries = Entries.__new__(Entries)
        entries._copy = copy
        entries._prices = copy.bid_px if bids else copy.ask_px
        entries._amounts = copy.bid_qty if bids else copy.ask_qty
        entries._count = copy.n_bids if bids else copy.n_asks
        entries._update_id = copy.update_id
        entries._index = 0
        return entries

    def __iter__(self):
        return self

    def __next__(self):
        cdef uint64_t index = self._index
        if index >= self._count:
            raise StopIteration
        self._index = index + 1
        return OrderBookRow(self._prices[index], self._amounts[index], self._update_id)


cdef class SharedOrderBook(OrderBook):
    """An `OrderBook` over a `BookReader`; prices and amounts are float64, as in the stock book."""

    def __init__(self, source, CallbackCounter callbacks, Counter books_read=None, Counter mixed_books=None):
        """Make a book.

        Args:
            source: has `generation`, which changes whenever the feed starts a new epoch, and `reader()`, which returns
                the `BookReader` of the current epoch, or None while there is none.
            callbacks: the worker's callback counter; a new value means a new callback.
            books_read: counts `pins` too, with those of other books of the strategy; mixed_books: the same of `mixed`.
        """
        super().__init__(False)
        self._source = source
        self._generation = None
        self._callbacks = callbacks
        self._books_read = books_read
        self._mixed_books = mixed_books
        self._pinned_in = 0
        self._pinned_trade_price = NAN

    cdef int _pin(self) except -1:
        if self._callbacks.value == self._pinned_in and self._has_version:
            return 0
        return self._take_version()

    cdef int _take_version(self) except -1:
        cdef BookCopy copy
        cdef int status
        if self._source.generation != self._generation:
            self._reader = self._source.reader()
            self._generation = self._source.generation if self._reader is not None else None
        if self._reader is None:
            return 0
        copy = self._copy
        # One reference is ours and one is the local name's; any other is an iterator that still walks this version.
        if copy is None or copy.depth != self._reader.depth or Py_REFCNT(<PyObject*>copy) > 2:
            copy = BookCopy(self._reader.depth)
        status = self._reader.c_copy(copy)
        if status == GONE:  # the instrument was removed; when it is back, there is another reader
            self._generation = None
        if status != OK:  # nothing published yet, or the writer lapped every try: the last good version stays pinned
            self._pinned_in = self._callbacks.value
            return 0
        self._copy = copy
        self._has_version = True
        self._pinned_in = self._callbacks.value
        self._pinned_trade_price = self._reader.c_last_trade()
        self.pins += 1
        if self._books_read is not None:
            self._books_read.c_inc(1)
        if (copy.n_bids and (copy.bid != copy.bid_px[0] or copy.best_bid_qty != copy.bid_qty[0])) or (
            copy.n_asks and (copy.ask != copy.ask_px[0] or copy.best_ask_qty != copy.ask_qty[0])
        ):
            self.mixed += 1
            if self._mixed_books is not None:
                self._mixed_books.c_inc(1)
        return 0

    def pin(self):
        """Take this callback's version, unless it is taken already; every read does this by itself."""
        self._pin()

    @property
    def version(self):
        """Number of the pinned version in the feed's current epoch, or -1 before the first."""
        self._pin()
        return self._copy.version if self._has_version else -1

    @property
    def epoch(self):
        """The feed's epoch that the pinned version is of, or -1 before the first."""
        self._pin()
        return self._copy.epoch if self._has_version else -1

    @property
    def state(self):
        """The book's state (hive.shm.book) as it was published with the pinned version; EMPTY before the first."""
        self._pin()
        return self._copy.state if self._has_version else EMPTY

    @property
    def snapshot_uid(self):
        """Update id of the pinned version, or 0 before the first."""
        self._pin()
        return self._copy.update_id if self._has_version else 0

    @property
    def last_diff_uid(self):
        """Update id of the pinned version, or 0 before the first."""
        return self.snapshot_uid

    @property
    def last_trade_price(self):
        """Price of the last trade that the feed saw before the pinned version was taken, or NaN."""
        self._pin()
        if self._pinned_trade_price == self._pinned_trade_price:
            return self._pinned_trade_price
        return self._last_trade_price

    @last_trade_price.setter
    def last_trade_price(self, double value):
        self._last_trade_price = value

    def bid_entries(self):
        """Return an iterator over the pinned version's bids, best first."""
        self._pin()
        return Entries.over(self._copy, True) if self._has_version else iter(())

    def ask_entries(self):
        """Return an iterator over the pinned version's asks, best first."""
        self._pin()
        return Entries.over(self._copy, False) if self._has_version else iter(())

    def apply_snapshot(self, bids, asks, update_id):
        """Refuse: only the feed writes books."""
        raise NotImplementedError("this order book comes from the feed and cannot be written")

    def apply_diffs(self, bids, asks, update_id):
        """Refuse: only the feed writes books."""
        raise NotImplementedError("this order book comes from the feed and cannot be written")

    def apply_numpy_snapshot(self, bids_array, asks_array):
        """Refuse: only the feed writes books."""
        raise NotImplementedError("this order book comes from the feed and cannot be written")

    def apply_numpy_diffs(self, bids_array, asks_array):
        """Refuse: only the feed writes books."""
        raise NotImplementedError("this order book comes from the feed and cannot be written")

    cdef double c_get_price(self, bint is_buy) except? -1:
        self._pin()
        if not self._has_version or (self._copy.n_asks if is_buy else self._copy.n_bids) < 1:
            raise EnvironmentError("Order book is empty - no price quote is possible.")
        return self._copy.ask_px[0] if is_buy else self._copy.bid_px[0]

    cdef OrderBookQueryResult c_get_price_for_volume(self, bint is_buy, double volume):
        cdef Side side = self._side(is_buy)
        cdef double total = 0, price = NAN
        cdef uint64_t i
        for i in range(side.count):
            total += side.amounts[i]
            if total >= volume:
                price = side.prices[i]
                break
        return OrderBookQueryResult(NAN, volume, price, min(total, volume))

    cdef OrderBookQueryResult c_get_vwap_for_volume(self, bint is_buy, double volume):
        cdef Side side = self._side(is_buy)
        cdef double cost = 0, total = 0, vwap = NAN
        cdef uint64_t i
        for i in range(side.count):
            if total + side.amounts[i] >= volume:
                cost += (volume - total) * side.prices[i]
                total += volume - total
                vwap = cost / total if total else NAN
                break
            cost += side.amounts[i] * side.prices[i]
            total += side.amounts[i]
        return OrderBookQueryResult(NAN, volume, vwap, min(total, volume))

    cdef OrderBookQueryResult c_get_price_for_quote_volume(self, bint is_buy, double quote_volume):
        cdef Side side = self._side(is_buy)
        cdef double total = 0, price = NAN
        cdef uint64_t i
        for i in range(side.count):
            total += side.amounts[i] * side.prices[i]
            if total >= quote_volume:
                price = side.prices[i]
                break
        return OrderBookQueryResult(NAN, quote_volume, price, min(total, quote_volume))

    cdef OrderBookQueryResult c_get_quote_volume_for_base_amount(self, bint is_buy, double base_amount):
        cdef Side side = self._side(is_buy)
        cdef double quote = 0, base = 0, amount
        cdef uint64_t i
        for i in range(side.count):
            amount = min(side.amounts[i], base_amount - base)
            base += amount
            quote += amount * side.prices[i]
            if base >= base_amount:
                break
        return OrderBookQueryResult(NAN, base_amount, NAN, quote)

    cdef OrderBookQueryResult c_get_volume_for_price(self, bint is_buy, double price):
        cdef Side side = self._side(is_buy)
        cdef double total = 0, last = NAN
        cdef uint64_t i
        for i in range(side.count):
            if (side.prices[i] > price) if is_buy else (side.prices[i] < price):
                break
            total += side.amounts[i]
            last = side.prices[i]
        return OrderBookQueryResult(price, NAN, last, total)

    cdef OrderBookQueryResult c_get_quote_volume_for_price(self, bint is_buy, double price):
        cdef Side side = self._side(is_buy)
        cdef double total = 0, last = NAN
        cdef uint64_t i
        for i in range(side.count):
            if (side.prices[i] > price) if is_buy else (side.prices[i] < price):
                break
            total += side.amounts[i] * side.prices[i]
            last = side.prices[i]
        return OrderBookQueryResult(price, NAN, last, total)

    cdef Side _side(self, bint is_buy) except *:
        cdef Side side
        side.count = 0
        side.prices = side.amounts = NULL
        self._pin()
        if self._has_version:
            side.count = self._copy.n_asks if is_buy else self._copy.n_bids
            side.prices = self._copy.ask_px if is_buy else self._copy.bid_px
            side.amounts = self._copy.ask_qty if is_buy else self._copy.bid_qty
        return side
