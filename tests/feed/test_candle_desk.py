"""The desk that serves candle series: told once, asked for again, refused with the reason."""

import asyncio
from types import SimpleNamespace

import pytest

from feed.made_candles import candle, history
from hive.feed.candle_desk import CandleDesk
from hive.feed.errors import MalformedMessage, VenueRefused
from hive.feed.pool import PoolFull
from hive.shm.book import LIVE, REMOVED
from hive.shm.candles import CandleReader
from hive.shm.segment import Segment, segment_name


class Venue:
    """A venue that has seconds and nothing else."""

    def __init__(self):
        self.answers = [history(11, 30)]
        self.asked = []

    def streams(self, symbol, kind):
        if kind != "candles:1s":
            raise ValueError(f"a kind must be candles:1s, was {kind!r}")
        return [f"{symbol.lower()}@{kind}"]

    def klines_request(self, symbol, interval, limit, end_ms):
        self.asked.append((symbol, interval, limit, end_ms))
        return self.asked[-1]

    def klines(self, answer):
        rows = self.answers.pop(0)
        if isinstance(rows, Exception):
            raise rows
        return rows

    async def get(self, request):
        return request


class Pool:
    """A pool that notes what it carries."""

    def __init__(self, room=10):
        self.room = room
        self.carried = {}

    def carry(self, streams, sink):
        if not self.room:
            raise PoolFull("1 connections are full")
        self.room -= 1
        self.carried[streams] = sink
        sink.connected()

    def drop(self, streams):
        del self.carried[streams]


@pytest.fixture
async def desk(memory):
    """(desk, venue, pool, what was told, names of the segments that are there)."""
    made, told, segments = {}, [], {}

    def create(name, size, kind):
        segment = Segment.create(segment_name(f"{id(made):x}"[-8:], name, 1), size, kind=kind, epoch=1)
        segments[segment.name] = segment
        return segment

    def remove(segment):
        segments.pop(segment.name)
        segment.unlink()

    venue, pool = Venue(), Pool()
    one = CandleDesk("test", venue, 20, create, remove, told.append, memory.metrics)
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(_serve(one, venue, pool))
        yield SimpleNamespace(desk=one, venue=venue, pool=pool, told=told, segments=segments)
        serving.cancel()
    for segment in list(segments.values()):
        remove(segment)


async def _serve(desk, venue, pool):
    async with asyncio.TaskGroup() as group:
        desk.start(venue, pool, group)


BTC = SimpleNamespace(pair="BTC-USDT", symbol="BTCUSDT")


async def settle(until):
    """Let the desk's tasks run until something holds."""
    async with asyncio.timeout(10):
        while not until():
            await asyncio.sleep(0.001)


async def test_a_series_is_announced_once_when_its_history_is_there(desk):
    await asyncio.sleep(0)
    desk.desk.follow(BTC, "1s")
    (series,) = desk.pool.carried.values()
    assert desk.told == []
    series.subscribed()
    await settle(lambda: desk.told)
    name = next(iter(desk.segments))
    assert desk.told == [
        {"type": "series", "venue": "test", "pair": "BTC-USDT", "interval": "1s", "segment": name}
    ]
    assert desk.venue.asked == [("BTCUSDT", "1s", 20, None)]
    reader = CandleReader(Segment.open(name, kind="candles"))
    assert (reader.pair, reader.count, reader.state) == ("BTC-USDT", 20, LIVE)
    desk.desk.on_candle(candle(30, 11), 0)
    desk.desk.on_candle(candle(30, 99, symbol="ETHUSDT"), 0)
    assert reader.newest.trades == 11
    series.disconnected()
    series.connected()
    desk.desk.on_candle(candle(30, 12), 0)
    assert (reader.state, len(desk.told)) == (LIVE, 1)
    desk.desk.asked("BTC-USDT", "1s")
    assert desk.told == [desk.told[0]] * 2
    desk.desk.unfollow("BTC-USDT", "1s")
    assert (reader.state, desk.segments, desk.pool.carried) == (REMOVED, {}, {})
    desk.desk.on_candle(candle(30, 13), 0)
    assert reader.newest.trades == 12


async def test_refused_and_malformed_history_is_asked_for_again(desk):
    await asyncio.sleep(0)
    desk.venue.answers[:0] = [VenueRefused("HTTP 503", 503), MalformedMessage("no list")]
    desk.desk.follow(BTC, "1s")
    next(iter(desk.pool.carried.values())).subscribed()
    await settle(lambda: desk.told)
    assert len(desk.venue.asked) == 3
    assert desk.told[0]["segment"]


async def test_what_cannot_be_served_is_told_with_the_reason(desk):
    await asyncio.sleep(0)
    desk.desk.follow(BTC, "7m")
    desk.pool.room = 0
    desk.desk.follow(BTC, "1s")
    assert [(one["interval"], one["segment"], one["reason"]) for one in desk.told] == [
        ("7m", "", "a kind must be candles:1s, was 'candles:7m'"),
        ("1s", "", "1 connections are full"),
    ]
    assert desk.segments == {}
    desk.desk.asked("BTC-USDT", "7m")
    assert desk.told[2] == desk.told[0]
    desk.desk.unfollow("BTC-USDT", "7m")
    desk.desk.asked("BTC-USDT", "7m")
    assert len(desk.told) == 3
