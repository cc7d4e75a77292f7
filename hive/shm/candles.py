"""Candle series in shared memory in pure Python, the twin of candles.pyx.

The protocol and the layout are in candles.pyx; atomics.py says why plain stores keep its order.
"""

import struct
import time
from typing import NamedTuple

from hive.shm.atomics import Memory, boottime_ns
from hive.shm.book import SILENT_AFTER_NS, WRITER_DEAD
from hive.shm.errors import LayoutMismatch, NotRepresentable, ShmError
from hive.shm.layout import CANDLE_RECORD, CANDLE_SERIES_HEADER, SEGMENT_HEADER
from hive.shm.segment import PAYLOAD_OFFSET

COLUMNS = 10  # of what CandleReader.read_into() fills in
SLACK = 64  # candles that may close while a reader copies

LIVES = 8
READ_TRIES = 64
PATIENT_TRIES = 40
HEADER_OFFSET = PAYLOAD_OFFSET
LIVE_OFFSET = HEADER_OFFSET + CANDLE_SERIES_HEADER.size
CELL = CANDLE_RECORD.size
RING_OFFSET = LIVE_OFFSET + LIVES * CELL
RECORD = struct.Struct("=QQQqqqddddddddq")  # of a candle_record all but the seq
HEAD = HEADER_OFFSET + CANDLE_SERIES_HEADER.offset("head") >> 3
STATE_NS = HEADER_OFFSET + CANDLE_SERIES_HEADER.offset("state_ns") >> 3
INTERVAL_MS = HEADER_OFFSET + CANDLE_SERIES_HEADER.offset("interval_ms") >> 3
CAPACITY = HEADER_OFFSET + CANDLE_SERIES_HEADER.offset("capacity") >> 2
LIVES_AT = HEADER_OFFSET + CANDLE_SERIES_HEADER.offset("lives") >> 2
HEARTBEAT_BOOT = SEGMENT_HEADER.offset("heartbeat_boot_ns") >> 3


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
    return RING_OFFSET + (capacity + SLACK) * CELL


class CandleWriter:
    """Writes a series into a fresh segment of candles_size(capacity) bytes.

    Args:
        segment: created by this process, kind "candles".
        pair, interval: whose candles ("BTC-USDT", "1m"); ASCII, up to 24 and 8 characters.
        interval_ms: length of a typical candle.
        capacity: as given to candles_size().
    """

    __slots__ = ("_cells", "_first", "_memory", "_newest", "_revision", "_state")

    def __init__(self, segment, pair: str, interval: str, interval_ms: int, capacity: int) -> None:
        for what, text, most in (("pair", pair, 24), ("interval", interval, 8)):
            if not text.isascii() or not 0 < len(text) <= most:
                raise NotRepresentable(f"{what} must be 1 to {most} ASCII characters, was {text!r}")
        if segment.size < candles_size(capacity):
            raise ValueError(f"{segment.name} must have {candles_size(capacity)} bytes, was {segment.size}")
        self._memory = memory = Memory(segment.buffer, True)
        if memory.halves[CAPACITY]:
            raise ShmError(f"{segment.name} is in use: a writer makes a segment of the next epoch")
        segment.buffer[HEADER_OFFSET : HEADER_OFFSET + 24] = pair.encode().ljust(24, b"\0")
        segment.buffer[HEADER_OFFSET + 24 : HEADER_OFFSET + 32] = interval.encode().ljust(8, b"\0")
        memory.signed[INTERVAL_MS] = interval_ms
        memory.halves[LIVES_AT] = LIVES
        self._cells = capacity + SLACK
        self._revision = 0
        self._first = 0
        self._state = 0
        self._newest = (0,) * 15
        memory.halves[CAPACITY] = capacity  # release: pairs with the load of the capacity in CandleReader

    @property
    def count(self) -> int:
        """How many candles were opened so far."""
        return self._newest[0] + 1 if self._revision else 0

    @property
    def state(self) -> int:
        """The state that readers see."""
        return self._state

    @property
    def newest(self) -> Candle | None:
        """The newest Candle, None before the first."""
        return _candle(self._newest) if self._revision else None

    def set_state(self, state: int, now_ns: int) -> None:
        """Publish a state (hive.shm.book's EMPTY, LIVE, STALE, RESYNCING, HALTED) as of `now_ns` (monotonic)."""
        self._state = state
        self._memory.signed[STATE_NS] = now_ns
        self._memory.words[HEAD] = self._revision << 8 | state  # release: pairs with the load of the head in the reader

    def begin_again(self) -> None:
        """Let the next candle that opens be the first of the series: between it and those before, some are missing."""
        self._first = self._newest[0] + 1 if self._revision else 0

    def update(
        self, open_ms, close_ms, open, high, low, close, volume, quote_volume, trades, taker_base, taker_quote, closed,
        now_ns,
    ) -> bool:  # fmt: skip
        """Publish a candle: the newest one again, or the next one.

        Returns:
            False, and nothing changes, when it is older than the newest, or that one is closed.
        """
        index = 0
        if self._revision:
            index, first, was_closed, before_ms, *rest = self._newest
            if open_ms < before_ms or (open_ms == before_ms and was_closed):
                return False
            if open_ms > before_ms:
                self._store(RING_OFFSET + index % self._cells * CELL, (index, first, 1, before_ms, *rest), index)
                index += 1
        self._newest = (
            index, self._first, int(closed), open_ms, close_ms, trades, open, high, low, close, volume, quote_volume,
            taker_base, taker_quote, now_ns,
        )  # fmt: skip
        revision = self._revision + 1
        self._store(LIVE_OFFSET + revision % LIVES * CELL, self._newest, revision)
        self._revision = revision
        # release: pairs with the load of the head in the reader
        self._memory.words[HEAD] = revision << 8 | self._state
        return True

    def _store(self, at: int, record: tuple, n: int) -> None:
        self._memory.words[at >> 3] = 2 * n + 1  # before the payload: who saw a byte of what follows sees this seq
        RECORD.pack_into(self._memory.octets, at + 8, *record)
        self._memory.words[at >> 3] = 2 * n + 2  # release: pairs with the load of the seq in the reader


