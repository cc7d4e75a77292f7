"""What `hive books` measures and draws: real segments and a fleet.json of this process."""

import os
from array import array
from dataclasses import replace
from decimal import Decimal

import pytest

from hive.books_sample import BooksSample, BooksSampler, rates
from hive.books_view import age, as_json, draw_ladder, draw_list
from hive.shm.atomics import boottime_ns, monotonic_ns
from hive.shm.book import LIVE, RESYNCING, BookTable, books_size
from hive.shm.instruments import InstrumentRules
from hive.shm.segment import Segment, process_start_ticks, segment_name
from hive.state import FleetDir
from hive.top_view import Style

CAPACITY, DEPTH, VERSIONS = 8, 5, 4
SECOND = 1_000_000_000


class Fleet:
    """A fleet's folder and the books segments of its feeds, all written by this process."""

    def __init__(self, folder):
        self.folder = FleetDir(folder / "trial")
        self.folder.path.mkdir()
        self.run = f"{os.getpid():08x}"
        self.segments = {}
        self.tables = {}
        self.updates = 0
        self.strategies = [{"pairs": ["BTC-USDT"]}, {"pairs": ["BTC-USDT", "ETH-USDT"]}]

    def feed(self, venue="binance", epoch=1):
        name = segment_name(self.run, f"books.{venue}", epoch)
        size = books_size(CAPACITY, DEPTH, VERSIONS)
        segment = self.segments[venue] = Segment.create(name, size, kind="books", epoch=epoch)
        self.tables[venue] = BookTable(segment, CAPACITY, DEPTH, VERSIONS)
        segment.beat(monotonic_ns())
        return segment

    def write(self):
        names = {venue: segment.name for venue, segment in self.segments.items()} or {"binance": ""}
        self.folder.write(
            {
                "schema": 1,
                "fleet": "trial",
                "run": self.run,
                "pid": os.getpid(),
                "start_ticks": process_start_ticks(os.getpid()),
                "venues": [{"name": venue, "books": name} for venue, name in names.items()],
                "strategies": self.strategies,
            }
        )

    def book(self, pair, bids, asks, venue="binance", state=LIVE, tick="0.01", step="0.001"):
        base, quote = pair.split("-")
        rules = InstrumentRules(
            pair, base + quote, base, quote, Decimal(tick), Decimal(step), Decimal(step), None, Decimal(5)
        )
        slot = self.tables[venue].add(rules)
        writer = self.tables[venue].writer(slot)
        self.updates += 1
        columns = [array("d", (level[at] for level in side)) for side in (bids, asks) for at in (0, 1)]
        writer.publish(self.updates, 7, monotonic_ns(), monotonic_ns(), *columns)
        self.tables[venue].set_state(slot, state, monotonic_ns())
        return writer

    def close(self):
        for segment in self.segments.values():
            segment.unlink()
            segment.close()


@pytest.fixture
def fleet(tmp_path):
    made = Fleet(tmp_path)
    yield made
    made.tables.clear()
    made.close()


@pytest.fixture
def sampler(fleet):
    made = BooksSampler(fleet.folder)
    yield made
    made.close()


def texts(lines):
    return [line.text.rstrip() for line in lines]


def test_the_list_has_a_line_for_each_instrument(fleet, sampler):
    fleet.feed()
    fleet.book("BTC-USDT", [(64250.0, 0.5), (64249.0, 2.0)], [(64250.5, 1.25)])
    fleet.book("PEPE-USDT", [(0.0000118, 1000.0)], [], state=RESYNCING, tick="0.00000001", step="1")
    fleet.write()
    sample = sampler.sample()
    keys = sorted(sample.books)
    lines = draw_list(sample, None, keys, 150)
    shown = texts(lines)
    assert shown[0] == "hive books  fleet trial  2 instruments: 1 LIVE, 1 RESYNCING"
    assert " ".join(shown[1].split()) == "PAIR state bid qty bid ask ask qty spread bps age upd/s levels used by"
    btc, pepe = (line.split() for line in shown[2:4])
    assert btc[:8] == ["BTC-USDT", "LIVE", "0.500", "64250.00", "64250.50", "1.250", "0.50", "0.078"]
    assert btc[9:] == ["-", "2/5", "2"]
    assert pepe[:8] == ["PEPE-USDT", "RESYNCING", "1000", "0.00001180", "-", "-", "-", "-"]
    assert [line.style for line in lines[2:4]] == [Style.PLAIN, Style.BAD]


