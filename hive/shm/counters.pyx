"""Labelled counters and latency histograms in shared memory: one writer, readers ask nobody.

A counters segment (offsets from its start; structs in layout.h):

    256                 counters_header: capacity, count, histogram_capacity, histogram_count
    320                 capacity counter_records of 192 bytes: name[40], labels[96], kind, histogram index, value
    histograms_offset   histogram_cells of 2112 bytes: sum, max, 250 buckets

Histograms count nanoseconds in logarithmic buckets, 8 to an octave: bucket 0 is below 64 ns, 1..248 cover 64 ns to
2^37 ns (137 s), 249 is what is longer. A percentile is the middle of its bucket, at most 1/16 off above 64 ns.

Values are read one by one while they change: each is whole, their sum is not a snapshot of one instant.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, strncmp

from hive.shm.atomics cimport (
    Memory,
    load_acquire_u32,
    load_relaxed,
    load_relaxed_i64,
    store_relaxed_i64,
    store_release_u32,
)
from hive.shm.layout cimport HISTOGRAM_BUCKETS, counter_record, counters_header, histogram_cell, segment_header

from hive.shm.errors import LayoutMismatch, NotRepresentable, ShmError, TableFull
from hive.shm.layout import HISTOGRAM_CELL
from hive.shm.segment import PAYLOAD_OFFSET
from hive.shm.snapshots import CountersSnapshot, HistogramSnapshot, counter_key


cdef enum:
    KIND_COUNTER = 1
    KIND_HISTOGRAM = 2

cdef Py_ssize_t HEADER_OFFSET = PAYLOAD_OFFSET
cdef Py_ssize_t RECORDS_OFFSET = HEADER_OFFSET + sizeof(counters_header)
_BUCKETS = HISTOGRAM_CELL.offset("buckets")


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
    return RECORDS_OFFSET + capacity * sizeof(counter_record) + histograms * sizeof(histogram_cell)


cdef class Counter:
    """A signed 64-bit value; from Counters.counter(). Only its writer's process may change it."""

    def __init__(self):
        raise TypeError("a Counter comes from Counters.counter()")

    cdef void c_inc(self, int64_t n) noexcept nogil:
        add_to(self._value, n)

    cdef void c_set(self, int64_t value) noexcept nogil:
        store_relaxed_i64(self._value, value)

    def inc(self, int64_t n=1) -> None:
        """Add `n`."""
        self.c_inc(n)

    def set(self, int64_t value) -> None:
        """Set the value (a gauge)."""
        self.c_set(value)

    @property
    def value(self) -> int:
        """The value."""
        return load_relaxed_i64(self._value)


cdef class Histogram:
    """Counts of durations; from Counters.histogram(). Only its writer's process may record."""

    def __init__(self):
        raise TypeError("a Histogram comes from Counters.histogram()")

    cdef void c_record(self, int64_t value_ns) noexcept nogil:
        record_in(self._cell, value_ns)

    def record(self, int64_t value_ns) -> None:
        """Count a duration in nanoseconds; a negative one counts as 0."""
        self.c_record(value_ns)

    @property
    def total_ns(self) -> int:
        """The sum of all durations so far."""
        return load_relaxed(&self._cell.sum)

    def read(self) -> HistogramSnapshot:
        """Return the histogram as it is now."""
        return _read_cell(self._cell)


cdef _read_cell(const histogram_cell *cell):
    cdef Py_ssize_t i
    buckets = tuple([load_relaxed(&cell.buckets[i]) for i in range(HISTOGRAM_BUCKETS)])
    return HistogramSnapshot(load_relaxed(&cell.sum), load_relaxed(&cell.max), buckets)


cdef class Counters:
    """The writer's view of a counters segment; make it with Counters.create()."""

    cdef Memory _memory
    cdef segment_header *_segment
    cdef counters_header *_header
    cdef dict _handles

    def __init__(self):
        raise TypeError("make Counters with Counters.create(segment, capacity)")

    @staticmethod
    def create(segment, uint32_t capacity) -> Counters:
        """Lay out a fresh segment of counters_size(capacity, histograms) bytes and kind "counters".

        Args:
            segment: its room behind `capacity` records is for histograms.
            capacity: how many counters and histograms together.
        """
        histograms_offset = RECORDS_OFFSET + capacity * sizeof(counter_record)
        if capacity < 1 or segment.size < histograms_offset:
            raise ValueError(f"{segment.name} must have {histograms_offset} bytes for {capacity} counters (>= 1)")
        cdef Counters self = Counters.__new__(Counters)
        self._memory = Memory(segment.buffer, True)
        self._segment = <segment_header *>self._memory.base
        self._header = <counters_header *>self._memory.at(HEADER_OFFSET, sizeof(counters_header))
        self._handles = {}
        if self._header.capacity:
            raise ShmError(f"{segment.name} is in use: a writer makes a segment of the next epoch")
        self._header.histogram_capacity = (segment.size - histograms_offset) // sizeof(histogram_cell)
        self._header.histograms_offset = histograms_offset
        store_release_u32(&self._header.capacity, capacity)  # pairs with load_acquire_u32 in CountersReader
        return self

    def counter(self, str name, **labels) -> Counter:
        """Return the counter of that name and labels, made at the first call. TableFull when there is no room."""
        return self._handle(name, labels, KIND_COUNTER)

    def histogram(self, str name, **labels) -> Histogram:
        """Return the histogram of that name and labels, made at the first call. TableFull when there is no room."""
        return self._handle(name, labels, KIND_HISTOGRAM)

    def beat(self, int64_t now_ns) -> None:
        """Store the segment's heartbeat (monotonic)."""
        store_relaxed_i64(&self._segment.heartbeat_ns, now_ns)

    cdef _handle(self, str name, dict labels, uint32_t kind):
        key = (name, tuple(sorted(labels.items())))
        handle = self._handles.get(key)
        if handle is None:
            handle = self._handles[key] = self._add(name, labels, kind)
        elif isinstance(handle, Counter) != (kind == KIND_COUNTER):
            raise ValueError(f"{name} is both a counter and a histogram")
        return handle

    cdef _add(self, str name, dict labels, uint32_t kind):
        cdef uint32_t index = self._header.count
        cdef uint32_t cell = self._header.histogram_count
        cdef bytes name_bytes = _ascii("a counter's name", name, 40)
        cdef bytes label_bytes = _ascii("a counter's labels", _label_text(labels), 96)
        cdef Counter counter
        cdef Histogram histogram
        if index == self._header.capacity:
            raise TableFull(f"{self._header.capacity} counters are in use: no room for {name}")
        if kind == KIND_HISTOGRAM and cell == self._header.histogram_capacity:
            raise TableFull(f"{self._header.histogram_capacity} histograms are in use: no room for {name}")
        cdef counter_record *record = <counter_record *>self._memory.at(
            RECORDS_OFFSET + index * sizeof(counter_record), sizeof(counter_record)
        )
        memcpy(record.name, <const char *>name_bytes, len(name_bytes))
        memcpy(record.labels, <const char *>label_bytes, len(label_bytes))
        record.kind = kind
        record.histogram = cell
        if kind == KIND_COUNTER:
            counter = Counter.__new__(Counter)
            counter._memory = self._memory
            counter._value = &record.value
            handle = counter
        else:
            histogram = Histogram.__new__(Histogram)
            histogram._memory = self._memory
            histogram._cell = <histogram_cell *>self._memory.at(
                self._header.histograms_offset + cell * sizeof(histogram_cell), sizeof(histogram_cell)
            )
            self._header.histogram_count = cell + 1
            handle = histogram
        store_release_u32(&self._header.count, index + 1)  # pairs with load_acquire_u32(&count) in read()
        return handle


