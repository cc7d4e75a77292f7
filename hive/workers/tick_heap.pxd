"""A heap of (key, sequence, slot) in C arrays."""

from libc.stdint cimport int64_t, uint64_t


cdef struct Due:
    int64_t key
    uint64_t sequence
    Py_ssize_t slot


cdef class TickHeap:
    cdef Due *nodes
    cdef Py_ssize_t used
    cdef Py_ssize_t _room

    cdef int push(self, int64_t key, uint64_t sequence, Py_ssize_t slot) except -1
    cdef void pop(self) noexcept
    cdef void replace(self, int64_t key, uint64_t sequence, Py_ssize_t slot) noexcept
    cdef void _sink(self, Due node) noexcept
