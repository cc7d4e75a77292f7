"""StreamPool with real connections against a small venue on loopback that does what the test tells it."""

import asyncio
import random
import time

import pytest

from hive.feed.binance import BinanceSpot
from hive.feed.connection import MarketConnection
from hive.feed.pool import PoolFull, StreamPool
from hive.feed.pulse import Patience
from market_server import MarketServer, until

NEVER_S = 600.0
NEVER_NS = int(NEVER_S * 1e9)


class Venue(BinanceSpot):
    streams_per_connection = 4
    control_interval_s = 0.0


class Sink:
    """Remembers what it was told."""

    def __init__(self):
        self.told = []

    def __getattr__(self, name):
        if name not in ("connected", "subscribed", "disconnected", "lagging", "proven", "doubted"):
            raise AttributeError(name)
        return lambda: self.told.append(name)


class Bench:
    """A pool, its venue, and a listener that lets a trade follow the one with the id before."""

    def __init__(self, memory, max_connections=2, **times):
        self.server = MarketServer()
        self.metrics = memory.metrics
        self.ids = []
        self.texts = []
        self.named = False
        venue = Venue("http://127.0.0.1:1")
        patience = Patience(silence_s=NEVER_S, ping_interval_s=NEVER_S, pong_within_s=NEVER_S)

        def make(pool):
            return MarketConnection(venue, self.server.url, pool, memory.metrics, patience, rng=random.Random(1))

        self.pool = StreamPool(
            make, self, max_connections, NEVER_NS, time.monotonic_ns, memory.metrics.rotations.inc, **times
        )

    async def __aenter__(self):
        await self.server.start()
        self.stopping = asyncio.Event()
        self.task = asyncio.create_task(self._run())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.wait([self.task])
        await self.server.stop()

    async def _run(self):
        async with asyncio.TaskGroup() as group:
            self.pool.start(group)
            await self.stopping.wait()

    def on_event(self, event, read_ns):
        if event.trade_id > self.last:
            self.ids.append(event.trade_id)

    @property
    def last(self):
        return self.ids[-1] if self.ids else 0

    def follows(self, event):
        return event.trade_id <= self.last + 1

    def on_malformed(self, raw):
        return self.named

    def on_banned(self, seconds):
        self.texts.append(f"banned {seconds}")

    def tell(self, level, text):
        self.texts.append(text)

    async def carry(self, *streams):
        """Carry streams one by one, each with a sink of its own, and wait until the venue sends them."""
        sinks = []
        for stream in streams:
            sinks.append(Sink())
            self.pool.carry((stream,), sinks[-1])
            await until(lambda: len(self.server.open()) >= len(self.pool))  # the venue has them in the pool's order
        await until(lambda: all("subscribed" in sink.told for sink in sinks))
        return sinks

    async def trades(self, ids, sockets):
        for number in ids:
            for socket in sockets:
                event = {"e": "trade", "E": 1, "s": "X", "t": number, "p": "1", "q": "1", "T": 1, "m": False}
                await self.server.send(event, socket)

    def carried(self):
        """Return what each open connection of the venue is subscribed to, the oldest first."""
        return [sorted(self.server.streams[one]) for one in self.server.open()]


async def test_connections_are_filled_one_after_the_other_and_no_more_are_opened_than_needed(memory):
    async with Bench(memory) as bench:
        await bench.carry("a", "b", "c")
        assert bench.carried() == [["a", "b", "c"]]
        await bench.carry("d", "e")
        assert bench.carried() == [["a", "b", "c", "d"], ["e"]]
        assert len(bench.pool) == bench.metrics.market_connections.value == 2


async def test_when_all_connections_are_full_no_more_is_carried(memory):
    async with Bench(memory) as bench:
        await bench.carry(*"abcdefgh")
        with pytest.raises(PoolFull, match="2 connections are full"):
            bench.pool.carry(("i",), Sink())
        bench.pool.drop(("b",))
        await bench.carry("i")
        assert bench.carried() == [["a", "c", "d", "i"], ["e", "f", "g", "h"]]


async def test_streams_of_one_owner_stay_on_one_connection(memory):
    async with Bench(memory) as bench:
        for owner in ("a", "b"):
            bench.pool.carry(tuple(f"{owner}{n}" for n in range(3)), Sink())
        with pytest.raises(PoolFull):
            bench.pool.carry(("x", "y"), Sink())
        await until(lambda: bench.carried() == [["a0", "a1", "a2"], ["b0", "b1", "b2"]])


