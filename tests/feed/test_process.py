"""The feed process inside the test, whose last beat is made to lie far back."""

import asyncio
import os
from pathlib import Path

import pytest

from feed_run import NOWHERE, PAIRS, Sim
from hive.feed.errors import BootError
from hive.feed.process import FeedBoot, FeedProcess
from hive.feed.selector import WakeupSelector
from hive.shm.book import EMPTY, LIVE, STALE, BookDirectory
from hive.shm.channel import Channel, connect_fd
from hive.shm.counters import CountersReader
from hive.shm.segment import Segment
from market_server import until

ESTABLISHED = "01"  # in /proc/net/tcp
VENUE = {"index": 0, "name": "binance", "kind": "binance", **NOWHERE}
BOOT = {
    "run": f"{os.getpid():08x}",
    "epoch": 1,
    "depth": 20,
    "versions": 4,
    "capacity": 8,
    "trades_capacity": 1024,
    "venues": [VENUE],
}


def connections():
    """Return the inodes of this process's established TCP connections."""
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == ESTABLISHED:
            found.add(f"socket:[{fields[9]}]")
    return {name for fd in Path("/proc/self/fd").iterdir() if (name := target_of(fd)) in found}


def target_of(fd):
    """Return what a descriptor is, "" when it was closed meanwhile."""
    try:
        return os.readlink(fd)
    except FileNotFoundError:
        return ""


def on_the_feeds_loop(coroutine):
    """Run a coroutine on a loop that waits as the feed's does."""
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(WakeupSelector())) as runner:
        runner.run(coroutine)


class Bench:
    """A feed process in this loop, what it tells, and what a reader sees."""

    def __init__(self, urls):
        self.channel, theirs = Channel.pair()
        venue = {**VENUE, "rest_url": urls["rest_url"], "ws_url": urls["ws_url"]}
        boot = FeedBoot.from_message({**BOOT, "venues": [venue]})
        self._theirs = connect_fd(theirs.detach())
        self.process = FeedProcess(boot, self._theirs, asyncio.get_running_loop()._selector)

    async def __aenter__(self):
        self.process.open()
        self._task = asyncio.create_task(self.process.run())
        ready = await self.channel.recv()
        self.counters_segment = Segment.open(ready["counters"])
        self._counters = CountersReader(self.counters_segment)
        self.directory = BookDirectory(Segment.open(ready["venues"][0]["books"]))
        self.channel.send(
            {"type": "want", "venue": "binance", "who": "test", "wants": [[pair, "book"] for pair in PAIRS]}
        )
        await until(self.all_live, "every book is live")
        return self

    async def __aexit__(self, *_):
        self.channel.send({"type": "stop"})
        await self._task
        self.process.close()
        self.channel.close()
        self._theirs.close()

    def states(self):
        found = [self.directory.find(pair) for pair in PAIRS]
        return [EMPTY if slot < 0 else self.directory.reader(slot).state for slot in found]

    def all_live(self):
        return self.states() == [LIVE] * len(PAIRS)

    def counter(self, name):
        return self._counters.read().values[name, (("venue", "binance"),)]

    async def beat(self):
        """Wait for the next heartbeat."""
        before = self.counters_segment.heartbeat_ns
        await until(lambda: self.counters_segment.heartbeat_ns != before, "a heartbeat")


@pytest.fixture
def sim():
    made = Sim("--rate", "40")
    yield made
    made.stop()


def test_a_machine_that_was_suspended_has_no_live_book_until_all_is_read_again(sim):
    async def watched():
        async with Bench(sim.urls) as bench:
            await asyncio.to_thread(sim.fault, "stall", channel="all", seconds=60)  # so that there is time to look
            bench.process.heart.last_boot_ns -= 3_600_000_000_000
            await bench.beat()
            assert set(bench.states()) == {STALE}
            await asyncio.to_thread(sim.post, "/sim/clear", {})
            await until(bench.all_live, "every book is live again")
            assert bench.counter("lag_events") >= 1
            assert bench.counter("reconnects") >= 1
            assert bench.counter("resyncs") >= len(PAIRS)

    on_the_feeds_loop(watched())


def test_connections_of_requests_are_closed_soon_and_the_markets_stays(sim):
    async def watched():
        async with Bench(sim.urls):
            await until(lambda: len(connections()) == 1, "only the market's connection is open")

    on_the_feeds_loop(watched())


def test_a_loop_that_came_late_has_no_live_book_until_a_pong_proves_it(sim):
    async def watched():
        async with Bench(sim.urls) as bench:
            await asyncio.to_thread(sim.fault, "stall", channel="market", seconds=60)
            bench.process.heart.last_ns -= 400_000_000
            bench.process.heart.last_boot_ns -= 400_000_000
            await bench.beat()
            assert set(bench.states()) == {STALE}
            await asyncio.to_thread(sim.post, "/sim/clear", {})
            await until(bench.all_live, "every book is live again")
            assert bench.counter("lag_events") >= 1
            assert bench.counter("reconnects") == bench.counter("resyncs") == 0

    on_the_feeds_loop(watched())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"venues": []}, "venues must name at least one"),
        ({"depth": None}, "boot: "),
        ({"stale_after_ms": "soon"}, "boot: could not convert"),
        ({"venues": [{**VENUE, "silence_s": 0}]}, "silence_s must be > 0, was 0"),
        ({"venues": [{**VENUE, "linger_s": -1}]}, "linger_s must be >= 0, was -1"),
        ({"venues": [{**VENUE, "max_connections": 0}]}, "max_connections must be >= 1, was 0"),
        ({"venues": [{**VENUE, "depths": {"BTC-USDT": 0}}]}, "depths of BTC-USDT must be 1..5000, was 0"),
    ],
)
def test_a_boot_message_that_cannot_be_followed_says_why(change, message):
    with pytest.raises(BootError, match=message):
        FeedBoot.from_message({**BOOT, **change})


def test_a_boot_message_without_a_field_names_it():
    with pytest.raises(BootError, match="'capacity' is missing"):
        FeedBoot.from_message({name: value for name, value in BOOT.items() if name != "capacity"})
