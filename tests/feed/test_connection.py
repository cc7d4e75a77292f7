"""MarketConnection against a small venue on loopback that does what the test tells it."""

import asyncio
import json
import random

import pytest

from hive.feed.binance import BinanceSpot
from hive.feed.connection import MarketConnection
from hive.feed.pacing import ConnectPace
from hive.feed.pulse import Patience
from hive.feed.socket import LARGEST_MESSAGE
from hive.feed.venue import TradeEvent
from market_server import MarketServer, self_signed, server_context, until

NEVER_S = 600.0


@pytest.fixture
def tls(tmp_path):
    return server_context(*self_signed(tmp_path))


class Venue(BinanceSpot):
    streams_per_connection = 500
    control_interval_s = 0.0


class Listener:
    def __init__(self):
        self.ups = 0
        self.downs = []
        self.lost = []
        self.subscribed = []
        self.events = []
        self.malformed = []
        self.notices = []
        self.pulse = []
        self.banned = []

    def on_up(self, connection):
        self.ups += 1

    def on_down(self, connection, reason, was_up):
        self.downs.append(reason)
        self.lost.append(was_up)

    def on_subscribed(self, connection, streams):
        self.subscribed.extend(streams)

    def on_event(self, event, read_ns):
        self.events.append(event)

    def on_malformed(self, connection, raw):
        self.malformed.append(raw)

    def on_notice(self, connection, notice):
        self.notices.append(notice.kind)

    def on_late(self, connection):
        self.pulse.append("late")

    def on_proven(self, connection):
        self.pulse.append("proven")

    def on_banned(self, seconds):
        self.banned.append(seconds)


class Tap:
    """Keeps what a connection tells whoever records it."""

    def __init__(self):
        self.told = []

    def on_up(self):
        self.told.append("up")

    def on_down(self, reason):
        self.told.append(f"down: {reason}")

    def on_subscribed(self, streams):
        self.told.append(list(streams))

    def on_unsubscribed(self, streams):
        self.told.append(tuple(streams))

    def on_message(self, data, read_ns):
        self.told.append(data)

    @property
    def messages(self):
        return [one for one in self.told if isinstance(one, bytes)]


class Bench:
    def __init__(self, memory, server=None, **patience):
        self.server = server or MarketServer()
        self.listener = Listener()
        self.metrics = memory.metrics
        calm = dict.fromkeys(("silence_s", "ping_interval_s", "pong_within_s"), NEVER_S)
        self.patience = Patience(**calm | patience)
        self.tap = Tap()

    async def __aenter__(self):
        await self.server.start()
        self.pace = ConnectPace()
        self.connection = MarketConnection(
            Venue("http://127.0.0.1:1"),
            self.server.url,
            self.listener,
            self.metrics,
            self.patience,
            pace=self.pace,
            rng=random.Random(1),
            tap=self.tap,
        )
        self.task = asyncio.create_task(self.connection.run())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.wait([self.task])
        await self.server.stop()

    async def send(self, data):
        await self.server.send(data)


def trade(number):
    return json.dumps({"e": "trade", "E": 1, "s": "X", "t": number, "p": "1", "q": "1", "T": 1, "m": False})


async def test_streams_are_subscribed_in_packs_and_again_after_a_reconnect(memory):
    async with Bench(memory) as bench:
        streams = [f"s{i}@trade" for i in range(450)]
        bench.connection.subscribe(streams)
        await until(lambda: len(bench.listener.subscribed) == 450)
        assert [len(one["params"]) for one in bench.server.requests] == [200, 200, 50]
        assert (bench.connection.room, bench.connection.carries) == (50, 450)
        assert bench.connection.complete
        await bench.server.sockets[0].close()
        await until(lambda: len(bench.listener.subscribed) == 900)
        assert bench.listener.ups == 2
        assert bench.listener.lost == [True]
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


async def test_a_stream_that_is_wanted_again_before_it_ended_stays(memory):
    async with Bench(memory) as bench:
        bench.connection.subscribe(["a"])
        await until(lambda: bench.listener.subscribed == ["a"])
        bench.connection.unsubscribe(["a"])
        bench.connection.subscribe(["a"])
        await until(lambda: bench.connection.complete)
        assert bench.server.streams[bench.server.sockets[0]] == {"a"}


async def test_a_tap_is_told_what_becomes_of_the_connection_and_given_every_message(memory):
    async with Bench(memory) as bench:
        bench.connection.subscribe(["a"])
        await until(lambda: bench.connection.complete)
        await bench.send(trade(5))
        await until(lambda: bench.listener.events)
        bench.connection.drop("a test")
        await until(lambda: bench.listener.ups == 2)
        await until(lambda: bench.connection.complete)
        bench.connection.unsubscribe(["a", "never"])
        assert bench.tap.told.pop() == ("a",)
        up, answer, subscribed, event, down, again = bench.tap.told[:6]
        assert (up, subscribed, down, again) == ("up", ["a"], "down: a test", "up")
        assert b"result" in answer
        assert event == trade(5).encode()