async def test_a_connection_that_carries_nothing_any_more_is_closed_and_can_come_again(memory):
    async with Bench(memory) as bench:
        await bench.carry(*"abcde")
        bench.pool.drop(("e",))
        await until(lambda: bench.carried() == [["a", "b", "c", "d"]])
        assert len(bench.pool) == 1
        await bench.carry("f")
        assert bench.carried() == [["a", "b", "c", "d"], ["f"]]
        bench.pool.drop("abcdf")
        await until(lambda: bench.server.open() == [])
        assert len(bench.pool) == 0
        assert bench.metrics.reconnects.value == 0


async def test_what_a_dead_connection_carried_is_taken_over_by_one_with_room(memory):
    async with Bench(memory) as bench:
        sinks = await bench.carry(*"abcde")
        bench.pool.drop("ab")
        first = bench.server.open()[0]
        await until(lambda: bench.server.streams[first] == {"c", "d"})
        bench.server.refuse = (503, {})  # it cannot come back
        await first.close()
        await until(lambda: bench.carried() == [["c", "d", "e"]])
        await until(lambda: sinks[2].told == ["connected", "subscribed", "disconnected", "connected", "subscribed"])
        assert sinks[4].told == ["connected", "subscribed"]
        assert len(bench.pool) == 1
        assert bench.server.refused == 0  # nothing was left for it to carry


async def test_what_nobody_has_room_for_comes_back_with_the_connection(memory):
    async with Bench(memory) as bench:
        sinks = await bench.carry(*"abcdefg")
        await bench.server.open()[0].close()
        await until(lambda: sum("disconnected" in sink.told for sink in sinks) == 4)
        await until(lambda: all(sink.told[-1] == "subscribed" for sink in sinks))
        moved, stayed = bench.carried()
        assert len(moved) == 4
        assert sorted(moved + stayed) == list("abcdefg")


async def test_an_old_connection_is_replaced_without_a_gap(memory):
    async with Bench(memory, max_connections=1) as bench:
        sinks = await bench.carry(*"abc")
        (old,) = bench.server.open()
        await bench.trades(range(1, 10), [old])
        bench.pool.rotate()
        await until(lambda: len(bench.server.open()) == 2 and len(bench.carried()[1]) == 3)
        await bench.trades(range(10, 30), bench.server.open())
        await until(lambda: len(bench.server.open()) == 1)
        await bench.trades(range(30, 40), bench.server.open())
        await until(lambda: bench.last == 39)
        assert bench.ids == list(range(1, 40))
        assert bench.carried() == [["a", "b", "c"]]
        assert bench.server.open() != [old]
        assert all("disconnected" not in sink.told and sink.told.count("subscribed") == 1 for sink in sinks)
        assert (bench.metrics.rotations.value, bench.metrics.reconnects.value) == (1, 0)
        assert bench.metrics.market_connections.value == 1


async def test_a_replacement_that_is_ahead_waits_for_the_old_connection(memory):
    async with Bench(memory, max_connections=1) as bench:
        await bench.carry("a")
        (old,) = bench.server.open()
        bench.server.pongs = False  # the old one's answer is told by hand
        bench.pool.rotate()
        await until(lambda: len(bench.server.open()) == 2)
        new = bench.server.open()[1]
        await until(lambda: bench.server.streams[new] == {"a"} and bench.server.pings)
        await bench.trades([4, 5], [new])
        await old.pong(bench.server.pings[-1])
        await bench.trades([1], [old])
        await until(lambda: bench.ids == [1])
        assert len(bench.server.open()) == 2
        await bench.trades([2, 3], [old])
        await until(lambda: bench.ids == [1, 2, 3, 4, 5])
        await until(lambda: bench.server.open() == [new])


async def test_a_replacement_does_not_wait_for_ever(memory):
    async with Bench(memory, max_connections=1, handover_within_s=0.2) as bench:
        await bench.carry("a")
        bench.pool.rotate()
        await until(lambda: len(bench.server.open()) == 2)
        await bench.trades([7, 8], [bench.server.open()[1]])
        await until(lambda: bench.ids == [7, 8])  # the gap shows where it is


