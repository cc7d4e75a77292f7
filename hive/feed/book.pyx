"""All known price levels of one instrument, kept in two sorted arrays.

    bids  key:  96   97   98   99   <- best            asks  key: -104 -103 -102 -101  <- best
          qty:   4    1    2    7                            qty:    5    3    9    1

A side's keys ascend towards the best level (an ask's key is its negated price), so changes near the top, which are
most of them, move few elements. A level is found by binary search; quantity 0 removes it.

Horizon: a snapshot of N levels says nothing about what lies behind the N-th. Levels behind it that arrive by diffs are
kept, but there may be unknown ones between them, so only levels up to the horizon are handed out.

Prices and quantities arrive as the venue's decimal strings and are the nearest float64 to them, exactly as `float()`.
The levels of a message are either its undecoded JSON, read here without an object per level, or lists of strings:

    [["64231.01000000", "0.00420000"], ["64230.99000000", "0"]]   fields after the second are passed over
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer

from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc, PyMem_RawRealloc
from cpython.object cimport PyObject
from libc.math cimport INFINITY, isfinite
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memmove, strlen

from hive.shm.atomics cimport monotonic_clock_ns
from hive.shm.book cimport BookWriter

from time import monotonic_ns

from msgspec import DecodeError, Raw
from msgspec.json import decode

from hive.feed.errors import MalformedMessage

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    double PyOS_string_to_double(const char *text, char **end, PyObject *overflow_exception) except? -1.0

cdef extern from *:
    """
    #include <stdint.h>
    /* Eight ASCII characters in a little-endian word: whether all are digits, and what they say. Each step adds
       neighbours: 8 digits become 4 pairs, 2 fours, 1 eight. */
    static inline int eight_digits(uint64_t word) {
        return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && ((word & 0xF0F0F0F0F0F0F0F0u) | (((word + 0x0606060606060606u) & 0xF0F0F0F0F0F0F0F0u) >> 4))
            == 0x3333333333333333u;
    }
    static inline uint64_t eight_digits_value(uint64_t word) {
        word = (word & 0x0F0F0F0F0F0F0F0Fu) * 2561 >> 8;
        word = (word & 0x00FF00FF00FF00FFu) * 6553601 >> 16;
        return (word & 0x0000FFFF0000FFFFu) * 42949672960001u >> 32;
    }
    """
    int eight_digits(uint64_t word) noexcept nogil
    uint64_t eight_digits_value(uint64_t word) noexcept nogil

cdef enum:
    FIRST_LEVELS = 256
    MOST_LEVELS = 20000  # of a side; what lies behind is dropped and the horizon moves in
    MOST_DIGITS = 19  # fit into 64 bits
    LONGEST_NUMBER = 400  # characters; no float64 needs more

cdef enum Scanned:
    DONE
    NO_LEVELS  # not [[...], ...]
    NO_NUMBER  # a price or quantity that is no finite number >= 0 in a string, or a price of 0
    MORE_FIELDS  # behind the second one of a level
    NO_MEMORY

# A mantissa of up to 2**53 and a power of ten up to 10**22 are float64s, so their quotient is rounded once: correctly.
cdef uint64_t LARGEST_EXACT = 1 << 53
cdef double[23] POWERS_OF_TEN
for _power in range(23):
    POWERS_OF_TEN[_power] = float(10**_power)


cdef int _grow(double **first, double **second, Py_ssize_t *capacity) noexcept nogil:
    """Double two arrays; return 0 when there is no memory."""
    cdef Py_ssize_t wanted = FIRST_LEVELS if capacity[0] == 0 else 2 * capacity[0]
    cdef double *grown = <double *>PyMem_RawRealloc(first[0], wanted * sizeof(double))
    if grown == NULL:
        return 0
    first[0] = grown
    grown = <double *>PyMem_RawRealloc(second[0], wanted * sizeof(double))
    if grown == NULL:
        return 0
    second[0] = grown
    capacity[0] = wanted
    return 1


cdef Py_ssize_t _lower_bound(const Side *side, double key) noexcept nogil:
    """Return the position of the first key >= `key`; the nearer it is to the best level, the sooner."""
    cdef Py_ssize_t low = 0
    cdef Py_ssize_t high = side.count
    cdef Py_ssize_t step = 1
    cdef Py_ssize_t middle
    while step <= side.count:
        if side.key[side.count - step] < key:
            low = side.count - step + 1
            break
        high = side.count - step
        step *= 2
    while low < high:
        middle = (low + high) >> 1
        if side.key[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low


cdef void _remove(Side *side, Py_ssize_t at) noexcept nogil:
    cdef Py_ssize_t behind = side.count - at - 1
    memmove(side.key + at, side.key + at + 1, behind * sizeof(double))
    memmove(side.qty + at, side.qty + at + 1, behind * sizeof(double))
    side.count -= 1


cdef int _set(Side *side, double key, double qty) noexcept nogil:
    """Give a level its quantity; return 0 when there is no memory."""
    cdef Py_ssize_t at = _lower_bound(side, key)
    cdef Py_ssize_t behind
    if at < side.count and side.key[at] == key:
        if qty > 0.0:
            side.qty[at] = qty
        else:
            _remove(side, at)
        return 1
    if qty <= 0.0:
        return 1
    if side.count == MOST_LEVELS:
        if at == 0:
            side.horizon = max(side.horizon, side.key[0])
            return 1
        _remove(side, 0)
        side.horizon = max(side.horizon, side.key[0])
        at -= 1
    if side.count == side.capacity and not _grow(&side.key, &side.qty, &side.capacity):
        return 0
    behind = side.count - at
    memmove(side.key + at + 1, side.key + at, behind * sizeof(double))
    memmove(side.qty + at + 1, side.qty + at, behind * sizeof(double))
    side.key[at] = key
    side.qty[at] = qty
    side.count += 1
    return 1


cdef int _update(Side *side, const Levels *levels, double sign) noexcept nogil:
    """Apply a diff's levels; return 0 when there is no memory."""
    cdef Py_ssize_t i
    for i in range(levels.count):
        if not _set(side, sign * levels.px[i], levels.qty[i]):
            return 0
    return 1


