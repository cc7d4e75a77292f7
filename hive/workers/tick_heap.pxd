"""The clock's dues: (key, sequence, slot) in C arrays."""

from libc.stdint cimport int64_t, uint64_t


cdef struct Due:
    int64_t key
    uint64_t sequence
    Py_ssize_t slot


cdef class TickHeap:
    cdef Due *first
    cdef Due *_heap
    cdef Py_ssize_t _heap_used
    cdef Py_ssize_t _heap_room
    cdef Due *_run
    cdef Py_ssize_t _run_begin
    cdef Py_ssize_t _run_used
    cdef Py_ssize_t _run_room

    cdef int push(self, int64_t key, uint64_t sequence, Py_ssize_t slot) except -1
    cdef void pop(self) noexcept
    cdef Due *second(self) noexcept
    cdef int _append(self, Due node) except -1
    cdef int _rise(self, Due node) except -1
    cdef void _sink(self, Due node) noexcept
    cdef void _choose(self) noexcept
