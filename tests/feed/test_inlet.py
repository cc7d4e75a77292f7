"""The shortcut of usual messages does what the long way does, and leaves to it what is unusual."""

import json
import random

import pytest
from msgspec.structs import replace

from feed.conftest import Memory
from feed.test_instruments import RULES, SNAPSHOT
from hive.feed.binance import BinanceSpot
from hive.feed.errors import MalformedMessage
from hive.feed.inlet import Inlet
from hive.feed.instruments import Instrument
from hive.feed.tape import TradeTape
from hive.feed.venue import Diff
from hive.pure import PURE, implementation

VENUE = BinanceSpot("http://127.0.0.1:1")
COUNTERS = ("updates", "trades", "duplicates", "gaps", "crossed", "malformed", "resyncs")
usual = pytest.mark.skipif(implementation() == PURE, reason="pure Python takes no shortcut")


class Clock:
    """Stands still: both ways look at it as often as they like."""

    def __call__(self):
        return 1_000_000_000


class Way:
    """One instrument that messages reach through an inlet, with a shortcut or without."""

    def __init__(self, memory, shortcut, limits=(100, 500), rules=RULES):
        self.memory = memory
        self.asked = []
        self.long = 0
        self.seen = []
        writer = memory.table.writer(memory.table.add(rules))
        self.instrument = Instrument(
            rules, memory.table, writer, limits, memory.metrics, self.asked.append, Clock()
        )
        self.tape = TradeTape(writer, memory.trades, memory.metrics, Clock())
        books, tapes = {rules.symbol: self.instrument}, {rules.symbol: self.tape}
        metrics = memory.metrics
        chosen = VENUE.shortcut(books, tapes) if shortcut else None
        self.inlet = Inlet(chosen, metrics.messages, metrics.bytes_received, self.otherwise, self.record)
        self.reader = memory.reader(rules.pair)
        self.instrument.connected()
        self.instrument.subscribed()
        self.serve(SNAPSHOT)

    def serve(self, snapshot):
        self.instrument.on_snapshot(self.instrument.sync.request(0), snapshot, 0)

    def record(self, raw, read_ns):
        self.seen.append((raw, read_ns))

    def otherwise(self, raw, read_ns):
        self.long += 1
        try:
            event = VENUE.parse(raw)
        except MalformedMessage:
            self.memory.metrics.malformed.inc()
            return
        self.inlet.came(read_ns)
        if event.symbol == RULES.symbol:
            (self.instrument.on_diff if type(event) is Diff else self.tape.on_trade)(event, read_ns)

    def account(self):
        """Return all that anybody can see."""
        metrics, book = self.memory.metrics, self.reader.copy()
        return {
            "counters": {name: getattr(metrics, name).value for name in COUNTERS},
            "read": (metrics.messages.value, metrics.bytes_received.value, self.inlet.events, self.inlet.read_ns),
            "latencies": metrics.book_latency_ns.read(),
            "state": (self.reader.state, self.reader.top(), self.reader.last_trade),
            "book": (book.update_id, book.exchange_ns, book.recv_ns, book.bid_px.tolist(), book.ask_px.tolist()),
            "levels": self.instrument._book.levels(),
            "sync": (self.instrument.sync.last_id, self.instrument.sync.phase, self.instrument.sync.refreshing),
            "trades": self.memory.trade_reader.drain(),
            "asked": (len(self.asked), self.instrument.snapshot_limit),
            "applied": self.instrument.applied,
        }


@pytest.fixture
def ways():
    """Return the same instrument twice: by the shortcut, and by the long way alone."""
    memories = Memory(1), Memory(2)
    yield tuple(Way(memory, shortcut) for memory, shortcut in zip(memories, (True, False), strict=True))
    for memory in memories:
        memory.close()


def compact(message):
    return json.dumps(message, separators=(",", ":")).encode()


def diff(first, last, bids=(), asks=(), symbol="BTCUSDT"):
    return compact(
        {"e": "depthUpdate", "E": 7, "s": symbol, "U": first, "u": last, "b": list(bids), "a": list(asks)}
    )


def trade(number, price="10.5", symbol="BTCUSDT"):
    head = {"e": "trade", "E": 1, "s": symbol, "t": number, "p": price, "q": "2", "T": 3, "m": number % 2 == 0}
    return compact({**head, "M": True})


def tell(ways, raw, read_ns=999_999_000):
    for way in ways:
        way.inlet.on_message(raw, read_ns)


def agree(ways):
    short, long = (way.account() for way in ways)
    assert repr(short) == repr(long)  # a side without levels has nan for its best price
    return short