async def test_a_connection_that_dies_while_it_is_replaced_is_followed_at_once(memory):
    async with Bench(memory, max_connections=1) as bench:
        (sink,) = await bench.carry("a")
        (old,) = bench.server.open()
        bench.server.pongs = False  # so that the replacement waits
        bench.pool.rotate()
        await until(lambda: len(bench.server.open()) == 2 and len(bench.server.pings) >= 1)
        new = bench.server.open()[1]
        await bench.trades([1], [old])
        await bench.trades([1, 2, 3], [new])
        await until(lambda: bench.ids == [1])
        await old.close()
        await until(lambda: bench.ids == [1, 2, 3])
        assert sink.told == ["connected", "subscribed", "proven"]


async def test_a_connection_that_cannot_be_replaced_stays(memory):
    async with Bench(memory, max_connections=1, confirmed_within_s=0.2) as bench:
        (sink,) = await bench.carry("a")
        bench.server.refuse = (503, {})
        bench.pool.rotate()
        await until(lambda: any("could not be replaced" in text for text in bench.texts))
        await bench.trades([1], bench.server.open())
        await until(lambda: bench.ids == [1])
        assert sink.told == ["connected", "subscribed"]
        assert (bench.metrics.rotations.value, len(bench.pool)) == (0, 1)


async def test_what_is_wanted_and_unwanted_during_a_replacement_is_so_afterwards(memory):
    async with Bench(memory, max_connections=1) as bench:
        await bench.carry("a", "b")
        bench.server.pongs = False
        bench.pool.rotate()
        await until(lambda: len(bench.server.open()) == 2 and len(bench.server.pings) >= 1)
        old, new = bench.server.open()
        bench.pool.drop(("a",))
        await bench.carry("c")
        await until(lambda: bench.server.streams[new] == {"b", "c"})
        await old.pong(bench.server.pings[0])
        await until(lambda: bench.server.open() == [new])
        assert bench.carried() == [["b", "c"]]


async def test_the_last_stream_may_go_during_a_replacement(memory):
    async with Bench(memory, max_connections=1) as bench:
        await bench.carry("a")
        bench.server.pongs = False
        bench.pool.rotate()
        await until(lambda: len(bench.server.open()) == 2)
        bench.pool.drop(("a",))
        await until(lambda: bench.server.open() == [])
        bench.server.pongs = True
        await bench.carry("b")
        assert bench.carried() == [["b"]]


async def test_a_venue_that_says_it_will_close_a_connection_is_left_before(memory):
    async with Bench(memory, max_connections=1) as bench:
        (sink,) = await bench.carry("a")
        (old,) = bench.server.open()
        await bench.server.send({"e": "serverShutdown", "E": 1}, old)
        await until(lambda: bench.metrics.rotations.value == 1 and bench.server.open() != [old])
        assert "disconnected" not in sink.told


async def test_a_reset_lets_nobody_believe_and_opens_everything_anew(memory):
    async with Bench(memory) as bench:
        sinks = await bench.carry(*"abcde")
        before = bench.server.open()
        bench.pool.reset("the machine was suspended")
        assert all(sink.told[-1] == "disconnected" for sink in sinks)
        await until(lambda: all(sink.told[-1] == "subscribed" for sink in sinks))
        assert not set(before) & set(bench.server.open())
        assert sum(map(len, bench.carried())) == 5


async def test_a_doubt_about_time_is_ended_by_each_connections_pong(memory):
    async with Bench(memory) as bench:
        sinks = await bench.carry(*"abcde")
        bench.server.pongs = False
        bench.pool.prove()
        assert all(sink.told[-1] == "lagging" for sink in sinks)
        await until(lambda: len(bench.server.pings) == 2)
        await bench.server.open()[1].pong(bench.server.pings[0])
        await until(lambda: sinks[4].told[-1] == "proven")
        assert sinks[0].told[-1] == "lagging"


async def test_what_is_subscribed_on_a_lagging_connection_lags_too(memory):
    async with Bench(memory) as bench:
        await bench.carry("a")
        bench.server.pongs = False
        bench.pool.prove()
        (sink,) = await bench.carry("b")
        assert sink.told == ["connected", "lagging", "subscribed"]


async def test_an_unreadable_message_casts_doubt_on_its_connection_unless_it_names_somebody(memory):
    async with Bench(memory) as bench:
        sinks = await bench.carry(*"abcde")
        await bench.server.send("{broken", bench.server.open()[1])
        await until(lambda: sinks[4].told[-1] == "doubted")
        assert all("doubted" not in sink.told for sink in sinks[:4])
        bench.named = True
        await bench.server.send("{broken", bench.server.open()[0])
        await bench.trades([1], [bench.server.open()[0]])
        await until(lambda: bench.ids == [1])
        assert all("doubted" not in sink.told for sink in sinks[:4])
