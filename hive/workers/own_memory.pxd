"""How much memory of its own a process has, and whether it has jumped."""

from libc.stdint cimport int64_t


cdef class OwnMemory:
    cdef int _file
    cdef int64_t _read

    cdef void _close(self) noexcept
    cdef int64_t _now(self) noexcept nogil
    cdef bint c_has_jumped(self) noexcept nogil