class CandleReader:
    """Reads one series. Any number of these, in any process.

    Args:
        segment: opened with kind "candles".
        silent_after_ns: age of the writer's heartbeat from which on state_at() says WRITER_DEAD.

    Attributes:
        pair, interval, interval_ms, capacity: as the writer gave them; epoch: the segment's.
    """

    __slots__ = ("_cells", "_memory", "capacity", "epoch", "interval", "interval_ms", "pair", "silent_after_ns")

    def __init__(self, segment, silent_after_ns: int = SILENT_AFTER_NS) -> None:
        self._memory = memory = Memory(segment.buffer)
        self.capacity = memory.halves[CAPACITY]  # acquire: pairs with the store of the capacity in CandleWriter
        if self.capacity == 0:
            raise LayoutMismatch(f"{segment.name} holds no candle series yet")
        if memory.halves[LIVES_AT] != LIVES:
            found = memory.halves[LIVES_AT]
            raise LayoutMismatch(f"{segment.name} must have {LIVES} cells of the newest candle, was {found}")
        self._cells = self.capacity + SLACK
        memory.at(RING_OFFSET, self._cells * CELL)
        self.pair = _text(segment.buffer, HEADER_OFFSET, 24)
        self.interval = _text(segment.buffer, HEADER_OFFSET + 24, 8)
        self.interval_ms = memory.signed[INTERVAL_MS]
        self.epoch = segment.epoch
        self.silent_after_ns = silent_after_ns

    def read_into(self, rows) -> int:
        """Copy the newest candles of one moment, oldest first, into `rows`; return how many rows were filled in.

        Args:
            rows: contiguous float64 of shape (most, COLUMNS): open time in s, open, high, low, close, volume, quote
                volume, number of trades, volume and quote volume that takers bought.

        Raises:
            ShmError: the writer overwrote them faster than they could be copied, many times in a row.
        """
        view = memoryview(rows)
        if view.ndim != 2 or view.format != "d":
            raise ValueError(f"rows must be float64 of two dimensions, was {view.format!r} of {view.ndim}")
        most, columns = view.shape
        if columns != COLUMNS:
            raise ValueError(f"rows must have {COLUMNS} columns, was {columns}")
        if most == 0:
            return 0
        into = view.cast("B").cast("d")
        for _ in range(PATIENT_TRIES):
            for _ in range(READ_TRIES):
                count = self._read(into, most)
                if count >= 0:
                    return count
            time.sleep(0.0005)
        raise ShmError(f"{self.pair} {self.interval}: the candles changed faster than they could be read")

    @property
    def count(self) -> int:
        """How many candles a reader gets now, the newest one included."""
        newest = self._load_newest()
        return 0 if newest is None else min(newest[0] + 1 - newest[1], self.capacity)

    @property
    def newest(self) -> Candle | None:
        """The newest Candle, None before the first."""
        newest = self._load_newest()
        return None if newest is None else _candle(newest)

    @property
    def revision(self) -> int:
        """Number of the newest revision, 0 before the first: another number means that something changed."""
        return self._memory.words[HEAD] >> 8

    @property
    def state(self) -> int:
        """EMPTY, LIVE, STALE, RESYNCING or HALTED as it was stored, whether its writer lives or not."""
        return self._memory.words[HEAD] & 0xFF

    @property
    def state_ns(self) -> int:
        """When the state was last set (monotonic)."""
        return self._memory.signed[STATE_NS]

    @property
    def heartbeat_boot_ns(self) -> int:
        """When the writer last beat (CLOCK_BOOTTIME)."""
        return self._memory.signed[HEARTBEAT_BOOT]

    def state_at(self, now_boot_ns: int = 0) -> int:
        """Return the stored state, WRITER_DEAD when the writer's heartbeat is too old at `now_boot_ns` (0: now)."""
        beat_ns = self._memory.signed[HEARTBEAT_BOOT]  # before the state: see the twin
        now_boot_ns = now_boot_ns or boottime_ns()
        return WRITER_DEAD if now_boot_ns - beat_ns > self.silent_after_ns else self.state

    def _read(self, into: memoryview, most: int) -> int:
        """Fill in rows; return how many, -1 when one of them was overwritten meanwhile."""
        revision = self._memory.words[HEAD] >> 8
        if revision == 0:
            return 0
        newest = self._load(LIVE_OFFSET + revision % LIVES * CELL, revision)
        if newest is None:
            return -1
        last = newest[0]
        first = max(newest[1], last + 1 - self.capacity, last + 1 - most)
        at = 0
        for n in range(first, last):
            record = self._load(RING_OFFSET + n % self._cells * CELL, n)
            if record is None:
                return -1
            _put(record, into, at)
            at += COLUMNS
        _put(newest, into, at)
        return last + 1 - first

    def _load(self, at: int, n: int) -> tuple | None:
        words = self._memory.words
        if words[at >> 3] != 2 * n + 2:  # acquire: pairs with the second store of the seq in _store()
            return None
        record = RECORD.unpack(bytes(self._memory.octets[at + 8 : at + CELL]))
        return record if words[at >> 3] == 2 * n + 2 else None

    def _load_newest(self) -> tuple | None:
        for _ in range(READ_TRIES):
            revision = self._memory.words[HEAD] >> 8
            if revision == 0:
                return None
            newest = self._load(LIVE_OFFSET + revision % LIVES * CELL, revision)
            if newest is not None:
                return newest
        return None


def _candle(record: tuple) -> Candle:
    _, _, closed, open_ms, close_ms, trades, open_, high, low, close, volume, quote, taker, taker_quote, _ = record
    return Candle(open_ms, close_ms, open_, high, low, close, volume, quote, trades, taker, taker_quote, closed != 0)


def _put(record: tuple, into: memoryview, at: int) -> None:
    _, _, _, open_ms, _, trades, open_, high, low, close, volume, quote, taker, taker_quote, _ = record
    into[at] = open_ms / 1000.0
    values = (open_, high, low, close, volume, quote, float(trades), taker, taker_quote)
    for offset, value in enumerate(values, at + 1):
        into[offset] = value


def _text(buffer, offset: int, size: int) -> str:
    return bytes(buffer[offset : offset + size]).rstrip(b"\0").decode("ascii", "replace")
