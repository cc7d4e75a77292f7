"""When strategies' code ran in a worker, and the CPU time that one strategy's code took."""

from libc.stdint cimport int64_t

from hive.shm.counters cimport Counter

cdef enum:
    RUNS = 256


cdef class BusyLog:
    cdef readonly int64_t total_ns
    cdef int64_t _begun[RUNS]
    cdef int64_t _ended[RUNS]
    cdef Py_ssize_t _newest
    cdef Py_ssize_t _kept

    cdef void c_add(self, int64_t begun_ns, int64_t ended_ns) noexcept nogil
    cdef int64_t c_since(self, int64_t since_ns) noexcept nogil


cdef extern from * nogil:
    """
    #include <time.h>
    static inline long long thread_cpu_ns(void) {
        struct timespec at;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
        return at.tv_sec * 1000000000LL + at.tv_nsec;
    }
    """
    int64_t thread_cpu_ns() noexcept


cdef class CallbackMeter:
    cdef Counter _counter
    cdef int64_t *_total
    cdef int64_t _mark
    cdef public int64_t took_ns


cdef class CpuMeter:
    cdef Counter _counter
    cdef int64_t *_total
    cdef int64_t _cpu_ns
    cdef bint _long

    cdef void c_begin(self) noexcept
    cdef void c_end(self, int64_t took_ns) noexcept
