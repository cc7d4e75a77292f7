"""CallbackCounter, and the heap of due ticks."""

from libc.stdint cimport int64_t, uint64_t


cdef class CallbackCounter:
    cdef public uint64_t value

    cpdef void bump(self) noexcept


cdef struct Due:
    int64_t due_ns
    uint64_t sequence
    Py_ssize_t slot


cdef class ScheduledTick:
    cdef readonly object context
    cdef readonly object target
    cdef readonly int64_t interval_ns
    cdef readonly int64_t phase_ns
    cdef readonly int64_t due_ns
    cdef readonly int consecutive_errors
    cdef readonly bint paused
    cdef object _run
    cdef object _tick
    cdef object _counters
    cdef int64_t _number
    cdef uint64_t _sequence
    cdef Py_ssize_t _slot
    cdef bint _scheduled


cdef class MultiStrategyClock:
    cdef readonly CallbackCounter callbacks
    cdef public object on_pause
    cdef readonly int64_t budget_ns
    cdef readonly int max_errors
    cdef readonly bint by_priority
    cdef Due *_heap
    cdef Py_ssize_t _used
    cdef Py_ssize_t _room
    cdef uint64_t _next_sequence
    cdef int64_t _wall_offset_ns
    cdef object _time
    cdef object _running
    cdef dict _entries
    cdef list _slots

    cdef int64_t _now(self) except -1
    cdef int _push(self, ScheduledTick entry) except -1
    cdef void _pop(self) noexcept
    cdef ScheduledTick _top(self)
    cdef list _take_by_priority(self, int64_t now_ns)
    cdef int _schedule_first(self, ScheduledTick entry) except -1
    cdef int64_t _fire(self, ScheduledTick entry, int64_t start_ns) except -1
    cdef int _fail(self, ScheduledTick entry, object error) except -1