cdef double _worst(const Levels *levels, double sign) noexcept nogil:
    cdef double worst = INFINITY
    cdef Py_ssize_t i
    for i in range(levels.count):
        worst = min(worst, sign * levels.px[i])
    return worst


cdef int _refill(Side *side, const Levels *levels, double sign, Py_ssize_t limit) noexcept nogil:
    """Become a snapshot's levels; return 0 when there is no memory."""
    cdef Py_ssize_t i
    side.count = 0
    side.horizon = -INFINITY if levels.count < limit else _worst(levels, sign)
    for i in range(levels.count - 1, -1, -1):  # it lists the best first: backwards, every insertion is an append
        if not _set(side, sign * levels.px[i], levels.qty[i]):
            return 0
    return 1


cdef Py_ssize_t _complete(const Side *side, Py_ssize_t most) noexcept nogil:
    """Return how many levels, from the best one on, are known without a hole; `most` when it is more."""
    if side.count >= most and side.key[side.count - most] >= side.horizon:
        return most
    return side.count - _lower_bound(side, side.horizon)


cdef inline double _scaled(uint64_t mantissa, Py_ssize_t fraction) noexcept nogil:
    """Return mantissa / 10**fraction rounded once, or -1 when it takes more care."""
    while mantissa > LARGEST_EXACT and fraction > 0 and mantissa % 10 == 0:
        mantissa //= 10
        fraction -= 1
    if mantissa > LARGEST_EXACT or fraction > 22:
        return -1.0
    return <double>mantissa / POWERS_OF_TEN[fraction]


cdef double _decimal(const char *text, Py_ssize_t size) noexcept nogil:
    """Return a plain decimal as float64, or -1 when it is not one or takes more care."""
    cdef uint64_t mantissa = 0
    cdef Py_ssize_t point = -1
    cdef unsigned int digit
    cdef Py_ssize_t i
    if size > MOST_DIGITS + 1:
        return -1.0
    for i in range(size):
        digit = <unsigned int>(<unsigned char>text[i]) - c"0"
        if digit <= 9:
            mantissa = mantissa * 10 + digit
        elif text[i] == c"." and point < 0:
            point = i
        else:
            return -1.0
    if size - (point >= 0) > MOST_DIGITS or size <= (point >= 0):
        return -1.0
    return _scaled(mantissa, size - 1 - point if point >= 0 else 0)


