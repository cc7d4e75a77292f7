"""Exact decimals as scaled integers: every price, quantity and balance is an int of 1e-8 units.

A product of a price and a quantity is in 1e-16; `notional` brings it back to 1e-8. That is exact whenever
tick size times step size is a multiple of 1e-8, which `symbols.Symbol` enforces, so money is never rounded
except in commissions, which are truncated.
"""
from __future__ import annotations

import re

DECIMALS = 8
UNIT = 10**DECIMALS
_PLAIN = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,20}))?")


def parse_units(text: str) -> int:
    """Return the 1e-8 units of a plain decimal such as "0.10" (no sign, no exponent).

    Raises ValueError when the text is not such a decimal, OverflowError when it needs more than 8 decimals.
    """
    match = _PLAIN.fullmatch(text)
    if match is None:
        raise ValueError(f"decimal must look like 12.34, was {text!r}")
    whole, fraction = match.groups(default="")
    fraction = fraction.rstrip("0")
    if len(fraction) > DECIMALS:
        raise OverflowError(f"decimal must have at most {DECIMALS} decimals, was {text!r}")
    return int(whole) * UNIT + int(fraction.ljust(DECIMALS, "0"))


def format_units(units: int) -> str:
    """Return units (1e-8) as the venue prints them: always 8 decimals, "0.10000000"."""
    if units < 0:
        return "-" + format_units(-units)
    return f"{units // UNIT}.{units % UNIT:08d}"


def notional(price: int, quantity: int) -> int:
    """Return price times quantity, all in 1e-8 units."""
    return price * quantity // UNIT
