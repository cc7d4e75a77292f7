"""faster-fifo in a named segment: byte messages between two processes that never block and never share a death.

A queue segment (offsets from its start; structs in layout.h):

    256   queue_header: capacity, where the two areas lie, guard | owner, on its own line
    384   faster-fifo's queue object (mutex, condition variables, head, tail, size)
    ...   its circular buffer of capacity_bytes

faster-fifo's mutex is not robust: a process killed while it holds it leaves it locked for ever, and even block=False
waits for it. So a call enters the library only while its process owns the owner word (compare-and-swap from 0 to pid
and start time), which makes the mutex free whenever it is taken: nobody can block in the library. A word owned by a
process that is dead means that the queue may be in any state: QueueWedged, and a fresh pair replaces it. A word owned
by a living one, even a stopped one, means busy: nothing is put or got, try again later. Pure Python has no
compare-and-swap and takes the word under a lock of the kernel's (atomics.py); the two do not exclude each other, so
the header says which one the creator uses, and an end with the other one is refused.

Lossless and ordered while both ends live; link.py makes it so across deaths. One thread per end.

This file alone reaches into the library's internals, so the version is pinned and self_test() checks them.
"""

import ctypes
import importlib.metadata
import os
from queue import Empty, Full

import faster_fifo

from hive.shm.atomics import GUARD, OwnerWord
from hive.shm.errors import LayoutMismatch, MessageTooLarge, QueueUnusable, QueueWedged, ShmError
from hive.shm.layout import QUEUE_HEADER, round_up
from hive.shm.segment import PAYLOAD_OFFSET, Segment, process_start_ticks

FASTER_FIFO = "1.5.2"
KIND = "queue"
MESSAGE_MAX = 4096
_LENGTH_BYTES = 8  # faster-fifo's prefix of every message
_READ_BYTES = 1 << 16
_SPIN_NS = 30_000  # longer than a call with a small batch takes, so that busy is rare while both ends run
_NO_LIMIT = 1_000_000_000
_GUARDS = {1: "compiled modules", 2: "pure Python"}
_OWNER = PAYLOAD_OFFSET + QUEUE_HEADER.offset("owner")
_OBJECT_OFFSET = PAYLOAD_OFFSET + QUEUE_HEADER.size
_ATTRIBUTES = {
    *("max_size_bytes", "maxsize", "max_bytes_to_read", "loads", "dumps", "closed", "last_error"),
    *("queue_obj_buffer", "shared_memory", "message_buffer"),
}


def process_identity(pid: int, start_ticks: int) -> int:
    """Return the owner word of a process: its pid and the low half of its start time, so that a reused pid differs."""
    return pid << 32 | start_ticks & 0xFFFFFFFF


