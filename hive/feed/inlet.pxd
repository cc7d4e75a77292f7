"""What market messages pass first (see inlet.pyx)."""

from libc.stdint cimport int64_t

from hive.shm.counters cimport Counter


cdef class Shortcut:
    cdef bint c_take(self, bytes raw, int64_t read_ns) except -1


cdef class Inlet:
    cdef readonly int64_t events
    cdef public int64_t read_ns
    cdef public bint holding
    cdef Shortcut _shortcut
    cdef Counter _messages
    cdef Counter _bytes
    cdef object _otherwise
    cdef object _record