cdef inline const char *_usual_decimal(const char *at, const char *end, double *into) noexcept nogil:
    """Read 1 to 10 digits, a point, eight digits and a quote, which is how most come; return what follows, or NULL."""
    cdef const char *start = at
    cdef uint64_t mantissa = 0
    cdef uint64_t eight
    cdef unsigned int digit
    while at < end:
        digit = <unsigned int>(<unsigned char>at[0]) - c"0"
        if digit > 9:
            break
        mantissa = mantissa * 10 + digit
        at += 1
    if at == start or at - start > 10 or end - at < 10 or at[0] != c"." or at[9] != c'"':
        return NULL
    memcpy(&eight, at + 1, 8)
    if not eight_digits(eight):
        return NULL
    into[0] = _scaled(mantissa * 100000000 + eight_digits_value(eight), 8)
    return at + 10 if into[0] >= 0.0 else NULL


cdef double _any_decimal(const char *text, Py_ssize_t size) except? -1.0:
    """Return what float() makes of a text, -1 when that is no finite number >= 0."""
    cdef char[LONGEST_NUMBER + 1] copied
    cdef double value
    if size > LONGEST_NUMBER:
        return -1.0
    memcpy(copied, text, size)
    copied[size] = 0
    if strlen(copied) != <size_t>size:
        return -1.0
    try:
        value = PyOS_string_to_double(copied, NULL, NULL)
    except ValueError:
        return -1.0
    return value if isfinite(value) and value >= 0.0 else -1.0


cdef inline const char *_past_space(const char *at, const char *end) noexcept nogil:
    while at < end and (at[0] == c" " or at[0] == c"\n" or at[0] == c"\t" or at[0] == c"\r"):
        at += 1
    return at


cdef const char *_scan_number(const char *at, const char *end, double *into) except? NULL:
    """Read a number in quotes; return what follows it, or NULL (and no exception) when there is none."""
    cdef const char *closing
    at = _past_space(at, end)
    if at == end or at[0] != c'"':
        return NULL
    at += 1
    closing = _usual_decimal(at, end, into)
    if closing != NULL:
        return _past_space(closing, end)
    closing = at
    while closing < end and closing[0] != c'"':
        closing += 1
    if closing == end:
        return NULL
    into[0] = _decimal(at, closing - at)
    if into[0] < 0.0:
        into[0] = _any_decimal(at, closing - at)
        if into[0] < 0.0:
            return NULL
    return _past_space(closing + 1, end)


cdef Scanned _scan(Levels *into, const char *at, const char *end) except *:
    """Read [["price", "quantity", ...], ...]."""
    cdef Py_ssize_t count = 0
    at = _past_space(at, end)
    if at == end or at[0] != c"[":
        return NO_LEVELS
    at = _past_space(at + 1, end)
    if at < end and at[0] == c"]":
        into.count = 0
        return DONE if _past_space(at + 1, end) == end else NO_LEVELS
    while True:
        if at == end or at[0] != c"[":
            return NO_LEVELS
        if count == into.capacity and not _grow(&into.px, &into.qty, &into.capacity):
            return NO_MEMORY
        at = _scan_number(at + 1, end, &into.px[count])
        if at == NULL or into.px[count] == 0.0:
            return NO_NUMBER
        if at == end or at[0] != c",":
            return NO_LEVELS
        at = _scan_number(at + 1, end, &into.qty[count])
        if at == NULL:
            return NO_NUMBER
        if at == end or at[0] != c"]":
            return MORE_FIELDS if at < end and at[0] == c"," else NO_LEVELS
        count += 1
        at = _past_space(at + 1, end)
        if at < end and at[0] == c",":
            at = _past_space(at + 1, end)
        elif at < end and at[0] == c"]" and _past_space(at + 1, end) == end:
            into.count = count
            return DONE
        else:
            return NO_LEVELS


