from libc.stdint cimport int64_t, uint64_t

from hive.shm.book cimport BookCopy, BookReader
from hive.shm.counters cimport Counter
from hive.workers.clock cimport CallbackCounter
from hummingbot.core.data_type.order_book cimport OrderBook


cdef struct Side:
    uint64_t count
    double* prices
    double* amounts


cdef class SharedOrderBook(OrderBook):
    cdef:
        object _source              # gives the reader again when its generation changes
        object _generation          # the generation that _reader belongs to
        BookReader _reader
        BookCopy _copy              # this strategy's private version; replaced, not overwritten, while an iterator has it
        CallbackCounter _callbacks
        Counter _books_read         # of the strategy, as _mixed_books; None: nobody counts
        Counter _mixed_books
        uint64_t _pinned_in         # the callback whose reads _copy serves
        double _pinned_trade_price
        bint _has_version
        readonly uint64_t pins      # versions taken
        readonly uint64_t mixed     # versions whose record and arrays disagree: must stay 0

    cdef int _pin(self) except -1
    cdef int _take_version(self) except -1
    cdef Side _side(self, bint is_buy) except *


cdef class Entries:
    cdef:
        BookCopy _copy
        double* _prices
        double* _amounts
        int64_t _update_id
        uint64_t _index
        uint64_t _count

    @staticmethod
    cdef Entries over(BookCopy copy, bint bids)
