"""Broadcast rings: one writer that never waits, any number of readers with their own cursors.

A trades or tops segment (offsets from its start; structs in layout.h):

    256   broadcast_header: capacity | head (records published), each on its own line
    384   capacity records of 64 bytes, seq first: trade_records in the one, top_records in the other

Record n (from 0) lives in slot n & (capacity - 1); its seq is 2n+1 while it is written and 2n+2 when it is done. A
reader that falls behind by more than the capacity is lapped: it counts what it lost and rejoins. It never sees a torn
record, never sees one twice, and sees what it sees in order.

Trades say what happened; tops say how an instrument's best price or quantity changed. A record names its instrument by
directory slot and generation, because slots are reused.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from hive.shm.atomics cimport (
    Memory,
    copy_words,
    fence_acquire,
    fence_release,
    load_acquire,
    load_relaxed,
    store_relaxed,
    store_release,
)
from hive.shm.layout cimport broadcast_header, top_record, trade_record

from hive.shm.errors import LayoutMismatch, ShmError
from hive.shm.instruments import TopEvent, Trade
from hive.shm.segment import PAYLOAD_OFFSET

BUYER_IS_MAKER = 1

cdef Py_ssize_t HEADER_OFFSET = PAYLOAD_OFFSET
cdef Py_ssize_t RECORDS_OFFSET = HEADER_OFFSET + sizeof(broadcast_header)


def broadcast_size(capacity: int) -> int:
    """Return the bytes of a trades or tops segment, header included; capacity is a power of two >= 2."""
    if capacity < 2 or capacity & (capacity - 1):
        raise ValueError(f"capacity must be a power of two >= 2, was {capacity}")
    return RECORDS_OFFSET + capacity * sizeof(trade_record)


cdef class RingWriter:
    """Publishes into a fresh segment of broadcast_size(capacity) bytes; BroadcastWriter and TopWriter are one.

    Args:
        segment: created by this process.
        capacity: records, a power of two >= 2.
    """

    def __init__(self, segment, uint64_t capacity):
        if segment.size < broadcast_size(capacity):
            raise ValueError(f"{segment.name} must have {broadcast_size(capacity)} bytes, was {segment.size}")
        self._memory = Memory(segment.buffer, True)
        self._header = <broadcast_header *>self._memory.at(HEADER_OFFSET, sizeof(broadcast_header))
        self._records = <trade_record *>self._memory.at(RECORDS_OFFSET, capacity * sizeof(trade_record))
        if self._header.capacity:
            raise ShmError(f"{segment.name} is in use: a writer makes a segment of the next epoch")
        self._mask = capacity - 1
        self._n = 0
        store_release(&self._header.capacity, capacity)  # pairs with load_acquire(&capacity) in RingReader

    cdef void c_push(self, const trade_record *record) noexcept nogil:
        """Publish seven words, those after seq, whatever they mean."""
        cdef uint64_t n = self._n
        cdef trade_record *cell = self._records + (n & self._mask)
        store_relaxed(&cell.seq, 2 * n + 1)
        fence_release()  # pairs with fence_acquire() in c_take(): who saw a byte of what follows sees this seq
        copy_words(&cell.seq + 1, &record.seq + 1, 7)
        store_release(&cell.seq, 2 * n + 2)  # pairs with load_acquire(&seq) in c_take()
        store_release(&self._header.head, n + 1)  # pairs with load_acquire(&head) in _rejoin() and __init__()
        self._n = n + 1

    @property
    def head(self) -> int:
        """How many records were published."""
        return self._n


cdef class BroadcastWriter(RingWriter):
    """Publishes trades."""

    cdef void c_publish(
        self, uint32_t slot, uint32_t flags, uint64_t trade_id, int64_t exchange_ns, int64_t recv_ns,
        double price, double qty, uint64_t generation,
    ) noexcept nogil:
        cdef trade_record record
        record.instrument = slot
        record.flags = flags
        record.trade_id = trade_id
        record.exchange_ns = exchange_ns
        record.recv_ns = recv_ns
        record.price = price
        record.qty = qty
        record.generation = generation
        self.c_push(&record)

    def publish(
        self, uint32_t slot, uint32_t flags, uint64_t trade_id, int64_t exchange_ns, int64_t recv_ns,
        double price, double qty, uint64_t generation=0,
    ) -> None:
        """Publish a trade: directory slot, flags (BUYER_IS_MAKER), the venue's id and clock, when it was read.

        generation is the instrument's (BookWriter.generation), 0 for "not said".
        """
        self.c_publish(slot, flags, trade_id, exchange_ns, recv_ns, price, qty, generation)


cdef class TopWriter(RingWriter):
    """Publishes changes of best prices and quantities."""

    cdef void c_publish(
        self, uint32_t slot, uint64_t generation, int64_t update_id, int64_t local_ns,
        double bid, double bid_qty, double ask, double ask_qty,
    ) noexcept nogil:
        cdef top_record record
        record.instrument = slot
        record.generation = <uint32_t>generation
        record.update_id = update_id
        record.local_ns = local_ns
        record.bid = bid
        record.bid_qty = bid_qty
        record.ask = ask
        record.ask_qty = ask_qty
        self.c_push(<const trade_record *>&record)

    def publish(
        self, uint32_t slot, uint64_t generation, int64_t update_id, int64_t local_ns,
        double bid, double bid_qty, double ask, double ask_qty,
    ) -> None:
        """Publish the best prices and quantities of an instrument as they are from `local_ns` (monotonic) on.

        slot and generation are its BookWriter's; an empty side is nan, 0.
        """
        self.c_publish(slot, generation, update_id, local_ns, bid, bid_qty, ask, ask_qty)


cdef class RingReader:
    """A reader with a cursor of its own, which starts at the head: it sees what is published from now on.

    BroadcastReader and TopReader are one.

    Args:
        segment: opened with kind "trades" or "tops".
        back: see so many of the latest records too, as far as they are there.
    """

    def __init__(self, segment, uint64_t back=0):
        self._memory = Memory(segment.buffer)
        self._header = <const broadcast_header *>self._memory.at(HEADER_OFFSET, sizeof(broadcast_header))
        cdef uint64_t capacity = load_acquire(&self._header.capacity)  # pairs with store_release in the writer
        if capacity == 0:
            raise LayoutMismatch(f"{segment.name} holds no broadcast ring yet")
        self._records = <const trade_record *>self._memory.at(RECORDS_OFFSET, capacity * sizeof(trade_record))
        self._mask = capacity - 1
        cdef uint64_t head = load_acquire(&self._header.head)  # pairs with store_release(&head) in c_push()
        self._cursor = head - min(back, head, capacity - capacity // 8)
        self._lapped = 0
        self.epoch = segment.epoch

    cdef void _rejoin(self) noexcept nogil:
        # At least one record is given up, the one that is being overwritten; and an eighth of the ring is left free,
        # else the writer laps us again before the next record is read.
        cdef uint64_t kept = self._mask + 1 - (self._mask + 1) // 8
        cdef uint64_t head = load_acquire(&self._header.head)  # pairs with store_release(&head) in c_push()
        cdef uint64_t cursor = self._cursor + 1
        if head > cursor + kept:
            cursor = head - kept
        self._lapped += cursor - self._cursor
        self._cursor = cursor

    cdef int c_take(self, trade_record *into) noexcept nogil:
        """Copy the next record, past what was lost. Returns 1, or 0 when there is none yet."""
        cdef const trade_record *cell
        cdef uint64_t done
        cdef uint64_t seq
        while True:
            cell = self._records + (self._cursor & self._mask)
            done = 2 * self._cursor + 2
            seq = load_acquire(&cell.seq)  # pairs with store_release(&seq) in c_push()
            if seq < done:
                return 0
            if seq == done:
                copy_words(&into.seq + 1, &cell.seq + 1, 7)
                fence_acquire()  # pairs with fence_release() in c_push()
                if load_relaxed(&cell.seq) == done:
                    into.seq = done
                    self._cursor += 1
                    return 1
            self._rejoin()

    @property
    def lapped(self) -> int:
        """How many records were lost so far because this reader was too slow."""
        return self._lapped

    @property
    def cursor(self) -> int:
        """Number of the next record."""
        return self._cursor


cdef class BroadcastReader(RingReader):
    """Reads trades."""

    cdef int c_next(self, trade_record *into) noexcept nogil:
        """Copy the next trade, past what was lost. Returns 1, or 0 when there is none yet."""
        return self.c_take(into)

    def drain(self, Py_ssize_t max=1024) -> list:
        """Return up to `max` new trades, oldest first; empty when there are none."""
        cdef trade_record record
        trades = []
        while len(trades) < max and self.c_take(&record):
            trades.append(Trade(
                record.instrument, record.flags, record.trade_id, record.exchange_ns, record.recv_ns,
                record.price, record.qty, record.generation,
            ))
        return trades

    def drain_records(self, Py_ssize_t max=1024) -> list:
        """Return up to `max` new trades, oldest first, each as the bytes of its trade_record."""
        cdef trade_record record
        records = []
        while len(records) < max and self.c_take(&record):
            records.append((<const char *>&record)[:sizeof(trade_record)])
        return records


cdef class TopReader(RingReader):
    """Reads changes of best prices and quantities."""

    cdef int c_next(self, top_record *into) noexcept nogil:
        """Copy the next change, past what was lost. Returns 1, or 0 when there is none yet."""
        return self.c_take(<trade_record *>into)

    def drain(self, Py_ssize_t max=1024) -> list:
        """Return up to `max` new TopEvents, oldest first; empty when there are none."""
        cdef top_record record
        events = []
        while len(events) < max and self.c_take(<trade_record *>&record):
            events.append(TopEvent(
                record.instrument, record.generation, record.update_id, record.local_ns,
                record.bid, record.bid_qty, record.ask, record.ask_qty,
            ))
        return events