cdef int _number(object text, double *into) except -1:
    """Read a decimal string; raise MalformedMessage unless it is a finite number >= 0."""
    cdef Py_ssize_t size
    cdef const char *characters
    if type(text) is not str:
        raise MalformedMessage(f"a price or quantity must be a string, was {text!r:.40}")
    try:
        characters = PyUnicode_AsUTF8AndSize(text, &size)
    except UnicodeEncodeError:
        raise MalformedMessage(f"a price or quantity must be a number, was {text!r:.40}") from None
    into[0] = _decimal(characters, size)
    if into[0] < 0.0:
        into[0] = _any_decimal(characters, size)
        if into[0] < 0.0:
            raise MalformedMessage(f"a price or quantity must be a finite number >= 0, was {text!r:.40}")
    return 0


cdef list _decoded(object levels):
    try:
        return decode(levels, type=list)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedMessage(f"levels must be [[price, quantity], ...], was {bytes(levels)[:80]!r}") from None


cdef int _read_json(Levels *into, object levels) except -1:
    """Read undecoded JSON."""
    cdef Py_buffer view
    cdef Scanned scanned
    PyObject_GetBuffer(levels, &view, PyBUF_SIMPLE)
    try:
        scanned = _scan(into, <const char *>view.buf, <const char *>view.buf + view.len)
    finally:
        PyBuffer_Release(&view)
    if scanned == NO_MEMORY:
        raise MemoryError
    if scanned != DONE:
        if scanned == MORE_FIELDS or b"\\" in bytes(levels):  # JSON too, though nobody escapes digits
            return _read_list(into, _decoded(levels))
        rule = "levels must be [[price, quantity], ...]"
        if scanned == NO_NUMBER:
            rule = "a price must be a number > 0 and a quantity one >= 0, both in strings"
        raise MalformedMessage(f"{rule}, was {bytes(levels)[:80]!r}")
    return 0


cdef int _read_list(Levels *into, list levels) except -1:
    """Read lists of strings."""
    cdef Py_ssize_t count = PyList_GET_SIZE(levels)
    cdef object level
    cdef Py_ssize_t i
    while into.capacity < count:
        if not _grow(&into.px, &into.qty, &into.capacity):
            raise MemoryError
    for i in range(count):
        level = <object>PyList_GET_ITEM(levels, i)
        if type(level) is not list or PyList_GET_SIZE(level) < 2:
            raise MalformedMessage(f"a level must be [price, quantity], was {level!r:.60}")
        _number(<object>PyList_GET_ITEM(level, 0), &into.px[i])
        _number(<object>PyList_GET_ITEM(level, 1), &into.qty[i])
        if into.px[i] <= 0.0:
            raise MalformedMessage(f"a price must be > 0, was {level!r:.60}")
    into.count = count
    return 0


cdef int _read(Levels *into, object levels) except -1:
    """Check and convert a message's levels before any of them is applied."""
    if type(levels) is list:
        return _read_list(into, levels)
    if type(levels) is Raw or type(levels) is bytes:
        return _read_json(into, levels)
    raise MalformedMessage(f"levels must be a list or undecoded JSON, was {levels!r:.60}")


cdef inline int64_t _now(object clock) except -1:
    """Return what the clock says; the usual one is asked without a call from Python's side."""
    return monotonic_clock_ns() if clock is monotonic_ns else clock()


