"""Levels of a message: what is read is what Python's own decoder and float() make of it."""

import json
import random

import msgspec
import pytest

from hive.feed.errors import MalformedMessage
from hive.feed.levels import read_levels


def test_both_forms_are_read_in_their_order():
    levels = [["64231.01000000", "0.00420000"], ["64230.99000000", "0"], ["1e3", "7", "more", ["x"]]]
    expected = [(64231.01, 0.0042), (64230.99, 0.0), (1000.0, 7.0)]
    assert read_levels(levels) == expected
    assert read_levels(json.dumps(levels).encode()) == expected
    assert read_levels(msgspec.Raw(json.dumps(levels, separators=(",", ":")).encode())) == expected
    assert read_levels(b"[]") == read_levels([]) == []


def test_a_changed_byte_is_read_as_a_decoder_reads_it_or_refused():
    rng = random.Random(3)
    whole = b'[["64231.01000000","0.00420000"],["0.5","12345678901.12345678"],["7","0.00000000"]]'
    signs = b'0123456789.[]", \\-+e\n\x00\xff'
    read = 0
    for _ in range(60_000):
        raw = bytearray(whole)
        for _ in range(rng.choice((1, 1, 2))):
            at = rng.randrange(len(raw))
            if rng.random() < 0.6:
                raw[at] = rng.choice(signs)
            else:
                raw[at : at + rng.randrange(2)] = bytes([rng.choice(signs)])
        try:
            expected = read_levels(msgspec.json.decode(bytes(raw), type=list))
        except (msgspec.DecodeError, UnicodeDecodeError, MalformedMessage):
            expected = None
        try:
            found = read_levels(bytes(raw))
        except MalformedMessage:
            found = None
        assert found == expected, bytes(raw)
        read += found is not None
    assert read > 5_000


@pytest.mark.parametrize(
    "levels", [None, 5, "[]", {}, (), [("1", "1")], [["1"]], [["0", "1"]], [["1", 1]], [["1", "-1"]]]
)
def test_what_is_no_level_is_refused(levels):
    with pytest.raises(MalformedMessage):
        read_levels(levels)
