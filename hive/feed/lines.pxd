"""Fields and C methods of the lines from usual events to shared memory (see lines.pyx)."""

from libc.stdint cimport int64_t

from hive.feed.book cimport PriceLevelBook
from hive.shm.book cimport BookWriter
from hive.shm.broadcast cimport BroadcastWriter
from hive.shm.counters cimport Counter, Histogram


cdef class Place:
    cdef public object phase
    cdef public int64_t last_id
    cdef public bint refreshing
    cdef public bint chained  # last_id is that of a diff, so the next one's prev_id must name it

    cdef bint c_leads_to(self, int64_t first_id, int64_t last_id, int64_t prev_id) noexcept


cdef class BookLine:
    cdef public Place sync
    cdef public object tops  # while anybody wants the changes of the best prices
    cdef public object applied  # the diffs since begin_audit(), while the book is known to be whole
    cdef public PriceLevelBook _book
    cdef public BookWriter _writer
    cdef public Py_ssize_t _checksum_levels
    cdef public bint _doubted
    cdef public object _clock
    cdef Counter _updates
    cdef Histogram _latency_ns

    cpdef followed(self, int64_t took_ns)
    cdef bint c_follow(
        self, int64_t first_id, int64_t last_id, int64_t exchange_ns, const char *bids, const char *bids_end,
        const char *asks, const char *asks_end, int64_t read_ns,
    ) except -1


cdef class TradeLine:
    cdef int64_t _last_id
    cdef BookWriter _writer
    cdef BroadcastWriter _trades
    cdef Counter _count
    cdef Counter _duplicates
    cdef object _clock

    cdef int c_trade(
        self, int64_t trade_id, int64_t exchange_ns, double price, double quantity, bint buyer_is_maker,
        int64_t read_ns,
    ) except -1