cdef class PriceLevelBook:
    """The price levels of one instrument. `depth` is how many of the best go to the readers."""

    def __cinit__(self, Py_ssize_t depth):
        if not 1 <= depth <= 5000:
            raise ValueError(f"depth must be 1..5000, was {depth}")
        self.depth = depth
        self._bids.horizon = -INFINITY
        self._asks.horizon = -INFINITY
        self._top = <double *>PyMem_RawMalloc(4 * depth * sizeof(double))
        if self._top == NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_RawFree(self._bids.key)
        PyMem_RawFree(self._bids.qty)
        PyMem_RawFree(self._asks.key)
        PyMem_RawFree(self._asks.qty)
        PyMem_RawFree(self._new_bids.px)
        PyMem_RawFree(self._new_bids.qty)
        PyMem_RawFree(self._new_asks.px)
        PyMem_RawFree(self._new_asks.qty)
        PyMem_RawFree(self._top)

    def replace(self, bids, asks, Py_ssize_t limit):
        """Become a snapshot.

        bids, asks: undecoded JSON or lists of strings. limit: how many levels per side were asked for; a side of
        so many ends at its horizon, a shorter one is the whole side. Raises MalformedMessage and changes nothing.
        """
        _read(&self._new_bids, bids)
        _read(&self._new_asks, asks)
        if not _refill(&self._bids, &self._new_bids, 1.0, limit) or not _refill(
            &self._asks, &self._new_asks, -1.0, limit
        ):
            raise MemoryError

    cpdef apply(self, bids, asks):
        """Apply a diff of absolute quantities, bids and asks as replace() takes them.

        Raises MalformedMessage and changes nothing.
        """
        _read(&self._new_bids, bids)
        _read(&self._new_asks, asks)
        if not _update(&self._bids, &self._new_bids, 1.0) or not _update(&self._asks, &self._new_asks, -1.0):
            raise MemoryError

    def follow(self, BookWriter writer, bids, asks, int64_t update_id, int64_t exchange_ns, int64_t recv_ns, clock):
        """Apply a diff and publish the book, in one call: the feed's hot path. `clock` gives now_ns of publish().

        Returns the time when that was done, or -1 when the book is crossed now: then nothing is. Raises MalformedMessage
        and changes nothing.
        """
        self.apply(bids, asks)
        if self.c_crossed():
            return -1
        self.publish(writer, update_id, exchange_ns, recv_ns, _now(clock))
        return _now(clock)

    def clear(self):
        """Forget every level."""
        self._bids.count = 0
        self._asks.count = 0
        self._bids.horizon = -INFINITY
        self._asks.horizon = -INFINITY

    @property
    def crossed(self) -> bool:
        """Whether the best bid is not below the best ask: no venue shows that, so a diff is missing."""
        return self.c_crossed()

    @property
    def short(self) -> bool:
        """Whether a side hands out fewer than `depth` levels because its horizon is too near."""
        return (self._bids.horizon != -INFINITY and _complete(&self._bids, self.depth) < self.depth) or (
            self._asks.horizon != -INFINITY and _complete(&self._asks, self.depth) < self.depth
        )

    cpdef publish(self, BookWriter writer, int64_t update_id, int64_t exchange_ns, int64_t recv_ns, int64_t now_ns):
        """Hand the best `depth` levels per side to the readers as a new version."""
        self._fill_top()
        writer.c_publish(
            update_id,
            exchange_ns,
            recv_ns,
            now_ns,
            self._top,
            self._top + self.depth,
            <unsigned int>self.n_bids,
            self._top + 2 * self.depth,
            self._top + 3 * self.depth,
            <unsigned int>self.n_asks,
        )

    def top(self):
        """Return (bids, asks), each [(price, quantity), ...] of up to `depth` levels, best first."""
        self._fill_top()
        cdef Py_ssize_t depth = self.depth
        return (
            [(self._top[i], self._top[depth + i]) for i in range(self.n_bids)],
            [(self._top[2 * depth + i], self._top[3 * depth + i]) for i in range(self.n_asks)],
        )

    def levels(self):
        """Return (bids, asks), each {price: quantity} of every level that is known, behind the horizon too."""
        return (
            {self._bids.key[i]: self._bids.qty[i] for i in range(self._bids.count)},
            {-self._asks.key[i]: self._asks.qty[i] for i in range(self._asks.count)},
        )

    cdef bint c_crossed(self) noexcept nogil:
        if self._bids.count == 0 or self._asks.count == 0:
            return False
        return self._bids.key[self._bids.count - 1] >= -self._asks.key[self._asks.count - 1]

    cdef void _fill_top(self) noexcept nogil:
        cdef Py_ssize_t last = self._bids.count - 1
        cdef Py_ssize_t i
        self.n_bids = _complete(&self._bids, self.depth)
        for i in range(self.n_bids):
            self._top[i] = self._bids.key[last - i]
            self._top[self.depth + i] = self._bids.qty[last - i]
        last = self._asks.count - 1
        self.n_asks = _complete(&self._asks, self.depth)
        for i in range(self.n_asks):
            self._top[2 * self.depth + i] = -self._asks.key[last - i]
            self._top[3 * self.depth + i] = self._asks.qty[last - i]
