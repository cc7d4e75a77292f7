"""The shortcuts for usual depth updates and trades against the decoder: they take nothing that it reads otherwise."""

import json
import random

import msgspec
import pytest

from hive.feed.binance import BinanceSpot, _event
from hive.feed.binance_diff import usual_diff, usual_trade
from hive.feed.book import PriceLevelBook
from hive.feed.errors import MalformedMessage
from hive.feed.venue import Diff, TradeEvent
from hive.pure import PURE, implementation

VENUE = BinanceSpot("http://127.0.0.1:1")
DIFF = {
    "e": "depthUpdate",
    "E": 1672515782136,
    "s": "BNBBTC",
    "U": 157,
    "u": 160,
    "b": [["0.0024", "10"], ["0.00230000", "0.00000000", "x"]],
    "a": [["0.0026", "100"]],
}
TRADE = {
    "e": "trade",
    "E": 1672515782136,
    "s": "BNBBTC",
    "t": 12345,
    "p": "0.00100000",
    "q": "100",
    "T": 1672515782135,
    "m": True,
    "M": True,
}
usual = pytest.mark.skipif(implementation() == PURE, reason="pure Python takes no shortcut")


def compact(message):
    return json.dumps(message, separators=(",", ":")).encode()


def decoded(raw, kind=Diff):
    """Return what the decoder alone makes of a message: an event of that kind, or None when it is none."""
    try:
        event = _event(VENUE._message(raw))
    except (msgspec.DecodeError, UnicodeDecodeError, MalformedMessage):
        return None
    return event if type(event) is kind else None


def changed(whole, count):
    """Return messages that are almost `whole`: all its beginnings, and some with one to three bytes changed."""
    rng = random.Random(5)
    made = [whole[:end] for end in range(len(whole))]
    signs = b'0123456789[]{}",:.\\ aZ-\x00\xff'
    for _ in range(count):
        raw = bytearray(whole)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            at = rng.randrange(len(raw))
            kind = rng.randrange(3)
            if kind == 0:
                raw[at] = rng.choice(signs)
            elif kind == 1:
                del raw[at : at + rng.choice((1, 1, 2, 8))]
            else:
                raw[at:at] = bytes([rng.choice(signs)])
        made.append(bytes(raw))
    return made


def levels(side):
    """Return what a book reads, None when it refuses."""
    book = PriceLevelBook(5)
    try:
        book.apply(side, [])
    except MalformedMessage:
        return None
    return book.levels()[0]


def same(one, other):
    ids = [(d.symbol, d.first_id, d.last_id, d.prev_id, d.exchange_ns, d.checksum) for d in (one, other)]
    return ids[0] == ids[1] and all(levels(a) == levels(b) for a, b in ((one.bids, other.bids), (one.asks, other.asks)))


@usual
@pytest.mark.parametrize("bids", [[], [["1", "2"]], [["1.00000000", "0.00000000"]] * 300])
def test_the_usual_form_is_read_as_the_decoder_does(bids):
    raw = compact({**DIFF, "b": bids})
    assert same(usual_diff(raw), decoded(raw))


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"{}", compact({**DIFF, "pu": 3}), compact({**DIFF, "U": 161}), compact({**DIFF, "s": ""}),
        compact({**DIFF, "s": "A" * 25}), compact({**DIFF, "s": 'A"B'}), compact({**DIFF, "s": "\u00e4"}),
        compact({**DIFF, "E": 9223372036855}), compact({**DIFF, "u": 10**18}), compact({**DIFF, "U": -1}),
        compact({**DIFF, "U": 1.5}), compact({**DIFF, "u": "160"}), compact({**DIFF, "b": None}),
        compact({**DIFF, "b": {}}), compact({**DIFF, "b": [["1", "2", ["x"]], ["2", "3"]]}), json.dumps(DIFF).encode(),
        compact(DIFF) + b" ", compact(DIFF) + b"x", compact(DIFF)[:-1], compact({"x": 1, **DIFF}),
        compact(DIFF).replace(b'"U":157', b'"U":0157'), compact(DIFF).replace(b'"U":157', b'"U":'),
        compact(DIFF).replace(b'"a":[', b'"A":['), compact({**DIFF, "e": "trade"}),
    ],
)  # fmt: skip
def test_any_other_form_is_left_to_the_decoder(raw):
    assert usual_diff(raw) is None


