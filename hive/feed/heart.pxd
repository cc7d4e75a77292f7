"""The heartbeats of the feed (see heart.pyx)."""

from libc.stdint cimport int64_t, uint32_t

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        int fd
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data


cdef class Heart:
    cdef public int64_t last_ns
    cdef public int64_t last_boot_ns
    cdef readonly list memories
    cdef readonly list ready
    cdef readonly int64_t woke_ns
    cdef readonly int64_t served
    cdef int64_t _look_after_ns
    cdef int64_t _every_ns

    cdef int _wait(self, int fd, int64_t end_ns, epoll_event *events, int *into) except -1
    cdef int _list(self, const epoll_event *events, int count, dict keys) except -1
    cdef bint _beat_or_look(self, int64_t now_ns) except -1
    cdef int _beat(self, int64_t now_ns, int64_t boot_ns) except -1
