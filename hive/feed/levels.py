"""The levels of one side in a message in pure Python, the twin of levels.pyx."""

import re
from math import isfinite

import msgspec
from msgspec import Raw

from hive.feed.errors import MalformedMessage

LONGEST_NUMBER = 400  # characters; no float64 needs more
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def _number(text: object) -> float:
    """Return a decimal string as a float; raise MalformedMessage unless it is a finite number >= 0."""
    if type(text) is not str:
        raise MalformedMessage(f"a price or quantity must be a string, was {text!r:.40}")
    if len(text) > LONGEST_NUMBER or _NUMBER.fullmatch(text) is None:
        raise MalformedMessage(f"a price or quantity must be a number, was {text!r:.40}")
    value = float(text)
    if not isfinite(value) or value < 0.0:
        raise MalformedMessage(f"a price or quantity must be a finite number >= 0, was {text!r:.40}")
    return value


def _read_list(levels: list) -> list[tuple[float, float]]:
    found = []
    for level in levels:
        if type(level) is not list or len(level) < 2:
            raise MalformedMessage(f"a level must be [price, quantity], was {level!r:.60}")
        price, qty = _number(level[0]), _number(level[1])
        if price <= 0.0:
            raise MalformedMessage(f"a price must be > 0, was {level!r:.60}")
        found.append((price, qty))
    return found


def _read_json(levels: Raw | bytes) -> list[tuple[float, float]]:
    try:
        decoded = msgspec.json.decode(levels)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        decoded = None
    if type(decoded) is not list:
        raise MalformedMessage(f"levels must be [[price, quantity], ...], was {bytes(levels)[:80]!r}")
    return _read_list(decoded)


def read_levels(levels: object) -> list[tuple[float, float]]:
    """Return [(price, quantity), ...] of undecoded JSON or lists of strings. Raises MalformedMessage."""
    if type(levels) is list:
        return _read_list(levels)
    if type(levels) is Raw or type(levels) is bytes:
        return _read_json(levels)
    raise MalformedMessage(f"levels must be a list or undecoded JSON, was {levels!r:.60}")
