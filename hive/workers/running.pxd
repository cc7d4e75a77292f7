"""Whose code runs on the loop."""

from libc.stdint cimport int64_t

from hive.shm.counters cimport Counter
from hive.workers.busy cimport BusyLog, CallbackMeter


cdef class Running:
    cdef Counter _word
    cdef BusyLog _busy
    cdef object _now_ns
    cdef object _cpu_ns
    cdef object _strategy
    cdef CallbackMeter _meter
    cdef int64_t _since_ns
    cdef int64_t _since_cpu_ns

    cdef int c_switch(self, object strategy) except -1
