"""The loops of torn_reads.py: a writer of versions that are made of their own number, and a reader that looks at each."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from hive.shm.atomics cimport Memory, load_relaxed, monotonic_clock_ns
from hive.shm.book cimport BookReader, BookWriter
from hive.shm.book_protocol cimport book_place

cdef extern from "torn.h" nogil:
    enum:
        place_levels

    ctypedef struct torn_counts:
        uint64_t reads
        uint64_t refused
        uint64_t torn
        uint64_t distinct
        uint64_t overlapping

    void torn_read_checked(const book_place *place, torn_counts *counts, const uint64_t *stop, uint64_t reads) noexcept
    void torn_read_unchecked(
        const book_place *place, torn_counts *counts, const uint64_t *stop, uint64_t reads
    ) noexcept

LEVELS = place_levels


def write_versions(BookWriter writer, int64_t first, int64_t count, Memory control, Py_ssize_t stop_at) -> float:
    """Publish versions first, first+1, ..., each made of its own number; return the seconds that it took.

    Ends early when the word at `stop_at` is not 0.
    """
    cdef const uint64_t *stop = <const uint64_t *>control.at(stop_at, 8)
    cdef double values[place_levels]
    cdef int64_t n = first
    cdef int64_t begun
    cdef int i
    with nogil:
        begun = monotonic_clock_ns()
        while n < first + count and not load_relaxed(stop):
            for i in range(place_levels):
                values[i] = <double>n
            writer.c_publish(
                n, n, n, n, values, values, <uint32_t>(1 + n % place_levels),
                values, values, <uint32_t>(1 + (n + 1) % place_levels),
            )
            n += 1
        begun = monotonic_clock_ns() - begun
    return begun / 1e9


def read_versions(BookReader reader, bint recheck, Memory control, Py_ssize_t stop_at) -> tuple:
    """Read until the word at `stop_at` is not 0; return (reads, refused, torn, distinct, overlapping)."""
    cdef torn_counts counts
    cdef const uint64_t *stop = <const uint64_t *>control.at(stop_at, 8)
    counts.reads = counts.refused = counts.torn = counts.distinct = counts.overlapping = 0
    with nogil:
        if recheck:
            torn_read_checked(&reader._place, &counts, stop, <uint64_t>-1)
        else:
            torn_read_unchecked(&reader._place, &counts, stop, <uint64_t>-1)
    return counts.reads, counts.refused, counts.torn, counts.distinct, counts.overlapping
