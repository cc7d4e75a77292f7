"""C API of the counters: Counter.c_inc() and Histogram.c_record() are a few instructions each.

Whoever keeps a Counter or Histogram alive may write through its `_value` or `_cell` with add_to() and record_in().
"""

from libc.stdint cimport int64_t, uint64_t

from hive.shm.atomics cimport Memory, load_relaxed, load_relaxed_i64, store_relaxed, store_relaxed_i64
from hive.shm.layout cimport HISTOGRAM_BUCKETS, histogram_cell


cdef extern from *:
    """
    static inline int highest_bit(unsigned long long v) { return 63 - __builtin_clzll(v); }
    """
    int highest_bit(uint64_t v) noexcept nogil


cdef inline int bucket_index(uint64_t value) noexcept nogil:
    cdef int octave
    if value < 64:
        return 0
    octave = highest_bit(value)
    if octave >= 37:
        return HISTOGRAM_BUCKETS - 1
    return 1 + (octave - 6) * 8 + <int>((value >> (octave - 3)) & 7)


cdef inline void add_to(int64_t *value, int64_t n) noexcept nogil:
    store_relaxed_i64(value, load_relaxed_i64(value) + n)  # one writer: no read-modify-write needed


cdef inline void record_in(histogram_cell *cell, int64_t value_ns) noexcept nogil:
    cdef uint64_t value = <uint64_t>value_ns if value_ns > 0 else 0
    cdef uint64_t *bucket = &cell.buckets[bucket_index(value)]
    store_relaxed(&cell.sum, load_relaxed(&cell.sum) + value)
    if value > load_relaxed(&cell.max):
        store_relaxed(&cell.max, value)
    store_relaxed(bucket, load_relaxed(bucket) + 1)


cdef class Counter:
    cdef Memory _memory
    cdef int64_t *_value

    cdef void c_inc(self, int64_t n) noexcept nogil
    cdef void c_set(self, int64_t value) noexcept nogil


cdef class Histogram:
    cdef Memory _memory
    cdef histogram_cell *_cell

    cdef void c_record(self, int64_t value_ns) noexcept nogil
