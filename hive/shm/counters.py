"""Labelled counters and latency histograms in shared memory in pure Python, the twin of counters.pyx.

The layout and the buckets are described there. One writer, readers ask nobody: every value is one word, stored whole
(atomics.py), and their sum is not a snapshot of one instant.
"""

from collections.abc import Iterator

from hive.shm.atomics import Memory
from hive.shm.errors import LayoutMismatch, NotRepresentable, ShmError, TableFull
from hive.shm.layout import COUNTER_RECORD, COUNTERS_HEADER, HISTOGRAM_CELL, SEGMENT_HEADER
from hive.shm.segment import PAYLOAD_OFFSET
from hive.shm.snapshots import CountersSnapshot, HistogramSnapshot, counter_key

KIND_COUNTER, KIND_HISTOGRAM = 1, 2
HEADER_OFFSET = PAYLOAD_OFFSET
RECORDS_OFFSET = HEADER_OFFSET + COUNTERS_HEADER.size

_CAPACITY, _COUNT, _HISTOGRAM_CAPACITY, _HISTOGRAM_COUNT = (
    HEADER_OFFSET + COUNTERS_HEADER.offset(name) >> 2
    for name in ("capacity", "count", "histogram_capacity", "histogram_count")
)
_HISTOGRAMS_OFFSET = HEADER_OFFSET + COUNTERS_HEADER.offset("histograms_offset") >> 3
_HEARTBEAT = SEGMENT_HEADER.offset("heartbeat_ns") >> 3
_NAME, _LABELS, _KIND, _HISTOGRAM, _VALUE = (
    COUNTER_RECORD.offset(name) for name in ("name", "labels", "kind", "histogram", "value")
)
_SUM, _MAX, _BUCKETS = (HISTOGRAM_CELL.offset(name) >> 3 for name in ("sum", "max", "buckets"))
_BUCKET_COUNT = 250


def counters_size(capacity: int, histograms: int) -> int:
    """Return the bytes of a counters segment, header included.

    Args:
        capacity: how many counters and histograms together, >= 1.
        histograms: how many of them are histograms, >= 0.
    """
    if capacity < 1 or not 0 <= histograms <= capacity:
        raise ValueError(
            f"counters need capacity >= 1 and 0 <= histograms <= capacity, was {capacity} and {histograms}"
        )
    return RECORDS_OFFSET + capacity * COUNTER_RECORD.size + histograms * HISTOGRAM_CELL.size


class Counter:
    """A signed 64-bit value; from Counters.counter(). Only its writer's process may change it."""

    __slots__ = ("_index", "_signed")

    def __init__(self) -> None:
        raise TypeError("a Counter comes from Counters.counter()")

    def inc(self, n: int = 1) -> None:
        """Add `n`."""
        self._signed[self._index] += n  # one writer: no read-modify-write needed

    def set(self, value: int) -> None:
        """Set the value (a gauge)."""
        self._signed[self._index] = value

    @property
    def value(self) -> int:
        """The value."""
        return self._signed[self._index]


class Histogram:
    """Counts of durations; from Counters.histogram(). Only its writer's process may record."""

    __slots__ = ("_cell", "_words")

    def __init__(self) -> None:
        raise TypeError("a Histogram comes from Counters.histogram()")

    def record(self, value_ns: int) -> None:
        """Count a duration in nanoseconds; a negative one counts as 0."""
        value = max(0, value_ns)
        words = self._words
        cell = self._cell
        words[cell + _SUM] += value
        if value > words[cell + _MAX]:
            words[cell + _MAX] = value
        words[cell + _BUCKETS + _bucket_index(value)] += 1

    @property
    def total_ns(self) -> int:
        """The sum of all durations so far."""
        return self._words[self._cell + _SUM]

    def read(self) -> HistogramSnapshot:
        """Return the histogram as it is now."""
        return _read_cell(self._words, self._cell)


def _bucket_index(value: int) -> int:
    if value < 64:
        return 0
    octave = value.bit_length() - 1
    if octave >= 37:
        return _BUCKET_COUNT - 1
    return 1 + (octave - 6) * 8 + (value >> octave - 3 & 7)