async def test_bad_messages_are_counted_and_the_next_good_one_arrives(memory):
    async with Bench(memory) as bench:
        await until(lambda: bench.listener.ups == 1)
        for bad in ("nonsense", "{}", "[]", '{"e":"trade"}', '{"e":"depthUpdate","u":"x"}', "x" * (2 << 20), ""):
            await bench.send(bad)
        await bench.server.sockets[-1].send_bytes(b"\x00\xff\xfe")
        await bench.send(trade(5))
        await until(lambda: bench.listener.events)
        assert bench.listener.events == [TradeEvent("X", 5, 1_000_000, 1.0, 1.0, False)]
        assert bench.metrics.malformed.value == len(bench.listener.malformed) == 8
        assert bench.metrics.messages.value == len(bench.tap.messages) == 9
        assert bench.listener.downs == []


async def test_a_message_too_large_for_the_socket_costs_a_reconnect_and_no_more(memory):
    async with Bench(memory) as bench:
        await until(lambda: bench.listener.ups == 1)
        try:
            await bench.send("x" * (LARGEST_MESSAGE + 1))
        except OSError:
            pass  # the feed hung up before it was all sent
        await until(lambda: bench.listener.ups == 2)
        await bench.send(trade(1))
        await until(lambda: bench.listener.events)


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


async def test_pings_are_answered_and_measured(memory):
    async with Bench(memory, ping_interval_s=0.02) as bench:
        await until(lambda: memory.metrics.pong_ns.read().count >= 5)
        assert bench.listener.pulse == []


async def test_a_missing_pong_makes_the_connection_late_until_one_comes_in_time(memory):
    async with Bench(memory, ping_interval_s=0.02, pong_within_s=0.1) as bench:
        await until(lambda: memory.metrics.pong_ns.read().count >= 1)
        bench.server.pongs = False
        await until(lambda: bench.listener.pulse == ["late"])
        assert bench.connection.late
        bench.server.pongs = True
        await until(lambda: bench.listener.pulse == ["late", "proven"])
        assert bench.listener.downs == []


async def test_a_venue_that_never_answers_a_ping_is_lost(memory):
    async with Bench(memory, ping_interval_s=0.02, pong_within_s=0.05, lost_after_s=0.15) as bench:
        bench.server.pongs = False
        await until(lambda: bench.listener.downs)
        assert bench.listener.pulse[0] == "late"
        assert bench.listener.downs[0] == "no pong for 0.15 s"


async def test_a_doubt_ends_with_the_answer_to_a_ping_sent_after_it(memory):
    async with Bench(memory) as bench:
        await until(lambda: bench.listener.ups == 1)
        bench.server.pongs = False
        bench.connection.prove()
        await until(lambda: bench.server.pings == [b"1"])
        assert bench.connection.late
        await bench.send(trade(1))
        await until(lambda: bench.listener.events)
        assert bench.listener.pulse == []  # data proves nothing
        await bench.server.sockets[0].pong(b"1")
        await until(lambda: bench.listener.pulse == ["proven"])
        assert not bench.connection.late


async def test_held_events_are_handed_on_in_order_when_they_are_released(memory):
    async with Bench(memory) as bench:
        await until(lambda: bench.listener.ups == 1)
        bench.connection.hold()
        for number in (1, 2):
            await bench.send(trade(number))
        await until(lambda: len(bench.connection.held) == 2)
        assert bench.listener.events == []
        bench.connection.release()
        await bench.send(trade(3))
        await until(lambda: len(bench.listener.events) == 3)
        assert [one.trade_id for one in bench.listener.events] == [1, 2, 3]


async def test_a_shutdown_notice_is_passed_on(memory):
    async with Bench(memory) as bench:
        await until(lambda: bench.listener.ups == 1)
        await bench.send({"e": "serverShutdown", "E": 1})
        await until(lambda: bench.listener.notices == ["shutdown"])


async def test_a_venue_that_is_not_there_is_tried_again_and_again(memory):
    async with Bench(memory) as bench:
        await until(lambda: bench.listener.ups == 1)
        await bench.server.stop()
        await until(lambda: len(bench.listener.downs) >= 3)
        assert bench.listener.lost[:3] == [True, False, False]
        assert bench.metrics.market_connections.value == 0
        assert bench.metrics.reconnects.value == 1


async def test_a_refused_upgrade_says_its_status_and_is_tried_again(memory):
    server = MarketServer()
    server.refuse = (503, {})
    async with Bench(memory, server) as bench:
        await until(lambda: len(bench.listener.downs) >= 2)
        assert "HTTP 503" in bench.listener.downs[0]
        server.refuse = None
        await until(lambda: bench.listener.ups == 1)


@pytest.mark.parametrize("status", [429, 418])
async def test_a_venue_that_says_too_many_is_left_alone_for_as_long_as_it_asks(memory, status):
    server = MarketServer()
    server.refuse = (status, {"Retry-After": "30"})
    async with Bench(memory, server) as bench:
        await until(lambda: bench.listener.downs)
        wait_s = bench.pace.reserve(asyncio.get_running_loop().time() * 1e9) / 1e9
        assert 25 < wait_s <= 30
        assert bench.metrics.http_429.value == server.refused == 1
        assert bench.listener.banned == ([30.0] if status == 418 else [])


async def test_a_certificate_that_nobody_signed_is_refused_and_named(memory, tls):
    async with Bench(memory, MarketServer(tls)) as bench:
        await until(lambda: bench.listener.downs)
        assert "TLS" in bench.listener.downs[0]
        assert bench.listener.ups == 0
