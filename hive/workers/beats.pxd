"""How the loop of a worker waits, and beats."""

from libc.stdint cimport int64_t

from hive.shm.book_reader cimport BookReader
from hive.shm.counters cimport Histogram
from hive.workers.own_memory cimport OwnMemory


cdef class Beats:
    cdef readonly int64_t last_ns
    cdef readonly int64_t count
    cdef public int64_t look_ns
    cdef object _counters
    cdef Histogram _lag
    cdef int64_t _every_ns
    cdef int64_t _due_ns
    cdef int64_t _looked_ns
    cdef int64_t _read_ns
    cdef OwnMemory _memory
    cdef double _limit_s
    cdef double _again_s
    cdef bint _asked
    cdef list _readers
    cdef list _states

    cdef bint _is_look_due(self, int64_t now_ns) noexcept
    cdef bint _has_jumped(self, int64_t now_ns) noexcept
    cdef bint _changed(self) except -1
    cdef bint _beat(self, int64_t now_ns) except -1
