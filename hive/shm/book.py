"""Order books in shared memory in pure Python, the twin of book.pyx: the table of instruments, of writer and reader.

The layout and the protocol are described there; atomics.py says why plain stores and loads keep its order.
"""

import struct
import time
from collections import deque

from hive.shm.arena import MOST_LEVELS, Arena, arena_bytes, arena_offset, cells_for, place_bytes
from hive.shm.atomics import Memory
from hive.shm.book_reader import BookCopy, BookReader
from hive.shm.book_writer import BASE, GENERATION, HEAD, LAST_TRADE, LAST_TRADE_NS, STATE_NS, BookWriter
from hive.shm.errors import LayoutMismatch, ShmError, TableFull
from hive.shm.instruments import RULES_BYTES, InstrumentRules, pack_rules, unpack_rules
from hive.shm.layout import BOOK_HEADER, BOOK_TABLE_HEADER, INSTRUMENT_RECORD, SEGMENT_HEADER
from hive.shm.segment import PAYLOAD_OFFSET

__all__ = ["BookCopy", "BookDirectory", "BookReader", "BookTable", "BookWriter", "books_size"]

EMPTY, LIVE, STALE, RESYNCING, HALTED, REMOVED, WRITER_DEAD = range(7)
STATE_NAMES = ("EMPTY", "LIVE", "STALE", "RESYNCING", "HALTED", "REMOVED", "WRITER_DEAD")
SILENT_AFTER_NS = 80_000_000
READ_TRIES = 64
PATIENT_TRIES = 40

_CAPACITY, _DEPTH, _VERSIONS, _COUNT = (
    PAYLOAD_OFFSET + BOOK_TABLE_HEADER.offset(name) >> 2 for name in ("capacity", "depth", "versions", "count")
)
_DIRECTORY, _ARENA, _ARENA_BYTES, _CHANGES = (
    PAYLOAD_OFFSET + BOOK_TABLE_HEADER.offset(name) >> 3
    for name in ("directory_offset", "arena_offset", "arena_bytes", "changes")
)
_HEARTBEAT, _HEARTBEAT_BOOT = (SEGMENT_HEADER.offset(name) >> 3 for name in ("heartbeat_ns", "heartbeat_boot_ns"))

# What of a record changes with the rules: symbol to quote, mantissa to rule_flags. The rest is the instrument's for
# good, written before its generation is stored and untouched until that is gone.
_SYMBOL_AT, _DEPTH_AT, _MANTISSA_AT, _GENERATION_AT, _ROOM_AT = (
    INSTRUMENT_RECORD.offset(name) for name in ("symbol", "depth", "mantissa", "generation", "room")
)
_RULES_SEQ = INSTRUMENT_RECORD.offset("rules_seq") >> 3
_PLACE = struct.Struct("=24s24s12s12sIIQ")  # pair to offset: what lies before _MANTISSA_AT


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


def _offsets(capacity: int, depth: int, versions: int) -> tuple[int, int, int]:
    if capacity < 1 or not 1 <= depth <= MOST_LEVELS or versions < 2:
        raise ValueError(
            f"a book table needs capacity >= 1, depth 1..{MOST_LEVELS} and versions >= 2, "
            f"was capacity {capacity}, depth {depth}, versions {versions}"
        )
    directory = PAYLOAD_OFFSET + BOOK_TABLE_HEADER.size
    arena = arena_offset(directory + capacity * INSTRUMENT_RECORD.size)
    return directory, arena, cells_for(versions)


class _Place:
    """Whose a directory record is, and where its book lies: offset, room, depth, cells; `record` is its own offset."""

    __slots__ = ("cells", "depth", "generation", "offset", "pair", "record", "room")

    def __init__(self, memory: Memory, record: int) -> None:
        texts = _PLACE.unpack_from(memory.octets, record)
        self.record = record
        self.pair = texts[0].rstrip(b"\0")
        self.depth, self.cells, self.offset = texts[4:]
        self.room = memory.halves[record + _ROOM_AT >> 2]
        self.generation = memory.words[record + _GENERATION_AT >> 3]


def _place(memory: Memory, record: int) -> _Place | None:
    """Return the place of one instrument; None when the slot is free (or passes on just now)."""
    for _ in range(READ_TRIES):
        generation = memory.words[record + _GENERATION_AT >> 3]  # acquire: pairs with the store in BookTable._add()
        if generation == 0:
            return None
        place = _Place(memory, record)  # reads the generation last: pairs with the store of 0 in BookTable.remove()
        if place.generation == generation:
            return place
    return None


