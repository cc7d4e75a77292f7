"""C API of the broadcast ring: BroadcastReader.c_next() copies the next record."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from hive.shm.atomics cimport Memory
from hive.shm.layout cimport broadcast_header, trade_record


cdef class BroadcastWriter:
    cdef Memory _memory
    cdef broadcast_header *_header
    cdef trade_record *_records
    cdef uint64_t _mask
    cdef uint64_t _n

    cdef void c_publish(
        self, uint32_t slot, uint32_t flags, uint64_t trade_id, int64_t exchange_ns, int64_t recv_ns,
        double price, double qty,
    ) noexcept nogil


cdef class BroadcastReader:
    cdef Memory _memory
    cdef const broadcast_header *_header
    cdef const trade_record *_records
    cdef uint64_t _mask
    cdef uint64_t _cursor
    cdef uint64_t _lapped
    cdef readonly uint64_t epoch

    cdef void _rejoin(self) noexcept nogil
    cdef int c_next(self, trade_record *into) noexcept nogil
