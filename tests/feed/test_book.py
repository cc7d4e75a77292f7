"""PriceLevelBook against a dict."""

import random
from decimal import Decimal

import pytest

from hive.feed.book import PriceLevelBook
from hive.feed.errors import MalformedMessage
from hive.shm.instruments import InstrumentRules

WHOLE = 1_000_000  # a snapshot limit that no snapshot here reaches


def text(rng, ticks):
    return f"{ticks / 100:.{rng.choice((2, 8))}f}"


def best(side, reverse, depth):
    return [(price, side[price]) for price in sorted(side, reverse=reverse)[:depth]]


@pytest.mark.parametrize("seed", range(10))
def test_a_book_under_random_diffs_equals_a_dict(seed):
    rng = random.Random(seed)
    book = PriceLevelBook(10)
    oracle = ({}, {})
    for step in range(2_000):
        mid = 10_000 + step // 4
        changes = ([], [])
        for side, low in ((0, mid - 400), (1, mid + 1)):
            for _ in range(rng.randrange(4)):
                level = [text(rng, rng.randrange(low, low + 400)), text(rng, rng.choice((0, 0, 1, 77, 123_456)))]
                changes[side].append(level)
                price, quantity = map(float, level)
                if quantity:
                    oracle[side][price] = quantity
                else:
                    oracle[side].pop(price, None)
        for side, wrong in ((0, range(mid + 1, mid + 800)), (1, range(mid - 800, mid + 1))):
            for price in [one for one in oracle[side] if round(one * 100) in wrong]:
                changes[side].append([repr(price), "0"])
                del oracle[side][price]
        book.apply(*changes)
        if step % 50 == 0:
            assert book.levels() == oracle
            assert book.top() == (best(oracle[0], True, 10), best(oracle[1], False, 10))
    assert book.levels() == oracle
    assert not book.crossed


def test_numbers_are_the_floats_that_python_reads():
    rng = random.Random(1)
    book = PriceLevelBook(1)
    texts = ["0.1", "123456789012345678901234567890.5", "1e-7", "5e-324", "0.30000000000000004", "00012.50", ".5", "7."]
    for _ in range(20_000):
        digits = rng.randrange(1, 21)
        number = str(rng.randrange(1, 10**digits))
        cut = rng.randrange(len(number) + 1)
        texts.append(f"{number[:cut] or '0'}.{number[cut:] or '0'}")
    for one in texts:
        if float(one) > 0:
            book.replace([[one, one]], [], WHOLE)
            assert book.levels()[0] == {float(one): float(one)}, one


@pytest.mark.parametrize(
    "level",
    [
        ["abc", "1"], ["1", "abc"], ["-1", "1"], ["1", "-1"], ["nan", "1"], ["1", "inf"], ["1e999", "1"], ["", "1"],
        [".", "1"], ["1.2.3", "1"], ["0", "1"], [" 1", "1"], ["1 ", "1"], ["1_0", "1"], ["1\x002", "1"],
        ["\u0661", "1"], ["\ud800", "1"], [1, 2], [1.5, "1"], [None, "1"], ["1"], [], "12", None, {"p": 1}, ("1", "1"),
    ],
)  # fmt: skip
def test_a_malformed_level_is_refused_and_changes_nothing(level):
    book = PriceLevelBook(3)
    book.replace([["10", "1"]], [["11", "1"]], WHOLE)
    before = book.levels()
    for bids, asks in (([["9", "1"], level], []), ([["9", "1"]], [["12", "1"], level])):
        with pytest.raises(MalformedMessage):
            book.apply(bids, asks)
        with pytest.raises(MalformedMessage):
            book.replace(bids, asks, WHOLE)
    assert book.levels() == before


def test_nothing_is_handed_out_from_behind_the_horizon():
    book = PriceLevelBook(4)
    book.replace([["10", "1"], ["9", "1"], ["8", "1"]], [["11", "1"], ["12", "1"]], limit=3)
    book.apply([["5", "1"]], [["20", "1"]])
    bids, asks = book.top()
    assert [price for price, _ in bids] == [10.0, 9.0, 8.0]  # between 8 and 5 there may be more
    assert [price for price, _ in asks] == [11.0, 12.0, 20.0]  # fewer than asked for: the whole side
    assert book.short
    book.apply([["9.5", "1"]], [])
    assert [price for price, _ in book.top()[0]] == [10.0, 9.5, 9.0, 8.0]
    assert not book.short


def test_a_side_beyond_its_bound_drops_the_farthest_levels_and_knows_it():
    book = PriceLevelBook(2)
    book.replace([[str(price), "1"] for price in range(30_000, 10_000, -1)], [], WHOLE)
    assert len(book.levels()[0]) == 20_000
    book.apply([["30001", "1"], ["5", "1"]], [])
    bids = book.levels()[0]
    assert len(bids) == 20_000
    assert max(bids) == 30_001.0
    assert min(bids) == 10_002.0
    book.apply([[str(price), "0"] for price in range(10_003, 30_002)] + [["7", "1"]], [])
    assert book.top()[0] == [(10_002.0, 1.0)]
    assert book.short


def test_a_crossed_or_locked_book_says_so():
    book = PriceLevelBook(2)
    book.replace([["10", "1"]], [["11", "1"]], WHOLE)
    assert not book.crossed
    book.apply([["11", "1"]], [])
    assert book.crossed
    book.apply([["11", "0"]], [])
    assert not book.crossed
    book.apply([], [["9", "2"]])
    assert book.crossed
    book.clear()
    assert not book.crossed


def test_what_is_published_is_what_readers_find(memory):
    slot = memory.table.add(InstrumentRules("BTC-USDT", "BTCUSDT", "BTC", "USDT", *(5 * [Decimal(1)])))
    book = PriceLevelBook(5)
    book.replace([["10", "1"], ["9.5", "2"]], [[str(11 + i), "3"] for i in range(7)], WHOLE)
    book.publish(memory.table.writer(slot), 42, 1, 2, 3)
    snapshot = memory.reader("BTC-USDT").copy()
    assert (snapshot.update_id, snapshot.exchange_ns, snapshot.recv_ns, snapshot.local_ns) == (42, 1, 2, 3)
    assert list(zip(snapshot.bid_px, snapshot.bid_qty, strict=True)) == [(10.0, 1.0), (9.5, 2.0)]
    assert list(zip(snapshot.ask_px, snapshot.ask_qty, strict=True)) == [(11.0 + i, 3.0) for i in range(5)]


def test_depth_out_of_range_is_refused():
    for depth in (0, 5_001):
        with pytest.raises(ValueError, match="depth must be"):
            PriceLevelBook(depth)
