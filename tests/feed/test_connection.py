"""MarketConnection against a small venue on loopback that does what the test tells it."""

import asyncio
import json
import random

import aiohttp
import pytest
from aiohttp import web

from hive.feed.binance import BinanceSpot
from hive.feed.connection import LARGEST_FRAME, MarketConnection, backoff_s
from hive.feed.venue import TradeEvent

DEADLINE_S = 10.0


class Venue(BinanceSpot):
    streams_per_connection = 500
    control_interval_s = 0.0


class Server:
    """Accepts connections, records requests, answers them unless told otherwise."""

    def __init__(self):
        self.requests = []
        self.sockets = []
        self.answer = '{{"result":null,"id":{id}}}'
        self.url = ""

    async def start(self):
        app = web.Application()
        app.router.add_get("/ws", self._accept)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"ws://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/ws"

    async def stop(self):
        await self._runner.cleanup()

    async def _accept(self, request):
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        self.sockets.append(ws)
        async for message in ws:
            asked = json.loads(message.data)
            self.requests.append(asked)
            if self.answer:
                await ws.send_str(self.answer.format(id=asked["id"]))
        return ws


class Listener:
    def __init__(self):
        self.ups = 0
        self.downs = []
        self.subscribed = []
        self.events = []

    def on_up(self, connection):
        self.ups += 1

    def on_down(self, connection, reason):
        self.downs.append(reason)

    def on_subscribed(self, streams):
        self.subscribed.extend(streams)

    def on_event(self, event, read_ns):
        self.events.append(event)


async def until(condition):
    """Wait until condition() is true; the deadline fails the test, it never decides a result."""
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.005)


class Bench:
    def __init__(self, memory, silence_s=60.0, answer_within_s=5.0):
        self.server = Server()
        self.listener = Listener()
        self.metrics = memory.metrics
        self.silence_s = silence_s
        self.answer_within_s = answer_within_s

    async def __aenter__(self):
        await self.server.start()
        self.session = aiohttp.ClientSession()
        self.connection = MarketConnection(
            Venue("http://127.0.0.1:1"),
            self.server.url,
            self.session,
            self.listener,
            self.metrics,
            self.silence_s,
            answer_within_s=self.answer_within_s,
            rng=random.Random(1),
        )
        self.task = asyncio.create_task(self.connection.run())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.wait([self.task])
        await self.session.close()
        await self.server.stop()

    async def send(self, data):
        await self.server.sockets[-1].send_str(data)


def trade(number):
    return json.dumps({"e": "trade", "E": 1, "s": "X", "t": number, "p": "1", "q": "1", "T": 1, "m": False})


async def test_streams_are_subscribed_in_packs_and_again_after_a_reconnect(memory):
    async with Bench(memory) as bench:
        streams = [f"s{i}@trade" for i in range(450)]
        bench.connection.subscribe(streams)
        await until(lambda: len(bench.listener.subscribed) == 450)
        assert [len(one["params"]) for one in bench.server.requests] == [200, 200, 50]
        assert bench.connection.room == 50
        await bench.server.sockets[0].close()
        await until(lambda: len(bench.listener.subscribed) == 900)
        assert bench.listener.ups == 2
        assert len(bench.listener.downs) == 1
        assert sorted(bench.listener.subscribed[450:]) == sorted(streams)
        assert bench.metrics.reconnects.value == 1
        assert bench.metrics.market_connections.value == 1


async def test_what_is_wanted_twice_is_subscribed_once_and_what_is_unwanted_ends(memory):
    async with Bench(memory) as bench:
        bench.connection.subscribe(["a", "b"])
        await until(lambda: bench.listener.subscribed == ["a", "b"])
        bench.connection.subscribe(["b", "c"])
        await until(lambda: bench.listener.subscribed == ["a", "b", "c"])
        bench.connection.unsubscribe(["b", "never"])
        await until(lambda: len(bench.server.requests) == 3)
        asked = [(one["method"], one["params"]) for one in bench.server.requests]
        assert asked == [("SUBSCRIBE", ["a", "b"]), ("SUBSCRIBE", ["c"]), ("UNSUBSCRIBE", ["b"])]
        assert bench.connection.room == 498


async def test_bad_messages_are_counted_and_the_next_good_one_arrives(memory):
    async with Bench(memory) as bench:
        await until(lambda: bench.listener.ups == 1)
        for bad in ("nonsense", "{}", "[]", '{"e":"trade"}', '{"e":"depthUpdate","u":"x"}', "x" * (2 << 20), ""):
            await bench.send(bad)
        await bench.server.sockets[-1].send_bytes(b"\x00\xff\xfe")
        await bench.send(trade(5))
        await until(lambda: bench.listener.events)
        assert bench.listener.events == [TradeEvent("X", 5, 1_000_000, 1.0, 1.0, False)]
        assert bench.metrics.malformed.value == 8
        assert bench.metrics.messages.value == 9
        assert bench.listener.downs == []


async def test_a_frame_too_large_for_the_socket_costs_a_reconnect_and_no_more(memory):
    async with Bench(memory) as bench:
        await until(lambda: bench.listener.ups == 1)
        try:
            await bench.send("x" * (LARGEST_FRAME + 1))
        except OSError:
            pass  # the feed hung up before it was all sent
        await until(lambda: bench.listener.ups == 2)
        await bench.send(trade(1))
        await until(lambda: bench.listener.events)
        assert bench.metrics.malformed.value == 1


async def test_silence_is_noticed_and_allowed_to_last_longer_each_time(memory):
    async with Bench(memory, silence_s=0.15) as bench:
        bench.connection.subscribe(["a"])
        await until(lambda: len(bench.listener.downs) == 2)
        assert bench.listener.downs == ["silent for 0.15 s", "silent for 0.3 s"]


async def test_a_refused_subscription_is_a_lost_connection(memory):
    async with Bench(memory) as bench:
        bench.server.answer = '{{"error":{{"code":2,"msg":"Invalid request"}},"id":{id}}}'
        bench.connection.subscribe(["a"])
        await until(lambda: bench.listener.downs)
        assert bench.listener.downs[0] == "subscription refused: Invalid request"
        bench.server.answer = '{{"result":null,"id":{id}}}'
        await until(lambda: bench.listener.subscribed == ["a"])


async def test_a_subscription_that_is_not_answered_is_a_lost_connection(memory):
    async with Bench(memory, answer_within_s=0.1) as bench:
        bench.server.answer = ""
        bench.connection.subscribe(["a"])
        await until(lambda: bench.listener.downs)
        assert bench.listener.downs[0] == "no answer to a subscription within 0.1 s"


async def test_a_venue_that_is_not_there_is_tried_again_and_again(memory):
    async with Bench(memory) as bench:
        await until(lambda: bench.listener.ups == 1)
        await bench.server.stop()
        await until(lambda: len(bench.listener.downs) >= 3)
        assert bench.metrics.market_connections.value == 0
        assert bench.metrics.reconnects.value == 1


@pytest.mark.parametrize("failures", [1, 2, 3, 10, 1_000])
def test_back_off_doubles_up_to_a_bound_and_keeps_half_to_chance(failures):
    rng = random.Random(failures)
    waits = [backoff_s(failures, rng) for _ in range(1_000)]
    full = min(0.1 * 2 ** (failures - 1), 30.0)
    assert full / 2 <= min(waits) < full * 0.6
    assert full * 0.9 < max(waits) <= full
