"""The heartbeats of the feed (see heart.pyx)."""

from libc.stdint cimport int64_t


cdef class Heart:
    cdef public int64_t last_ns
    cdef public int64_t last_boot_ns
    cdef readonly list memories
    cdef readonly list ready
    cdef int64_t _look_after_ns
    cdef int64_t _every_ns

    cdef bint _beat_or_look(self, int64_t now_ns) except -1
    cdef int _beat(self, int64_t now_ns, int64_t boot_ns) except -1
