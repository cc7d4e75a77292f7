"""Order books in shared memory: one writer, any number of readers, nobody waits.

Here are the layout, the protocol, and the table of instruments; book_writer.pyx and book_reader.pyx have the hot paths.

A books segment (offsets from its start; structs in layout.h):

    256                 book_table_header   capacity, depth, versions, count, changes
    directory_offset    capacity instrument records of 256 bytes: rules, generation and place, last trade
    arena_offset        places, one for each book:
                            book_header     head: number of the newest complete version << 8 | state; generation; base
                            versions cells: book_version, then bid_px, bid_qty, ask_px, ask_qty
                                            (room doubles each, best first; room >= the instrument's depth)

Version n lives in cell n % versions. The cell's seq is 2n+1 while it is written and 2n+2 when it is done, so a reader
knows not only that a cell is whole but that it is the version it wants. A writer killed mid-write leaves `head` on the
version before, which nobody touches any more. A version and the state of the book are published by one store.

    write   seq = 2n+1; release fence; payload; seq = 2n+2 (release); head = n, state (release)
    read    head (acquire); generation; seq == 2n+2 (acquire); copy; acquire fence; seq again; else retry, boundedly

An instrument that is removed leaves its place to a later one. The place keeps its cells where they are, and its version
numbers go on (`base` is where the new instrument's begin), so a reader of the old one either finds the version that
`head` named when the place was still its own, whole, or no version; and it knows by `generation`, which is never the
same twice in a segment, that the book is REMOVED.
"""

import time
from collections import deque

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
    store_relaxed_f64,
    store_relaxed_i64,
    store_release,
    store_release_u32,
)
from hive.shm.book_protocol cimport book_place
from hive.shm.book_writer cimport Account, Accounts
from hive.shm.layout cimport book_header, book_table_header, instrument_record, segment_header

from hive.shm.arena import MOST_LEVELS, Arena, arena_bytes, arena_offset, cells_for, place_bytes
from hive.shm.errors import LayoutMismatch, ShmError, TableFull
from hive.shm.instruments import RULES_BYTES, pack_rules, unpack_rules
from hive.shm.layout import INSTRUMENT_RECORD
from hive.shm.segment import PAYLOAD_OFFSET

EMPTY, LIVE, STALE, RESYNCING, HALTED, REMOVED, WRITER_DEAD = range(7)
STATE_NAMES = ("EMPTY", "LIVE", "STALE", "RESYNCING", "HALTED", "REMOVED", "WRITER_DEAD")
SILENT_AFTER_NS = 80_000_000

# book.pxd cimports these, which makes them types here but no attributes of the module.
globals().update(BookCopy=BookCopy, BookReader=BookReader, BookWriter=BookWriter)

cdef enum:
    READ_TRIES = 64
    PATIENT_TRIES = 40

cdef Py_ssize_t HEADER_OFFSET = PAYLOAD_OFFSET

# What of a record changes with the rules: symbol to quote, mantissa to rule_flags. The rest is the instrument's for
# good, written before its generation is stored and untouched until that is gone.
cdef Py_ssize_t SYMBOL_AT = INSTRUMENT_RECORD.offset("symbol")
cdef Py_ssize_t DEPTH_AT = INSTRUMENT_RECORD.offset("depth")
cdef Py_ssize_t MANTISSA_AT = INSTRUMENT_RECORD.offset("mantissa")
cdef Py_ssize_t GENERATION_AT = INSTRUMENT_RECORD.offset("generation")
cdef Py_ssize_t ROOM_AT = INSTRUMENT_RECORD.offset("room")


def books_size(capacity: int, depth: int, versions: int = 8, depths=()) -> int:
    """Return the bytes of a books segment, header included.

    Args:
        capacity: instruments, >= 1.
        depth: levels per side, 1 to 5000, of those that have no number of their own.
        versions: whole books kept per instrument, >= 2; rounded up to a power of two.
        depths: levels per side of instruments that are known to have another number.
    """
    _, arena, cells = _offsets(capacity, depth, versions)
    if any(not 1 <= one <= MOST_LEVELS for one in depths):
        raise ValueError(f"depths must be 1..{MOST_LEVELS}, was {', '.join(map(str, depths))}")
    return arena + arena_bytes(capacity, depth, cells, depths)


