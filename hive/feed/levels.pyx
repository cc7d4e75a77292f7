"""The levels of one side in a message: checked and converted as a whole before a book applies any of them.

    [["64231.01000000", "0.00420000"], ["64230.99000000", "0"]]   fields after the second are passed over

They come as undecoded JSON, read here without an object per level, or as lists of lists of strings. Prices and
quantities are the nearest float64 to the venue's decimals, exactly as `float()` reads them.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from cpython.object cimport PyObject
from libc.math cimport isfinite
from libc.stdint cimport uint64_t
from libc.string cimport memcpy, strlen

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


cdef int c_grow(double **first, double **second, Py_ssize_t *capacity) noexcept nogil:
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


cdef inline double _scaled(uint64_t mantissa, Py_ssize_t fraction) noexcept nogil:
    """Return mantissa / 10**fraction rounded once, or -1 when it takes more care."""
    while mantissa > LARGEST_EXACT and fraction > 0 and mantissa % 10 == 0:
        mantissa //= 10
        fraction -= 1
    if mantissa > LARGEST_EXACT or fraction > 22:
        return -1.0
    return <double>mantissa / POWERS_OF_TEN[fraction]


cdef double c_decimal(const char *text, Py_ssize_t size) noexcept nogil:
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
    into[0] = c_decimal(at, closing - at)
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
        if count == into.capacity and not c_grow(&into.px, &into.qty, &into.capacity):
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
    into[0] = c_decimal(characters, size)
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
        if not c_grow(&into.px, &into.qty, &into.capacity):
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


cdef int c_read(Levels *into, object levels) except -1:
    """Check and convert a message's levels before any of them is applied."""
    if type(levels) is list:
        return _read_list(into, levels)
    if type(levels) is Raw or type(levels) is bytes:
        return _read_json(into, levels)
    raise MalformedMessage(f"levels must be a list or undecoded JSON, was {levels!r:.60}")


cdef bint c_scan(Levels *into, const char *at, const char *end) except -1:
    """Read undecoded JSON; False when c_read() has to take a closer look."""
    return _scan(into, at, end) == DONE


def read_levels(levels):
    """Return [(price, quantity), ...] of undecoded JSON or lists of strings. Raises MalformedMessage."""
    cdef Levels read
    cdef Py_ssize_t i
    read.px = NULL
    read.qty = NULL
    read.count = 0
    read.capacity = 0
    try:
        c_read(&read, levels)
        return [(read.px[i], read.qty[i]) for i in range(read.count)]
    finally:
        PyMem_RawFree(read.px)
        PyMem_RawFree(read.qty)
