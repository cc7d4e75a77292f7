"""Candle series in shared memory: one writer, any number of readers, closed candles that never change.

A candles segment holds one series, the candles of one instrument and interval (offsets from the segment's start;
structs in layout.h):

    256   candle_series_header: pair, interval, capacity | head: revision << 8 | state, state_ns
    384   `lives` candle_records: the newest candle, each revision of it in the next cell
          then capacity + SLACK candle_records: the candles before it, candle n in cell n % (capacity + SLACK)

The newest candle changes with every trade. Each change is a revision with a number of its own, r, written into cell
r % lives; when the next candle opens, the last revision is copied into the ring, where nobody touches it again until
it is too old to be read. A cell's seq is 2n+1 while candle (or revision) n is written and 2n+2 when it is done. `head`
names the newest complete revision, and that revision says which candle of the series it is and how far back the series
goes: what a reader gets is the series as it was at one moment. A writer killed at any point leaves `head` on a revision
that is whole, in a ring whose readable part it had not begun to overwrite.

    write   ring: seq = 2n+1; release fence; payload; seq = 2n+2 (release)       when a candle has a successor
            live: the same with r, in another cell; head = r, state (release)
    read    head (acquire); live cell r: seq (acquire), copy, acquire fence, seq again; then each candle of the ring
            likewise; all again, boundedly, when one of them was overwritten
"""

import time
from typing import NamedTuple

from libc.stdint cimport int64_t, uint64_t