def _offsets(capacity, depth, versions):
    if capacity < 1 or not 1 <= depth <= MOST_LEVELS or versions < 2:
        raise ValueError(
            f"a book table needs capacity >= 1, depth 1..{MOST_LEVELS} and versions >= 2, "
            f"was capacity {capacity}, depth {depth}, versions {versions}"
        )
    directory = PAYLOAD_OFFSET + sizeof(book_table_header)
    return directory, arena_offset(directory + capacity * sizeof(instrument_record)), cells_for(versions)


cdef class BookTable:
    """The writer's view of a books segment: adds and removes instruments, sets states, hands out writers.

    Args:
        segment: a fresh one, created with books_size(capacity, depth, versions, ...) bytes and kind "books".
        capacity, depth, versions: as given to books_size().
    """

    cdef Memory _memory
    cdef book_table_header *_header
    cdef dict _slots
    cdef object _free_slots
    cdef object _arena
    cdef Accounts _accounts
    cdef uint64_t _epoch
    cdef uint64_t _generation

    def __init__(self, segment, uint32_t capacity, uint32_t depth, uint32_t versions=8):
        directory, arena, cells = _offsets(capacity, depth, versions)
        size = books_size(capacity, depth, versions)
        if segment.size < size:
            raise ValueError(f"{segment.name} must have {size} bytes for these books, was {segment.size}")
        self._memory = Memory(segment.buffer, True)
        self._header = <book_table_header *>self._memory.at(HEADER_OFFSET, sizeof(book_table_header))
        self._slots = {}
        self._free_slots = deque()
        self._arena = Arena(arena, segment.size, cells, depth)
        self._accounts = Accounts(capacity)
        self._epoch = segment.epoch
        self._generation = 0
        if self._header.capacity:
            raise ShmError(f"{segment.name} is in use: a writer makes a segment of the next epoch")
        self._header.depth = depth
        self._header.versions = cells
        self._header.directory_offset = directory
        self._header.arena_offset = arena
        self._header.arena_bytes = segment.size - arena
        store_release_u32(&self._header.capacity, capacity)  # pairs with load_acquire_u32 in BookDirectory

    cdef instrument_record *_record(self, Py_ssize_t slot) except NULL:
        if not 0 <= slot < self._header.count:
            raise IndexError(f"slot must be below {self._header.count}, was {slot}")
        cdef instrument_record *record = _record_at(self._memory, self._header, slot)
        if record.generation == 0:
            raise IndexError(f"slot {slot} holds no instrument: it was removed")
        return record

    cdef book_header *_book(self, const instrument_record *record) except NULL:
        return <book_header *>self._memory.at(record.offset, sizeof(book_header))

    def add(self, rules, depth=None) -> int:
        """Add an instrument, or change the rules of one that is there; return its slot.

        Args:
            rules: InstrumentRules.
            depth: levels per side, 1 to 5000; None is the table's. One that is there keeps its own.

        Raises:
            TableFull: no slot is free, or no place that is deep enough.
            ValueError: `depth` is out of range, or another than that of the instrument that is there.
        """
        if depth is not None and not 1 <= depth <= MOST_LEVELS:
            raise ValueError(f"depth of {rules.pair} must be 1..{MOST_LEVELS}, was {depth}")
        slot = self._slots.get(rules.pair)
        if slot is None:
            return self._add(rules, self._header.depth if depth is None else depth)
        self._change(_record_at(self._memory, self._header, slot), rules, depth)
        return slot

    cdef _add(self, rules, uint32_t depth):
        cdef instrument_record *record
        cdef book_header *book
        cdef bytes data = pack_rules(rules, depth, self._header.versions, 0)  # refuses before anything is taken
        cdef Py_ssize_t slot = self._free_slots[0] if self._free_slots else self._header.count
        if slot == self._header.capacity:
            raise TableFull(f"a book table of {self._header.capacity} instruments is full: no room for {rules.pair}")
        place = self._arena.take(depth)
        if place is None:
            raise TableFull(f"the books have no place left for {depth} levels per side: no room for {rules.pair}")
        if self._free_slots:
            self._free_slots.popleft()
        cdef uint64_t offset = place[0]
        cdef uint64_t generation = self._generation + 1
        self._generation = generation
        data = pack_rules(rules, depth, self._header.versions, offset, generation, place[1])

        book = <book_header *>self._memory.at(offset, place_bytes(place[1], self._header.versions))
        cdef uint64_t base = load_relaxed(&book.head) >> 8
        store_relaxed(&book.base, base)
        store_relaxed_i64(&book.state_ns, 0)
        store_relaxed(&book.generation, generation)
        # pairs with load_acquire(&head) in book_newest(): who sees this head or a later one sees the new generation
        store_release(&book.head, base << 8 | <uint64_t>EMPTY_STATE)
        self._accounts.of_slot[slot] = Account(base << 8 | <uint64_t>EMPTY_STATE, generation)

        record = _record_at(self._memory, self._header, slot)
        self._write_rules(record, data, True)
        store_relaxed_f64(&record.last_trade, 0.0)
        store_relaxed_i64(&record.last_trade_ns, 0)
        # pairs with load_acquire(&generation) in BookDirectory: who sees it sees the record and the book's header
        store_release(&record.generation, generation)
        fence_release()  # pairs with fence_acquire() in c_last_trade(): who sees a trade to come sees the generation
        if slot == self._header.count:
            store_release_u32(&self._header.count, <uint32_t>slot + 1)  # pairs with BookDirectory._count()
        self._changed()
        self._slots[rules.pair] = slot
        return slot

    cdef _change(self, instrument_record *record, rules, depth):
        if depth is not None and depth != record.depth:
            raise ValueError(
                f"depth of {rules.pair} is {record.depth} levels per side for as long as it is there, was {depth}"
            )
        cdef bytes data = pack_rules(
            rules, record.depth, record.versions, record.offset, record.generation, record.room
        )
        self._write_rules(record, data, False)
        self._changed()

    cdef int _write_rules(self, instrument_record *record, bytes data, bint place_too) except -1:
        cdef const char *source = data
        cdef char *target = <char *>record
        cdef uint64_t seq = load_relaxed(&record.rules_seq)
        store_relaxed(&record.rules_seq, seq + 1)
        fence_release()  # pairs with fence_acquire() in _read_rules()
        if place_too:  # the generation is 0: nobody reads these
            copy_bytes(target, source, SYMBOL_AT)
            copy_bytes(target + DEPTH_AT, source + DEPTH_AT, MANTISSA_AT - DEPTH_AT)
            copy_bytes(target + ROOM_AT, source + ROOM_AT, RULES_BYTES - ROOM_AT)
        copy_bytes(target + SYMBOL_AT, source + SYMBOL_AT, DEPTH_AT - SYMBOL_AT)
        copy_bytes(target + MANTISSA_AT, source + MANTISSA_AT, GENERATION_AT - MANTISSA_AT)
        store_release(&record.rules_seq, seq + 2)  # pairs with load_acquire(&rules_seq) in _read_rules()
        return 0

    cdef int _changed(self) except -1:
        # pairs with load_acquire(&changes) in BookDirectory
        store_release(&self._header.changes, load_relaxed(&self._header.changes) + 1)
        return 0

    def remove(self, slot: int) -> None:
        """Remove an instrument: its readers see REMOVED, its writer publishes nothing, slot and place are reused.

        Raises IndexError when the slot holds none.
        """
        cdef instrument_record *record = self._record(slot)
        cdef book_header *book = self._book(record)
        pair = _name(record)
        place = record.offset, record.room
        self._accounts.of_slot[slot].generation = 0
        store_release(&book.head, self._accounts.of_slot[slot].head & ~<uint64_t>0xFF | <uint64_t>REMOVED_STATE)
        # The fence pairs with fence_acquire() in book_still(): who sees what the place's next
        # owner writes sees that the generation has changed, if it looks for it afterwards.
        store_relaxed(&book.generation, 0)
        store_relaxed(&record.generation, 0)
        fence_release()  # pairs with fence_acquire() in _place() and c_last_trade() too
        self._changed()
        del self._slots[pair]
        self._free_slots.append(slot)
        self._arena.give_back(*place)

    def find(self, pair: str) -> int:
        """Return the slot of `pair`, -1 when it is not there."""
        return self._slots.get(pair, -1)

    def rules(self, slot: int):
        """Return the InstrumentRules of a slot."""
        return _read_rules(self._record(slot))

    def set_state(self, slot: int, uint32_t state, int64_t now_ns) -> None:
        """Set EMPTY, LIVE, STALE, RESYNCING or HALTED, together with the version that is the newest now."""
        if state >= REMOVED_STATE:
            raise ValueError(f"state must be one of 0..{HALTED}, was {state}")
        cdef book_header *book = self._book(self._record(slot))
        cdef Account *account = &self._accounts.of_slot[slot]
        account.head = account.head & ~<uint64_t>0xFF | state
        store_relaxed_i64(&book.state_ns, now_ns)
        store_release(&book.head, account.head)  # pairs with load_acquire(&head) in book_newest()

    def writer(self, slot: int) -> BookWriter:
        """Return the writer of a slot's book; an instrument has one writer, ever."""
        cdef BookWriter writer = BookWriter.__new__(BookWriter)
        cdef instrument_record *record = self._record(slot)
        writer._memory = self._memory
        writer._record = record
        _set_place(&writer._place, self._memory, record)
        writer._accounts = self._accounts
        writer._account = &self._accounts.of_slot[slot]
        writer._epoch = self._epoch
        writer.generation = record.generation
        writer.depth = record.depth
        writer.slot = slot
        return writer


