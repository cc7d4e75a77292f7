"""Order books in shared memory: one writer, any number of readers, nobody waits.

Here are the layout, the protocol, and the table of instruments; book_writer.pyx and book_reader.pyx have the hot paths.

A books segment (offsets from its start; structs in layout.h):

    256                 book_table_header   capacity, depth, versions, count
    directory_offset    capacity instrument records of 256 bytes: rules, state, last trade
    books_offset        capacity books of book_bytes each:
                            book_header     latest: number of the newest complete version, 0 none yet
                            versions cells of version_bytes: book_version, then bid_px, bid_qty, ask_px, ask_qty
                                                             (depth doubles each, best first)

Version n (from 1) lives in cell n % versions. The cell's seq is 2n+1 while it is written and 2n+2 when it is done, so a
reader knows not only that a cell is whole but that it is the version it wants. A writer killed mid-write leaves
`latest` on the version before, which nobody touches any more.

    write   seq = 2n+1; release fence; payload; seq = 2n+2 (release); latest = n (release)
    read    latest (acquire); seq == 2n+2 (acquire); copy; acquire fence; seq == 2n+2 again; else retry, boundedly
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from hive.shm.atomics cimport (
    Memory,
    copy_bytes,
    cpu_relax,
    fence_acquire,
    fence_release,
    load_acquire,
    load_acquire_u32,
    load_relaxed,
    load_relaxed_i64,
    store_relaxed,
    store_relaxed_i64,
    store_release,
    store_release_u32,
)
from hive.shm.layout cimport book_header, book_table_header, book_version, instrument_record, segment_header

from hive.shm.errors import LayoutMismatch, ShmError, TableFull
from hive.shm.instruments import RULES_BYTES, pack_rules, unpack_rules
from hive.shm.layout import round_up
from hive.shm.segment import PAYLOAD_OFFSET

EMPTY, LIVE, STALE, RESYNCING, HALTED = range(5)
STATE_NAMES = ("EMPTY", "LIVE", "STALE", "RESYNCING", "HALTED")

# book.pxd cimports these, which makes them types here but no attributes of the module.
globals().update(BookCopy=BookCopy, BookReader=BookReader, BookWriter=BookWriter)

cdef enum:
    READ_TRIES = 64

cdef Py_ssize_t HEADER_OFFSET = PAYLOAD_OFFSET


def books_size(capacity: int, depth: int, versions: int = 8) -> int:
    """Return the bytes of a books segment, header included.

    Args:
        capacity: instruments, >= 1.
        depth: levels per side, 1 to 5000.
        versions: whole books kept per instrument, >= 2.
    """
    return _offsets(capacity, depth, versions)[3]


def _version_bytes(depth):
    return round_up(sizeof(book_version) + 4 * 8 * depth)


def _offsets(capacity, depth, versions):
    if capacity < 1 or not 1 <= depth <= 5000 or versions < 2:
        raise ValueError(
            "a book table needs capacity >= 1, depth 1..5000 and versions >= 2, "
            f"was capacity {capacity}, depth {depth}, versions {versions}"
        )
    directory = PAYLOAD_OFFSET + sizeof(book_table_header)
    books = directory + capacity * sizeof(instrument_record)
    book_bytes = sizeof(book_header) + versions * _version_bytes(depth)
    return directory, books, book_bytes, books + capacity * book_bytes


cdef class BookTable:
    """The writer's view of a books segment: adds instruments, sets states, hands out writers.

    Args:
        segment: a fresh one, created with books_size(capacity, depth, versions) bytes and kind "books".
        capacity, depth, versions: as given to books_size().
    """

    cdef Memory _memory
    cdef book_table_header *_header
    cdef dict _slots
    cdef uint64_t _epoch

    def __init__(self, segment, uint32_t capacity, uint32_t depth, uint32_t versions=8):
        directory, books, book_bytes, size = _offsets(capacity, depth, versions)
        if segment.size < size:
            raise ValueError(f"{segment.name} must have {size} bytes for these books, was {segment.size}")
        self._memory = Memory(segment.buffer, True)
        self._header = <book_table_header *>self._memory.at(HEADER_OFFSET, sizeof(book_table_header))
        self._slots = {}
        self._epoch = segment.epoch
        if self._header.capacity:
            raise ShmError(f"{segment.name} is in use: a writer makes a segment of the next epoch")
        self._header.depth = depth
        self._header.versions = versions
        self._header.directory_offset = directory
        self._header.books_offset = books
        self._header.book_bytes = book_bytes
        self._header.version_bytes = _version_bytes(depth)
        store_release_u32(&self._header.capacity, capacity)  # pairs with load_acquire_u32 in BookDirectory

    cdef instrument_record *_record(self, Py_ssize_t slot) except NULL:
        if not 0 <= slot < self._header.count:
            raise IndexError(f"slot must be below {self._header.count}, was {slot}")
        return _record_at(self._memory, self._header, slot)

    def add(self, rules) -> int:
        """Add an instrument, or change the rules of one that is there; return its slot. TableFull when none is free."""
        cdef Py_ssize_t slot = self._slots.get(rules.pair, self._header.count)
        if slot == self._header.capacity:
            raise TableFull(f"a book table of {self._header.capacity} instruments is full: no room for {rules.pair}")
        cdef instrument_record *record = _record_at(self._memory, self._header, slot)
        offset = self._header.books_offset + slot * self._header.book_bytes
        cdef bytes data = pack_rules(rules, self._header.depth, self._header.versions, offset)
        cdef uint64_t seq = load_relaxed(&record.rules_seq)
        store_relaxed(&record.rules_seq, seq + 1)
        fence_release()  # pairs with fence_acquire() in _read_rules()
        copy_bytes(record, <const char *>data, RULES_BYTES)
        store_release(&record.rules_seq, seq + 2)  # pairs with load_acquire(&rules_seq) in _read_rules()
        if slot == self._header.count:
            self._slots[rules.pair] = slot
            store_release_u32(&self._header.count, <uint32_t>slot + 1)  # pairs with BookDirectory._count()
        return slot

    def find(self, pair: str) -> int:
        """Return the slot of `pair`, -1 when it is not there."""
        return self._slots.get(pair, -1)

    def rules(self, slot: int):
        """Return the InstrumentRules of a slot."""
        return _read_rules(self._record(slot))

    def set_state(self, slot: int, uint32_t state, int64_t now_ns) -> None:
        """Set EMPTY, LIVE, STALE, RESYNCING or HALTED."""
        if state > HALTED:
            raise ValueError(f"state must be one of 0..{HALTED}, was {state}")
        cdef instrument_record *record = self._record(slot)
        store_relaxed_i64(&record.state_ns, now_ns)
        store_release_u32(&record.state, state)  # pairs with BookReader.c_state(): the book it speaks of is there

    def writer(self, slot: int) -> BookWriter:
        """Return the writer of a slot's book; a slot has one writer, ever."""
        cdef BookWriter writer = BookWriter.__new__(BookWriter)
        writer._memory = self._memory
        writer._record = self._record(slot)
        writer._book = <book_header *>self._memory.at(writer._record.offset, self._header.book_bytes)
        writer._versions_base = <char *>writer._book + sizeof(book_header)
        writer._version_bytes = self._header.version_bytes
        writer._versions = self._header.versions
        writer._epoch = self._epoch
        writer._n = load_relaxed(&writer._book.latest)
        writer.depth = self._header.depth
        writer.slot = slot
        return writer


