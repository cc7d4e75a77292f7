"""Order books in shared memory: one writer, any number of readers, nobody waits.

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

from array import array

from libc.math cimport NAN
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from hive.shm.atomics cimport (
    Memory,
    copy_bytes,
    copy_words,
    cpu_relax,
    fence_acquire,
    fence_release,
    load_acquire,
    load_acquire_u32,
    load_relaxed,
    load_relaxed_f64,
    load_relaxed_i64,
    store_relaxed,
    store_relaxed_f64,
    store_relaxed_i64,
    store_release,
    store_release_u32,
)
from hive.shm.layout cimport book_header, book_table_header, book_version, instrument_record, segment_header

from hive.shm.errors import LayoutMismatch, ShmError, TableFull
from hive.shm.instruments import RULES_BYTES, BookSnapshot, pack_rules, unpack_rules
from hive.shm.layout import round_up
from hive.shm.segment import PAYLOAD_OFFSET

EMPTY, LIVE, STALE, RESYNCING, HALTED = range(5)
STATE_NAMES = ("EMPTY", "LIVE", "STALE", "RESYNCING", "HALTED")

# A try fails only when the writer laps all versions during one copy, or died there: then more tries do not help.
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


cdef class BookCopy:
    """A private copy of one version of a book, allocated once for `depth` levels per side.

    C fields: version, update_id, exchange_ns, recv_ns, local_ns, bid, best_bid_qty, ask, best_ask_qty, n_bids, n_asks,
    and the arrays bid_px, bid_qty, ask_px, ask_qty, of which the first n_bids and n_asks values are set.
    """

    def __cinit__(self, uint32_t depth):
        if depth < 1:
            raise ValueError(f"depth must be >= 1, was {depth}")
        self.bid_px = <double *>calloc(4 * <size_t>depth, sizeof(double))
        if self.bid_px is NULL:
            raise MemoryError()
        self.depth = depth
        self.bid_qty = self.bid_px + depth
        self.ask_px = self.bid_qty + depth
        self.ask_qty = self.ask_px + depth
        self.bid = self.ask = NAN

    def __dealloc__(self):
        free(self.bid_px)

    def snapshot(self) -> BookSnapshot:
        """Return the copy as a BookSnapshot."""
        return BookSnapshot(
            self.version, self.update_id, self.exchange_ns, self.recv_ns, self.local_ns,
            _array(self.bid_px, self.n_bids), _array(self.bid_qty, self.n_bids),
            _array(self.ask_px, self.n_asks), _array(self.ask_qty, self.n_asks),
        )


cdef _array(const double *values, uint32_t n):
    cdef uint32_t i
    return array("d", [values[i] for i in range(n)])


cdef class BookWriter:
    """Writes one instrument's book; from BookTable.writer(), one per instrument and process."""

    def __init__(self):
        raise TypeError("a BookWriter comes from BookTable.writer()")

    cdef void c_publish(
        self, int64_t update_id, int64_t exchange_ns, int64_t recv_ns, int64_t now_ns,
        const double *bid_px, const double *bid_qty, uint32_t n_bids,
        const double *ask_px, const double *ask_qty, uint32_t n_asks,
    ) noexcept nogil:
        """Publish the best `depth` levels of each side as the next version; prices best first, times in ns."""
        cdef uint64_t n = self._n + 1
        cdef book_version *cell = <book_version *>(self._versions_base + (n % self._versions) * self._version_bytes)
        cdef double *levels = <double *>(<char *>cell + sizeof(book_version))
        cdef uint32_t depth = self.depth
        cdef book_version head
        if n_bids > depth:
            n_bids = depth
        if n_asks > depth:
            n_asks = depth
        head.update_id = update_id
        head.exchange_ns = exchange_ns
        head.local_ns = now_ns
        head.bid = bid_px[0] if n_bids else NAN
        head.bid_qty = bid_qty[0] if n_bids else 0.0
        head.ask = ask_px[0] if n_asks else NAN
        head.ask_qty = ask_qty[0] if n_asks else 0.0
        head.instrument = self.slot
        head.flags = 0
        head.n_bids = n_bids
        head.n_asks = n_asks
        head.epoch = self._epoch
        head.recv_ns = recv_ns

        store_relaxed(&cell.seq, 2 * n + 1)
        fence_release()  # pairs with fence_acquire() in the reader: who saw a byte of what follows sees this seq
        copy_words(&cell.seq + 1, &head.seq + 1, 11)
        copy_bytes(levels, bid_px, n_bids * sizeof(double))
        copy_bytes(levels + depth, bid_qty, n_bids * sizeof(double))
        copy_bytes(levels + 2 * depth, ask_px, n_asks * sizeof(double))
        copy_bytes(levels + 3 * depth, ask_qty, n_asks * sizeof(double))
        store_release(&cell.seq, 2 * n + 2)  # pairs with load_acquire(&cell.seq) in the reader
        store_release(&self._book.latest, n)  # pairs with load_acquire(&latest) in the reader
        self._n = n

    cdef void c_set_last_trade(self, double price, int64_t now_ns) noexcept nogil:
        # Two independent words: a reader may see the price of one trade with the time of the next.
        store_relaxed_f64(&self._record.last_trade, price)
        store_relaxed_i64(&self._record.last_trade_ns, now_ns)

    def publish(
        self, int64_t update_id, int64_t exchange_ns, int64_t recv_ns, int64_t now_ns,
        const double[::1] bid_px, const double[::1] bid_qty, const double[::1] ask_px, const double[::1] ask_qty,
    ) -> None:
        """Publish the next version.

        Args:
            update_id: the venue's; exchange_ns: its clock.
            recv_ns, now_ns: when the message was read, and now (monotonic).
            bid_px, bid_qty, ask_px, ask_qty: contiguous float64, best first, up to `depth` each side.
        """
        for side, px, qty in (("bid", bid_px, bid_qty), ("ask", ask_px, ask_qty)):
            if px.shape[0] != qty.shape[0] or px.shape[0] > self.depth:
                raise ValueError(
                    f"{side}_px and {side}_qty must have the same length <= {self.depth}, "
                    f"was {px.shape[0]} and {qty.shape[0]}"
                )
        cdef uint32_t n_bids = <uint32_t>bid_px.shape[0]
        cdef uint32_t n_asks = <uint32_t>ask_px.shape[0]
        self.c_publish(
            update_id, exchange_ns, recv_ns, now_ns,
            &bid_px[0] if n_bids else NULL, &bid_qty[0] if n_bids else NULL, n_bids,
            &ask_px[0] if n_asks else NULL, &ask_qty[0] if n_asks else NULL, n_asks,
        )

    def set_last_trade(self, double price, int64_t now_ns) -> None:
        """Store the price of the newest trade and when it was seen (monotonic)."""
        self.c_set_last_trade(price, now_ns)


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


