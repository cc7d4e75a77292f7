"""What malloc keeps goes back to the system, also from below what stays."""

import ctypes

import pytest

from hive.shm.heap import give_back
from hive.workers.own_memory import OwnMemory

MB = 1 << 20


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this C library has no malloc_trim()")
def test_holes_between_what_stays_are_given_back():
    pieces = [bytearray(b"x" * 2000) for _ in range(20_000)]
    kept = pieces[::1000] + pieces[-1:]  # the last one keeps the heap from shrinking by itself
    del pieces
    before = OwnMemory().read()
    give_back()
    assert OwnMemory().read() < before - 20 * MB
    assert all(len(one) == 2000 for one in kept)
