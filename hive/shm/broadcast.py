"""Broadcast rings in pure Python, the twin of broadcast.pyx: one writer that never waits, any number of readers.

The layout, and what a reader that is lapped gets to see, are described there; atomics.py says why plain stores and
loads keep the order of the protocol.
"""

import struct

from hive.shm.atomics import Memory
from hive.shm.errors import LayoutMismatch, ShmError
from hive.shm.instruments import TopEvent, Trade
from hive.shm.layout import BROADCAST_HEADER, TRADE_RECORD
from hive.shm.segment import PAYLOAD_OFFSET

BUYER_IS_MAKER = 1
HEADER_OFFSET = PAYLOAD_OFFSET
RECORDS_OFFSET = HEADER_OFFSET + BROADCAST_HEADER.size

_CAPACITY, _HEAD = (HEADER_OFFSET + BROADCAST_HEADER.offset(name) >> 3 for name in ("capacity", "head"))
_RECORD_BYTES = TRADE_RECORD.size  # a top_record has as many
_TRADE = struct.Struct("=IIQqqddQ")  # a trade_record without its seq
_TOP = struct.Struct("=IIqqdddd")  # a top_record without its seq


def broadcast_size(capacity: int) -> int:
    """Return the bytes of a trades or tops segment, header included; capacity is a power of two >= 2."""
    if capacity < 2 or capacity & (capacity - 1):
        raise ValueError(f"capacity must be a power of two >= 2, was {capacity}")
    return RECORDS_OFFSET + capacity * _RECORD_BYTES


class RingWriter:
    """Publishes into a fresh segment of broadcast_size(capacity) bytes; BroadcastWriter and TopWriter are one.

    Args:
        segment: created by this process.
        capacity: records, a power of two >= 2.
    """

    def __init__(self, segment, capacity: int) -> None:
        if segment.size < broadcast_size(capacity):
            raise ValueError(f"{segment.name} must have {broadcast_size(capacity)} bytes, was {segment.size}")
        self._memory = Memory(segment.buffer, True)
        if self._memory.words[_CAPACITY]:
            raise ShmError(f"{segment.name} is in use: a writer makes a segment of the next epoch")
        self._mask = capacity - 1
        self._n = 0
        self._memory.words[_CAPACITY] = capacity  # release: pairs with the load in RingReader

    def _push(self, record: struct.Struct, *fields: float) -> None:
        """Publish seven words, those after seq, whatever they mean."""
        n = self._n
        words = self._memory.words
        cell = RECORDS_OFFSET + (n & self._mask) * _RECORD_BYTES
        words[cell >> 3] = 2 * n + 1  # before the payload: who saw a byte of what follows sees this seq
        record.pack_into(self._memory.octets, cell + 8, *fields)
        words[cell >> 3] = 2 * n + 2  # release: pairs with the first look in _take()
        words[_HEAD] = n + 1  # release: pairs with the loads of the head in _rejoin() and __init__()
        self._n = n + 1

    @property
    def head(self) -> int:
        """How many records were published."""
        return self._n


class BroadcastWriter(RingWriter):
    """Publishes trades."""

    def publish(self, slot, flags, trade_id, exchange_ns, recv_ns, price, qty, generation=0) -> None:
        """Publish a trade: directory slot, flags (BUYER_IS_MAKER), the venue's id and clock, when it was read.

        generation is the instrument's (BookWriter.generation), 0 for "not said".
        """
        self._push(_TRADE, slot, flags, trade_id, exchange_ns, recv_ns, price, qty, generation)


class TopWriter(RingWriter):
    """Publishes changes of best prices and quantities."""

    def publish(self, slot, generation, update_id, local_ns, bid, bid_qty, ask, ask_qty) -> None:
        """Publish the best prices and quantities of an instrument as they are from `local_ns` (monotonic) on.

        slot and generation are its BookWriter's; an empty side is nan, 0.
        """
        self._push(_TOP, slot, generation & 0xFFFFFFFF, update_id, local_ns, bid, bid_qty, ask, ask_qty)


class RingReader:
    """A reader with a cursor of its own, which starts at the head: it sees what is published from now on.

    BroadcastReader and TopReader are one.

    Args:
        segment: opened with kind "trades" or "tops".
        back: see so many of the latest records too, as far as they are there.
    """

    epoch: int

    def __init__(self, segment, back: int = 0) -> None:
        self._memory = Memory(segment.buffer)
        capacity = self._memory.words[_CAPACITY]  # acquire: pairs with the store in the writer
        if capacity == 0:
            raise LayoutMismatch(f"{segment.name} holds no broadcast ring yet")
        self._memory.at(RECORDS_OFFSET, capacity * _RECORD_BYTES)
        self._mask = capacity - 1
        head = self._memory.words[_HEAD]  # acquire: pairs with the store of the head in _push()
        self._cursor = head - min(back, head, capacity - capacity // 8)
        self._lapped = 0
        self.epoch = segment.epoch

    def _rejoin(self) -> None:
        # At least one record is given up, the one that is being overwritten; and an eighth of the ring is left free,
        # else the writer laps us again before the next record is read.
        kept = self._mask + 1 - (self._mask + 1) // 8
        head = self._memory.words[_HEAD]  # acquire: pairs with the store of the head in _push()
        cursor = max(self._cursor + 1, head - kept)
        self._lapped += cursor - self._cursor
        self._cursor = cursor

    def _take(self, record: struct.Struct) -> tuple | None:
        """Return the fields of the next record, past what was lost; None when there is none yet."""
        words = self._memory.words
        while True:
            cell = RECORDS_OFFSET + (self._cursor & self._mask) * _RECORD_BYTES
            done = 2 * self._cursor + 2
            seq = words[cell >> 3]  # acquire: pairs with the store of the even seq in _push()
            if seq < done:
                return None
            if seq == done:
                fields = record.unpack_from(self._memory.octets, cell + 8)
                if words[cell >> 3] == done:  # pairs with the store of the odd seq in _push()
                    self._cursor += 1
                    return fields
            self._rejoin()

    @property
    def lapped(self) -> int:
        """How many records were lost so far because this reader was too slow."""
        return self._lapped

    @property
    def cursor(self) -> int:
        """Number of the next record."""
        return self._cursor


class BroadcastReader(RingReader):
    """Reads trades."""

    def drain(self, max: int = 1024) -> list[Trade]:
        """Return up to `max` new trades, oldest first; empty when there are none."""
        trades = []
        while len(trades) < max and (fields := self._take(_TRADE)) is not None:
            trades.append(Trade(*fields))
        return trades

    def drain_records(self, max: int = 1024) -> list[bytes]:
        """Return up to `max` new trades, oldest first, each as the bytes of its trade_record."""
        records = []
        while len(records) < max and (fields := self._take(_TRADE)) is not None:
            records.append(TRADE_RECORD.struct.pack(2 * self._cursor, *fields))
        return records


class TopReader(RingReader):
    """Reads changes of best prices and quantities."""

    def drain(self, max: int = 1024) -> list[TopEvent]:
        """Return up to `max` new TopEvents, oldest first; empty when there are none."""
        events = []
        while len(events) < max and (fields := self._take(_TOP)) is not None:
            events.append(TopEvent(*fields))
        return events