from hive.shm.atomics cimport (
    Memory,
    c_boottime_ns,
    copy_words,
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
from hive.shm.layout cimport candle_record, candle_series_header, segment_header

from hive.shm.book import SILENT_AFTER_NS, WRITER_DEAD
from hive.shm.errors import LayoutMismatch, NotRepresentable, ShmError
from hive.shm.segment import PAYLOAD_OFFSET

COLUMNS = 10  # of what CandleReader.read_into() fills in
SLACK = 64  # candles that may close while a reader copies

cdef enum:
    LIVES = 8
    READ_TRIES = 64
    PATIENT_TRIES = 40
    RECORD_WORDS = 16
    VALUES = 10

cdef uint64_t RING_SLACK = SLACK
cdef Py_ssize_t HEADER_OFFSET = PAYLOAD_OFFSET
cdef Py_ssize_t LIVE_OFFSET = HEADER_OFFSET + sizeof(candle_series_header)
cdef Py_ssize_t RING_OFFSET = LIVE_OFFSET + LIVES * sizeof(candle_record)


class Candle(NamedTuple):
    """One candle; times in wall ms of the venue, quantities in base and quote, `closed` when it changes no more."""

    open_ms: int
    close_ms: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    quote_volume: float
    trades: int
    taker_base: float
    taker_quote: float
    closed: bool


def candles_size(capacity: int) -> int:
    """Return the bytes of a candles segment, header included; capacity is how many candles a reader gets, >= 2."""
    if not 2 <= capacity <= 1 << 24:
        raise ValueError(f"capacity must be 2..{1 << 24}, was {capacity}")
    return RING_OFFSET + (capacity + SLACK) * sizeof(candle_record)


cdef class CandleWriter:
    """Writes a series into a fresh segment of candles_size(capacity) bytes.

    Args:
        segment: created by this process, kind "candles".
        pair, interval: whose candles ("BTC-USDT", "1m"); ASCII, up to 24 and 8 characters.
        interval_ms: length of a typical candle.
        capacity: as given to candles_size().
    """

    cdef Memory _memory
    cdef candle_series_header *_header
    cdef candle_record *_live
    cdef candle_record *_ring
    cdef candle_record _newest
    cdef uint64_t _cells
    cdef uint64_t _revision
    cdef uint64_t _first
    cdef uint64_t _state

    def __init__(self, segment, str pair, str interval, int64_t interval_ms, uint64_t capacity):
        names = {"pair": (pair, 24), "interval": (interval, 8)}
        for what, (text, most) in names.items():
            if not text.isascii() or not 0 < len(text) <= most:
                raise NotRepresentable(f"{what} must be 1 to {most} ASCII characters, was {text!r}")
        if segment.size < candles_size(capacity):
            raise ValueError(f"{segment.name} must have {candles_size(capacity)} bytes, was {segment.size}")
        self._memory = Memory(segment.buffer, True)
        self._header = <candle_series_header *>self._memory.at(HEADER_OFFSET, sizeof(candle_series_header))
        self._cells = capacity + RING_SLACK
        self._live = <candle_record *>self._memory.at(LIVE_OFFSET, LIVES * sizeof(candle_record))
        self._ring = <candle_record *>self._memory.at(RING_OFFSET, self._cells * sizeof(candle_record))
        if self._header.capacity:
            raise ShmError(f"{segment.name} is in use: a writer makes a segment of the next epoch")
        segment.buffer[HEADER_OFFSET : HEADER_OFFSET + 24] = pair.encode().ljust(24, b"\0")
        segment.buffer[HEADER_OFFSET + 24 : HEADER_OFFSET + 32] = interval.encode().ljust(8, b"\0")
        self._header.interval_ms = interval_ms
        self._header.lives = LIVES
        self._revision = 0
        self._first = 0
        self._state = 0
        store_release_u32(&self._header.capacity, <unsigned int>capacity)  # pairs with load_acquire_u32 in CandleReader

    @property
    def count(self) -> int:
        """How many candles were opened so far."""
        return self._newest.index + 1 if self._revision else 0

    @property
    def state(self) -> int:
        """The state that readers see."""
        return self._state

    @property
    def newest(self):
        """The newest Candle, None before the first."""
        return _candle(&self._newest) if self._revision else None

    def set_state(self, uint64_t state, int64_t now_ns) -> None:
        """Publish a state (hive.shm.book's EMPTY, LIVE, STALE, RESYNCING, HALTED) as of `now_ns` (monotonic)."""
        self._state = state
        store_relaxed_i64(&self._header.state_ns, now_ns)
        store_release(&self._header.head, self._revision << 8 | state)  # pairs with load_acquire(&head) in the reader

    def begin_again(self) -> None:
        """Let the next candle that opens be the first of the series: between it and those before, some are missing."""
        self._first = self._newest.index + 1 if self._revision else 0

    def update(
        self, int64_t open_ms, int64_t close_ms, double open, double high, double low, double close,
        double volume, double quote_volume, int64_t trades, double taker_base, double taker_quote,
        bint closed, int64_t now_ns,
    ) -> bool:
        """Publish a candle: the newest one again, or the next one.

        Returns:
            False, and nothing changes, when it is older than the newest, or that one is closed.
        """
        cdef candle_record *newest = &self._newest
        cdef uint64_t index = 0
        if self._revision:
            if open_ms < newest.open_ms or (open_ms == newest.open_ms and newest.closed):
                return False
            index = newest.index
            if open_ms > newest.open_ms:
                newest.closed = 1
                _store(self._ring + index % self._cells, newest, index)
                index += 1
        newest.index = index
        newest.first = self._first
        newest.closed = closed
        newest.open_ms = open_ms
        newest.close_ms = close_ms
        newest.trades = trades
        newest.open = open
        newest.high = high
        newest.low = low
        newest.close = close
        newest.volume = volume
        newest.quote_volume = quote_volume
        newest.taker_base = taker_base
        newest.taker_quote = taker_quote
        newest.local_ns = now_ns
        self._revision += 1
        _store(self._live + self._revision % LIVES, newest, self._revision)
        # pairs with load_acquire(&head) in the reader: who sees this revision sees the ring up to its candle
        store_release(&self._header.head, self._revision << 8 | self._state)
        return True


cdef void _store(candle_record *cell, const candle_record *record, uint64_t n) noexcept nogil:
    store_relaxed(&cell.seq, 2 * n + 1)
    fence_release()  # pairs with fence_acquire() in _load(): who saw a byte of what follows sees this seq
    copy_words(&cell.seq + 1, &record.seq + 1, RECORD_WORDS - 1)
    store_release(&cell.seq, 2 * n + 2)  # pairs with load_acquire(&seq) in _load()


cdef bint _load(const candle_record *cell, candle_record *into, uint64_t n) noexcept nogil:
    """Copy candle or revision n; False when the cell holds, or meanwhile got, another one."""
    if load_acquire(&cell.seq) != 2 * n + 2:  # pairs with store_release(&seq) in _store()
        return False
    copy_words(&into.seq + 1, &cell.seq + 1, RECORD_WORDS - 1)
    fence_acquire()  # pairs with fence_release() in _store()
    return load_relaxed(&cell.seq) == 2 * n + 2


cdef void _put(const candle_record *record, double *row) noexcept nogil:
    row[0] = record.open_ms / 1000.0
    row[1] = record.open
    row[2] = record.high
    row[3] = record.low
    row[4] = record.close
    row[5] = record.volume
    row[6] = record.quote_volume
    row[7] = <double>record.trades
    row[8] = record.taker_base
    row[9] = record.taker_quote


cdef _candle(const candle_record *record):
    return Candle(
        record.open_ms, record.close_ms, record.open, record.high, record.low, record.close, record.volume,
        record.quote_volume, record.trades, record.taker_base, record.taker_quote, record.closed != 0,
    )


cdef class CandleReader:
    """Reads one series. Any number of these, in any process.

    Args:
        segment: opened with kind "candles".
        silent_after_ns: age of the writer's heartbeat from which on state_at() says WRITER_DEAD.

    Attributes:
        pair, interval, interval_ms, capacity: as the writer gave them; epoch: the segment's.
    """

    cdef Memory _memory
    cdef const segment_header *_segment
    cdef const candle_series_header *_header
    cdef const candle_record *_live
    cdef const candle_record *_ring
    cdef uint64_t _cells
    cdef uint64_t _lives
    cdef readonly str pair
    cdef readonly str interval
    cdef readonly int64_t interval_ms
    cdef readonly uint64_t capacity
    cdef readonly uint64_t epoch
    cdef public int64_t silent_after_ns

    def __init__(self, segment, int64_t silent_after_ns=SILENT_AFTER_NS):
        self._memory = Memory(segment.buffer)
        self._segment = <const segment_header *>self._memory.at(0, sizeof(segment_header))
        self._header = <const candle_series_header *>self._memory.at(HEADER_OFFSET, sizeof(candle_series_header))
        self.capacity = load_acquire_u32(&self._header.capacity)  # pairs with store_release_u32 in CandleWriter
        if self.capacity == 0:
            raise LayoutMismatch(f"{segment.name} holds no candle series yet")
        self._cells = self.capacity + RING_SLACK
        self._lives = self._header.lives
        self._live = <const candle_record *>self._memory.at(LIVE_OFFSET, LIVES * sizeof(candle_record))
        self._ring = <const candle_record *>self._memory.at(RING_OFFSET, self._cells * sizeof(candle_record))
        if self._lives != LIVES:
            raise LayoutMismatch(f"{segment.name} must have {LIVES} cells of the newest candle, was {self._lives}")
        self.pair = _text(segment.buffer, HEADER_OFFSET, 24)
        self.interval = _text(segment.buffer, HEADER_OFFSET + 24, 8)
        self.interval_ms = self._header.interval_ms
        self.epoch = segment.epoch
        self.silent_after_ns = silent_after_ns

    cdef Py_ssize_t c_read(self, double *rows, uint64_t most) noexcept nogil:
        """Fill in up to `most` rows of VALUES doubles, oldest first. Returns how many, -1 when none could be read."""
        cdef candle_record newest
        cdef candle_record record
        cdef uint64_t revision, first, n
        cdef bint whole
        for _ in range(READ_TRIES):
            revision = load_acquire(&self._header.head) >> 8  # pairs with store_release(&head) in update()
            if revision == 0 or most == 0:
                return 0
            if _load(self._live + revision % LIVES, &newest, revision):
                first = newest.first
                if newest.index + 1 > first + self.capacity:
                    first = newest.index + 1 - self.capacity
                if newest.index + 1 > first + most:
                    first = newest.index + 1 - most
                whole = True
                for n in range(first, newest.index):
                    if not _load(self._ring + n % self._cells, &record, n):
                        whole = False
                        break
                    _put(&record, rows + (n - first) * VALUES)
                if whole:
                    _put(&newest, rows + (newest.index - first) * VALUES)
                    return <Py_ssize_t>(newest.index + 1 - first)
            cpu_relax()
        return -1

    def read_into(self, double[:, ::1] rows) -> int:
        """Copy the newest candles of one moment, oldest first, into `rows`; return how many rows were filled in.

        Args:
            rows: contiguous float64 of shape (most, COLUMNS): open time in s, open, high, low, close, volume, quote
                volume, number of trades, volume and quote volume that takers bought.

        Raises:
            ShmError: the writer overwrote them faster than they could be copied, many times in a row.
        """
        cdef Py_ssize_t most = rows.shape[0]
        cdef Py_ssize_t count = 0
        if rows.shape[1] != VALUES:
            raise ValueError(f"rows must have {VALUES} columns, was {rows.shape[1]}")
        if most == 0:
            return 0
        for attempt in range(PATIENT_TRIES):
            with nogil:
                count = self.c_read(&rows[0, 0], <uint64_t>most)
            if count >= 0:
                return count
            time.sleep(0.0005)
        raise ShmError(f"{self.pair} {self.interval}: the candles changed faster than they could be read")

    @property
    def count(self) -> int:
        """How many candles a reader gets now, the newest one included."""
        cdef candle_record newest
        if not self._newest(&newest):
            return 0
        return min(newest.index + 1 - newest.first, self.capacity)

    @property
    def newest(self):
        """The newest Candle, None before the first."""
        cdef candle_record newest
        return _candle(&newest) if self._newest(&newest) else None

    @property
    def revision(self) -> int:
        """Number of the newest revision, 0 before the first: another number means that something changed."""
        return load_acquire(&self._header.head) >> 8

    @property
    def state(self) -> int:
        """EMPTY, LIVE, STALE, RESYNCING or HALTED as it was stored, whether its writer lives or not."""
        return load_acquire(&self._header.head) & 0xFF  # pairs with store_release(&head) in set_state()

    @property
    def state_ns(self) -> int:
        """When the state was last set (monotonic)."""
        return load_relaxed_i64(&self._header.state_ns)

    @property
    def heartbeat_boot_ns(self) -> int:
        """When the writer last beat (CLOCK_BOOTTIME)."""
        return load_relaxed_i64(&self._segment.heartbeat_boot_ns)

    def state_at(self, int64_t now_boot_ns=0) -> int:
        """Return the stored state, WRITER_DEAD when the writer's heartbeat is too old at `now_boot_ns` (0: now)."""
        # The heartbeat first (acquire, pairs with the release in Segment.beat()): a writer that was away marks its
        # series STALE before it beats again, so who sees the young heartbeat sees that state.
        cdef int64_t beat_ns = <int64_t>load_acquire(<const uint64_t *>&self._segment.heartbeat_boot_ns)
        if now_boot_ns == 0:
            now_boot_ns = c_boottime_ns()
        return WRITER_DEAD if now_boot_ns - beat_ns > self.silent_after_ns else self.state

    cdef bint _newest(self, candle_record *into) noexcept nogil:
        cdef uint64_t revision
        for _ in range(READ_TRIES):
            revision = load_acquire(&self._header.head) >> 8  # pairs with store_release(&head) in update()
            if revision == 0:
                return False
            if _load(self._live + revision % LIVES, into, revision):
                return True
            cpu_relax()
        return False


def _text(buffer, Py_ssize_t offset, Py_ssize_t size):
    return bytes(buffer[offset : offset + size]).rstrip(b"\0").decode("ascii", "replace")