def _label_text(labels):
    for key, value in labels.items():
        if not value or any(sign in str(value) for sign in ",="):
            raise ValueError(f"a label must not be empty nor hold ',' or '=', was {key}={value!r}")
    return ",".join(f"{key}={labels[key]}" for key in sorted(labels))


def _ascii(what, text, size):
    if len(text) > size or not text.isascii():
        raise NotRepresentable(f"{what} must be at most {size} ASCII characters, was {text!r}")
    return text.encode("ascii")


cdef class CountersReader:
    """A reader's view of a counters segment.

    Args:
        segment: opened with kind "counters".
    """

    cdef Memory _memory
    cdef const segment_header *_segment
    cdef const counters_header *_header
    cdef list _keys
    cdef dict _parts

    def __init__(self, segment):
        self._memory = Memory(segment.buffer)
        self._segment = <const segment_header *>self._memory.base
        self._header = <const counters_header *>self._memory.at(HEADER_OFFSET, sizeof(counters_header))
        self._keys = []
        self._parts = {}
        if load_acquire_u32(&self._header.capacity) == 0:  # pairs with store_release_u32 in Counters.create()
            raise LayoutMismatch(f"{segment.name} holds no counters yet")

    @property
    def heartbeat_ns(self) -> int:
        """When the writer last beat (monotonic), 0 when it never did."""
        return load_relaxed_i64(&self._segment.heartbeat_ns)

    def read(self) -> CountersSnapshot:
        """Return all values and histograms as they are now."""
        cdef uint32_t count = load_acquire_u32(&self._header.count)  # pairs with store_release_u32 in _add()
        cdef uint32_t i
        cdef const counter_record *record
        values = {}
        histograms = {}
        for i in range(count):
            record = self._record(i)
            if i == len(self._keys):
                self._keys.append(counter_key(self._parts, record.name[:40], record.labels[:96]))
            if record.kind == KIND_COUNTER:
                values[self._keys[i]] = load_relaxed_i64(&record.value)
            else:
                histograms[self._keys[i]] = _read_cell(self._cell(record))
        return CountersSnapshot(self.heartbeat_ns, values, histograms)

    def total(self, str name) -> int:
        """Return the sum of the counter over all labels; unlike `read` it makes nothing of the other counters."""
        cdef bytes wanted = _ascii("a counter's name", name, 40)
        cdef int64_t found = 0
        cdef uint32_t i
        cdef const counter_record *record
        for i in range(load_acquire_u32(&self._header.count)):  # as in read()
            record = self._record(i)
            if record.kind == KIND_COUNTER and strncmp(record.name, <const char *>wanted, 40) == 0:
                found += load_relaxed_i64(&record.value)
        return found

    def merged(self, str name) -> HistogramSnapshot:
        """Return the histogram merged over all labels, in the same way."""
        cdef bytes wanted = _ascii("a histogram's name", name, 40)
        cdef uint32_t i
        cdef const counter_record *record
        found = HistogramSnapshot()
        for i in range(load_acquire_u32(&self._header.count)):  # as in read()
            record = self._record(i)
            if record.kind == KIND_HISTOGRAM and strncmp(record.name, <const char *>wanted, 40) == 0:
                found = found.merge(_read_cell(self._cell(record)))
        return found

    cdef const counter_record *_record(self, Py_ssize_t index) except NULL:
        return <const counter_record *>self._memory.at(
            RECORDS_OFFSET + index * sizeof(counter_record), sizeof(counter_record)
        )

    cdef const histogram_cell *_cell(self, const counter_record *record) except NULL:
        return <const histogram_cell *>self._memory.at(
            self._header.histograms_offset + record.histogram * sizeof(histogram_cell), sizeof(histogram_cell)
        )
