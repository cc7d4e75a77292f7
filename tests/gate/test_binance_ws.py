"""A WebSocket API connection against a server on loopback: what becomes of requests, events and the connection."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web

from hive.gate.binance_ws import WsApi
from hive.gate.errors import NotSent, Unanswered
from hive.gate.server_time import ServerClock

ANSWER = {"status": 200, "result": {"n": 1}, "rateLimits": []}


class Server:
    """Answers by its script; without one it answers.

    "answer", "mute", "pieces", "event", "nonsense", "strange": what cannot be read, "lost", "bye"
    """

    def __init__(self) -> None:
        self.script: list[str] = []
        self.asked: list[dict] = []
        self.sockets: list[web.WebSocketResponse] = []
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/ws", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"ws://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/ws"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        self.sockets.append(ws)
        async for message in ws:
            asked = message.json()
            self.asked.append(asked)
            step = self.script.pop(0) if self.script else "answer"
            text = json.dumps({"id": asked["id"], **ANSWER})
            if step == "answer":
                await ws.send_str(text)
            elif step == "pieces":
                head, middle, tail = text[:9].encode(), text[9:20].encode(), text[20:].encode()
                for first, piece in ((0x01, head), (0x00, middle), (0x80, tail)):  # RFC 6455: of text; last: FIN
                    request.transport.write(bytes((first, len(piece))) + piece)
            elif step == "event":
                await ws.send_json({"subscriptionId": 0, "event": {"e": "told"}})
                await ws.send_str(text)
            elif step == "nonsense":
                for nonsense in ("{", text + "}", "", "words"):
                    await ws.send_str(nonsense)
                await ws.send_str(text)
            elif step == "spaced":
                await ws.send_str(f" {text}\n")
            elif step == "strange":
                await ws.send_json({"id": asked["id"], **ANSWER, "rateLimits": [{"limit": 1}]})
            elif step == "lost":
                request.transport.abort()
            elif step == "bye":
                await ws.close()
        return ws


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    await made.start()
    yield made
    await made.stop()


class Client:
    """A connection that is kept up, and what it told."""

    def __init__(self, server: Server) -> None:
        self.events: list[dict] = []
        self.downs = 0
        self.on_event: Callable[[dict], None] = self.events.append
        self.api = WsApi(
            server.url,
            ServerClock(),
            logging.getLogger("test"),
            self._free,
            on_down=self._down,
            on_event=lambda event: self.on_event(event),
        )
        self.running = asyncio.create_task(self.api.run())

    async def up(self) -> None:
        await until(lambda: self.api.up)

    async def _free(self) -> None:
        pass

    def _down(self) -> None:
        self.downs += 1


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    made = Client(server)
    await made.up()
    yield made
    made.running.cancel()
    await asyncio.gather(made.running, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_request_gets_its_own_answer(server: Server, client: Client):
    answers = await asyncio.gather(*(client.api.request("time", {"n": number}, 30.0) for number in range(3)))
    assert [answer.body for answer in answers] == [{"n": 1}] * 3
    assert [(one["id"], one["method"], one["params"]) for one in server.asked] == [
        (number + 1, "time", {"n": number}) for number in range(3)
    ]


async def test_a_request_is_written_when_write_returns(server: Server, client: Client):
    request = client.api.write("order.place", '{"symbol":"BTCUSDT"}')
    assert request.ready_ns <= request.sent_ns
    await until(lambda: server.asked)  # without anybody waiting for the answer
    assert (await client.api.answer(request, 30.0)).status == 200
    assert server.asked[0]["params"] == {"symbol": "BTCUSDT"}


async def test_a_message_that_comes_in_pieces_is_put_together(server: Server, client: Client):
    server.script = ["pieces"]
    assert (await client.api.request("time", {}, 30.0)).body == {"n": 1}


async def test_an_answer_may_have_space_around_it(server: Server, client: Client):
    server.script = ["spaced"]
    assert (await client.api.request("time", {}, 30.0)).body == {"n": 1}


async def test_events_are_told_and_what_is_no_json_is_passed_over(server: Server, client: Client):
    server.script = ["event", "nonsense"]
    for _ in range(2):
        assert (await client.api.request("time", {}, 30.0)).status == 200
    assert client.events == [{"e": "told"}]


async def test_an_answer_that_cannot_be_read_is_none_and_the_connection_goes_on(server: Server, client: Client):
    server.script = ["strange"]
    with pytest.raises(Unanswered, match="could not be read: KeyError"):
        await client.api.request("time", {}, 30.0)
    assert (await client.api.request("time", {}, 30.0)).status == 200
    assert client.api.connects == 1


@pytest.mark.parametrize("way", ["lost", "bye"])
async def test_a_request_whose_connection_ends_is_unanswered_and_the_next_one_has_a_new_connection(
    server: Server, client: Client, way: str
):
    server.script = [way]
    with pytest.raises(Unanswered, match="connection lost"):
        await client.api.request("time", {}, 30.0)
    await until(lambda: client.downs == 1)
    await client.up()
    assert (await client.api.request("time", {}, 30.0)).status == 200
    assert client.api.connects == 2


async def test_a_request_without_an_answer_in_time_is_unanswered_and_a_mute_connection_is_made_anew(
    server: Server, client: Client
):
    server.script = ["mute"]
    with pytest.raises(Unanswered, match="no answer to time within"):
        await client.api.request("time", {}, 0.05)
    await until(lambda: client.api.connects == 2)


async def test_a_request_with_less_time_than_those_before_it_does_not_wait_for_theirs(server: Server, client: Client):
    server.script = ["mute", "mute"]
    patient = asyncio.ensure_future(client.api.request("time", {}, 3600.0))
    await until(lambda: server.asked)
    with pytest.raises(Unanswered, match=r"no answer to time within 0\.05 s"):
        await client.api.request("time", {}, 0.05)
    with pytest.raises(Unanswered, match="connection lost"):
        await patient


async def test_requests_whose_time_is_over_one_after_the_other_are_given_up_one_after_the_other(
    server: Server, client: Client
):
    server.script = ["mute", "mute"]
    requests = [asyncio.ensure_future(client.api.request("time", {}, timeout_s)) for timeout_s in (2.0, 2.1)]
    await until(lambda: len(server.asked) == 2)
    await server.sockets[-1].send_json({"event": {"e": "told"}})  # so that the connection is not held for mute
    for request, timeout in zip(requests, ("2", r"2\.1"), strict=True):
        with pytest.raises(Unanswered, match=f"no answer to time within {timeout} s"):
            await request
    assert client.api.connects == 1


async def test_a_request_without_an_answer_leaves_a_connection_alone_that_says_something_else(
    server: Server, client: Client
):
    server.script = ["mute", "answer"]
    mute = asyncio.ensure_future(client.api.request("time", {}, 1.0))
    await until(lambda: server.asked)
    assert (await client.api.request("time", {}, 30.0)).status == 200
    with pytest.raises(Unanswered):
        await mute
    assert client.api.connects == 1


async def test_nothing_is_written_while_the_connection_is_down(server: Server, client: Client):
    client.api.drop()
    with pytest.raises(NotSent):
        client.api.write("order.place", "{}")
    await until(lambda: client.api.connects == 2)
    await client.up()
    assert server.asked == []


async def test_an_error_of_who_is_told_an_event_ends_the_run(server: Server, client: Client):
    def fail(event: dict) -> None:
        raise LookupError("a mistake")

    client.on_event = fail
    server.script = ["event"]
    request = asyncio.ensure_future(client.api.request("time", {}, 30.0))
    with pytest.raises(LookupError, match="a mistake"):
        await client.running
    await asyncio.gather(request, return_exceptions=True)
