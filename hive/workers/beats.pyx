"""How the loop of a worker waits: in C, and it beats meanwhile.

    wait(): ──beat── 50 ms ──beat── 50 ms ──▶ the files are readable | the time is over | somebody has to look

A beat stores the heartbeat, counts how late it is, winds up the alarm of the watchdog and looks whether a book's state
is another than before. None of it runs code in Python: an interpreter that was asleep for 50 ms finds its own code no
longer in the caches of the CPU, and one timer of asyncio costs 150 us then, a beat in C 20. Only `look_ns` after the
last look, a changed book, a feed that is silent, memory that has jumped, or ask() has the loop look with code in Python.

A loop that is awake beats as soon as half of the time to the next beat is over: few wake up for nothing else, and a
callback is held against the loop from close to its begin.

A loop that does not wait does not beat: one that a callback holds is seen.
"""

from libc.errno cimport EINTR, errno
from libc.stdint cimport int64_t

from hive.shm.atomics cimport c_boottime_ns, monotonic_clock_ns
from hive.shm.book_reader cimport BookReader
from hive.shm.counters cimport Histogram
from hive.workers.own_memory cimport OwnMemory

QUIET, READABLE, LOOK = 0, 1, 2
cdef enum:
    _READABLE = 1
    _LOOK = 2
    MEMORY_NS = 100000000  # between two readings of the memory

cdef extern from "<time.h>" nogil:
    cdef struct timespec:
        long tv_sec
        long tv_nsec

cdef extern from "<poll.h>" nogil:
    cdef struct pollfd:
        int fd
        short events
        short revents
    enum:
        POLLIN
    int ppoll(pollfd *files, unsigned long count, const timespec *timeout, const void *mask)

cdef extern from "<sys/time.h>" nogil:
    cdef struct timeval:
        long tv_sec
        long tv_usec
    cdef struct itimerval:
        timeval it_interval
        timeval it_value
    enum:
        ITIMER_REAL
    int setitimer(int which, const itimerval *value, itimerval *before)


cdef inline timeval micros(double seconds) noexcept nogil:
    cdef timeval made
    made.tv_sec = <long>seconds
    made.tv_usec = <long>((seconds - made.tv_sec) * 1e6)
    return made


cdef class Beats:
    """The beats of one loop, on its process's main thread.

    `last_ns` is when it beat last (monotonic), `count` how often it has. `look_ns` after a look the next one is due, to
    half a beat.

    Args:
        counters: whose heartbeat it is.
        lag: counts how late each beat is.
        every_ns: between two beats.
        look_ns: between two looks, while nothing is to be told.
        limit_s: the alarm of the real-time interval timer comes when it did not beat for so long; 0: no alarm.
        again_s: and again after that.
        memory: is read ten times a second, and looked at when it has jumped; None: nothing is.
    """

    def __init__(
        self,
        counters,
        Histogram lag not None,
        *,
        int64_t every_ns,
        int64_t look_ns=0,
        double limit_s=0.0,
        double again_s=0.0,
        OwnMemory memory=None,
    ):
        if every_ns < 1:
            raise ValueError(f"every_ns must be at least 1, was {every_ns}")
        self._counters = counters
        self._lag = lag
        self._every_ns = every_ns
        self.look_ns = look_ns
        self._limit_s = limit_s
        self._again_s = again_s
        self._memory = memory
        self._readers = []
        self._states = []
        self._due_ns = self._looked_ns = self._read_ns = monotonic_clock_ns()

    def ask(self) -> None:
        """Have wait() return LOOK with the next beat; may be called in a signal handler."""
        self._asked = True

    def watch(self, readers) -> None:
        """Have wait() return LOOK when one of these books has another state than now, or their feed is silent."""
        cdef BookReader reader
        cdef int64_t now_boot_ns = c_boottime_ns()
        self._readers = list(readers)
        self._states = []
        for reader in self._readers:
            self._states.append(reader.c_state_at(now_boot_ns))

    def wait(self, int fd, timeout) -> int:
        """Wait until `fd` is readable, for `timeout` seconds at most (None: without end).

        Returns:
            READABLE (also when a signal came, or there was nothing to wait for), LOOK, or QUIET when the time is over.
        """
        cdef int64_t now_ns = monotonic_clock_ns()
        cdef int64_t end_ns = -1
        cdef int64_t left_ns
        cdef pollfd file
        cdef timespec span
        cdef int ready
        if now_ns >= self._due_ns - self._every_ns // 2 and self._beat(now_ns):
            return _LOOK
        if timeout is not None:
            if timeout <= 0:
                return _READABLE
            end_ns = now_ns + <int64_t>(<double>timeout * 1e9) + 1
        file.fd = fd
        file.events = POLLIN
        while True:
            left_ns = max(0, (self._due_ns if end_ns < 0 else min(self._due_ns, end_ns)) - now_ns)
            span.tv_sec = left_ns // 1000000000
            span.tv_nsec = left_ns % 1000000000
            with nogil:
                ready = ppoll(&file, 1, &span, NULL)
            if ready < 0 and errno != EINTR:
                raise OSError(errno, "ppoll")
            now_ns = monotonic_clock_ns()
            if now_ns >= self._due_ns - self._every_ns // 2 and self._beat(now_ns):
                return _LOOK
            if ready:
                return _READABLE
            if 0 <= end_ns <= now_ns:
                return QUIET

    cdef bint _beat(self, int64_t now_ns) except -1:
        """Beat; return whether somebody has to look."""
        cdef itimerval alarm
        self._lag.c_record(now_ns - self._due_ns)
        self._due_ns = now_ns + self._every_ns
        self.last_ns = now_ns
        self.count += 1
        self._counters.beat(now_ns)
        if self._limit_s > 0:
            alarm.it_value = micros(self._limit_s)
            alarm.it_interval = micros(self._again_s)
            setitimer(ITIMER_REAL, &alarm, NULL)
        if not (self._asked or self._is_look_due(now_ns) or self._changed() or self._has_jumped(now_ns)):
            return False
        self._asked = False
        self._looked_ns = now_ns
        return True

    cdef bint _is_look_due(self, int64_t now_ns) noexcept:
        return now_ns - self._looked_ns >= self.look_ns - self._every_ns // 2

    cdef bint _has_jumped(self, int64_t now_ns) noexcept:
        if self._memory is None or now_ns - self._read_ns < MEMORY_NS - self._every_ns // 2:
            return False
        self._read_ns = now_ns
        return self._memory.c_has_jumped()

    cdef bint _changed(self) except -1:
        """Return whether a book's state is another than when it was looked at, or the feed has been silent for long."""
        cdef BookReader reader
        cdef Py_ssize_t at
        cdef int64_t now_boot_ns, age_ns
        if not self._readers:
            return False
        now_boot_ns = c_boottime_ns()
        for at in range(len(self._readers)):
            reader = <BookReader>self._readers[at]
            age_ns = now_boot_ns - reader.c_heartbeat_boot_ns()
            if 2 * age_ns > reader.silent_after_ns or reader.c_state_at(now_boot_ns) != <int64_t>self._states[at]:
                return True
        return False
