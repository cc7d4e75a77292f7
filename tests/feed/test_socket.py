"""The market WebSocket against real servers on loopback."""

import asyncio
import base64
import gc
import hashlib
import os
import socket
import ssl
import struct
import subprocess
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from hive.feed.socket import BYTES_PER_TURN, LARGEST_MESSAGE, SocketError, connect

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


# --- text, pings and pongs


async def test_text_goes_out_masked_and_comes_in_whole():
    async def echo(peer):
        while True:
            kind, payload = await peer.hear()
            await peer.send(frame(kind, payload))

    client = Client()
    texts = ["one", "zwölf", "", "x" * 125, "y" * 126, "z" * 65_535, "a" * 65_536, "b" * 300_000]
    async with server(echo) as port:
        ws = await client.connect(port)
        for text in texts:
            ws.send(text)
        await until(lambda: len(client.messages) == len(texts))
        ws.close()
    assert [message.decode() for message in client.messages] == texts


async def test_a_binary_message_is_a_message():
    client = await received(lambda peer: peer.send(frame(BINARY, b"{}"), frame(CLOSE)))
    assert client.messages == [b"{}"]


async def test_a_ping_of_the_venue_is_answered_with_its_payload():
    heard = []

    async def script(peer):
        await peer.send(frame(PING, b"1770"))
        heard.append(await peer.hear())

    client = await received(script)
    assert heard == [(PONG, b"1770")]
    assert client.messages == []


async def test_a_venue_that_speaks_first_is_heard():
    async def script(peer):
        await peer.upgrade()
        await peer.send(frame(TEXT, b"welcome"))
        await forever(peer)

    client = Client()
    async with server(script, upgrade=False) as port:
        ws = await client.connect(port)
        await until(lambda: client.messages)
        ws.close()
    assert client.messages == [b"welcome"]


async def test_a_ping_goes_out_and_its_pong_is_told():
    async def script(peer):
        kind, payload = await peer.hear()
        assert kind == PING
        await peer.send(frame(PONG, payload))
        await forever(peer)

    client = Client()
    async with server(script) as port:
        ws = await client.connect(port)
        ws.ping(b"17")
        await until(lambda: client.pongs)
        ws.close()
    assert client.pongs == [b"17"]


# --- fragments and limits


async def test_fragments_are_joined_with_pings_and_pongs_between_them():
    frames = [
        frame(TEXT, b'{"a"', final=False),
        frame(PING, b"p"),
        frame(CONTINUATION, b":", final=False),
        frame(PONG, b"q"),
        frame(CONTINUATION, b"1}"),
        frame(TEXT, b"next"),
        frame(CLOSE),
    ]
    client = await received(lambda peer: peer.send(*frames))
    assert client.messages == [b'{"a":1}', b"next"]
    assert client.pongs == [b"q"]


async def test_a_message_that_comes_byte_by_byte_is_whole():
    async def script(peer):
        for byte in frame(TEXT, b"slowly") + frame(CLOSE):
            await peer.send(bytes([byte]))
            await asyncio.sleep(0.001)

    assert (await received(script)).messages == [b"slowly"]


async def test_the_largest_message_is_taken_and_a_larger_one_ends_the_connection():
    client = await received(sending(frame(TEXT, b"x" * LARGEST_MESSAGE), frame(TEXT, b"y" * (17 << 20))))
    assert [len(message) for message in client.messages] == [LARGEST_MESSAGE]
    assert "exceeding max allowed size" in client.closed[0]


async def test_fragments_that_are_too_much_together_end_the_connection():
    part = b"x" * (6 << 20)
    frames = [frame(TEXT, part, final=False), *2 * [frame(CONTINUATION, part, final=False)]]
    client = await received(sending(*frames))
    assert client.messages == []
    assert client.closed == [f"given up: code 1009 a message must be at most {LARGEST_MESSAGE} bytes"]


