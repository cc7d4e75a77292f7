"""The feed as a real process, against the simulated exchange as a real process."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from hive.shm.book import EMPTY, HALTED, LIVE, RESYNCING, STALE, BookDirectory
from hive.shm.broadcast import BroadcastReader, TopReader
from hive.shm.channel import Channel
from hive.shm.counters import CountersReader
from hive.shm.segment import Segment, list_segments, sweep

DEADLINE_S = 20.0
PAIRS = ["BTC-USDT", "ETH-USDT", "SOL-USDT", "XRP-USDT", "ADA-USDT"]
DEPTH = 20
NOWHERE = {"rest_url": "http://127.0.0.1:9", "ws_url": "ws://127.0.0.1:9/ws"}


def until(condition, what):
    """Return the first true value of condition(); fail when the deadline passes."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.002)
    pytest.fail(f"not within {DEADLINE_S:g} s: {what}")


class Sim:
    """The simulated exchange; `exit-on-eof` ties it to this process."""

    def __init__(self, *options):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hive.sim", "--port", "0", "--seed", "7", "--exit-on-eof", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.urls = json.loads(self.process.stdout.readline())

    def get(self, path):
        with urllib.request.urlopen(self.urls["rest_url"] + path, timeout=DEADLINE_S) as answer:
            return json.load(answer)

    def post(self, path, body):
        request = urllib.request.Request(
            self.urls["rest_url"] + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            return json.load(answer)

    def fault(self, name, **arguments):
        return self.post("/sim/fault", {"name": name, **arguments})

    def depth(self, pair):
        """Return (update id, bids, asks), sides as [(price, quantity), ...] of DEPTH levels."""
        book = self.get(f"/api/v3/depth?symbol={pair.replace('-', '')}&limit={DEPTH}")
        sides = [[(float(price), float(quantity)) for price, quantity in book[side]] for side in ("bids", "asks")]
        return book["lastUpdateId"], *sides

    def stop(self):
        self.process.stdin.close()
        self.process.wait(DEADLINE_S)
        self.process.stdout.close()


class Feed:
    """The feed process, and what a supervisor and a reader see of it."""

    run = f"{os.getpid():08x}"

    def __init__(self, urls, epoch=1, **venue):
        self.channel, theirs = Channel.pair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hive.feed.process", "--channel-fd", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
            )
        config = {"index": 0, "name": "binance", "kind": "binance", "max_connections": 1}
        config |= {"rest_url": urls["rest_url"], "ws_url": urls["ws_url"], **venue}
        self.boot = {
            "type": "boot",
            "run": self.run,
            "fleet": "test",
            "epoch": epoch,
            "supervisor_pid": os.getpid(),
            "venues": [config],
            "depth": DEPTH,
            "versions": 8,
            "capacity": 16,
            "trades_capacity": 4096,
        }
        self.told = []

    def start(self, pairs=()):
        self.channel.send(self.boot)
        ready = self.message("ready")
        self.segments = [Segment.open(ready["counters"], kind="counters")]
        self.segments += [Segment.open(ready["venues"][0][kind], kind=kind) for kind in ("books", "trades", "tops")]
        self.counters = CountersReader(self.segments[0])
        self.directory = BookDirectory(self.segments[1])
        self.trades = BroadcastReader(self.segments[2])
        self.tops = TopReader(self.segments[3])
        if pairs:
            self.want(pairs)
            until(lambda: all(self.state(pair) == LIVE for pair in pairs), "every book live")
        return self

    def want(self, pairs):
        self.channel.send({"type": "want", "instruments": pairs})

    def message(self, kind):
        """Return the next message of a kind; others are kept in `told`."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            message = self.channel.recv_blocking(max(0.0, deadline - time.monotonic()))
            if message is None or message["type"] == kind:
                return message
            self.told.append(message)

    def reader(self, pair):
        return self.directory.reader(self.directory.find(pair))

    def state(self, pair):
        return self.reader(pair).state if self.directory.find(pair) >= 0 else EMPTY

    def counter(self, name):
        return self.counters.read().values[name, (("venue", "binance"),)]

    def latency(self):
        return self.counters.read().histograms["book_latency_ns", (("venue", "binance"),)]

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def close(self):
        self.end(signal.SIGKILL)
        self.channel.close()
        sweep(self.run)


@pytest.fixture
def sim():
    made = Sim("--rate", "40")
    yield made
    made.stop()


@pytest.fixture
def feeds():
    """Make feeds; whatever becomes of the test, they are ended and swept."""
    made = []

    def make(*arguments, **venue):
        made.append(Feed(*arguments, **venue))
        return made[-1]

    yield make
    for feed in made:
        feed.close()


def segments_of(feed):
    return [info.name for info in list_segments(feed.run)]


def assert_equal_books(sim, feed, pairs):
    """Compare every book with the exchange's at one and the same update id."""
    for pair in pairs:
        reader = feed.reader(pair)

        def same_update(pair=pair, reader=reader):
            update_id, bids, asks = sim.depth(pair)
            until(lambda: reader.copy().update_id >= update_id, f"{pair} reaches {update_id}")
            book = reader.copy()
            whole = len(book.bid_px) == len(bids) and len(book.ask_px) == len(asks)  # not past its snapshot's horizon
            return (book, bids, asks) if book.update_id == update_id and whole else None

        book, bids, asks = until(same_update, f"{pair}: book and REST depth at one update")
        assert list(zip(book.bid_px, book.bid_qty, strict=True)) == bids
        assert list(zip(book.ask_px, book.ask_qty, strict=True)) == asks
        assert len(bids) == len(asks) == DEPTH


