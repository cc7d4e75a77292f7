"""C API of a book's readers: c_copy() into a BookCopy is what a strategy's order book runs on."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from hive.shm.atomics cimport Memory
from hive.shm.layout cimport book_header, book_version, instrument_record, segment_header


cdef struct BookTop:
    uint64_t version
    int64_t update_id
    int64_t exchange_ns
    int64_t local_ns
    double bid
    double bid_qty
    double ask
    double ask_qty


cdef class BookCopy:
    cdef readonly uint32_t depth
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


cdef class BookReader:
    cdef Memory _memory
    cdef const segment_header *_segment
    cdef const instrument_record *_record
    cdef const book_header *_book
    cdef const char *_versions_base
    cdef uint64_t _version_bytes
    cdef uint32_t _versions
    cdef readonly uint32_t depth
    cdef readonly uint32_t slot
    cdef readonly uint64_t epoch

    cdef const book_version *_version(self, uint64_t n) noexcept nogil
    cdef int64_t c_latest(self) noexcept nogil
    cdef int c_top(self, BookTop *into) noexcept nogil
    cdef int c_copy(self, BookCopy into) noexcept nogil
    cdef uint32_t c_state(self) noexcept nogil
    cdef int64_t c_state_ns(self) noexcept nogil
    cdef double c_last_trade(self) noexcept nogil
    cdef int64_t c_heartbeat_ns(self) noexcept nogil