@pytest.mark.parametrize(
    "frames",
    [
        [frame(CONTINUATION, b"x")],
        [frame(TEXT, b"x", final=False), frame(TEXT, b"y")],
        [frame(TEXT, b"x", reserved=0x40)],
        [frame(BINARY, b"x", reserved=0x20)],
        [frame(3, b"x")],
        [frame(PING, b"x", final=False)],
        [frame(PING, b"x" * 126)],
        [b"\x81\x85\x00\x00\x00\x00hello"],
        [b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff"],
        [frame(CLOSE, b"\x03")],
        [frame(CLOSE, struct.pack("!H", 1005) + b"x")],
    ],
    ids=["no start", "no end", "compressed", "reserved", "unknown", "split ping", "long ping", "masked", "huge",
         "short close", "forbidden close"],
)  # fmt: skip
async def test_a_frame_that_breaks_the_protocol_ends_the_connection(frames):
    client = await received(sending(*frames))
    assert client.messages == []
    assert len(client.closed) == 1
    assert client.closed[0].startswith("given up: ")


async def test_a_burst_is_handled_in_order_and_lets_the_loop_turn():
    count = 4_000
    body = b"x" * 1_000
    frames = [frame(TEXT, b"%06d" % number + body) for number in range(count)]
    frames.insert(count - 5, frame(PONG, b"late"))
    turns = []

    async def turning():
        while True:
            turns.append(len(client.order))
            await asyncio.sleep(0)

    async def script(peer):
        await peer.send(*frames)
        sent.set()
        await forever(peer)

    client = Client()
    sent = asyncio.Event()
    async with server(script) as port:
        ws = await client.connect(port)
        task = asyncio.create_task(turning())
        await until(lambda: len(client.messages) == count)
        task.cancel()
        ws.close()
    numbers = [item if item == b"late" else int(item[:6]) for item in client.order]
    assert numbers == [*range(count - 5), b"late", *range(count - 5, count)]
    most = max(after - before for before, after in pairwise(turns))
    assert most <= 2 * BYTES_PER_TURN // 1_000 + 2


async def test_all_messages_of_a_read_carry_the_time_at_which_the_loop_woke():
    ticks = iter(range(1_000_000))
    client = Client()
    async with server(sending(*[frame(TEXT, b"x") for _ in range(50)])) as port:
        ws = await client.connect(port, woke_ns=lambda: next(ticks))
        await until(lambda: len(client.messages) == 50)
        ws.close()
    assert client.read == sorted(client.read)
    assert len(set(client.read)) < 25


# --- the end


async def test_the_venues_reason_for_closing_is_told_once():
    heard = []

    async def script(peer):
        await peer.send(frame(CLOSE, struct.pack("!H", 1001) + b"maintenance"))
        heard.append((await peer.hear())[0])

    client = await received(script)
    assert client.closed == ["closed by the venue: code 1001 maintenance"]
    assert heard == [CLOSE]


async def test_a_venue_that_vanishes_is_told_once():
    async def script(peer):
        await peer.send(frame(TEXT, b"last"))

    client = await received(script)
    assert client.messages == [b"last"]
    assert client.closed == ["lost without a goodbye"]


async def test_nothing_is_told_after_close():
    async def script(peer):
        while True:
            await peer.send(frame(TEXT, b"more"))
            await asyncio.sleep(0)

    client = Client()
    async with server(script) as port:
        ws = await client.connect(port)
        await until(lambda: client.messages)
        ws.close()
        ws.close()
        count = len(client.messages)
        ws.send("dropped")
        ws.ping(b"dropped")
        await asyncio.sleep(0.05)
    assert len(client.messages) == count
    assert client.closed == []


async def test_close_from_within_a_message_is_the_last_word():
    async def script(peer):
        await peer.hear()
        await peer.send(*[frame(TEXT, b"%d" % number) for number in range(100)])
        await forever(peer)

    client = Client()
    async with server(script) as port:

        def on_message(data, read_ns):
            client.messages.append(data)
            if data == b"3":
                ws.close()

        ws = await connect(f"ws://127.0.0.1:{port}/", on_message, client.closed.append)
        ws.send("go")
        await until(lambda: len(client.messages) >= 4)
        await asyncio.sleep(0.02)
    assert client.messages == [b"0", b"1", b"2", b"3"]
    assert client.closed == []


@pytest.mark.parametrize("ahead", [0, 2 * BYTES_PER_TURN])
async def test_a_handler_that_fails_ends_the_connection_and_is_not_hidden(ahead):
    failures, closed = [], []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context["exception"]))

    def on_message(data, read_ns):
        if data == b"bad":
            raise RuntimeError("of the handler")

    async with server(sending(frame(TEXT, b"x" * ahead), frame(TEXT, b"bad"), frame(TEXT, b"x"))) as port:
        await connect(f"ws://127.0.0.1:{port}/", on_message, closed.append)
        await until(lambda: closed)
    assert [str(failure) for failure in failures] == ["of the handler"]
    assert len(closed) == 1


