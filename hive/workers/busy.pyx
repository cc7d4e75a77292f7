"""When code of strategies ran in a worker, and what CPU time it took.

    |due|......[ tick of b ][ callback of c ]...|start|     late for start - due, of it by Hive what is dotted

`BusyLog` keeps the last 256 stretches of time in which strategies' code ran (ticks, callbacks, steps of tasks); those
that follow one another without a gap are one. So a late tick knows how much of its wait others' code took. What lies
further back than the log counts as nobody's: the log understates, never overstates, what strategies took.

`CpuMeter` counts the CPU time of ticks. Reading the thread's CPU clock is a system call of half a microsecond, as much
as the rest of what the clock does for a tick, so only ticks of a strategy whose last one took LONG_NS or more are
measured by it; a shorter one counts with the time that passed. `CallbackMeter` has that of all else, always measured:
a strategy's short callbacks and its long ones come in turns, and what the last one took says nothing of the next.
"""

from libc.stdint cimport int64_t

from hive.shm.counters cimport Counter, add_to

LONG_NS = 50_000
cdef int64_t _LONG_NS = LONG_NS


cdef class BusyLog:
    """The stretches in which strategies' code ran; one per worker.

    `total_ns` is the length of all that were ever added.
    """

    def __cinit__(self):
        self._newest = 0
        self._kept = 0
        self.total_ns = 0

    cdef void c_add(self, int64_t begun_ns, int64_t ended_ns) noexcept nogil:
        self.total_ns += ended_ns - begun_ns
        if self._kept and self._ended[self._newest] == begun_ns:
            self._ended[self._newest] = ended_ns
            return
        self._newest = (self._newest + 1) % RUNS
        self._begun[self._newest] = begun_ns
        self._ended[self._newest] = ended_ns
        if self._kept < RUNS:
            self._kept += 1

    cdef int64_t c_since(self, int64_t since_ns) noexcept nogil:
        cdef Py_ssize_t at = self._newest
        cdef Py_ssize_t left = self._kept
        cdef int64_t busy = 0
        while left and self._ended[at] > since_ns:
            busy += self._ended[at] - max(self._begun[at], since_ns)
            left -= 1
            at = at - 1 if at else RUNS - 1
        return busy

    def add(self, int64_t begun_ns, int64_t ended_ns) -> None:
        """Note that a strategy's code ran from `begun_ns` to `ended_ns` (monotonic), not before what was added last."""
        self.c_add(begun_ns, ended_ns)

    def since(self, int64_t since_ns) -> int:
        """Return for how many ns strategies' code has run since `since_ns`."""
        return self.c_since(since_ns)


cdef class CallbackMeter:
    """What one strategy's callbacks took.

    `took_ns` is for how long they were on the loop.

    Args:
        counter: of nanoseconds; their CPU time is added to it.
        mark: what `running_strategy` is while one runs.
    """

    def __init__(self, Counter counter not None, int64_t mark):
        self._counter = counter  # keeps what the pointer points to
        self._total = counter._value
        self._mark = mark

    @property
    def mark(self) -> int:
        """What `running_strategy` is while one runs."""
        return self._mark

    def add(self, int64_t took_ns, int64_t cpu_ns) -> None:
        """Count one that has ended."""
        self.took_ns += took_ns
        add_to(self._total, cpu_ns)


cdef class CpuMeter:
    """Adds the CPU time of the ticks of one strategy to a counter.

    Args:
        counter: of nanoseconds.
    """

    def __init__(self, Counter counter not None):
        self._counter = counter
        self._total = counter._value
        self._long = False

    cdef void c_begin(self) noexcept:
        if self._long:
            self._cpu_ns = thread_cpu_ns()

    cdef void c_end(self, int64_t took_ns) noexcept:
        add_to(self._total, thread_cpu_ns() - self._cpu_ns if self._long else took_ns)
        self._long = took_ns >= _LONG_NS

    def begin(self) -> None:
        """Say that a run begins."""
        self.c_begin()

    def end(self, int64_t took_ns) -> None:
        """Say that it has ended, and how long it took."""
        self.c_end(took_ns)