@usual
def test_no_cut_and_no_change_of_a_byte_is_read_otherwise_than_by_the_decoder():
    whole = compact(DIFF)
    assert usual_diff(whole) is not None
    taken = 0
    for raw in changed(whole, 60_000):
        mine, other = usual_diff(raw), decoded(raw)
        if mine is None:
            continue
        taken += 1
        if other is None:  # the levels are no JSON: the book must refuse them
            assert None in (levels(mine.bids), levels(mine.asks)), raw
        else:
            assert same(mine, other), raw
    assert taken > 1_000


@usual
@pytest.mark.parametrize("maker", [True, False])
@pytest.mark.parametrize(
    "number", ["0.00100000", "100", "1.", ".5", "64231.01000000", "0.1", "123456.78901234", "9007199254740992"]
)
def test_a_usual_trade_is_read_as_the_decoder_does(number, maker):
    for field in ("p", "q"):
        raw = compact({**TRADE, field: number, "m": maker, "M": not maker})
        assert usual_trade(raw) == decoded(raw, TradeEvent) is not None


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"{}", compact({**TRADE, "p": "0"}), compact({**TRADE, "q": "0.000"}), compact({**TRADE, "p": "-1"}),
        compact({**TRADE, "p": "1e5"}), compact({**TRADE, "p": "."}), compact({**TRADE, "p": ""}),
        compact({**TRADE, "p": 1}), compact({**TRADE, "p": "1.2.3"}), compact({**TRADE, "q": "9" * 40}),
        compact({**TRADE, "p": "inf"}), compact({**TRADE, "t": -1}), compact({**TRADE, "t": 10**18}),
        compact({**TRADE, "T": 9223372036855}), compact({**TRADE, "m": 1}), compact({**TRADE, "m": None}),
        compact({**TRADE, "s": "A" * 25}), compact({**TRADE, "X": 1}), compact({**TRADE, "e": "aggTrade"}),
        compact({**TRADE, "p": "0.30000000000000004"}), json.dumps(TRADE).encode(), compact(TRADE) + b" ",
        compact(TRADE)[:-1], compact(DIFF),
    ],
)  # fmt: skip
def test_a_trade_of_any_other_form_is_left_to_the_decoder(raw):
    assert usual_trade(raw) is None


@usual
def test_no_cut_and_no_change_of_a_byte_of_a_trade_is_read_otherwise_than_by_the_decoder():
    taken = [raw for raw in changed(compact(TRADE), 60_000) if usual_trade(raw) is not None]
    assert len(taken) > 1_000
    assert [usual_trade(raw) for raw in taken] == [decoded(raw, TradeEvent) for raw in taken]


@usual
def test_prices_and_quantities_are_what_float_makes_of_them():
    rng = random.Random(7)
    for _ in range(20_000):
        digits = str(rng.randrange(1, 10 ** rng.randrange(1, 21)))
        at = rng.randrange(len(digits) + 1)
        text = f"{digits[:at] or '0'}.{digits[at:]}"
        event = VENUE.parse(compact({**TRADE, "p": text}))
        assert event.price == float(text)


def test_a_trade_is_one_event_whichever_way_it_is_read():
    expected = TradeEvent("BNBBTC", 12345, 1672515782135 * 1_000_000, 0.001, 100.0, True)
    assert VENUE.parse(compact(TRADE)) == VENUE.parse(json.dumps(TRADE).encode()) == expected