def test_books_equal_the_exchanges_and_trades_arrive_in_order(sim, feeds):
    feed = feeds(sim.urls).start(PAIRS)
    feed.want(PAIRS[:2])  # wanted twice, subscribed once
    assert_equal_books(sim, feed, PAIRS)
    trades = []
    until(lambda: trades.extend(feed.trades.drain()) or len(trades) >= 20, "20 trades")
    by_slot = {}
    for trade in trades:
        by_slot.setdefault(trade.slot, []).append(trade.trade_id)
    assert all(ids == sorted(set(ids)) for ids in by_slot.values())
    assert set(by_slot) <= set(range(len(PAIRS)))
    rules = feed.directory.rules(feed.directory.find("BTC-USDT"))
    listed = sim.get("/api/v3/exchangeInfo?symbol=BTCUSDT")["symbols"][0]
    filters = {one["filterType"]: one for one in listed["filters"]}
    assert rules.tick == rules.tick.__class__(filters["PRICE_FILTER"]["tickSize"])
    assert rules.step == rules.step.__class__(filters["LOT_SIZE"]["stepSize"])
    assert len(sim.get("/sim/connections")["market"]) == feed.counter("market_connections") == 1
    assert feed.counter("instruments") == len(PAIRS)
    assert feed.counter("gaps") == feed.counter("malformed") == feed.counter("reconnects") == 0
    assert feed.latency().count > 0
    assert feed.end() == 0


def test_a_skipped_diff_is_a_gap_that_is_counted_and_resynced(sim, feeds):
    feed = feeds(sim.urls).start(PAIRS)
    sim.fault("gap", symbol="BTCUSDT", count=3)  # one alone may fall into the time of a snapshot
    until(lambda: feed.counter("gaps") >= 1, "the gap is noticed")
    until(lambda: feed.counter("resyncs") >= 1 and feed.state("BTC-USDT") == LIVE, "the book is live again")
    assert_equal_books(sim, feed, PAIRS)
    assert feed.counter("reconnects") == 0


def test_duplicated_and_reordered_diffs_leave_the_books_right(sim, feeds):
    feed = feeds(sim.urls).start(PAIRS)
    sim.fault("duplicate", symbol="*", count=3)
    until(lambda: feed.counter("duplicates") >= 3, "the duplicates are noticed")
    sim.fault("reorder", symbol="ETHUSDT")
    until(lambda: feed.counter("gaps") >= 1 and feed.state("ETH-USDT") == LIVE, "the reordered book is live again")
    assert_equal_books(sim, feed, PAIRS)


def test_a_dropped_connection_makes_books_stale_and_is_replaced(sim, feeds):
    feed = feeds(sim.urls).start(PAIRS)
    seen = set()
    sim.fault("drop", channel="market", abort=1)

    def live_again():
        seen.update(feed.state(pair) for pair in PAIRS)
        return feed.counter("resyncs") == len(PAIRS) and all(feed.state(pair) == LIVE for pair in PAIRS)

    until(live_again, "every book live again")
    assert seen & {STALE, RESYNCING}
    assert feed.counter("reconnects") == 1
    assert feed.counter("market_connections") == 1
    assert_equal_books(sim, feed, PAIRS)


def test_a_mute_connection_is_noticed_and_its_books_are_not_live(sim, feeds):
    feed = feeds(sim.urls, silence_s=1.0).start(PAIRS)
    sim.fault("mute", channel="market")
    until(lambda: all(feed.state(pair) != LIVE for pair in PAIRS), "no book live")
    until(lambda: feed.counter("reconnects") >= 1, "a reconnect")
    sim.post("/sim/clear", {})
    until(lambda: all(feed.state(pair) == LIVE for pair in PAIRS), "every book live again")
    assert_equal_books(sim, feed, PAIRS)


