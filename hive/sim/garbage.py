"""Messages that no exchange should send, each made of a good depth diff.

    truncated   the diff without its second half          text      no JSON
    empty       no bytes                                   binary    bytes that are no UTF-8, in a binary frame
    types       numbers, strings and objects swapped       keys      its ids are missing
    nan         a NaN price, a negative amount             levels    a level of one value, one that is no number
    event       an event that nobody knows                 symbol    a symbol that nobody lists
    deep        thousands of nested lists                  huge      so many bytes of levels
"""
from __future__ import annotations

import json

KINDS = (
    "truncated", "text", "empty", "binary", "types", "keys", "nan", "levels", "event", "symbol", "deep", "huge",
)
UNFRAMED = ("text", "empty", "binary", "deep")  # sent as they are even where events are wrapped in their stream's name
_NESTED = 20_000


def garble(kind: str, diff: bytes, size: int) -> bytes:
    """Return the bad message of a kind; `size` is the bytes of `huge`, at least those of the diff."""
    if kind == "truncated":
        return diff[: len(diff) // 2]
    if kind == "text":
        return b"upstream connect error or disconnect/reset before headers"
    if kind == "empty":
        return b""
    if kind == "binary":
        return b"\x00\xff\xfe" + diff[: len(diff) // 2] + b"\xc3\x28"
    if kind == "deep":
        return b"[" * _NESTED + b"]" * _NESTED
    return json.dumps(_changed(kind, json.loads(diff), len(diff), size), separators=(",", ":")).encode()


def _changed(kind: str, event: dict, length: int, size: int) -> dict:
    if kind == "types":
        event |= {"U": str(event["U"]), "u": [event["u"]], "b": 7, "a": {"price": "1"}}
    elif kind == "keys":
        del event["U"], event["u"]
    elif kind == "nan":
        event["b"] = [["NaN", "1"], *event["b"]]
        event["a"] = [["1", "-1"], *event["a"]]
    elif kind == "levels":
        event["b"] = [["1"], *event["b"]]
        event["a"] = [["one", "two"], *event["a"]]
    elif kind == "event":
        event["e"] = "depthUpdateV2"
    elif kind == "symbol":
        event["s"] = "NOBODYUSDT"
    elif kind == "huge":
        # Levels at prices that nobody quotes: 0 of them, so that a reader that takes them keeps a right book.
        level = ["0.00000001", "0.00000000"]
        event["b"] = event["b"] + [level] * max(0, (size - length) // 27)
    return event
