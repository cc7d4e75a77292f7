"""Reading one instrument's book: the newest version, whole or not at all, without ever waiting for the writer.

The protocol and the layout are in book.pyx, its other half in book_writer.pyx.
"""

from array import array

from libc.math cimport NAN
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from hive.shm.atomics cimport (
    copy_bytes,
    copy_words,
    cpu_relax,
    fence_acquire,
    load_acquire,
    load_acquire_u32,
    load_relaxed,
    load_relaxed_f64,
    load_relaxed_i64,
)
from hive.shm.layout cimport book_version

from hive.shm.instruments import BookSnapshot

# A try fails only when the writer laps all versions during one copy, or died there: then more tries do not help.
cdef enum:
    READ_TRIES = 64


cdef class BookCopy:
    """A private copy of one version of a book, allocated once for `depth` levels per side.

    C fields: version, update_id, exchange_ns, recv_ns, local_ns, bid, best_bid_qty, ask, best_ask_qty, n_bids, n_asks,
    and the arrays bid_px, bid_qty, ask_px, ask_qty, of which the first n_bids and n_asks values are set.
    """

    def __cinit__(self, uint32_t depth):
        if depth < 1:
            raise ValueError(f"depth must be >= 1, was {depth}")
        self.bid_px = <double *>calloc(4 * <size_t>depth, sizeof(double))
        if self.bid_px is NULL:
            raise MemoryError()
        self.depth = depth
        self.bid_qty = self.bid_px + depth
        self.ask_px = self.bid_qty + depth
        self.ask_qty = self.ask_px + depth
        self.bid = self.ask = NAN

    def __dealloc__(self):
        free(self.bid_px)

    def snapshot(self) -> BookSnapshot:
        """Return the copy as a BookSnapshot."""
        return BookSnapshot(
            self.version, self.update_id, self.exchange_ns, self.recv_ns, self.local_ns,
            _array(self.bid_px, self.n_bids), _array(self.bid_qty, self.n_bids),
            _array(self.ask_px, self.n_asks), _array(self.ask_qty, self.n_asks),
        )


cdef _array(const double *values, uint32_t n):
    cdef uint32_t i
    return array("d", [values[i] for i in range(n)])