def _read_cell(words: memoryview, cell: int) -> HistogramSnapshot:
    first = cell + _BUCKETS
    buckets = tuple(words[first : first + _BUCKET_COUNT].tolist())  # each is loaded whole: unpack_single() word by word
    return HistogramSnapshot(words[cell + _SUM], words[cell + _MAX], buckets)


class Counters:
    """The writer's view of a counters segment; make it with Counters.create()."""

    def __init__(self) -> None:
        raise TypeError("make Counters with Counters.create(segment, capacity)")

    @staticmethod
    def create(segment, capacity: int) -> "Counters":
        """Lay out a fresh segment of counters_size(capacity, histograms) bytes and kind "counters".

        Args:
            segment: its room behind `capacity` records is for histograms.
            capacity: how many counters and histograms together.
        """
        histograms_offset = RECORDS_OFFSET + capacity * COUNTER_RECORD.size
        if capacity < 1 or segment.size < histograms_offset:
            raise ValueError(f"{segment.name} must have {histograms_offset} bytes for {capacity} counters (>= 1)")
        self = Counters.__new__(Counters)
        self._memory = Memory(segment.buffer, True)
        self._handles = {}
        halves = self._memory.halves
        if halves[_CAPACITY]:
            raise ShmError(f"{segment.name} is in use: a writer makes a segment of the next epoch")
        halves[_HISTOGRAM_CAPACITY] = (segment.size - histograms_offset) // HISTOGRAM_CELL.size
        self._memory.words[_HISTOGRAMS_OFFSET] = histograms_offset
        halves[_CAPACITY] = capacity  # release: pairs with the load in CountersReader
        return self

    def counter(self, name: str, **labels: object) -> Counter:
        """Return the counter of that name and labels, made at the first call. TableFull when there is no room."""
        return self._handle(name, labels, KIND_COUNTER)

    def histogram(self, name: str, **labels: object) -> Histogram:
        """Return the histogram of that name and labels, made at the first call. TableFull when there is no room."""
        return self._handle(name, labels, KIND_HISTOGRAM)

    def beat(self, now_ns: int) -> None:
        """Store the segment's heartbeat (monotonic)."""
        self._memory.signed[_HEARTBEAT] = now_ns

    def _handle(self, name, labels, kind):
        key = (name, tuple(sorted(labels.items())))
        handle = self._handles.get(key)
        if handle is None:
            handle = self._handles[key] = self._add(name, labels, kind)
        elif isinstance(handle, Counter) != (kind == KIND_COUNTER):
            raise ValueError(f"{name} is both a counter and a histogram")
        return handle

    def _add(self, name, labels, kind):
        memory = self._memory
        halves = memory.halves
        index, cell = halves[_COUNT], halves[_HISTOGRAM_COUNT]
        name_bytes = _ascii("a counter's name", name, 40)
        label_bytes = _ascii("a counter's labels", _label_text(labels), 96)
        if index == halves[_CAPACITY]:
            raise TableFull(f"{halves[_CAPACITY]} counters are in use: no room for {name}")
        if kind == KIND_HISTOGRAM and cell == halves[_HISTOGRAM_CAPACITY]:
            raise TableFull(f"{halves[_HISTOGRAM_CAPACITY]} histograms are in use: no room for {name}")
        record = memory.at(RECORDS_OFFSET + index * COUNTER_RECORD.size, COUNTER_RECORD.size)
        memory.octets[record + _NAME : record + _NAME + len(name_bytes)] = name_bytes
        memory.octets[record + _LABELS : record + _LABELS + len(label_bytes)] = label_bytes
        halves[record + _KIND >> 2] = kind
        halves[record + _HISTOGRAM >> 2] = cell
        if kind == KIND_COUNTER:
            handle = Counter.__new__(Counter)
            handle._signed = memory.signed
            handle._index = record + _VALUE >> 3
        else:
            handle = Histogram.__new__(Histogram)
            handle._words = memory.words
            offset = memory.words[_HISTOGRAMS_OFFSET] + cell * HISTOGRAM_CELL.size
            handle._cell = memory.at(offset, HISTOGRAM_CELL.size) >> 3
            halves[_HISTOGRAM_COUNT] = cell + 1
        halves[_COUNT] = index + 1  # release: pairs with the load of the count in CountersReader.read()
        return handle