@usual
def test_usual_messages_go_straight_to_shared_memory(ways):
    tell(ways, diff(101, 103, [["10.5", "3"]]))
    tell(ways, trade(8))
    seen = agree(ways)
    assert [way.long for way in ways] == [0, 2]
    assert seen["state"][1] == (10.5, 3.0, 11.0, 1.0, 103)
    assert seen["counters"]["updates"] == 2  # the snapshot's too
    assert seen["latencies"].count == len(seen["trades"]) == 1
    assert ways[0].seen == ways[1].seen


@usual
@pytest.mark.parametrize(
    ("raw", "counted"),
    [
        (diff(105, 106, [["10.5", "3"]]), "gaps"),
        (diff(90, 100), "duplicates"),
        (diff(101, 102, [["11.0", "3"]]), "crossed"),
        (diff(101, 102, [["10.5", "nan"]]), "malformed"),
        (diff(101, 102, [["10.5", "1"]], [["0", "1"]]), "malformed"),
    ],
)
def test_what_does_not_follow_or_cannot_be_right_takes_the_long_way_from_the_start(ways, raw, counted):
    tell(ways, raw)
    seen = agree(ways)
    assert ways[0].long == 1
    assert seen["counters"][counted] == 1
    tell(ways, diff(101, 110, [["10.6", "1"]]))
    for way in ways:
        way.serve(replace(SNAPSHOT, last_id=109))
    tell(ways, diff(111, 111, [["10.7", "1"]]))
    assert agree(ways)["sync"][0] == 111


@usual
@pytest.mark.parametrize("reason", ["audit", "tops", "doubt", "refresh"])
def test_whoever_has_to_know_of_each_diff_gets_it(ways, reason):
    for way in ways:
        if reason == "audit":
            way.instrument.begin_audit()
        elif reason == "tops":
            way.instrument.tops = way.memory.tops
        elif reason == "doubt":
            way.instrument.doubted()
        else:
            way.instrument.sync.refresh(0)
    tell(ways, diff(101, 101, [["10.5", "1"]]))
    agree(ways)
    assert ways[0].long == 1
    if reason == "audit":
        assert [one.last_id for one in ways[0].instrument.applied] == [101]
    if reason == "tops":
        assert [one.update_id for one in ways[0].memory.top_reader.drain()] == [101]


@usual
def test_a_book_that_runs_out_of_known_levels_asks_for_more(ways):
    for way in ways:
        way.instrument.resync()
        way.serve(replace(SNAPSHOT, last_id=200, limit=2))
    tell(ways, diff(201, 201, [["10.0", "0"]]))
    seen = agree(ways)
    assert ways[0].long == 0
    assert seen["sync"][2]
    assert seen["asked"][1] == 500


def test_an_instrument_that_nobody_wants_is_ignored_and_still_shows_that_the_connection_lives(ways):
    tell(ways, diff(101, 101, symbol="ETHUSDT"), 5)
    tell(ways, trade(1, symbol="ETHUSDT"), 6)
    seen = agree(ways)
    assert seen["read"][2:] == (2, 6)
    assert seen["trades"] == []


def test_nothing_takes_the_shortcut_while_messages_are_held(ways):
    ways[0].inlet.holding = True
    tell(ways, trade(3))
    assert [way.long for way in ways] == [1, 1]
    agree(ways)


@usual
def test_a_message_longer_than_any_is_left_to_who_refuses_it(ways):
    raw = diff(101, 102, [["1.00000000", "1.00000000"]] * 50_000)
    assert not VENUE.shortcut({}, {}).take(raw, 0)
    assert VENUE.shortcut({}, {}).take(diff(101, 102, [["1.00000000", "1.00000000"]] * 5_000), 0)


def test_any_sequence_ends_as_the_long_way_alone_ends(ways):
    rng = random.Random(3)
    last = {"diff": 100, "trade": 0}
    for _ in range(3_000):
        kind = rng.choice(("diff", "diff", "trade"))
        jump = rng.choices((1, 2, 0, -1), (90, 3, 4, 3))[0]
        first = last[kind] + jump
        last[kind] = max(last[kind], first + rng.randrange(3))
        if kind == "trade":
            tell(ways, trade(first, rng.choice(("10.5", "0.00000001", "nan"))) if jump else b'{"e":"trade","s":"A"')
        else:
            sides = [
                [[f"{rng.randint(low, low + 6) / 4:.8f}", f"{rng.randrange(4)}"] for _ in range(rng.randrange(3))]
                for low in (36, 42)
            ]
            tell(ways, diff(first, last[kind], *sides))
        seen = agree(ways)
        if seen["sync"][1].name != "LIVE" and rng.random() < 0.2:
            for way in ways:
                way.serve(replace(SNAPSHOT, last_id=last["diff"]))
    assert ways[0].long < ways[1].long or implementation() == PURE
    assert seen["counters"]["gaps"] > 20
    assert seen["counters"]["crossed"] > 20