cdef enum:  # as the Python names above; a test compares them
    EMPTY_STATE = 0
    REMOVED_STATE = 5


cdef instrument_record *_record_at(Memory memory, const book_table_header *header, Py_ssize_t slot) except NULL:
    return <instrument_record *>memory.at(
        header.directory_offset + slot * sizeof(instrument_record), sizeof(instrument_record)
    )


cdef int _set_place(book_place *place, Memory memory, const instrument_record *record) except -1:
    size = place_bytes(record.room, record.versions)
    place.book = <book_header *>memory.at(record.offset, size)
    place.cells = <char *>place.book + sizeof(book_header)
    place.cell_bytes = (size - sizeof(book_header)) // record.versions
    place.mask = record.versions - 1
    place.generation = record.generation
    # The base is this generation's, or the place has passed on, and then every read says GONE.
    place.base = load_relaxed(&place.book.base)
    place.room = record.room
    place.depth = record.depth
    return 0


cdef str _name(const instrument_record *record):
    return (<bytes>record.pair[:24]).rstrip(b"\0").decode("ascii")


cdef _read_rules(const instrument_record *record):
    cdef instrument_record copy
    cdef uint64_t seq
    cdef int turn
    for turn in range(READ_TRIES + PATIENT_TRIES):
        seq = load_acquire(&record.rules_seq)  # pairs with store_release(&rules_seq) in BookTable._write_rules()
        if not seq & 1:
            copy_bytes(&copy, record, RULES_BYTES)
            fence_acquire()  # pairs with fence_release() in BookTable._write_rules()
            if load_relaxed(&record.rules_seq) == seq:
                return unpack_rules((<char *>&copy)[:RULES_BYTES])
        if turn < READ_TRIES:
            cpu_relax()
        else:
            time.sleep(0.0005)  # the writer may have lost its CPU in the middle
    raise ShmError("an instrument's rules are half written: their writer died")