cdef class BookReader:
    """Reads one instrument's book; from BookDirectory.reader(). Any number of these, in any process."""

    def __init__(self):
        raise TypeError("a BookReader comes from BookDirectory.reader()")

    cdef const book_version *_version(self, uint64_t n) noexcept nogil:
        return <const book_version *>(self._versions_base + (n % self._versions) * self._version_bytes)

    cdef int64_t c_latest(self) noexcept nogil:
        """Return the number of the newest version, -1 when there is none yet."""
        cdef uint64_t n = load_acquire(&self._book.latest)
        return <int64_t>n if n else -1

    cdef int c_top(self, BookTop *into) noexcept nogil:
        """Copy line 0 of the newest version. Returns 1, 0 nothing yet, -1 no consistent version in bounded tries."""
        cdef const book_version *cell
        cdef uint64_t n
        for _ in range(READ_TRIES):
            n = load_acquire(&self._book.latest)  # pairs with store_release(&latest) in c_publish()
            if n == 0:
                return 0
            cell = self._version(n)
            if load_acquire(&cell.seq) == 2 * n + 2:  # pairs with store_release(&seq) in c_publish()
                copy_words(<uint64_t *>&into.update_id, <const uint64_t *>&cell.update_id, 7)
                fence_acquire()  # pairs with fence_release() in c_publish()
                if load_relaxed(&cell.seq) == 2 * n + 2:
                    into.version = n
                    return 1
            cpu_relax()
        return -1

    cdef int c_copy(self, BookCopy into) noexcept nogil:
        """Copy the newest version with the levels that are there.

        Returns 1, 0 nothing yet, -1 no consistent version in bounded tries, -2 when `into` is not as deep as the book.
        """
        cdef const book_version *cell
        cdef const double *levels
        cdef book_version head
        cdef uint64_t n
        cdef uint32_t depth = self.depth
        if into.depth < depth:
            return -2
        for _ in range(READ_TRIES):
            n = load_acquire(&self._book.latest)  # pairs with store_release(&latest) in c_publish()
            if n == 0:
                return 0
            cell = self._version(n)
            if load_acquire(&cell.seq) == 2 * n + 2:  # pairs with store_release(&seq) in c_publish()
                copy_words(&head.seq + 1, &cell.seq + 1, 11)
                if head.n_bids <= depth and head.n_asks <= depth:  # a torn count must not lead outside
                    levels = <const double *>(<const char *>cell + sizeof(book_version))
                    copy_bytes(into.bid_px, levels, head.n_bids * sizeof(double))
                    copy_bytes(into.bid_qty, levels + depth, head.n_bids * sizeof(double))
                    copy_bytes(into.ask_px, levels + 2 * depth, head.n_asks * sizeof(double))
                    copy_bytes(into.ask_qty, levels + 3 * depth, head.n_asks * sizeof(double))
                    fence_acquire()  # pairs with fence_release() in c_publish()
                    if load_relaxed(&cell.seq) == 2 * n + 2:
                        into.version = n
                        into.update_id = head.update_id
                        into.exchange_ns = head.exchange_ns
                        into.recv_ns = head.recv_ns
                        into.local_ns = head.local_ns
                        into.bid = head.bid
                        into.best_bid_qty = head.bid_qty
                        into.ask = head.ask
                        into.best_ask_qty = head.ask_qty
                        into.n_bids = head.n_bids
                        into.n_asks = head.n_asks
                        return 1
            cpu_relax()
        return -1

    cdef uint32_t c_state(self) noexcept nogil:
        return load_acquire_u32(&self._record.state)  # pairs with store_release_u32 in set_state()

    cdef int64_t c_state_ns(self) noexcept nogil:
        return load_relaxed_i64(&self._record.state_ns)

    cdef double c_last_trade(self) noexcept nogil:
        return load_relaxed_f64(&self._record.last_trade)

    cdef int64_t c_heartbeat_ns(self) noexcept nogil:
        return load_relaxed_i64(&self._segment.heartbeat_ns)

    def top(self):
        """Return (bid, bid_qty, ask, ask_qty, update_id), None when there is no book yet; an empty side is nan, 0."""
        cdef BookTop top
        if self.c_top(&top) != 1:
            return None
        return top.bid, top.bid_qty, top.ask, top.ask_qty, top.update_id

    def copy(self):
        """Return the newest version as a BookSnapshot, None when there is none yet or none could be read whole."""
        cdef BookCopy into = BookCopy(self.depth)
        return into.snapshot() if self.c_copy(into) == 1 else None

    def copy_into(self, BookCopy into not None) -> int:
        """Copy the newest version into `into`; return 1, 0 nothing yet, -1 none whole, -2 `into` is too shallow."""
        return self.c_copy(into)

    def age_ns(self, int64_t now_ns) -> int:
        """Return how long before `now_ns` (monotonic) the newest version was published, -1 when there is none."""
        cdef BookTop top
        return now_ns - top.local_ns if self.c_top(&top) == 1 else -1

    @property
    def version(self) -> int:
        """Number of the newest version, -1 when there is none yet."""
        return self.c_latest()

    @property
    def state(self) -> int:
        """EMPTY, LIVE, STALE, RESYNCING or HALTED."""
        return self.c_state()

    @property
    def state_ns(self) -> int:
        """When the state was last set (monotonic)."""
        return self.c_state_ns()

    @property
    def last_trade(self) -> float:
        """Price of the newest trade, 0.0 when there was none yet."""
        return self.c_last_trade()

    @property
    def heartbeat_ns(self) -> int:
        """When the writer of the segment last beat (monotonic)."""
        return self.c_heartbeat_ns()


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
