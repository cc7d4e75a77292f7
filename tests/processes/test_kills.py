"""perf/kills.py in small: writers and readers killed 200 times leave no unreadable book and no segment."""

import pytest

from hive.pure import COMPILED, implementation

if implementation() != COMPILED:
    pytest.skip("the loops of perf/native run on the compiled modules", allow_module_level=True)

import kills


def test_two_hundred_kills_leave_readable_books_and_no_segment():
    tally = kills.play(200, seed=7)
    assert tally.unreadable == []
    assert tally.leaked == []
    assert tally.kills.total() >= 200
    assert min(tally.kills.values()) > 0
    assert len(tally.kills) == 3
    assert tally.books_read > 100
    assert tally.inside > 0, "no writer died inside a publication: the test proves nothing"
