"""Fields and C methods of the price-level book (see book.pyx)."""

from libc.stdint cimport int64_t

from hive.feed.levels cimport Levels
from hive.shm.book cimport BookWriter


cdef struct Side:
    double *key  # ascending: the best level is the last one; a bid's price, an ask's negated price
    double *qty
    Py_ssize_t count
    Py_ssize_t capacity
    double horizon  # no level is missing among the keys from here up


cdef class PriceLevelBook:
    cdef Side _bids
    cdef Side _asks
    cdef Levels _new_bids  # a message's levels, checked before any of them is applied
    cdef Levels _new_asks
    cdef double *_top  # 4 rows of `depth`: bid prices, bid quantities, ask prices, ask quantities
    cdef readonly Py_ssize_t depth
    cdef readonly Py_ssize_t n_bids  # levels in the top rows
    cdef readonly Py_ssize_t n_asks

    cpdef apply(self, bids, asks)
    cdef bint c_apply(self, const char *bids, const char *bids_end, const char *asks, const char *asks_end) except -1
    cpdef publish(self, BookWriter writer, int64_t update_id, int64_t exchange_ns, int64_t recv_ns, int64_t now_ns)
    cdef bint c_short(self) noexcept nogil
    cdef bint c_crossed(self) noexcept nogil
    cdef void _fill_top(self) noexcept nogil


cdef int64_t c_now(object clock) except -1
