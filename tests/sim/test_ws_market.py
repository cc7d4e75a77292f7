"""Market streams over real WebSockets."""

from __future__ import annotations

import contextlib
import json
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import ClientConnectionResetError

from sim.sim_process import Client, SimProcess


@pytest.fixture(scope="module")
def lively():
    """An exchange with a quick flow on a few pairs."""
    process = SimProcess("--seed", "3", "--rate", "600", "--active", "3", "--symbols", "5")
    yield process
    assert process.stop() == 0


@pytest.fixture
async def busy(lively: SimProcess):
    async with Client(lively.info) as client:
        await client.control("clear")
        yield client


async def subscribe(socket: Any, *streams: str, method: str = "SUBSCRIBE") -> list[dict[str, Any]]:
    """Send a request and return what came before its answer."""
    await socket.send_json({"method": method, "params": list(streams), "id": 77})
    before = []
    while (message := await socket.receive_json(timeout=10)).get("id") != 77:
        before.append(message)
    assert message == {"result": None, "id": 77}
    return before


async def collect(socket: Any, count: int, kind: str) -> list[dict[str, Any]]:
    """Return the next events of a kind."""
    events = []
    while len(events) < count:
        event = await socket.receive_json(timeout=10)
        if event.get("e") == kind:
            events.append(event)
    return events


