"""PriceLevelBook against a dict."""

import json
import random
from decimal import Decimal

import msgspec
import pytest

from hive.feed.book import PriceLevelBook
from hive.feed.errors import MalformedMessage
from hive.shm.instruments import InstrumentRules

WHOLE = 1_000_000  # a snapshot limit that no snapshot here reaches


def text(rng, ticks):
    return f"{ticks / 100:.{rng.choice((2, 8))}f}"


def best(side, reverse, depth):
    return [(price, side[price]) for price in sorted(side, reverse=reverse)[:depth]]


def undecoded(levels):
    return msgspec.Raw(json.dumps(levels, separators=(",", ":")).encode())


def spaced(levels):
    return json.dumps([[*level, 7, {"x": ["]"]}, "\\"] for level in levels], indent=1).encode()


@pytest.mark.parametrize("form", [list, undecoded, spaced])
@pytest.mark.parametrize("seed", range(4))
def test_a_book_under_random_diffs_equals_a_dict(seed, form):
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
        book.apply(*map(form, changes))
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
    texts += [f"{rng.randrange(10 ** rng.randrange(1, 12))}.{rng.randrange(10**8):08d}" for _ in range(20_000)]
    texts += ["36893488147419103232", "18446744073709551616.5", "9007199254740993.00000000", "90071992547409.93000000"]
    texts += [str(2**64), f"{2**64}0", f"{2**65}.5", f"000{2**63}"]  # 64 bits come round
    for one in texts:
        if float(one) > 0:
            book.replace([[one, one]], undecoded([[one, one]]), WHOLE)
            assert book.levels() == ({float(one): float(one)}, {float(one): float(one)}), one


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
    forms = [list] if isinstance(level, tuple) else [list, lambda levels: json.dumps(levels).encode()]
    for form in forms:
        for bids, asks in (([["9", "1"], level], []), ([["9", "1"]], [["12", "1"], level])):
            with pytest.raises(MalformedMessage):
                book.apply(form(bids), form(asks))
            with pytest.raises(MalformedMessage):
                book.replace(form(bids), form(asks), WHOLE)
    assert book.levels() == before


@pytest.mark.parametrize(
    "levels",
    [
        b"", b" ", b"null", b"1", b'"x"', b"{}", b"[", b"[[", b"[]]", b"[],", b"[[]]", b'[["1"]]', b'["1","1"]',
        b'[["1","1"]', b'[["1","1"],]', b'[["1" "1"]]', b'[["1","1"] ["2","1"]]', b'[["1","1"]]x', b'[["1","1"}]',
        b'[["1","1",[]]', b'[["1","1","x]]', b'[["1","1',  b'[["1.00000000","1.0000000"],["1.0000000a","1"]]',
        b'[["12345678901.00000000x","1"]]', b'[["1.00000000","1.00000000]]', b'[[1.5,"1"]]',
        b"[['1','1']]", None, 5, "[]", {}, (), memoryview(b"[]"),
    ],
)  # fmt: skip
def test_what_is_no_list_of_levels_is_refused_and_changes_nothing(levels):
    book = PriceLevelBook(3)
    book.replace([["10", "1"]], [["11", "1"]], WHOLE)
    before = book.levels()
    for bids, asks in ((levels, []), ([["9", "1"]], levels)):
        with pytest.raises(MalformedMessage):
            book.apply(bids, asks)
    assert book.levels() == before


def test_no_level_at_all_is_a_diff_too():
    book = PriceLevelBook(3)
    book.replace(b"[]", b" [ ] ", WHOLE)
    book.apply(msgspec.Raw(b"[]"), [])
    assert book.levels() == ({}, {})


def test_an_escape_in_a_number_is_read_as_json_says():
    book = PriceLevelBook(3)
    book.apply(b'[["\\u0031.5","2"]]', b"[]")
    assert book.levels() == ({1.5: 2.0}, {})
    for wrong in (b'[["\\u0031.5","2"', b'[["1\\"5","2"]]', b'[["\\x31","2"]]'):
        with pytest.raises(MalformedMessage):
            book.apply(wrong, [])


def test_a_cut_message_is_refused_or_read_whole():
    whole = b'[["64231.01000000","0.00420000"],["64230.99000000","0"],["1e3","5","x"]]'
    for end in range(len(whole)):
        with pytest.raises(MalformedMessage):
            PriceLevelBook(3).apply(whole[:end], [])
    book = PriceLevelBook(3)
    book.apply(whole, [])
    assert book.levels()[0] == {64231.01: 0.0042, 1000.0: 5.0}


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


def test_following_a_diff_publishes_it_unless_the_book_is_crossed(memory):
    slot = memory.table.add(InstrumentRules("BTC-USDT", "BTCUSDT", "BTC", "USDT", *(5 * [Decimal(1)])))
    writer = memory.table.writer(slot)
    book = PriceLevelBook(5)
    book.replace([["10", "1"]], [["11", "1"]], WHOLE)
    clock = iter(range(50, 100))
    assert book.follow(writer, [["10.5", "2"]], b"[]", 43, 1, 2, lambda: next(clock)) == 51
    snapshot = memory.reader("BTC-USDT").copy()
    assert (snapshot.update_id, snapshot.exchange_ns, snapshot.recv_ns, snapshot.local_ns) == (43, 1, 2, 50)
    assert memory.reader("BTC-USDT").top() == (10.5, 2.0, 11.0, 1.0, 43)
    assert book.follow(writer, [["11", "2"]], [], 44, 1, 2, lambda: next(clock)) == -1
    with pytest.raises(MalformedMessage):
        book.follow(writer, [["x", "2"]], [], 45, 1, 2, lambda: next(clock))
    assert memory.reader("BTC-USDT").top()[4] == 43


def test_depth_out_of_range_is_refused():
    for depth in (0, 5_001):
        with pytest.raises(ValueError, match="depth must be"):
            PriceLevelBook(depth)