def _read_rules(memory: Memory, record: int) -> InstrumentRules:
    seq_at = (record >> 3) + _RULES_SEQ
    for turn in range(READ_TRIES + PATIENT_TRIES):
        seq = memory.words[seq_at]  # acquire: pairs with the store of the even number in BookTable._write_rules()
        if not seq & 1:
            data = bytes(memory.octets[record : record + RULES_BYTES])
            if memory.words[seq_at] == seq:  # pairs with the store of the odd number in BookTable._write_rules()
                return unpack_rules(data)
        if turn >= READ_TRIES:
            time.sleep(0.0005)  # the writer may have lost its CPU in the middle
    raise ShmError("an instrument's rules are half written: their writer died")


class BookTable:
    """The writer's view of a books segment: adds and removes instruments, sets states, hands out writers.

    Args:
        segment: a fresh one, created with books_size(capacity, depth, versions, ...) bytes and kind "books".
        capacity, depth, versions: as given to books_size().
    """

    def __init__(self, segment, capacity: int, depth: int, versions: int = 8) -> None:
        directory, arena, cells = _offsets(capacity, depth, versions)
        size = books_size(capacity, depth, versions)
        if segment.size < size:
            raise ValueError(f"{segment.name} must have {size} bytes for these books, was {segment.size}")
        self._memory = memory = Memory(segment.buffer, True)
        self._directory = directory
        self._slots = {}
        self._free_slots = deque()
        self._arena = Arena(arena, segment.size, cells, depth)
        self._epoch = segment.epoch
        self._generation = 0
        if memory.halves[_CAPACITY]:
            raise ShmError(f"{segment.name} is in use: a writer makes a segment of the next epoch")
        memory.halves[_DEPTH] = depth
        memory.halves[_VERSIONS] = cells
        memory.words[_DIRECTORY] = directory
        memory.words[_ARENA] = arena
        memory.words[_ARENA_BYTES] = segment.size - arena
        memory.halves[_CAPACITY] = capacity  # release: pairs with the load in BookDirectory

    def _record_of(self, slot: int) -> int:
        return self._directory + slot * INSTRUMENT_RECORD.size

    def _checked(self, slot: int) -> _Place:
        count = self._memory.halves[_COUNT]
        if not 0 <= slot < count:
            raise IndexError(f"slot must be below {count}, was {slot}")
        place = _Place(self._memory, self._record_of(slot))
        if place.generation == 0:
            raise IndexError(f"slot {slot} holds no instrument: it was removed")
        return place

    def add(self, rules: InstrumentRules, depth: int | None = None) -> int:
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
            return self._add(rules, self._memory.halves[_DEPTH] if depth is None else depth)
        self._change(_Place(self._memory, self._record_of(slot)), rules, depth)
        return slot

    def _add(self, rules: InstrumentRules, depth: int) -> int:
        memory = self._memory
        words, halves = memory.words, memory.halves
        capacity, cells = halves[_CAPACITY], halves[_VERSIONS]
        pack_rules(rules, depth, cells, 0)  # refuses before anything is taken
        slot = self._free_slots[0] if self._free_slots else halves[_COUNT]
        if slot == capacity:
            raise TableFull(f"a book table of {capacity} instruments is full: no room for {rules.pair}")
        place = self._arena.take(depth)
        if place is None:
            raise TableFull(f"the books have no place left for {depth} levels per side: no room for {rules.pair}")
        if self._free_slots:
            self._free_slots.popleft()
        offset, room = place
        self._generation += 1
        data = pack_rules(rules, depth, cells, offset, self._generation, room)

        book = memory.at(offset, place_bytes(room, cells)) >> 3
        base = words[book + HEAD] >> 8
        words[book + BASE] = base
        memory.signed[book + STATE_NS] = 0
        words[book + GENERATION] = self._generation
        # release, pairs with the load of the head in the reader: who sees this one or a later sees the new generation
        words[book + HEAD] = base << 8 | EMPTY

        record = self._record_of(slot)
        self._write_rules(record, data, place_too=True)
        memory.doubles[(record >> 3) + LAST_TRADE] = 0.0
        memory.signed[(record >> 3) + LAST_TRADE_NS] = 0
        # release, pairs with the load in _place(): who sees it sees the record and the book's header
        words[record + _GENERATION_AT >> 3] = self._generation
        if slot == halves[_COUNT]:
            halves[_COUNT] = slot + 1  # release: pairs with the loads of the count in BookDirectory
        self._changed()
        self._slots[rules.pair] = slot
        return slot

    def _change(self, place: _Place, rules: InstrumentRules, depth: int | None) -> None:
        if depth is not None and depth != place.depth:
            raise ValueError(
                f"depth of {rules.pair} is {place.depth} levels per side for as long as it is there, was {depth}"
            )
        data = pack_rules(rules, place.depth, place.cells, place.offset, place.generation, place.room)
        self._write_rules(place.record, data, place_too=False)
        self._changed()

    def _write_rules(self, record: int, data: bytes, *, place_too: bool) -> None:
        words, octets = self._memory.words, self._memory.octets
        seq_at = (record >> 3) + _RULES_SEQ
        seq = words[seq_at]
        spans = [(_SYMBOL_AT, _DEPTH_AT), (_MANTISSA_AT, _GENERATION_AT)]
        if place_too:  # the generation is 0: nobody reads these
            spans += [(0, _SYMBOL_AT), (_DEPTH_AT, _MANTISSA_AT), (_ROOM_AT, RULES_BYTES)]
        words[seq_at] = seq + 1  # before what follows: pairs with the second look in _read_rules()
        for start, end in spans:
            octets[record + start : record + end] = data[start:end]
        words[seq_at] = seq + 2  # release: pairs with the first look in _read_rules()

    def _changed(self) -> None:
        self._memory.words[_CHANGES] += 1  # release: pairs with the load of the changes in BookDirectory

    def remove(self, slot: int) -> None:
        """Remove an instrument: its readers see REMOVED, its writer publishes nothing, slot and place are reused.

        Raises IndexError when the slot holds none.
        """
        place = self._checked(slot)
        words = self._memory.words
        book = place.offset >> 3
        words[book + HEAD] = words[book + HEAD] & ~0xFF | REMOVED
        # Before anything that the place's next owner writes: who sees a byte of that sees that the generation changed.
        words[book + GENERATION] = 0
        words[place.record + _GENERATION_AT >> 3] = 0
        self._changed()
        del self._slots[place.pair.decode("ascii")]
        self._free_slots.append(slot)
        self._arena.give_back(place.offset, place.room)

    def find(self, pair: str) -> int:
        """Return the slot of `pair`, -1 when it is not there."""
        return self._slots.get(pair, -1)

    def rules(self, slot: int) -> InstrumentRules:
        """Return the InstrumentRules of a slot."""
        return _read_rules(self._memory, self._checked(slot).record)

    def set_state(self, slot: int, state: int, now_ns: int) -> None:
        """Set EMPTY, LIVE, STALE, RESYNCING or HALTED, together with the version that is the newest now."""
        if not 0 <= state < REMOVED:
            raise ValueError(f"state must be one of 0..{HALTED}, was {state}")
        book = self._checked(slot).offset >> 3
        self._memory.signed[book + STATE_NS] = now_ns
        words = self._memory.words
        # release: pairs with the load of the head in the reader
        words[book + HEAD] = words[book + HEAD] & ~0xFF | state

    def writer(self, slot: int) -> BookWriter:
        """Return the writer of a slot's book; an instrument has one writer, ever."""
        place = self._checked(slot)
        size = place_bytes(place.room, place.cells)
        writer = BookWriter.__new__(BookWriter)
        writer._memory = self._memory
        writer._record = place.record >> 3
        writer._book = self._memory.at(place.offset, size) >> 3
        writer._cells = place.offset + BOOK_HEADER.size
        writer._cell_bytes = (size - BOOK_HEADER.size) // place.cells
        writer._mask = place.cells - 1
        writer._room = place.room
        writer._epoch = self._epoch
        writer.generation = place.generation
        writer.depth = place.depth
        writer.slot = slot
        return writer