class LocalBook:
    """A book kept as the venue's documentation tells."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self.last_id = snapshot["lastUpdateId"]
        self.sides = {"b": dict(map(tuple, snapshot["bids"])), "a": dict(map(tuple, snapshot["asks"]))}
        self.begun = False

    def apply(self, event: dict[str, Any]) -> None:
        """Apply a diff; an AssertionError means a gap."""
        if event["u"] <= self.last_id:
            assert not self.begun, f"went back: {event['u']} after {self.last_id}"
            return
        if self.begun:
            assert event["U"] == self.last_id + 1, f"gap: {event['U']} after {self.last_id}"
        else:
            assert event["U"] <= self.last_id + 1 <= event["u"]
            self.begun = True
        self.last_id = event["u"]
        for side in ("b", "a"):
            for price, quantity in event[side]:
                if float(quantity):
                    self.sides[side][price] = quantity
                else:
                    self.sides[side].pop(price, None)


@pytest.mark.parametrize(("stream", "symbol"), [("btcusdt@depth@100ms", "BTCUSDT"), ("ethusdt@depth", "ETHUSDT")])
async def test_diffs_over_a_snapshot_give_the_exchange_s_book(busy: Client, stream: str, symbol: str):
    async with busy.market() as socket:
        await subscribe(socket, stream)
        early = await collect(socket, 2, "depthUpdate")
        _, snapshot = await busy.get("depth", symbol=symbol, limit=5000)
        book = LocalBook(snapshot)
        for event in early:
            book.apply(event)
        for event in await collect(socket, 15 if "100ms" in stream else 3, "depthUpdate"):
            book.apply(event)
        await busy.control("fault", name="halt", symbol=symbol)
        _, final = await busy.get("depth", symbol=symbol, limit=5000)
        while book.last_id < final["lastUpdateId"]:
            book.apply((await collect(socket, 1, "depthUpdate"))[0])
        assert book.last_id == final["lastUpdateId"]
        assert book.sides["b"] == dict(map(tuple, final["bids"]))
        assert book.sides["a"] == dict(map(tuple, final["asks"]))


async def test_nothing_is_sent_when_nothing_changed(busy: Client):
    async with busy.market() as socket:
        await subscribe(socket, "xrpusdt@depth@100ms", "xrpusdt@trade", "btcusdt@depth@100ms")
        events = [await socket.receive_json(timeout=10) for _ in range(5)]
        assert {event["s"] for event in events} == {"BTCUSDT"}


async def test_trades_have_successive_ids_and_say_who_was_the_maker(busy: Client):
    async with busy.market() as socket:
        await subscribe(socket, "btcusdt@trade")
        trades = await collect(socket, 30, "trade")
        ids = [trade["t"] for trade in trades]
        assert ids == list(range(ids[0], ids[0] + 30))
        await busy.control("fault", name="halt", symbol="BTCUSDT")
        await busy.control("clear")
        bought = await busy.order(side="BUY", type="MARKET", quantity="0.001")
        mine = bought[1]["fills"][0]["tradeId"]
        while (trade := (await collect(socket, 1, "trade"))[0])["t"] < mine:
            pass
        assert (trade["t"], trade["m"]) == (mine, False)


async def test_aggregated_trades_cover_every_trade_once(busy: Client):
    async with busy.market() as socket:
        await subscribe(socket, "btcusdt@aggTrade")
        trades = await collect(socket, 10, "aggTrade")
        for before, after in pairwise(trades):
            assert after["a"] == before["a"] + 1
            assert after["f"] == before["l"] + 1


async def test_book_tickers_follow_the_top(busy: Client):
    async with busy.market() as socket:
        await subscribe(socket, "btcusdt@bookTicker")
        last = 0
        for _ in range(20):
            ticker = await socket.receive_json(timeout=10)
            assert float(ticker["b"]) < float(ticker["a"])
            assert ticker["u"] > last
            last = ticker["u"]


ROW = ["t", "o", "h", "l", "c", "v", "T", "q", "n", "V", "Q"]


async def test_closed_candles_are_the_rows_of_their_history(busy: Client):
    async with busy.market() as socket:
        await subscribe(socket, "btcusdt@kline_1s", "xrpusdt@kline_1s")
        closed: dict[str, list[dict[str, Any]]] = {"BTCUSDT": [], "XRPUSDT": []}
        before: dict[str, int] = {}
        while min(map(len, closed.values())) < 4:
            event = (await collect(socket, 1, "kline"))[0]
            kline = event["k"]
            assert kline["t"] + 999 == kline["T"]
            assert kline["t"] > before.get(event["s"], 0), "a candle went on after it was closed"
            if kline["x"]:
                assert event["E"] > kline["T"]
                before[event["s"]] = kline["t"]
                closed[event["s"]].append(kline)
        for symbol, klines in closed.items():
            first, last = klines[0]["t"], klines[-1]["t"]
            assert [kline["t"] for kline in klines] == list(range(first, last + 1, 1000))
            _, rows = await busy.get("klines", symbol=symbol, interval="1s", startTime=first, endTime=last)
            assert [[kline[key] for key in ROW] for kline in klines] == [row[:11] for row in rows]
        assert {kline["n"] for kline in closed["XRPUSDT"]} == {0}
        assert min(kline["n"] for kline in closed["BTCUSDT"]) > 0


async def test_klines_of_the_current_minute_are_sent(busy: Client):
    async with busy.market() as socket:
        await subscribe(socket, "btcusdt@kline_1m")
        kline = (await collect(socket, 1, "kline"))[0]["k"]
        assert kline["i"] == "1m"
        assert float(kline["l"]) <= float(kline["c"]) <= float(kline["h"])
        assert kline["n"] > 0


async def test_subscriptions_are_listed_and_ended(busy: Client):
    async with busy.market() as socket:
        await subscribe(socket, "btcusdt@depth", "btcusdt@aggTrade", "solusdt@bookTicker")
        await subscribe(socket, "btcusdt@aggTrade", "solusdt@bookTicker", method="UNSUBSCRIBE")
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": "list"})
        while (answer := await socket.receive_json(timeout=10)).get("id") != "list":
            pass
        assert answer == {"result": ["btcusdt@depth"], "id": "list"}


async def test_combined_streams_are_wrapped(busy: Client):
    url = busy.info["rest_url"].replace("http", "ws") + "/stream?streams=btcusdt@trade/ethusdt@depth@100ms"
    async with busy.session.ws_connect(url) as socket:
        seen = set()
        while len(seen) < 2:
            event = await socket.receive_json(timeout=10)
            assert set(event) == {"stream", "data"}
            assert event["stream"].split("@")[0] == event["data"]["s"].lower()
            seen.add(event["stream"])


async def test_a_stream_in_the_path_is_raw(busy: Client):
    async with busy.session.ws_connect(busy.info["ws_url"] + "/btcusdt@depth@100ms") as socket:
        assert (await socket.receive_json(timeout=10))["e"] == "depthUpdate"


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("{", 3, "Invalid JSON"),
        ("{}", 2, "Invalid request: missing field `method`"),
        ('{"method": "SING", "id": 1}', 2, "Invalid request: unknown variant `SING`, expected one of `SUBSCRIBE`"),
        (
            '{"method": "SUBSCRIBE", "params": ["x@depth"], "id": 1.5}',
            2,
            "Invalid request: request ID must be an unsigned integer",
        ),
        ('{"method": "GET_PROPERTY", "params": ["colour"], "id": 1}', 0, "Unknown property"),
        ('{"method": "SET_PROPERTY", "params": ["combined", 1], "id": 1}', 1, "Invalid value type: expected Boolean"),
    ],
)
async def test_a_bad_request_is_answered_with_an_error(busy: Client, text: str, code: int, message: str):
    async with busy.market() as socket:
        await socket.send_str(text)
        answer = await socket.receive_json(timeout=10)
        assert answer["error"]["code"] == code
        assert answer["error"]["msg"].startswith(message)


async def test_more_than_five_messages_a_second_end_the_connection(busy: Client):
    async with busy.market() as socket:
        # The exchange may have hung up before the last one.
        with contextlib.suppress(ClientConnectionResetError):
            for number in range(20):
                await socket.send_str(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
        answers = [message async for message in socket]
        assert len(answers) <= 12
        assert socket.closed


async def test_a_ping_is_answered_with_its_payload(busy: Client):
    async with busy.session.ws_connect(busy.info["ws_url"], autoping=False) as socket:
        await socket.ping(b"there?")
        answer = await socket.receive(timeout=10)
        assert (answer.type.name, bytes(answer.data)) == ("PONG", b"there?")