cdef class BookDirectory:
    """A reader's view of a books segment: which instruments there are, and a BookReader for each.

    It follows what the writer adds and removes. `changes` counts those, and changes of rules.

    Args:
        segment: opened with kind "books".
        silent_after_ns: age of the writer's heartbeat from which on its books are WRITER_DEAD.
    """

    cdef Memory _memory
    cdef const book_table_header *_header
    cdef dict _slots
    cdef uint64_t _seen
    cdef readonly uint64_t epoch
    cdef readonly object name
    cdef readonly int64_t silent_after_ns

    def __init__(self, segment, int64_t silent_after_ns=SILENT_AFTER_NS):
        self._memory = Memory(segment.buffer)
        self._header = <const book_table_header *>self._memory.at(HEADER_OFFSET, sizeof(book_table_header))
        if load_acquire_u32(&self._header.capacity) == 0:  # pairs with store_release_u32 in BookTable
            raise LayoutMismatch(f"{segment.name} holds no book table yet")
        if silent_after_ns <= 0:
            raise ValueError(f"silent_after_ns must be above 0, was {silent_after_ns}")
        self._slots = {}
        self._seen = 0
        self.epoch = segment.epoch
        self.name = segment.name
        self.silent_after_ns = silent_after_ns

    cdef uint32_t _count(self) noexcept:
        return load_acquire_u32(&self._header.count)  # pairs with store_release_u32(&count) in BookTable._add()

    @property
    def changes(self) -> int:
        """How often an instrument was added or removed, or its rules were changed."""
        return load_acquire(&self._header.changes)  # pairs with store_release(&changes) in BookTable._changed()

    cdef _refresh(self):
        cdef uint64_t changes = load_acquire(&self._header.changes)  # pairs with BookTable._changed()
        cdef const instrument_record *record
        cdef instrument_record copy
        cdef Py_ssize_t slot
        if changes == self._seen:
            return
        slots = {}
        for slot in range(self._count()):
            if _place(_record_at(self._memory, self._header, slot), &copy):
                slots[_name(&copy)] = slot
        self._slots = slots
        self._seen = changes  # what changed during the scan is seen by the next one

    def find(self, pair: str) -> int:
        """Return the slot of `pair`, -1 when the writer has not added it (yet) or has removed it."""
        self._refresh()
        return self._slots.get(pair, -1)

    def pairs(self) -> list:
        """Return the pairs in the order of their slots."""
        self._refresh()
        return list(self._slots)

    def rules(self, slot: int):
        """Return the InstrumentRules of a slot as they are now. IndexError when it holds no instrument."""
        cdef instrument_record place
        return _read_rules(self._checked(slot, &place))

    def reader(self, slot: int) -> BookReader:
        """Return a reader of a slot's book; it keeps the segment mapped for as long as it lives.

        IndexError when the slot holds no instrument. Slots are reused: `reader.pair` tells whose book it is.
        """
        cdef instrument_record place
        cdef const instrument_record *record = self._checked(slot, &place)
        cdef BookReader reader = BookReader.__new__(BookReader)
        reader._memory = self._memory
        reader._segment = <const segment_header *>self._memory.base
        reader._record = record
        _set_place(&reader._place, self._memory, &place)
        reader.generation = place.generation
        reader.room = place.room
        reader.depth = place.depth
        reader.slot = slot
        reader.epoch = self.epoch
        reader.pair = _name(&place)
        reader.silent_after_ns = self.silent_after_ns
        return reader

    def reader_of(self, pair: str):
        """Return a reader of a pair's book, None when the writer has not added it (yet) or has removed it.

        Whoever knows the pair asks here: between find() and reader() a slot may pass on to another instrument.
        """
        try:
            reader = self.reader(self.find(pair))
        except IndexError:
            return None
        return reader if reader.pair == pair else None

    def rules_of(self, pair: str):
        """Return a pair's InstrumentRules as they are now, None as reader_of()."""
        try:
            rules = self.rules(self.find(pair))
        except IndexError:
            return None
        return rules if rules.pair == pair else None

    @property
    def depth(self) -> int:
        """Levels per side of an instrument without a number of its own."""
        return self._header.depth

    @property
    def heartbeat_ns(self) -> int:
        """When the writer last beat (monotonic), 0 when it never did."""
        return load_relaxed_i64(&(<const segment_header *>self._memory.base).heartbeat_ns)

    @property
    def heartbeat_boot_ns(self) -> int:
        """When the writer last beat (CLOCK_BOOTTIME), 0 when it never did."""
        return load_relaxed_i64(&(<const segment_header *>self._memory.base).heartbeat_boot_ns)

    cdef const instrument_record *_checked(self, Py_ssize_t slot, instrument_record *place) except NULL:
        if not 0 <= slot < self._count():
            raise IndexError(f"slot must be below {self._count()}, was {slot}")
        cdef const instrument_record *record = _record_at(self._memory, self._header, slot)
        if not _place(record, place):
            raise IndexError(f"slot {slot} holds no instrument: it was removed")
        return record


cdef bint _place(const instrument_record *record, instrument_record *into) noexcept:
    """Copy name, place and generation of one instrument; False when the slot is free (or passes on just now)."""
    cdef int turn
    for turn in range(READ_TRIES):
        into.generation = load_acquire(&record.generation)  # pairs with store_release(&generation) in BookTable._add()
        if into.generation == 0:
            return False
        copy_bytes(into, record, MANTISSA_AT)
        into.room = record.room
        fence_acquire()  # pairs with fence_release() in BookTable.remove()
        if load_relaxed(&record.generation) == into.generation:
            return True
    return False
