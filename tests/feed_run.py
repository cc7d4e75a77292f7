"""The feed as a real process, the simulated exchange as a real process, and what a supervisor and a reader see."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest

from hive.shm.book import EMPTY, LIVE, BookDirectory
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

    def want(self, pairs, who="worker0", kinds=("book", "trades")):
        """Make this the whole wish list of `who`."""
        wants = [[pair, kind] for pair in pairs for kind in kinds]
        self.channel.send({"type": "want", "venue": "binance", "who": who, "wants": wants})

    def message(self, kind):
        """Return the next message of a kind; others are kept in `told`."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            message = self.channel.recv_blocking(max(0.0, deadline - time.monotonic()))
            if message is None or message["type"] == kind:
                return message
            self.told.append(message)

    def events(self, count=1):
        """Return the texts of the next events."""
        return [self.message("event")["text"] for _ in range(count)]

    def event(self, words):
        """Wait for an event whose text has `words` in it, and return it."""
        while True:
            text = self.message("event")["text"]
            if words in text:
                return text

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
