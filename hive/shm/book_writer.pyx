"""Writing one instrument's book: the next version goes into the cell that has been done with for longest.

The protocol and the layout are in book.pyx, its other half in book_reader.pyx.
"""

from libc.math cimport NAN
from libc.stdint cimport int64_t, uint32_t, uint64_t

from hive.shm.atomics cimport (
    copy_bytes,
    copy_words,
    fence_release,
    load_relaxed,
    store_relaxed,
    store_relaxed_f64,
    store_relaxed_i64,
    store_release,
)
from hive.shm.layout cimport book_version

from hive.shm.errors import ShmError


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
        cdef uint64_t head_word = load_relaxed(&self._book.head)
        cdef uint64_t n = (head_word >> 8) + 1
        cdef uint64_t room = self._room
        cdef book_version *cell = <book_version *>(self._cells + (n & self._mask) * self._cell_bytes)
        cdef double *levels = <double *>(<char *>cell + sizeof(book_version))
        cdef uint32_t depth = self.depth
        cdef book_version head
        if load_relaxed(&self._book.generation) != self.generation:
            return
        if n_bids > depth:
            n_bids = depth
        if n_asks > depth:
            n_asks = depth
        head.update_id = update_id
        head.exchange_ns = exchange_ns
        head.local_ns = now_ns
        head.bid = bid_px[0] if n_bids else NAN
        head.bid_qty = bid_qty[0] if n_bids else 0.0
        head.ask = ask_px[0] if n_asks else NAN
        head.ask_qty = ask_qty[0] if n_asks else 0.0
        head.instrument = self.slot
        head.flags = 0
        head.n_bids = n_bids
        head.n_asks = n_asks
        head.epoch = self._epoch
        head.recv_ns = recv_ns

        store_relaxed(&cell.seq, 2 * n + 1)
        fence_release()  # pairs with fence_acquire() in the reader: who saw a byte of what follows sees this seq
        copy_words(&cell.seq + 1, &head.seq + 1, 11)
        copy_bytes(levels, bid_px, n_bids * sizeof(double))
        copy_bytes(levels + room, bid_qty, n_bids * sizeof(double))
        copy_bytes(levels + 2 * room, ask_px, n_asks * sizeof(double))
        copy_bytes(levels + 3 * room, ask_qty, n_asks * sizeof(double))
        store_release(&cell.seq, 2 * n + 2)  # pairs with load_acquire(&cell.seq) in the reader
        store_release(&self._book.head, n << 8 | head_word & 0xFF)  # pairs with load_acquire(&head) in the reader

    cdef void c_set_last_trade(self, double price, int64_t now_ns) noexcept nogil:
        # Two independent words: a reader may see the price of one trade with the time of the next.
        if load_relaxed(&self._book.generation) != self.generation:
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
        if load_relaxed(&self._book.generation) != self.generation:
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