def test_an_unknown_pair_is_reported_and_the_others_are_followed(sim, feeds):
    feed = feeds(sim.urls).start()
    feed.want(["NOT-LISTED", "BTC-USDT"])
    unknown = feed.message("unknown")
    assert (unknown["venue"], unknown["pair"]) == ("binance", "NOT-LISTED")
    until(lambda: feed.state("BTC-USDT") == LIVE, "the known pair is live")


def test_more_pairs_than_the_table_holds_are_refused_and_the_others_are_followed(sim, feeds):
    feed = feeds(sim.urls)
    feed.boot["capacity"] = 1
    feed.start().want(["BTC-USDT", "ETH-USDT"])
    assert "is full" in feed.message("unknown")["reason"]
    until(lambda: feed.state("BTC-USDT") == LIVE, "the first pair is live")


def test_a_halt_of_the_venue_shows_in_the_book(sim, feeds):
    feed = feeds(sim.urls, rules_interval_s=0.2).start(PAIRS)
    sim.fault("halt", symbol="BTCUSDT")
    until(lambda: feed.state("BTC-USDT") == HALTED, "the book is halted")
    assert feed.state("ETH-USDT") == LIVE
    sim.post("/sim/clear", {})
    until(lambda: feed.state("BTC-USDT") == LIVE, "the book is live again")


def test_a_venue_that_stalls_is_asked_again_until_it_answers(sim, feeds):
    sim.fault("stall", channel="all", seconds=2)
    feed = feeds(sim.urls).start(PAIRS)
    assert_equal_books(sim, feed, PAIRS)


def test_too_many_requests_are_counted_and_waited_for(sim, feeds):
    sim.fault("http_429", channel="rest", retry_after=1, count=2)
    feed = feeds(sim.urls).start(PAIRS)
    assert feed.counter("http_429") >= 1


def test_the_heartbeat_beats_while_nothing_else_happens(feeds):
    feed = feeds(NOWHERE).start()
    for segment in feed.segments:
        first = segment.heartbeat_ns
        until(lambda segment=segment, first=first: segment.heartbeat_ns > first, "a heartbeat")


def test_sigterm_leaves_nothing(sim, feeds):
    feed = feeds(sim.urls).start(PAIRS)
    assert segments_of(feed) != []
    assert feed.end(signal.SIGTERM) == 0
    assert feed.message("stopped") == {"type": "stopped"}
    assert feed.state("BTC-USDT") == STALE  # what is still mapped says so
    assert segments_of(feed) == []


def test_a_stop_message_ends_it(feeds):
    feed = feeds(NOWHERE).start()
    feed.want(["BTC-USDT"])
    feed.channel.send({"type": "stop", "deadline_s": 1})
    assert feed.process.wait(DEADLINE_S) == 0
    assert segments_of(feed) == []


def test_the_end_of_the_channel_ends_it(feeds):
    feed = feeds(NOWHERE).start()
    feed.channel.close()
    assert feed.process.wait(DEADLINE_S) == 0
    assert segments_of(feed) == []


def test_killed_it_leaves_its_segments_and_the_next_epoch_works(sim, feeds):
    killed = feeds(sim.urls).start(PAIRS)
    assert killed.end(signal.SIGKILL) == -signal.SIGKILL
    assert len(segments_of(killed)) == 4
    again = feeds(sim.urls, 2).start(PAIRS)
    assert again.directory.epoch == 2
    assert_equal_books(sim, again, PAIRS)
    assert sorted(sweep(killed.run)) == sorted(segment.name for segment in killed.segments)
    assert again.end() == 0
    assert segments_of(again) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 0}, "depth"),
        ({"trades_capacity": 100}, "capacity"),
        ({"venues": [{"index": 0, "name": "x", "kind": "nope", **NOWHERE}]}, "kind must be one of"),
        ({"capacity": 1 << 30}, "/dev/shm"),
        ({"epoch": "one"}, "boot"),
        ({"venues": []}, "at least one"),
        ({"run": None}, "run"),
    ],
)
def test_what_cannot_boot_says_why_and_leaves_nothing(feeds, change, message):
    feed = feeds(NOWHERE)
    feed.channel.send({**feed.boot, **change})
    assert message in feed.message("fatal")["message"]
    assert feed.process.wait(DEADLINE_S) == 3
    assert segments_of(feed) == []