class BookDirectory:
    """A reader's view of a books segment: which instruments there are, and a BookReader for each.

    It follows what the writer adds and removes. `changes` counts those, and changes of rules.

    Args:
        segment: opened with kind "books".
        silent_after_ns: age of the writer's heartbeat from which on its books are WRITER_DEAD.
    """

    epoch: int
    name: str
    silent_after_ns: int

    def __init__(self, segment, silent_after_ns: int = SILENT_AFTER_NS) -> None:
        self._memory = Memory(segment.buffer)
        if self._memory.halves[_CAPACITY] == 0:  # acquire: pairs with the store in BookTable
            raise LayoutMismatch(f"{segment.name} holds no book table yet")
        if silent_after_ns <= 0:
            raise ValueError(f"silent_after_ns must be above 0, was {silent_after_ns}")
        self._directory = self._memory.words[_DIRECTORY]
        self._slots = {}
        self._seen = 0
        self.epoch = segment.epoch
        self.name = segment.name
        self.silent_after_ns = silent_after_ns

    def _count(self) -> int:
        return self._memory.halves[_COUNT]  # acquire: pairs with the store of the count in BookTable._add()

    @property
    def changes(self) -> int:
        """How often an instrument was added or removed, or its rules were changed."""
        return self._memory.words[_CHANGES]  # acquire: pairs with the store in BookTable._changed()

    def _refresh(self) -> None:
        changes = self.changes
        if changes == self._seen:
            return
        slots = {}
        for slot in range(self._count()):
            place = _place(self._memory, self._record_of(slot))
            if place is not None:
                slots[place.pair.decode("ascii")] = slot
        self._slots = slots
        self._seen = changes  # what changed during the scan is seen by the next one

    def find(self, pair: str) -> int:
        """Return the slot of `pair`, -1 when the writer has not added it (yet) or has removed it."""
        self._refresh()
        return self._slots.get(pair, -1)

    def pairs(self) -> list[str]:
        """Return the pairs in the order of their slots."""
        self._refresh()
        return list(self._slots)

    def rules(self, slot: int) -> InstrumentRules:
        """Return the InstrumentRules of a slot as they are now. IndexError when it holds no instrument."""
        return _read_rules(self._memory, self._checked(slot).record)

    def reader(self, slot: int) -> BookReader:
        """Return a reader of a slot's book; it keeps the segment mapped for as long as it lives.

        IndexError when the slot holds no instrument. Slots are reused: `reader.pair` tells whose book it is.
        """
        place = self._checked(slot)
        size = place_bytes(place.room, place.cells)
        reader = BookReader.__new__(BookReader)
        reader._memory = self._memory
        reader._record = place.record >> 3
        reader._book = self._memory.at(place.offset, size) >> 3
        reader._cells = place.offset + BOOK_HEADER.size
        reader._cell_bytes = (size - BOOK_HEADER.size) // place.cells
        reader._mask = place.cells - 1
        # The base is this generation's, or the place has passed on, and then every read says REMOVED.
        reader._base = self._memory.words[reader._book + BASE]
        reader.generation = place.generation
        reader.room = place.room
        reader.depth = place.depth
        reader.slot = slot
        reader.epoch = self.epoch
        reader.pair = place.pair.decode("ascii")
        reader.silent_after_ns = self.silent_after_ns
        return reader

    def reader_of(self, pair: str) -> BookReader | None:
        """Return a reader of a pair's book, None when the writer has not added it (yet) or has removed it.

        Whoever knows the pair asks here: between find() and reader() a slot may pass on to another instrument.
        """
        try:
            reader = self.reader(self.find(pair))
        except IndexError:
            return None
        return reader if reader.pair == pair else None

    def rules_of(self, pair: str) -> InstrumentRules | None:
        """Return a pair's InstrumentRules as they are now, None as reader_of()."""
        try:
            rules = self.rules(self.find(pair))
        except IndexError:
            return None
        return rules if rules.pair == pair else None

    @property
    def depth(self) -> int:
        """Levels per side of an instrument without a number of its own."""
        return self._memory.halves[_DEPTH]

    @property
    def heartbeat_ns(self) -> int:
        """When the writer last beat (monotonic), 0 when it never did."""
        return self._memory.signed[_HEARTBEAT]

    @property
    def heartbeat_boot_ns(self) -> int:
        """When the writer last beat (CLOCK_BOOTTIME), 0 when it never did."""
        return self._memory.signed[_HEARTBEAT_BOOT]

    def _record_of(self, slot: int) -> int:
        return self._memory.at(self._directory + slot * INSTRUMENT_RECORD.size, INSTRUMENT_RECORD.size)

    def _checked(self, slot: int) -> _Place:
        count = self._count()
        if not 0 <= slot < count:
            raise IndexError(f"slot must be below {count}, was {slot}")
        place = _place(self._memory, self._record_of(slot))
        if place is None:
            raise IndexError(f"slot {slot} holds no instrument: it was removed")
        return place