@pytest.mark.parametrize("width", [20, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_80_columns_show_the_top(fleet, sampler, width):
    fleet.feed()
    fleet.book("BTC-USDT", [(64250.01, 0.00551)], [(64250.02, 12.34567)], step="0.00001")
    fleet.book("ETH-BTC", [(0.04851, 1.0)], [(0.04852, 2.0)], state=RESYNCING, tick="0.00001")
    fleet.write()
    sample = sampler.sample()
    keys = sorted(sample.books)
    for lines in (draw_list(sample, None, keys, width), draw_ladder(sample, None, keys[0], 20, width)):
        assert max(len(line.text) for line in lines) <= width
    if width >= 80:
        heads = draw_list(sample, None, keys, width)[1].text
        assert all(head in heads for head in ("state", "bid qty", "bid", "ask", "ask qty", "bps", "age"))


def test_the_ladder_adds_up_and_is_cut_to_the_window(fleet, sampler):
    fleet.feed()
    fleet.book("BTC-USDT", [(10.0, 1.0), (9.5, 2.0), (9.0, 4.0)], [(10.5, 3.0), (11.0, 0.5)])
    fleet.write()
    sample = sampler.sample()
    lines = texts(draw_ladder(sample, None, ("binance", "BTC-USDT"), 3, 80))
    assert lines[0] == "BTC-USDT  binance  LIVE"
    assert lines[1].startswith("spread 0.50 (488 bps)  age ")
    assert lines[2].split() == ["#", "bid", "total", "bid", "qty", "bid", "ask", "ask", "qty", "ask", "total"]
    assert [line.split() for line in lines[3:]] == [
        ["1", "1.000", "1.000", "10.00", "10.50", "3.000", "3.000"],
        ["2", "3.000", "2.000", "9.50", "11.00", "0.500", "3.500"],
        ["3", "7.000", "4.000", "9.00"],
    ]
    cut = texts(draw_ladder(sample, None, ("binance", "BTC-USDT"), 3, 80, height=5))
    assert cut == [*lines[:4], "... 2 more: the window is too low"]


def test_a_dead_feed_shows_its_last_books_and_says_so(fleet, sampler):
    segment = fleet.feed()
    fleet.book("BTC-USDT", [(10.0, 1.0)], [(10.5, 3.0)])
    fleet.write()
    segment.beat(monotonic_ns(), boottime_ns() - 3 * SECOND)
    sample = sampler.sample()
    lines = texts(draw_list(sample, None, sorted(sample.books), 80))
    assert lines[:2] == [
        "hive books  fleet trial  1 instrument: 1 WRITER_DEAD", "binance: the feed has no heartbeat for 3 s",
    ]
    assert lines[3].split()[:4] == ["BTC-USDT", "WRITER_DEAD", "1.000", "10.00"]
    segment.unlink()  # as the supervisor does; what is mapped can still be seen
    assert sampler.sample().books["binance", "BTC-USDT"].state == "WRITER_DEAD"
    fleet.feed(epoch=2)
    fleet.book("BTC-USDT", [(11.0, 1.0)], [(11.5, 3.0)])
    fleet.write()
    again = sampler.sample().books["binance", "BTC-USDT"]
    assert (again.state, again.epoch, again.book.bid_px[0]) == ("LIVE", 2, 11.0)


def test_without_a_feed_the_strategies_pairs_are_listed_as_dead(fleet, sampler):
    fleet.write()
    sample = sampler.sample()
    assert {key: one.state for key, one in sample.books.items()} == {
        ("binance", "BTC-USDT"): "WRITER_DEAD", ("binance", "ETH-USDT"): "WRITER_DEAD",
    }
    lines = texts(draw_list(sample, None, sorted(sample.books), 80))
    assert lines[1] == "binance: no feed runs"
    ladder = texts(draw_ladder(sample, None, ("binance", "BTC-USDT"), 5, 80))
    assert ladder[0] == "BTC-USDT  binance  WRITER_DEAD"
    assert ladder[-1] == "no book yet"


def test_a_fleet_that_never_was_gives_no_sample(tmp_path):
    assert BooksSampler(FleetDir(tmp_path / "nobody")).sample() is None


def test_two_venues_are_told_apart_by_a_column(fleet, sampler):
    for venue in ("binance", "paper"):
        fleet.feed(venue)
        fleet.book("BTC-USDT", [(10.0, 1.0)], [(10.5, 3.0)], venue=venue)
    fleet.write()
    sample = sampler.sample()
    lines = texts(draw_list(sample, None, sorted(sample.books), 120))
    assert [line.split()[:2] for line in lines[1:]] == [
        ["PAIR", "venue"], ["BTC-USDT", "binance"], ["BTC-USDT", "paper"],
    ]


def test_updates_per_second_come_from_two_samples_of_one_epoch(fleet, sampler):
    fleet.feed()
    writer = fleet.book("BTC-USDT", [(10.0, 1.0)], [(10.5, 3.0)])
    fleet.book("ETH-USDT", [(10.0, 1.0)], [(10.5, 3.0)])
    fleet.write()
    before = sampler.sample()
    for number in range(20):
        writer.publish(100 + number, 7, 8, 9, *(array("d", [1.0]) for _ in range(4)))
    after = replace(sampler.sample(), now_ns=before.now_ns + 2 * SECOND)
    assert rates(after, before) == {("binance", "BTC-USDT"): 10.0, ("binance", "ETH-USDT"): 0.0}
    assert rates(after, None) == rates(before, before) == {}
    other_epoch = {key: replace(one, epoch=9) for key, one in before.books.items()}
    assert rates(after, replace(before, books=other_epoch)) == {}


def test_json_has_the_figures_and_with_levels_the_ladder(fleet, sampler):
    fleet.feed()
    fleet.book("BTC-USDT", [(10.0, 1.0), (9.0, 2.0)], [(10.1, 3.0)])
    fleet.write()
    sample = sampler.sample()
    keys = sorted(sample.books)
    shown = as_json(sample, None, keys, None)
    assert (shown["fleet"], shown["alive"]) == ("trial", True)
    book = shown["books"][0]
    assert (book["bid"], book["ask_qty"], book["spread"], book["state"]) == (10.0, 3.0, 0.1, "LIVE")
    assert (book["bid_levels"], book["ask_levels"], book["depth"], book["used_by"]) == (2, 1, 5, 2)
    assert book["updates_per_s"] is None
    assert "bids" not in book
    ladder = as_json(sample, None, keys, 1)["books"][0]
    assert (ladder["bids"], ladder["asks"]) == ([[10.0, 1.0]], [[10.1, 3.0]])


def test_a_sample_of_nothing_is_drawn_too():
    sample = BooksSample(0, "trial", "0", False, {}, {"binance": None})
    assert texts(draw_list(sample, None, [], 80)) == [
        "hive books  fleet trial  0 instruments", "the fleet is gone: these are its last books",
        "PAIR state        bid qty     bid     ask  ask qty spread   bps   age upd/s",
        "no instrument is followed",
    ]


@pytest.mark.parametrize(
    ("age_ns", "text"),
    [
        (None, "-"), (999_000, "1ms"), (1_500_000_000, "1.5s"), (75 * SECOND, "75s"), (720 * SECOND, "12m"),
        (36_000 * SECOND, "10h"),
    ],
)
def test_an_age_is_short(age_ns, text):
    assert age(age_ns) == text
    assert len(text) <= 6
