"""Reading one instrument's book: the newest version, whole or not at all, without ever waiting for the writer.

The protocol and the layout are in book.pyx, its other half in book_writer.pyx.
"""

from array import array

from libc.math cimport NAN
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from hive.shm.atomics cimport cpu_relax, fence_acquire, load_acquire, load_relaxed, load_relaxed_f64, load_relaxed_i64
from hive.shm.book_protocol cimport (
    BOOK_HEAD_WORDS,
    BOOK_READ_TRIES,
    book_cell,
    book_columns,
    book_newest,
    book_read,
    book_read_head,
    book_still,
)
from hive.shm.layout cimport book_version

from hive.shm.instruments import BookSnapshot, Borrowed, Top

cdef enum:
    REMOVED = 5  # as in book.pyx
    WRITER_DEAD = 6


cdef class BookCopy:
    """A private copy of one version of a book, allocated once for `depth` levels per side.

    C fields: version, state, epoch, update_id, exchange_ns, recv_ns, local_ns, bid, best_bid_qty, ask, best_ask_qty,
    n_bids, n_asks, and the arrays bid_px, bid_qty, ask_px, ask_qty, of which the first n_bids and n_asks values are
    set. `state` is the book's as it was published with this version, whether its writer lives or not.
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
            self.state, self.epoch,
        )


cdef _array(const double *values, uint32_t n):
    cdef uint32_t i
    return array("d", [values[i] for i in range(n)])


cdef class BookReader:
    """Reads one instrument's book; from BookDirectory.reader(). Any number of these, in any process.

    Attributes:
        pair, slot, generation, epoch: whose book it is; depth: levels per side.
        silent_after_ns: age of the writer's heartbeat (CLOCK_BOOTTIME) from which on the book is WRITER_DEAD.
    """

    def __init__(self):
        raise TypeError("a BookReader comes from BookDirectory.reader()")

    cdef int64_t c_latest(self) noexcept nogil:
        """Return the number of the newest version, -1 when there is none yet or the instrument was removed."""
        cdef uint64_t n = load_acquire(&self._place.book.head) >> 8  # pairs with store_release(&head) in book_publish()
        if n <= self._place.base or load_relaxed(&self._place.book.generation) != self.generation:
            return -1
        return <int64_t>n

    cdef int c_copy(self, BookCopy into) noexcept nogil:
        """Copy the newest version with the levels that are there. Returns any of the five."""
        cdef book_version top
        cdef book_columns columns
        cdef uint64_t head
        cdef int status
        if into.depth < self.depth:
            return TOO_SHALLOW
        columns.bid_px = into.bid_px
        columns.bid_qty = into.bid_qty
        columns.ask_px = into.ask_px
        columns.ask_qty = into.ask_qty
        status = book_read(&self._place, &top, &columns, &head)
        if status == OK:
            into.version = head >> 8
            into.state = head & 0xFF
            into.epoch = top.epoch
            into.update_id = top.update_id
            into.exchange_ns = top.exchange_ns
            into.recv_ns = top.recv_ns
            into.local_ns = top.local_ns
            into.bid = top.bid
            into.best_bid_qty = top.bid_qty
            into.ask = top.ask
            into.best_ask_qty = top.ask_qty
            into.n_bids = top.n_bids
            into.n_asks = top.n_asks
        return status

    cdef int c_borrow(self, BookBorrow *into) noexcept nogil:
        """Point `into` at the newest version. Returns OK, NOTHING_YET, NOT_WHOLE or GONE; c_valid() must follow."""
        cdef const book_version *cell
        cdef uint64_t head
        cdef uint64_t room = self.room
        cdef int status
        for _ in range(BOOK_READ_TRIES):
            cell = book_newest(&self._place, &head, &status)
            if cell is not NULL:
                into.version = head >> 8
                into.state = head & 0xFF
                into.cell = cell
                into.bid_px = <const double *>(<const char *>cell + sizeof(book_version))
                into.bid_qty = into.bid_px + room
                into.ask_px = into.bid_qty + room
                into.ask_qty = into.ask_px + room
                into.n_bids = cell.n_bids
                into.n_asks = cell.n_asks
                if into.n_bids <= self.depth and into.n_asks <= self.depth:  # a torn count must not lead outside
                    return OK
            elif status != NOT_WHOLE:
                return status
            cpu_relax()
        return NOT_WHOLE

    cdef bint c_valid(self, const BookBorrow *borrowed) noexcept nogil:
        """Return whether everything read from the borrowed version until now was of that version."""
        return book_still(borrowed.cell, borrowed.version)

    cdef uint32_t c_state(self) noexcept nogil:
        """Return the stored state, REMOVED when the place is another's or nobody's."""
        cdef uint64_t head = load_acquire(&self._place.book.head)  # pairs with store_release(&head) in set_state()
        return <uint32_t>(head & 0xFF) if load_relaxed(&self._place.book.generation) == self.generation else <uint32_t>REMOVED

    cdef uint32_t c_state_at(self, int64_t now_boot_ns) noexcept nogil:
        """Return the stored state, REMOVED, or WRITER_DEAD when the heartbeat is too old at `now_boot_ns`."""
        return self._judged(self.c_state(), now_boot_ns)

    cdef uint32_t _judged(self, uint32_t state, int64_t now_boot_ns) noexcept nogil:
        if state != REMOVED and now_boot_ns - self.c_heartbeat_boot_ns() > self.silent_after_ns:
            return WRITER_DEAD
        return state

    cdef int64_t c_state_ns(self) noexcept nogil:
        return load_relaxed_i64(&self._place.book.state_ns)

    cdef double c_last_trade(self) noexcept nogil:
        cdef double price = load_relaxed_f64(&self._record.last_trade)
        fence_acquire()  # pairs with fence_release() in BookTable.add(): another's trade comes with its generation
        return price if load_relaxed(&self._record.generation) == self.generation else 0.0

    cdef int64_t c_heartbeat_ns(self) noexcept nogil:
        return load_relaxed_i64(&self._segment.heartbeat_ns)

    cdef int64_t c_heartbeat_boot_ns(self) noexcept nogil:
        return load_relaxed_i64(&self._segment.heartbeat_boot_ns)

    cdef int64_t c_age_ns(self, int64_t local_ns, int64_t now_boot_ns) noexcept nogil:
        """Return how long before `now_boot_ns` the moment `local_ns` (monotonic, the writer's) was."""
        return now_boot_ns - local_ns - load_relaxed_i64(&self._segment.boot_offset_ns)

    def read_top(self, int64_t now_boot_ns):
        """Return the Top of the newest version with state and age at `now_boot_ns` (CLOCK_BOOTTIME).

        None when there is no version yet, the instrument was removed, or none could be read whole (state_at() tells).
        """
        cdef book_version top
        cdef uint64_t head
        if book_read_head(&self._place, <char *>&top + sizeof(uint64_t), BOOK_HEAD_WORDS, &head) != OK:
            return None
        return Top(
            self._judged(head & 0xFF, now_boot_ns), top.epoch, head >> 8,
            top.bid, top.bid_qty, top.ask, top.ask_qty,
            top.update_id, top.exchange_ns, top.recv_ns, top.local_ns,
            self.c_age_ns(top.local_ns, now_boot_ns),
        )

    def state_at(self, int64_t now_boot_ns) -> int:
        """Return what the book's state is worth at `now_boot_ns` (CLOCK_BOOTTIME).

        REMOVED when the instrument is gone, else WRITER_DEAD when the writer's heartbeat is older than
        `silent_after_ns` (or never came), else the stored state.
        """
        return self.c_state_at(now_boot_ns)

    def borrow(self):
        """Return where the newest version lies (Borrowed), None when there is none to read.

        What is read there counts only if still_valid(version) says so afterwards.
        """
        cdef BookBorrow into
        if self.c_borrow(&into) != OK:
            return None
        offset = <const char *>into.bid_px - self._memory.base
        return Borrowed(into.version, into.state, offset, self.room, into.n_bids, into.n_asks)

    def still_valid(self, uint64_t version) -> bool:
        """Return whether everything that was read until now from a borrowed version was of that version."""
        return bool(book_still(<const book_version *>book_cell(&self._place, version), version))

    def top(self):
        """Return (bid, bid_qty, ask, ask_qty, update_id), None when there is no book yet; an empty side is nan, 0."""
        cdef BookTop top
        if self.c_top(&top) != OK:
            return None
        return top.bid, top.bid_qty, top.ask, top.ask_qty, top.update_id

    def copy(self):
        """Return the newest version as a BookSnapshot, None when there is none yet or none could be read whole."""
        cdef BookCopy into = BookCopy(self.depth)
        return into.snapshot() if self.c_copy(into) == OK else None

    def copy_into(self, BookCopy into not None) -> int:
        """Copy the newest version into `into`.

        Returns 1, 0 nothing yet, -1 none whole, -2 `into` is too shallow, -3 the instrument was removed.
        """
        return self.c_copy(into)

    def age_ns(self, int64_t now_ns) -> int:
        """Return how long before `now_ns` (monotonic) the newest version was published, -1 when there is none."""
        cdef BookTop top
        return now_ns - top.local_ns if self.c_top(&top) == OK else -1

    @property
    def version(self) -> int:
        """Number of the newest version, -1 when there is none yet."""
        return self.c_latest()

    @property
    def state(self) -> int:
        """EMPTY, LIVE, STALE, RESYNCING or HALTED as the writer set it, REMOVED once the instrument is gone."""
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

    @property
    def heartbeat_boot_ns(self) -> int:
        """When the writer of the segment last beat (CLOCK_BOOTTIME)."""
        return self.c_heartbeat_boot_ns()
