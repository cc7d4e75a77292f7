"""Sums that go on exactly, wherever the journal's notes stopped."""

import random
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.made_orders import BUY, Desk
from hive.gate.tally import Tally, last_serial
from hive.gate.venue import COUNTED


def test_a_fill_without_a_number_is_refused():
    with pytest.raises(ValueError, match="a fill's serial must be >= 1, was 0"):
        Tally("position").add(("a",), Decimal(1), 0)


def test_only_what_changed_is_noted_again():
    tally = Tally("position")
    tally.begin(3)
    tally.add(("a", "BTC"), Decimal("0.10"), 4)
    tally.add(("b", "BTC"), Decimal(2), 5)
    assert tally.snapshot() == {"position": "3", "position/a/BTC": "0.10|5", "position/b/BTC": "2|5"}
    tally.add(("a", "BTC"), Decimal("-0.10"), 6)
    assert tally.snapshot() == {"position/a/BTC": "0.00|6"}
    assert tally.snapshot() == {}


def test_fills_before_the_beginning_never_count_and_the_beginning_survives():
    tally = Tally("profit")
    assert not tally.restore({"profit/a/BTC": "7|1", "position": "0"})  # left from before, and another's
    assert tally.sum(("a", "BTC")) == 0
    tally.begin(5)
    assert not tally.add(("a", "BTC"), Decimal(1), 5)
    assert tally.add(("a", "BTC"), Decimal(1), 6)
    again = Tally("profit")
    assert again.restore({"profit": "5"})  # died before it noted the sum
    assert not again.add(("a", "BTC"), Decimal(1), 5)
    assert again.add(("a", "BTC"), Decimal(1), 6)
    assert again.sum(("a", "BTC")) == 1


def test_sums_are_exact_where_python_would_round():
    tally = Tally("capital/a")
    tally.add(("USDT",), Decimal("1234567890123456789.123456789012345678"), 1)
    tally.add(("USDT",), Decimal("1E-30"), 2)
    tally.add(("USDT",), Decimal("-1234567890123456789.123456789012345678"), 3)
    assert tally.sum(("USDT",)) == Decimal("1E-30")


def test_the_next_number_is_above_all_that_the_journal_gave_back():
    desk = Desk()
    order = desk.order(BUY, "2", "1")
    assert last_serial([], {}) == 0
    assert last_serial([order], {"given/a/USDT": "9999", "loss_window": "day 2026-11-26"}) == 0
    desk.serial = 6
    desk.fill(order, "1", "1")
    assert last_serial([order], {"position/a/BTC": "1|5"}) == 7
    assert last_serial([order], {"capital/a": "12", "capital/a/BTC": "1|11"}) == 12


def test_a_fill_that_was_counted_long_ago_is_in_no_sum_and_has_no_number():
    desk = Desk()
    order = desk.order(BUY, "2", "1")
    desk.serial = COUNTED - 1
    trade = desk.fill(order, "1", "1")
    assert trade.serial == COUNTED
    assert last_serial([order], {}) == 0
    tally = Tally("capital/a")
    assert not tally.add(("BTC",), trade.amount, trade.serial)
    assert tally.sum(("BTC",)) == 0


FILLS = st.lists(
    st.tuples(st.sampled_from("abc"), st.decimals("-1000", "1000", places=8), st.booleans()), min_size=1, max_size=40
)


@given(FILLS, st.integers(0, 40), st.randoms(use_true_random=False))
def test_after_a_restart_every_fill_is_in_the_sums_once(fills, died_after: int, rng: random.Random):
    tally, notes = Tally("position"), {}
    tally.begin(0)
    written = fills[:died_after]
    for serial, (key, amount, noting) in enumerate(written, 1):
        tally.add((key,), amount, serial)
        if noting:
            notes |= tally.snapshot()
    again = Tally("position")
    if not again.restore(notes):
        again.begin(0)
    # the journal has all fills, or those that no note counts, and gives them back by order
    dropped = min((int(note.rpartition("|")[2]) for name, note in notes.items() if "/" in name), default=0)
    dropped = dropped if len(notes) == 4 else 0
    left = [(serial, fill) for serial, fill in enumerate(written, 1) if serial > rng.choice((0, dropped))]
    rng.shuffle(left)
    for serial, (key, amount, _) in left:
        again.add((key,), amount, serial)
    for key in "abc":
        assert again.sum((key,)) == sum(amount for name, amount, _ in written if name == key)
    again.add(("a",), Decimal(5), len(written) + 1)
    assert again.sum(("a",)) == Decimal(5) + sum(amount for name, amount, _ in written if name == "a")
