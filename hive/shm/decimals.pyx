"""Decimals as a 64-bit mantissa and an exponent, exactly or not at all."""

from decimal import Context, Decimal

from hive.shm.errors import NotRepresentable

from cpython.unicode cimport PyUnicode_READ_CHAR
from libc.stdint cimport int64_t

cdef object EXACT = Context(prec=64)
cdef object scaleb = EXACT.scaleb
cdef object ZERO = Decimal(0)
cdef object LIMIT = 1 << 63
cdef int MOST_DIGITS = 18  # any number of so many digits fits
cdef enum:
    MINUS = 45
    POINT = 46
    NOUGHT = 48
    NINE = 57


def to_mantissa(value):
    """Return (mantissa, exponent) with value == mantissa * 10**exponent.

    The mantissa fits into a signed 64-bit integer and the exponent into a signed byte. Trailing zeros are dropped only
    where the mantissa would not fit otherwise.

    Raises:
        NotRepresentable: NaN, infinite, or too many digits.
        TypeError: not a Decimal; a float is refused because its decimal digits were never meant.
    """
    cdef str text
    cdef Py_ssize_t at, length
    cdef int64_t mantissa = 0
    cdef int exponent = 0
    cdef bint point = False
    cdef bint negative
    cdef Py_UCS4 char
    if not isinstance(value, Decimal):
        raise TypeError(f"a decimal is needed, was {type(value).__name__} {value!r}")
    text = str(value)
    length = len(text)
    if length > MOST_DIGITS:
        return long_mantissa(value)
    negative = length > 0 and PyUnicode_READ_CHAR(text, 0) == MINUS
    for at in range(1 if negative else 0, length):
        char = PyUnicode_READ_CHAR(text, at)
        if NINE >= char >= NOUGHT:
            mantissa = mantissa * 10 + <int64_t>(<int>char - NOUGHT)
            exponent -= point
        elif char == POINT and not point:
            point = True
        else:  # an exponent, or no number
            return long_mantissa(value)
    return (-mantissa if negative else mantissa), exponent


def from_mantissa(mantissa, exponent):
    """Return mantissa * 10**exponent, exactly, whatever the caller's decimal context is."""
    return scaleb(mantissa, exponent)


def halves(value):
    """Return two decimals whose exact sum is `value` and that a message can carry, for one that may be too long.

    Of more than 36 digits the rest is dropped, towards zero.
    """
    sign, digits, exponent = value.as_tuple()
    if len(digits) <= 18:
        return value, ZERO
    high, low = digits[:18], digits[18:36]
    exponent += len(digits) - 18
    return Decimal((sign, high, exponent)), Decimal((sign, low, exponent - len(low)))


def whole(high, low):
    """Return the sum of what `halves` gave, exactly; None counts as 0."""
    return EXACT.add(high or ZERO, low or ZERO)


cdef tuple long_mantissa(value):
    if not value.is_finite():
        raise NotRepresentable(f"a decimal must be finite, was {value}")
    sign, digits, exponent = value.as_tuple()
    if len(digits) > 19 or not -128 <= exponent < 128:
        digits, exponent = without_trailing_zeros(digits, exponent)
    mantissa = 0
    for digit in digits:
        mantissa = mantissa * 10 + digit
    while mantissa >= LIMIT and mantissa % 10 == 0:
        mantissa //= 10
        exponent += 1
    if mantissa >= LIMIT or not -128 <= exponent < 128:
        raise NotRepresentable(f"a decimal must fit 63 bits and an exponent of -128..127, was {value}")
    return (-mantissa if sign else mantissa), exponent


cdef tuple without_trailing_zeros(tuple digits, exponent):
    if not any(digits):
        return (0,), max(-128, min(exponent, 0))
    end = len(digits)
    while digits[end - 1] == 0:
        end -= 1
    return digits[:end], exponent + len(digits) - end