def _label_text(labels) -> str:
    for key, value in labels.items():
        if not value or any(sign in str(value) for sign in ",="):
            raise ValueError(f"a label must not be empty nor hold ',' or '=', was {key}={value!r}")
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels))


def _ascii(what: str, text: str, size: int) -> bytes:
    if len(text) > size or not text.isascii():
        raise NotRepresentable(f"{what} must be at most {size} ASCII characters, was {text!r}")
    return text.encode("ascii")


class CountersReader:
    """A reader's view of a counters segment.

    Args:
        segment: opened with kind "counters".
    """

    def __init__(self, segment) -> None:
        self._memory = Memory(segment.buffer)
        self._keys = []
        self._parts = {}
        if self._memory.halves[_CAPACITY] == 0:  # acquire: pairs with the store in Counters.create()
            raise LayoutMismatch(f"{segment.name} holds no counters yet")

    @property
    def heartbeat_ns(self) -> int:
        """When the writer last beat (monotonic), 0 when it never did."""
        return self._memory.signed[_HEARTBEAT]

    def read(self) -> CountersSnapshot:
        """Return all values and histograms as they are now."""
        memory = self._memory
        words, halves, signed = memory.words, memory.halves, memory.signed
        histograms_offset = words[_HISTOGRAMS_OFFSET]
        values = {}
        histograms = {}
        for index in range(halves[_COUNT]):  # acquire: pairs with the store of the count in _add()
            record = memory.at(RECORDS_OFFSET + index * COUNTER_RECORD.size, COUNTER_RECORD.size)
            if index == len(self._keys):
                octets = memory.octets
                name = bytes(octets[record + _NAME : record + _NAME + 40])
                labels = bytes(octets[record + _LABELS : record + _LABELS + 96])
                self._keys.append(counter_key(self._parts, name, labels))
            if halves[record + _KIND >> 2] == KIND_COUNTER:
                values[self._keys[index]] = signed[record + _VALUE >> 3]
            else:
                offset = histograms_offset + halves[record + _HISTOGRAM >> 2] * HISTOGRAM_CELL.size
                histograms[self._keys[index]] = _read_cell(words, memory.at(offset, HISTOGRAM_CELL.size) >> 3)
        return CountersSnapshot(self.heartbeat_ns, values, histograms)

    def total(self, name: str) -> int:
        """Return the sum of the counter over all labels; unlike `read` it makes nothing of the other counters."""
        signed = self._memory.signed
        return sum(signed[record + _VALUE >> 3] for record in self._named(name, KIND_COUNTER))

    def merged(self, name: str) -> HistogramSnapshot:
        """Return the histogram merged over all labels, in the same way."""
        memory = self._memory
        found = HistogramSnapshot()
        for record in self._named(name, KIND_HISTOGRAM):
            cell = memory.halves[record + _HISTOGRAM >> 2]
            offset = memory.words[_HISTOGRAMS_OFFSET] + cell * HISTOGRAM_CELL.size
            found = found.merge(_read_cell(memory.words, memory.at(offset, HISTOGRAM_CELL.size) >> 3))
        return found

    def _named(self, name: str, kind: int) -> Iterator[int]:
        memory = self._memory
        wanted = _ascii("a counter's name" if kind == KIND_COUNTER else "a histogram's name", name, 40).ljust(40, b"\0")
        for index in range(memory.halves[_COUNT]):  # acquire: as in read()
            record = memory.at(RECORDS_OFFSET + index * COUNTER_RECORD.size, COUNTER_RECORD.size)
            name_at = record + _NAME
            if memory.halves[record + _KIND >> 2] == kind and memory.octets[name_at : name_at + 40] == wanted:
                yield record
