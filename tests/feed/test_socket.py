"""The market WebSocket against a real server on loopback."""

import asyncio
import socket

import pytest
from aiohttp import WSMsgType, web

from hive.feed.socket import SocketError, connect


class Server:
    """A WebSocket server that runs `script(ws)` on each connection; "/no" refuses with 503."""

    def __init__(self, script):
        self.script = script
        self.port = 0
        self.heard = []

    async def __aenter__(self):
        app = web.Application()
        app.router.add_get("/", self._serve)
        app.router.add_get("/no", self._refuse)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        await self._runner.cleanup()

    async def _serve(self, request):
        ws = web.WebSocketResponse(autoping=False, max_msg_size=0)
        await ws.prepare(request)
        await self.script(self, ws)
        return ws

    async def _refuse(self, request):
        raise web.HTTPServiceUnavailable


class Client:
    """What the callbacks were given."""

    def __init__(self):
        self.messages = []
        self.read = []
        self.closed = []
        self.pongs = []

    def on_message(self, data, read_ns):
        self.messages.append(bytes(data))
        self.read.append(read_ns)

    async def connect(self, server, **options):
        url = f"ws://127.0.0.1:{server.port}/"
        return await connect(url, self.on_message, self.closed.append, on_pong=self.pongs.append, **options)


async def until(holds, seconds=10):
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.001)


async def echo(server, ws):
    async for message in ws:
        server.heard.append(message)
        if message.type is WSMsgType.TEXT:
            await ws.send_str(message.data)
        elif message.type is WSMsgType.PING:
            await ws.pong(message.data)


async def test_text_goes_out_and_comes_back_whole():
    client = Client()
    async with Server(echo) as server:
        ws = await client.connect(server)
        for text in ("one", "zwölf", "x" * 200_000):
            ws.send(text)
        await until(lambda: len(client.messages) == 3)
        ws.close()
    assert [message.decode() for message in client.messages] == ["one", "zwölf", "x" * 200_000]


async def test_a_ping_is_answered_by_its_pong():
    client = Client()
    async with Server(echo) as server:
        ws = await client.connect(server)
        ws.ping(b"17")
        await until(lambda: client.pongs)
        ws.close()
    assert client.pongs == [b"17"]


async def test_the_venues_reason_for_closing_is_told_once():
    async def script(server, ws):
        await ws.close(code=1001, message=b"maintenance")

    client = Client()
    async with Server(script) as server:
        ws = await client.connect(server)
        await until(lambda: client.closed)
        ws.close()
    assert client.closed == ["closed by the venue: code 1001 maintenance"]


async def test_nothing_is_told_after_close():
    client = Client()
    async with Server(echo) as server:
        ws = await client.connect(server)
        ws.send("late")
        ws.close()
        ws.close()
        await asyncio.sleep(0.05)
    assert (client.messages, client.closed) == ([], [])


async def test_a_refused_upgrade_names_the_http_status():
    client = Client()
    async with Server(echo) as server:
        with pytest.raises(SocketError, match="HTTP 503") as caught:
            await connect(f"ws://127.0.0.1:{server.port}/no", client.on_message, client.closed.append)
    assert (caught.value.stage, caught.value.status) == ("http", 503)


async def test_a_port_that_nobody_listens_on_is_a_tcp_failure():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(SocketError) as caught:
            await connect(f"ws://127.0.0.1:{taken.getsockname()[1]}/", print, print)
    assert caught.value.stage == "tcp"
