"""When a task's data was read."""

import asyncio
import socket
import time

from hive.feed.selector import WakeupSelector


async def read_once(selector):
    """Return (before the data was sent, when it was read by the selector's account, when the task had it)."""
    ours, theirs = socket.socketpair()
    with theirs:
        reader, writer = await asyncio.open_connection(sock=ours)
        waiting = asyncio.create_task(reader.read(100))
        await asyncio.sleep(0)
        sent_ns = time.monotonic_ns()
        theirs.send(b"data")

        async def receive():
            await waiting
            return selector.read_ns(), time.monotonic_ns()

        read_ns, had_ns = await receive()
        writer.close()
        await writer.wait_closed()
    return sent_ns, read_ns, had_ns


def test_data_was_read_after_it_was_sent_and_before_the_task_had_it():
    selector = WakeupSelector()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        for _ in range(100):
            sent_ns, read_ns, had_ns = runner.run(read_once(selector))
            assert sent_ns <= read_ns <= had_ns