cdef class BookReader:
    """Reads one instrument's book; from BookDirectory.reader(). Any number of these, in any process."""

    def __init__(self):
        raise TypeError("a BookReader comes from BookDirectory.reader()")

    cdef const book_version *_version(self, uint64_t n) noexcept nogil:
        return <const book_version *>(self._versions_base + (n % self._versions) * self._version_bytes)

    cdef int64_t c_latest(self) noexcept nogil:
        """Return the number of the newest version, -1 when there is none yet."""
        cdef uint64_t n = load_acquire(&self._book.latest)
        return <int64_t>n if n else -1

    cdef int c_top(self, BookTop *into) noexcept nogil:
        """Copy line 0 of the newest version. Returns 1, 0 nothing yet, -1 no consistent version in bounded tries."""
        cdef const book_version *cell
        cdef uint64_t n
        for _ in range(READ_TRIES):
            n = load_acquire(&self._book.latest)  # pairs with store_release(&latest) in c_publish()
            if n == 0:
                return 0
            cell = self._version(n)
            if load_acquire(&cell.seq) == 2 * n + 2:  # pairs with store_release(&seq) in c_publish()
                copy_words(<uint64_t *>&into.update_id, <const uint64_t *>&cell.update_id, 7)
                fence_acquire()  # pairs with fence_release() in c_publish()
                if load_relaxed(&cell.seq) == 2 * n + 2:
                    into.version = n
                    return 1
            cpu_relax()
        return -1

    cdef int c_copy(self, BookCopy into) noexcept nogil:
        """Copy the newest version with the levels that are there.

        Returns 1, 0 nothing yet, -1 no consistent version in bounded tries, -2 when `into` is not as deep as the book.
        """
        cdef const book_version *cell
        cdef const double *levels
        cdef book_version head
        cdef uint64_t n
        cdef uint32_t depth = self.depth
        if into.depth < depth:
            return -2
        for _ in range(READ_TRIES):
            n = load_acquire(&self._book.latest)  # pairs with store_release(&latest) in c_publish()
            if n == 0:
                return 0
            cell = self._version(n)
            if load_acquire(&cell.seq) == 2 * n + 2:  # pairs with store_release(&seq) in c_publish()
                copy_words(&head.seq + 1, &cell.seq + 1, 11)
                if head.n_bids <= depth and head.n_asks <= depth:  # a torn count must not lead outside
                    levels = <const double *>(<const char *>cell + sizeof(book_version))
                    copy_bytes(into.bid_px, levels, head.n_bids * sizeof(double))
                    copy_bytes(into.bid_qty, levels + depth, head.n_bids * sizeof(double))
                    copy_bytes(into.ask_px, levels + 2 * depth, head.n_asks * sizeof(double))
                    copy_bytes(into.ask_qty, levels + 3 * depth, head.n_asks * sizeof(double))
                    fence_acquire()  # pairs with fence_release() in c_publish()
                    if load_relaxed(&cell.seq) == 2 * n + 2:
                        into.version = n
                        into.update_id = head.update_id
                        into.exchange_ns = head.exchange_ns
                        into.recv_ns = head.recv_ns
                        into.local_ns = head.local_ns
                        into.bid = head.bid
                        into.best_bid_qty = head.bid_qty
                        into.ask = head.ask
                        into.best_ask_qty = head.ask_qty
                        into.n_bids = head.n_bids
                        into.n_asks = head.n_asks
                        return 1
            cpu_relax()
        return -1

    cdef uint32_t c_state(self) noexcept nogil:
        return load_acquire_u32(&self._record.state)  # pairs with store_release_u32 in set_state()

    cdef int64_t c_state_ns(self) noexcept nogil:
        return load_relaxed_i64(&self._record.state_ns)

    cdef double c_last_trade(self) noexcept nogil:
        return load_relaxed_f64(&self._record.last_trade)

    cdef int64_t c_heartbeat_ns(self) noexcept nogil:
        return load_relaxed_i64(&self._segment.heartbeat_ns)

    def top(self):
        """Return (bid, bid_qty, ask, ask_qty, update_id), None when there is no book yet; an empty side is nan, 0."""
        cdef BookTop top
        if self.c_top(&top) != 1:
            return None
        return top.bid, top.bid_qty, top.ask, top.ask_qty, top.update_id

    def copy(self):
        """Return the newest version as a BookSnapshot, None when there is none yet or none could be read whole."""
        cdef BookCopy into = BookCopy(self.depth)
        return into.snapshot() if self.c_copy(into) == 1 else None

    def copy_into(self, BookCopy into not None) -> int:
        """Copy the newest version into `into`; return 1, 0 nothing yet, -1 none whole, -2 `into` is too shallow."""
        return self.c_copy(into)

    def age_ns(self, int64_t now_ns) -> int:
        """Return how long before `now_ns` (monotonic) the newest version was published, -1 when there is none."""
        cdef BookTop top
        return now_ns - top.local_ns if self.c_top(&top) == 1 else -1

    @property
    def version(self) -> int:
        """Number of the newest version, -1 when there is none yet."""
        return self.c_latest()

    @property
    def state(self) -> int:
        """EMPTY, LIVE, STALE, RESYNCING or HALTED."""
        return self.c_state()

    @property
    def state_ns(self) -> int:
        """When the state was last set (monotonic)."""
        return self.c_state_ns()

    @property
    def last_trade(self) -> float:
        """Price of the newest trade, 0.0 when there was none yet."""
        return self.c_last_trade()

    @property
    def heartbeat_ns(self) -> int:
        """When the writer of the segment last beat (monotonic)."""
        return self.c_heartbeat_ns()
