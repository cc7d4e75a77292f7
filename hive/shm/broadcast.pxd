"""C API of the broadcast rings: c_publish() and c_next() copy one record and never wait."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from hive.shm.atomics cimport Memory
from hive.shm.layout cimport broadcast_header, top_record, trade_record


cdef class RingWriter:
    cdef Memory _memory
    cdef broadcast_header *_header
    cdef trade_record *_records
    cdef uint64_t _mask
    cdef uint64_t _n

    cdef void c_push(self, const trade_record *record) noexcept nogil


cdef class BroadcastWriter(RingWriter):
    cdef void c_publish(
        self, uint32_t slot, uint32_t flags, uint64_t trade_id, int64_t exchange_ns, int64_t recv_ns,
        double price, double qty, uint64_t generation,
    ) noexcept nogil


cdef class TopWriter(RingWriter):
    cdef void c_publish(
        self, uint32_t slot, uint64_t generation, int64_t update_id, int64_t local_ns,
        double bid, double bid_qty, double ask, double ask_qty,
    ) noexcept nogil


cdef class RingReader:
    cdef Memory _memory
    cdef const broadcast_header *_header
    cdef const trade_record *_records
    cdef uint64_t _mask
    cdef uint64_t _cursor
    cdef uint64_t _lapped
    cdef readonly uint64_t epoch

    cdef void _rejoin(self) noexcept nogil
    cdef int c_take(self, trade_record *into) noexcept nogil


cdef class BroadcastReader(RingReader):
    cdef int c_next(self, trade_record *into) noexcept nogil


cdef class TopReader(RingReader):
    cdef int c_next(self, top_record *into) noexcept nogil
