"""C API of a book's readers.

    c_top()               line 0 of the newest version, and the book's state
    c_copy()              the newest version into a BookCopy: what a strategy's order book runs on
    c_borrow(), c_valid() the newest version in place, without a copy
    c_state_at()          what the state is worth now

They return OK, NOTHING_YET, NOT_WHOLE, TOO_SHALLOW or GONE. None of them waits, allocates or needs the GIL.

Borrowing: c_borrow() points into the ring. What is read there may be overwritten at any time (after `versions`
publications at the earliest), so nothing that was computed from it counts before c_valid() has returned true, and no
value may be used as an index or a length unchecked; n_bids and n_asks are safe, c_borrow() has bounded them.

    cdef BookBorrow book
    if reader.c_borrow(&book) == OK:
        for i in range(book.n_asks): total += book.ask_qty[i]
        if reader.c_valid(&book): use(total)
"""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from hive.shm.atomics cimport Memory
from hive.shm.book_protocol cimport BOOK_TOP_WORDS, book_place, book_read_head
from hive.shm.layout cimport book_version, instrument_record, segment_header


cdef enum:  # as in book_protocol.h
    OK = 1
    NOTHING_YET = 0
    NOT_WHOLE = -1  # no consistent version in bounded tries
    TOO_SHALLOW = -2  # the copy has less room than the book has levels
    GONE = -3  # the instrument was removed


cdef struct BookTop:
    uint64_t version
    int64_t update_id
    int64_t exchange_ns
    int64_t local_ns
    double bid
    double bid_qty
    double ask
    double ask_qty
    uint32_t state


cdef struct BookBorrow:
    uint64_t version
    const book_version *cell
    const double *bid_px
    const double *bid_qty
    const double *ask_px
    const double *ask_qty
    uint32_t n_bids
    uint32_t n_asks
    uint32_t state


cdef class BookCopy:
    cdef readonly uint32_t depth
    cdef readonly uint32_t state
    cdef readonly uint64_t epoch
    cdef uint64_t version
    cdef int64_t update_id
    cdef int64_t exchange_ns
    cdef int64_t recv_ns
    cdef int64_t local_ns
    cdef double bid
    cdef double best_bid_qty
    cdef double ask
    cdef double best_ask_qty
    cdef uint32_t n_bids
    cdef uint32_t n_asks
    cdef double *bid_px
    cdef double *bid_qty
    cdef double *ask_px
    cdef double *ask_qty


@cython.final
cdef class BookReader:
    cdef Memory _memory
    cdef const segment_header *_segment
    cdef const instrument_record *_record
    cdef book_place _place  # its pointers lead into read-only memory
    cdef readonly uint32_t depth
    cdef readonly uint32_t room
    cdef readonly uint32_t slot
    cdef readonly uint64_t epoch
    cdef readonly uint64_t generation
    cdef readonly str pair
    cdef public int64_t silent_after_ns

    cdef int64_t c_latest(self) noexcept nogil

    cdef inline int c_top(self, BookTop *into) noexcept nogil:
        """Copy line 0 of the newest version, and the state. Returns OK, NOTHING_YET, NOT_WHOLE or GONE.

        Here and not in the .pyx, so that it becomes part of its caller: a call costs as much as the read.
        """
        cdef uint64_t head
        cdef int status = book_read_head(&self._place, <char *>into + sizeof(uint64_t), BOOK_TOP_WORDS, &head)
        into.version = head >> 8
        into.state = head & 0xFF
        return status

    cdef int c_copy(self, BookCopy into) noexcept nogil
    cdef int c_borrow(self, BookBorrow *into) noexcept nogil
    cdef bint c_valid(self, const BookBorrow *borrowed) noexcept nogil
    cdef uint32_t c_state(self) noexcept nogil
    cdef uint32_t _judged(self, uint32_t state, int64_t now_boot_ns) noexcept nogil
    cdef uint32_t c_state_at(self, int64_t now_boot_ns) noexcept nogil
    cdef int64_t c_state_ns(self) noexcept nogil
    cdef double c_last_trade(self) noexcept nogil
    cdef int64_t c_heartbeat_ns(self) noexcept nogil
    cdef int64_t c_heartbeat_boot_ns(self) noexcept nogil
    cdef int64_t c_age_ns(self, int64_t local_ns, int64_t now_boot_ns) noexcept nogil
