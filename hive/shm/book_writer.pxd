"""C API of a book's writer: c_publish() is the feed's hot path."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from hive.shm.atomics cimport Memory
from hive.shm.book_protocol cimport book_place
from hive.shm.layout cimport instrument_record


cdef struct Account:
    uint64_t head
    uint64_t generation


cdef class Accounts:
    cdef Account *of_slot


cdef class BookWriter:
    cdef Memory _memory
    cdef Accounts _accounts
    cdef Account *_account
    cdef instrument_record *_record
    cdef book_place _place
    cdef uint64_t _epoch
    cdef readonly uint32_t depth
    cdef readonly uint32_t slot
    cdef readonly uint64_t generation

    cdef void c_publish(
        self, int64_t update_id, int64_t exchange_ns, int64_t recv_ns, int64_t now_ns,
        const double *bid_px, const double *bid_qty, uint32_t n_bids,
        const double *ask_px, const double *ask_qty, uint32_t n_asks,
    ) noexcept nogil
    cdef void c_own_next(self, uint32_t n_bids, uint32_t n_asks) noexcept nogil
    cdef void c_set_last_trade(self, double price, int64_t now_ns) noexcept nogil
