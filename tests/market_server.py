"""A small venue on loopback for the feed's tests: accepts market connections and does what the test tells it."""

import asyncio
import json
import ssl
import subprocess

from aiohttp import WSMsgType, web

DEADLINE_S = 10.0


def self_signed(folder):
    """Return the paths of a fresh certificate for localhost and 127.0.0.1 that nobody signed, and of its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        + ["-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    return certificate, key


def server_context(certificate, key):
    """Return what a TLS server needs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


async def until(condition, what="the condition"):
    """Wait until condition() is true; the deadline fails the test, it never decides a result."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"not within {DEADLINE_S:g} s: {what}") from None


class MarketServer:
    """Records requests and answers them unless told otherwise.

    requests: what was asked, in order; sockets: every connection ever made; streams: what each is subscribed to.
    answer: the text that a request is answered with, "" for none. pongs: whether pings are answered.
    refuse: an HTTP status to refuse upgrades with, and its headers.
    """

    def __init__(self, ssl=None):
        self.requests = []
        self.sockets = []
        self.streams = {}
        self.answer = '{{"result":null,"id":{id}}}'
        self.pongs = True
        self.pings = []
        self.refuse = None
        self.refused = 0
        self.url = ""
        self._ssl = ssl

    async def start(self):
        app = web.Application()
        app.router.add_get("/ws", self._accept)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._ssl)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        self.url = f"{'wss' if self._ssl else 'ws'}://127.0.0.1:{port}/ws"

    async def stop(self):
        await self._runner.cleanup()

    def open(self):
        """Return the connections that are open, the oldest first."""
        return [one for one in self.sockets if not one.closed]

    async def send(self, data, socket=None):
        """Send an object or a text on a connection, the newest if none is named."""
        text = data if isinstance(data, str) else json.dumps(data)
        await (socket or self.sockets[-1]).send_str(text)

    async def _accept(self, request):
        if self.refuse is not None:
            self.refused += 1
            status, headers = self.refuse
            return web.Response(status=status, headers=headers)
        ws = web.WebSocketResponse(autoping=False)
        await ws.prepare(request)
        self.sockets.append(ws)
        self.streams[ws] = set()
        async for message in ws:
            if message.type is WSMsgType.PING:
                self.pings.append(message.data)
                if self.pongs:
                    await ws.pong(message.data)
            elif message.type is WSMsgType.TEXT:
                await self._answer(ws, json.loads(message.data))
        return ws

    async def _answer(self, ws, asked):
        self.requests.append(asked)
        if asked["method"] == "SUBSCRIBE":
            self.streams[ws].update(asked["params"])
        else:
            self.streams[ws].difference_update(asked["params"])
        if self.answer:
            await ws.send_str(self.answer.format(id=asked["id"]))