# --- openings that fail


async def test_a_refused_upgrade_names_the_http_status_and_how_long_to_wait():
    async def script(peer):
        await peer.upgrade("429 Too Many Requests", "Retry-After: 17\r\n")

    async with server(script, upgrade=False) as port:
        with pytest.raises(SocketError, match="HTTP 429") as caught:
            await Client().connect(port)
    assert (caught.value.stage, caught.value.status, caught.value.retry_after_s) == ("http", 429, 17.0)


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 101 OK\r\n\r\n", b"HTTP/1.1 302 X\r\nLocation: ws://x/\r\n\r\n"]
)
async def test_an_answer_that_is_no_upgrade_is_refused(answer):
    async def script(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(answer)

    async with server(script, upgrade=False) as port:
        with pytest.raises(SocketError) as caught:
            await Client().connect(port)
    assert caught.value.stage == "http"


async def test_a_port_that_nobody_listens_on_is_a_tcp_failure():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(SocketError) as caught:
            await Client().connect(taken.getsockname()[1])
    assert caught.value.stage == "tcp"


async def test_a_name_that_does_not_exist_is_a_dns_failure():
    with pytest.raises(SocketError) as caught:
        await Client().connect(1, host="nowhere.invalid")
    assert caught.value.stage == "dns"


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "127.0.0.1", "ws://", "ws://127.0.0.1:x/"])
async def test_what_is_no_websocket_address_is_refused(url):
    with pytest.raises(SocketError) as caught:
        await connect(url, print, print)
    assert caught.value.stage == "url"


async def test_a_venue_that_does_not_answer_is_given_up_and_its_socket_closed():
    seen = []

    async def script(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        seen.append(await peer.reader.read())

    async with server(script, upgrade=False) as port:
        with pytest.raises(TimeoutError, match=r"not connected within 0\.05 s"):
            await Client().connect(port, within_s=0.05)
        await until(lambda: seen)
    assert seen == [b""]


async def test_a_cancelled_opening_leaves_nothing_open():
    seen = []

    async def script(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        seen.append(b"request")
        seen.append(await peer.reader.read())

    async with server(script, upgrade=False) as port:
        opening = asyncio.create_task(Client().connect(port))
        await until(lambda: seen)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        await until(lambda: len(seen) == 2)
    assert opening.cancelled()


# --- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate of "localhost": the server's context and the file."""
    folder = tmp_path_factory.mktemp("tls")
    key, file = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", file]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    return context, file


async def test_messages_come_through_tls(certificate):
    context, file = certificate
    payload = os.urandom(3_000_000)
    client = Client()

    async def script(peer):
        heard = await peer.hear()
        await peer.send(frame(BINARY, payload), frame(TEXT, heard[1]))
        await forever(peer)

    async with server(script, tls=context) as port:
        ws = await client.connect(port, "wss", "localhost", ssl=ssl.create_default_context(cafile=file))
        ws.send("hello")
        await until(lambda: len(client.messages) == 2)
        ws.close()
    assert client.messages == [payload, b"hello"]


async def test_a_certificate_that_nobody_signed_is_a_tls_failure(certificate):
    async with server(forever, tls=certificate[0]) as port:
        with pytest.raises(SocketError, match="CERTIFICATE_VERIFY_FAILED") as caught:
            await Client().connect(port, "wss", "localhost")
    assert caught.value.stage == "tls"


async def test_a_certificate_of_another_host_is_a_tls_failure(certificate):
    context = ssl.create_default_context(cafile=certificate[1])
    async with server(forever, tls=certificate[0]) as port:
        with pytest.raises(SocketError) as caught:
            await Client().connect(port, "wss", "127.0.0.1", ssl=context)
    assert caught.value.stage == "tls"


async def test_a_server_without_tls_is_a_tls_failure():
    async def script(peer):
        await peer.reader.read(1)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with server(script, upgrade=False) as port:
        with pytest.raises(SocketError) as caught:
            await Client().connect(port, "wss")
    assert caught.value.stage == "tls"


async def test_no_connection_leaves_a_reference_cycle_with_its_socket():
    client = Client()
    async with server(sending(frame(TEXT, b"x"))) as port:
        for _ in range(3):
            ws = await client.connect(port)
            ws.close()
        del ws
        await asyncio.sleep(0.05)
    gc.collect()
    assert not [one for one in gc.get_objects() if type(one).__name__ == "MarketSocket"]