cdef instrument_record *_record_at(Memory memory, const book_table_header *header, Py_ssize_t slot) except NULL:
    return <instrument_record *>memory.at(
        header.directory_offset + slot * sizeof(instrument_record), sizeof(instrument_record)
    )


cdef _read_rules(const instrument_record *record):
    cdef instrument_record copy
    cdef uint64_t seq
    for _ in range(READ_TRIES):
        seq = load_acquire(&record.rules_seq)  # pairs with store_release(&rules_seq) in BookTable.add()
        if not seq & 1:
            copy_bytes(&copy, record, RULES_BYTES)
            fence_acquire()  # pairs with fence_release() in BookTable.add()
            if load_relaxed(&record.rules_seq) == seq:
                return unpack_rules((<char *>&copy)[:RULES_BYTES])
        cpu_relax()
    raise ShmError("an instrument's rules are half written: their writer died")


cdef class BookDirectory:
    """A reader's view of a books segment: which instruments there are, and a BookReader for each.

    Args:
        segment: opened with kind "books".
    """

    cdef Memory _memory
    cdef const book_table_header *_header
    cdef dict _slots
    cdef readonly uint64_t epoch
    cdef readonly object name

    def __init__(self, segment):
        self._memory = Memory(segment.buffer)
        self._header = <const book_table_header *>self._memory.at(HEADER_OFFSET, sizeof(book_table_header))
        if load_acquire_u32(&self._header.capacity) == 0:  # pairs with store_release_u32 in BookTable
            raise LayoutMismatch(f"{segment.name} holds no book table yet")
        self._slots = {}
        self.epoch = segment.epoch
        self.name = segment.name

    cdef uint32_t _count(self) noexcept:
        return load_acquire_u32(&self._header.count)  # pairs with store_release_u32(&count) in BookTable.add()

    cdef _refresh(self):
        cdef Py_ssize_t slot
        for slot in range(len(self._slots), self._count()):
            name = (<bytes>_record_at(self._memory, self._header, slot).pair[:24]).rstrip(b"\0")
            self._slots[name.decode("ascii")] = slot

    def find(self, pair: str) -> int:
        """Return the slot of `pair`, -1 when the writer has not added it (yet)."""
        slot = self._slots.get(pair, -1)
        if slot < 0:
            self._refresh()
            slot = self._slots.get(pair, -1)
        return slot

    def pairs(self) -> list:
        """Return the pairs in the order of their slots."""
        self._refresh()
        return list(self._slots)

    def rules(self, slot: int):
        """Return the InstrumentRules of a slot as they are now."""
        return _read_rules(self._checked(slot))

    def reader(self, slot: int) -> BookReader:
        """Return a reader of a slot's book; it keeps the segment mapped for as long as it lives."""
        cdef const instrument_record *record = self._checked(slot)
        cdef BookReader reader = BookReader.__new__(BookReader)
        reader._memory = self._memory
        reader._segment = <const segment_header *>self._memory.base
        reader._record = record
        reader._book = <const book_header *>self._memory.at(record.offset, self._header.book_bytes)
        reader._versions_base = <const char *>reader._book + sizeof(book_header)
        reader._version_bytes = self._header.version_bytes
        reader._versions = self._header.versions
        reader.depth = self._header.depth
        reader.slot = slot
        reader.epoch = self.epoch
        return reader

    @property
    def depth(self) -> int:
        """Levels per side."""
        return self._header.depth

    @property
    def heartbeat_ns(self) -> int:
        """When the writer last beat (monotonic), 0 when it never did."""
        return load_relaxed_i64(&(<const segment_header *>self._memory.base).heartbeat_ns)

    cdef const instrument_record *_checked(self, Py_ssize_t slot) except NULL:
        if not 0 <= slot < self._count():
            raise IndexError(f"slot must be below {self._count()}, was {slot}")
        return _record_at(self._memory, self._header, slot)
