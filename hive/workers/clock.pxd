"""CallbackCounter, and the clock of a worker."""

from libc.stdint cimport int64_t, uint64_t

from hive.shm.counters cimport Counter
from hive.shm.layout cimport histogram_cell
from hive.workers.busy cimport BusyLog, CpuMeter
from hive.workers.tick_heap cimport TickHeap


cdef class CallbackCounter:
    cdef public uint64_t value

    cpdef void bump(self) noexcept


cdef class ScheduledTick(CpuMeter):
    # What a tick of the timer needs comes first, HOT_BYTES of clock.pyx with the CpuMeter: of thousands each line is
    # a cache miss.
    cdef readonly object context
    cdef readonly object target
    cdef object _pycontext
    cdef object _tick
    cdef int64_t *_ticks
    cdef histogram_cell *_lateness
    cdef histogram_cell *_by_hive
    cdef histogram_cell *_duration
    cdef readonly int64_t interval_ns
    cdef readonly int64_t phase_ns
    cdef readonly int64_t due_ns
    cdef readonly int64_t ended_ns
    cdef int64_t _number
    cdef int64_t _base_ns
    cdef int64_t _told_ns
    cdef uint64_t _sequence
    cdef uint64_t _extra
    cdef Py_ssize_t _slot
    cdef int64_t _mark
    cdef int64_t _start_ns
    cdef readonly int consecutive_errors
    cdef readonly bint paused
    cdef bint _scheduled
    cdef bint _bound
    cdef object _counters
    cdef int64_t _extra_ns
    cdef int64_t _cost_ns
    cdef int64_t _finish_ns
    cdef int64_t _ahead_ns
    cdef double _share


cdef class MultiStrategyClock:
    cdef readonly CallbackCounter callbacks
    cdef readonly BusyLog busy
    cdef public object on_pause
    cdef readonly str order
    cdef readonly int64_t budget_ns
    cdef readonly int max_errors
    cdef int _order
    cdef int _duration_bucket
    cdef int _by_hive_bucket
    cdef TickHeap _dues
    cdef TickHeap _ready
    cdef uint64_t _last_sequence
    cdef int64_t _wall_offset_ns
    cdef int64_t _virtual_ns
    cdef object _time
    cdef Counter _running
    cdef dict _entries
    cdef list _slots

    cdef int64_t _now(self) except -1
    cdef ScheduledTick _top(self, TickHeap heap)
    cdef int _admit(self, int64_t now_ns) except -1
    cdef int _schedule(self, ScheduledTick entry) except -1
    cdef int _schedule_first(self, ScheduledTick entry) except -1
    cdef bint _is_idle(self, ScheduledTick entry, uint64_t sequence, int64_t start_ns) noexcept
    cdef int64_t _fire(self, ScheduledTick entry, uint64_t sequence, int64_t start_ns, TickHeap heap) except -1
    cdef void _fetch_next(self, TickHeap heap, int64_t lateness) noexcept
    cdef int _follow(self, ScheduledTick entry, int64_t due_ns, int64_t missed, int64_t end_ns) except -1
    cdef int _fail(self, ScheduledTick entry, object error) except -1
