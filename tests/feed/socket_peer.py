"""The server's end of a market WebSocket, frame by frame, and a client that writes down what it hears."""

import asyncio
import base64
import hashlib
import struct
from contextlib import asynccontextmanager

from hive.feed.socket import connect

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame(kind, payload=b"", *, final=True, reserved=0):
    """Return an unmasked frame."""
    first = (0x80 if final else 0) | reserved | kind
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", first, size) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


class Peer:
    """The server's end of one connection, frame by frame."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    async def upgrade(self, status="101 Switching Protocols", extra=""):
        request = await self.reader.readuntil(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in request.decode().split("\r\n") if ": " in line)
        accept = base64.b64encode(hashlib.sha1(fields["Sec-WebSocket-Key"].encode() + ACCEPT).digest()).decode()
        head = f"HTTP/1.1 {status}\r\n{extra}Content-Length: 0\r\n\r\n"
        if status.startswith("101"):
            head = f"HTTP/1.1 {status}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            head += f"Sec-WebSocket-Accept: {accept}\r\n\r\n"
        self.writer.write(head.encode())

    async def send(self, *frames):
        self.writer.write(b"".join(frames))
        await self.writer.drain()

    async def hear(self):
        """Return the kind and payload of the client's next frame."""
        first, second = await self.reader.readexactly(2)
        assert second & 0x80, "a client's frame must be masked"
        size = second & 0x7F
        if size >= 126:
            wide = 2 if size == 126 else 8
            size = int.from_bytes(await self.reader.readexactly(wide), "big")
        mask = await self.reader.readexactly(4)
        payload = await self.reader.readexactly(size)
        return first & 0x0F, bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


@asynccontextmanager
async def server(script, *, upgrade=True, tls=None):
    """Run `script(peer)` for every connection; yields the port."""
    running = set()

    async def serve(reader, writer):
        running.add(asyncio.current_task())
        peer = Peer(reader, writer)
        try:
            if upgrade:
                await peer.upgrade()
            await script(peer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await listening.wait_closed()


class Client:
    """What the callbacks were given."""

    def __init__(self):
        self.messages = []
        self.read = []
        self.closed = []
        self.pongs = []
        self.order = []

    def on_message(self, data, read_ns):
        self.messages.append(bytes(data))
        self.read.append(read_ns)
        self.order.append(data)

    def on_pong(self, payload):
        self.pongs.append(payload)
        self.order.append(payload)

    async def connect(self, port, scheme="ws", host="127.0.0.1", **options):
        url = f"{scheme}://{host}:{port}/ws"
        return await connect(url, self.on_message, self.closed.append, on_pong=self.on_pong, **options)


async def until(holds, seconds=20):
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.001)


async def forever(peer):
    while True:
        await peer.hear()


def sending(*frames):
    async def script(peer):
        await peer.send(*frames)
        await forever(peer)

    return script


async def received(script):
    """Return a client that heard all of `script` until the connection was over."""
    client = Client()
    async with server(script) as port:
        ws = await client.connect(port)
        await until(lambda: client.closed)
        ws.close()
    return client
