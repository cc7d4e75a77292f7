"""The market WebSocket against real servers on loopback."""

import asyncio
import gc
import struct
from itertools import pairwise

import pytest

from feed.socket_peer import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Client,
    forever,
    frame,
    received,
    sending,
    server,
    until,
)
from hive.feed.socket import BYTES_PER_TURN, LARGEST_MESSAGE, connect

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
