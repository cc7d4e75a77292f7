"""Decimals as a 64-bit mantissa and an exponent, exactly or not at all."""

from decimal import Context, Decimal

from hive.shm.errors import NotRepresentable

_EXACT = Context(prec=64)
_ZERO = Decimal(0)
_LIMIT = 1 << 63
_EXPONENTS = range(-128, 128)


def to_mantissa(value: Decimal) -> tuple[int, int]:
    """Return (mantissa, exponent) with value == mantissa * 10**exponent.

    The mantissa fits into a signed 64-bit integer and the exponent into a signed byte. Trailing zeros are dropped only
    where the mantissa would not fit otherwise.

    Raises:
        NotRepresentable: NaN, infinite, or too many digits.
        TypeError: not a Decimal; a float is refused because its decimal digits were never meant.
    """
    if not isinstance(value, Decimal):
        raise TypeError(f"a decimal is needed, was {type(value).__name__} {value!r}")
    if not value.is_finite():
        raise NotRepresentable(f"a decimal must be finite, was {value}")
    text = str(value)  # three times as fast as its digits one by one
    if len(text) <= 18 and "E" not in text:
        whole, _, part = text.partition(".")
        return int(whole + part), -len(part)
    sign, digits, exponent = value.as_tuple()
    if len(digits) > 19 or exponent not in _EXPONENTS:
        digits, exponent = _without_trailing_zeros(digits, exponent)
    mantissa = 0
    for digit in digits:
        mantissa = mantissa * 10 + digit
    while mantissa >= _LIMIT and mantissa % 10 == 0:
        mantissa //= 10
        exponent += 1
    if mantissa >= _LIMIT or exponent not in _EXPONENTS:
        raise NotRepresentable(f"a decimal must fit 63 bits and an exponent of -128..127, was {value}")
    return (-mantissa if sign else mantissa), exponent


def from_mantissa(mantissa: int, exponent: int) -> Decimal:
    """Return mantissa * 10**exponent, exactly, whatever the caller's decimal context is."""
    return _EXACT.scaleb(mantissa, exponent)


def halves(value: Decimal) -> tuple[Decimal, Decimal]:
    """Return two decimals whose exact sum is `value` and that a message can carry, for one that may be too long.

    Of more than 36 digits the rest is dropped, towards zero.
    """
    sign, digits, exponent = value.as_tuple()
    if len(digits) <= 18:
        return value, _ZERO
    high, low = digits[:18], digits[18:36]
    exponent += len(digits) - 18
    return Decimal((sign, high, exponent)), Decimal((sign, low, exponent - len(low)))


def whole(high: Decimal | None, low: Decimal | None) -> Decimal:
    """Return the sum of what `halves` gave, exactly; None counts as 0."""
    return _EXACT.add(high or _ZERO, low or _ZERO)


def _without_trailing_zeros(digits: tuple[int, ...], exponent: int) -> tuple[tuple[int, ...], int]:
    if not any(digits):
        return (0,), max(_EXPONENTS.start, min(exponent, 0))
    end = len(digits)
    while digits[end - 1] == 0:
        end -= 1
    return digits[:end], exponent + len(digits) - end
