"""C API of the counters: Counter.c_inc() and Histogram.c_record() are a few instructions each."""

from libc.stdint cimport int64_t, uint64_t

from hive.shm.atomics cimport Memory
from hive.shm.layout cimport histogram_cell


cdef class Counter:
    cdef Memory _memory
    cdef int64_t *_value

    cdef void c_inc(self, int64_t n) noexcept nogil
    cdef void c_set(self, int64_t value) noexcept nogil


cdef class Histogram:
    cdef Memory _memory
    cdef histogram_cell *_cell

    cdef void c_record(self, int64_t value_ns) noexcept nogil