class OrderQueue:
    """One queue, one direction: one process puts, one gets. Make it with create() or attach().

    Attributes:
        name: of its segment; epoch: as created; capacity_bytes: of the circular buffer.
    """

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self.name = segment.name
        self.epoch = segment.epoch
        capacity, object_offset, object_bytes, buffer_offset, guard = QUEUE_HEADER.struct.unpack_from(
            segment.buffer, PAYLOAD_OFFSET
        )[:5]
        if capacity == 0:
            raise LayoutMismatch(f"{self.name} holds no queue yet")
        if guard != GUARD:
            raise LayoutMismatch(
                f"{self.name} was made by {_GUARDS.get(guard, guard)}, this end runs {_GUARDS[GUARD]}: both ends of a "
                "queue must run the same (HIVE_PURE_PYTHON)"
            )
        self.capacity_bytes = capacity
        self._word = OwnerWord(segment.memory(), _OWNER)
        self._pid = os.getpid()
        self._me = process_identity(self._pid, process_start_ticks(self._pid) or 0)
        self._queue = _queue_over(segment.buffer, object_offset, object_bytes, buffer_offset, capacity)

    @classmethod
    def create(cls, name: str, epoch: int, capacity_bytes: int = 1 << 20) -> "OrderQueue":
        """Create a queue in a new segment.

        Args:
            name: of the segment (segment_name()).
            epoch: of the pair.
            capacity_bytes: of the circular buffer; a message takes its length and 8 bytes.

        Raises:
            SegmentExists, ShmFull: as Segment.create().
        """
        if capacity_bytes < MESSAGE_MAX + _LENGTH_BYTES:
            raise ValueError(f"capacity_bytes must be >= {MESSAGE_MAX + _LENGTH_BYTES}, was {capacity_bytes}")
        object_bytes = _object_bytes()
        buffer_offset = round_up(_OBJECT_OFFSET + object_bytes)
        segment = Segment.create(name, buffer_offset + capacity_bytes, kind=KIND, epoch=epoch)
        _construct(*_areas(segment.buffer, _OBJECT_OFFSET, object_bytes, buffer_offset, capacity_bytes))
        header = (capacity_bytes, _OBJECT_OFFSET, object_bytes, buffer_offset, GUARD)
        QUEUE_HEADER.struct.pack_into(segment.buffer, PAYLOAD_OFFSET, *header, *(0,) * 11)
        return cls(segment)

    @classmethod
    def attach(cls, name: str) -> "OrderQueue":
        """Open a queue that another process created; SegmentMissing, LayoutMismatch as Segment.open()."""
        return cls(Segment.open(name, kind=KIND, writable=True))

    def put_many(self, messages: list[bytes]) -> int:
        """Put messages in order, as many from the front as fit.

        Returns:
            How many were taken: fewer than given when the queue is full, 0 when it is full or busy.

        Raises:
            MessageTooLarge: one is longer than MESSAGE_MAX bytes or empty; nothing was put.
            QueueWedged: the other process died inside the queue.
        """
        needed = 0
        for message in messages:
            if not 0 < len(message) <= MESSAGE_MAX:
                raise MessageTooLarge(f"a message must have 1 to {MESSAGE_MAX} bytes, was {len(message)}")
            needed += len(message) + _LENGTH_BYTES
        if not messages or not self._enter():
            return 0
        try:
            free = self.capacity_bytes - self._queue.data_size()
            if needed > free:  # put_many() of the library is all or nothing
                messages = _fitting(messages, free)
            if messages:
                self._queue.put_many(messages, block=False)
            return len(messages)
        except Full:
            return 0
        finally:
            self._word.leave()

    def get_many(self) -> list[bytes]:
        """Take what is there, up to 64 KiB at a time; [] when it is empty or busy.

        Raises:
            QueueWedged: the other process died inside the queue.
        """
        if self._word.owner == 0 and self._queue.data_size() == 0:
            return []  # nobody inside: what is put after this look is announced by its own wake-up
        if not self._enter():
            return []
        try:
            return self._queue.get_many(block=False)
        except Empty:
            return []
        finally:
            self._word.leave()

    def close(self) -> None:
        """Let go of the mapping; the queue must not be used any more."""
        self._queue = None
        self._word = None
        self._segment.close()

    def unlink(self) -> None:
        """Remove the name; repeating is harmless."""
        self._segment.unlink()

    def _enter(self) -> bool:
        if os.getpid() != self._pid:
            raise ShmError(f"queue {self.name} was opened by process {self._pid}: attach() after the fork")
        owner = self._word.enter(self._me, _SPIN_NS)
        if owner == 0:
            return True
        # It may leave between our look at the word and our look at the process: dead outside is no harm.
        if not _lives(owner) and self._word.owner == owner:
            raise QueueWedged(f"queue {self.name}: process {owner >> 32} died inside; a fresh pair must replace it")
        return False


