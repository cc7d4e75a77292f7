"""Writing one instrument's book: the next version goes into the cell that has been done with for longest.

The protocol and the layout are in book.pyx, its other half in book_reader.pyx.
"""

from libc.math cimport NAN
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from hive.shm.atomics cimport store_relaxed_f64, store_relaxed_i64
from hive.shm.book_protocol cimport book_own_next, book_publish
from hive.shm.layout cimport book_version

from hive.shm.errors import ShmError


cdef class Accounts:
    """What a process knows of the books that it writes: head and generation by slot, in memory of its own.

    The table and its writers share it, and need not load from lines that readers are waiting on.
    """

    def __cinit__(self, uint32_t slots):
        self.of_slot = <Account *>calloc(slots, sizeof(Account))
        if self.of_slot is NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.of_slot)


cdef class BookWriter:
    """Writes one instrument's book; from BookTable.writer(), one per instrument and process."""

    def __init__(self):
        raise TypeError("a BookWriter comes from BookTable.writer()")

    cdef void c_publish(
        self, int64_t update_id, int64_t exchange_ns, int64_t recv_ns, int64_t now_ns,
        const double *bid_px, const double *bid_qty, uint32_t n_bids,
        const double *ask_px, const double *ask_qty, uint32_t n_asks,
    ) noexcept nogil:
        """Publish the best `depth` levels of each side as the next version; prices best first, times in ns.

        The book's state stays what it is. Nothing happens once the instrument was removed.
        """
        cdef uint32_t depth = self.depth
        cdef book_version top
        if self._account.generation != self.generation:
            return
        if n_bids > depth:
            n_bids = depth
        if n_asks > depth:
            n_asks = depth
        top.update_id = update_id
        top.exchange_ns = exchange_ns
        top.local_ns = now_ns
        top.bid = bid_px[0] if n_bids else NAN
        top.bid_qty = bid_qty[0] if n_bids else 0.0
        top.ask = ask_px[0] if n_asks else NAN
        top.ask_qty = ask_qty[0] if n_asks else 0.0
        top.instrument = self.slot
        top.flags = 0
        top.n_bids = n_bids
        top.n_asks = n_asks
        top.epoch = self._epoch
        top.recv_ns = recv_ns
        self._account.head = book_publish(
            &self._place, self._account.head, &top, bid_px, bid_qty, ask_px, ask_qty
        )

    cdef void c_own_next(self, uint32_t n_bids, uint32_t n_asks) noexcept nogil:
        """Take the memory of the next version back from the readers; for after c_publish(), with its counts."""
        book_own_next(&self._place, self._account.head, n_bids, n_asks)

    cdef void c_set_last_trade(self, double price, int64_t now_ns) noexcept nogil:
        # Two independent words: a reader may see the price of one trade with the time of the next.
        if self._account.generation != self.generation:
            return
        store_relaxed_f64(&self._record.last_trade, price)
        store_relaxed_i64(&self._record.last_trade_ns, now_ns)

    def publish(
        self, int64_t update_id, int64_t exchange_ns, int64_t recv_ns, int64_t now_ns,
        const double[::1] bid_px, const double[::1] bid_qty, const double[::1] ask_px, const double[::1] ask_qty,
    ) -> None:
        """Publish the next version.

        Args:
            update_id: the venue's; exchange_ns: its clock.
            recv_ns, now_ns: when the message was read, and now (monotonic).
            bid_px, bid_qty, ask_px, ask_qty: contiguous float64, best first, up to `depth` each side.

        Raises:
            ShmError: the instrument was removed.
            ValueError: a side's columns differ in length, or are too long.
        """
        if self._account.generation != self.generation:
            raise ShmError(f"the instrument of slot {self.slot} was removed: its writer publishes nothing more")
        for side, px, qty in (("bid", bid_px, bid_qty), ("ask", ask_px, ask_qty)):
            if px.shape[0] != qty.shape[0] or px.shape[0] > self.depth:
                raise ValueError(
                    f"{side}_px and {side}_qty must have the same length <= {self.depth}, "
                    f"was {px.shape[0]} and {qty.shape[0]}"
                )
        cdef uint32_t n_bids = <uint32_t>bid_px.shape[0]
        cdef uint32_t n_asks = <uint32_t>ask_px.shape[0]
        self.c_publish(
            update_id, exchange_ns, recv_ns, now_ns,
            &bid_px[0] if n_bids else NULL, &bid_qty[0] if n_bids else NULL, n_bids,
            &ask_px[0] if n_asks else NULL, &ask_qty[0] if n_asks else NULL, n_asks,
        )

    def set_last_trade(self, double price, int64_t now_ns) -> None:
        """Store the price of the newest trade and when it was seen (monotonic)."""
        self.c_set_last_trade(price, now_ns)