def self_test() -> None:
    """Check that faster-fifo is the pinned one and works as this file needs it; QueueUnusable says what is wrong."""
    version = importlib.metadata.version("faster-fifo")
    if version != FASTER_FIFO:
        raise QueueUnusable(f"faster-fifo must be {FASTER_FIFO}, was {version}: run ./compile")
    capacity = 1000
    object_bytes = _object_bytes()
    buffer_offset = round_up(object_bytes)
    area = memoryview(bytearray(buffer_offset + capacity))
    made = _construct(*_areas(area, 0, object_bytes, buffer_offset, capacity))
    if set(vars(made)) != _ATTRIBUTES:
        raise QueueUnusable(f"faster-fifo's Queue must have {sorted(_ATTRIBUTES)}, was {sorted(vars(made))}")
    one, other = (_queue_over(area, 0, object_bytes, buffer_offset, capacity) for _ in range(2))
    for turn in range(20):  # far enough to wrap around
        messages = [bytes([turn]) * 100, b"x" * (turn + 1)]
        one.put_many(messages, block=False)
        needed = sum(len(message) + _LENGTH_BYTES for message in messages)
        if other.data_size() != needed or other.get_many(block=False) != messages:
            raise QueueUnusable("faster-fifo does not return what was put through another view of its memory")


def _lives(owner: int) -> bool:
    pid = owner >> 32
    start_ticks = process_start_ticks(pid)
    return start_ticks is not None and process_identity(pid, start_ticks) == owner


def _fitting(messages: list[bytes], free: int) -> list[bytes]:
    for count, message in enumerate(messages):
        free -= len(message) + _LENGTH_BYTES
        if free < 0:
            return messages[:count]
    return messages


def _areas(buffer: memoryview, object_offset: int, object_bytes: int, buffer_offset: int, capacity: int) -> tuple:
    return (
        (ctypes.c_ubyte * object_bytes).from_buffer(buffer, object_offset),
        (ctypes.c_ubyte * capacity).from_buffer(buffer, buffer_offset),
    )


class _Placed:
    """Stands in for multiprocessing while faster_fifo.Queue() runs: hands out areas in the order it asks for them."""

    def __init__(self, *areas: ctypes.Array) -> None:
        self.sizes: list[int] = []
        self._areas = list(areas)

    def RawArray(self, type_, size):  # noqa: N802 - the library's name for it
        self.sizes.append(size)
        return self._areas.pop(0) if self._areas else (type_ * size)()

    def RawValue(self, type_, *values):  # noqa: N802
        return type_(*values)


def _with_memory(placed: _Placed, capacity: int):
    # Otherwise the library asks multiprocessing's heap: a file in /dev/shm that is not allocated (SIGBUS when full).
    library_memory = faster_fifo.multiprocessing
    faster_fifo.multiprocessing = placed
    try:
        return faster_fifo.Queue(capacity, loads=bytes, dumps=bytes)
    finally:
        faster_fifo.multiprocessing = library_memory


def _construct(object_area: ctypes.Array, buffer_area: ctypes.Array):
    """Let the library make an empty queue in these areas."""
    placed = _Placed(object_area, buffer_area)
    queue = _with_memory(placed, len(buffer_area))
    if placed.sizes != [len(object_area), len(buffer_area)]:
        raise QueueUnusable(f"faster-fifo must ask for its object and its buffer, asked for {placed.sizes} bytes")
    return queue


def _object_bytes() -> int:
    placed = _Placed()
    _with_memory(placed, 1000)
    return placed.sizes[0]


def _queue_over(buffer: memoryview, object_offset: int, object_bytes: int, buffer_offset: int, capacity: int):
    """Return a faster_fifo.Queue whose two areas lie in `buffer`; nothing in them is changed."""
    queue = faster_fifo.Queue.__new__(faster_fifo.Queue)
    queue.max_size_bytes = capacity
    queue.maxsize = _NO_LIMIT
    queue.loads = queue.dumps = bytes
    queue.closed = None
    areas = _areas(buffer, object_offset, object_bytes, buffer_offset, capacity)
    queue.queue_obj_buffer, queue.shared_memory = areas
    queue.message_buffer = faster_fifo.TLSBuffer(None)
    queue.last_error = None
    # The reading buffer is made once and never outgrown: a get stops at max_bytes_to_read, before the largest message
    # would not fit. Left alone, the library grows it call by call, up to one and a half times the queue.
    queue.reallocate_msg_buffer(_READ_BYTES)
    queue.max_bytes_to_read = _READ_BYTES - MESSAGE_MAX - _LENGTH_BYTES
    return queue
