"""When a task's data was read."""

import asyncio
import selectors
import socket
import time
from itertools import count

import pytest

from hive.feed.selector import FEWEST_NAPS_THAT_FOUND, MOST_WAKES_PER_S, NAP_S, WAKES_PER_LOOK, WakeupSelector


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


class Wakes:
    """A selector on a clock of its own, and a socket that is readable or not."""

    def __init__(self, between_ns):
        self.naps = []
        times = count(0, between_ns)
        self.selector = WakeupSelector(lambda: next(times), self.naps.append)
        self.ours, self.theirs = socket.socketpair()
        self.selector.register(self.ours, selectors.EVENT_READ)

    def wake(self, times, readable=True, timeout=1.0):
        if readable:
            self.theirs.send(b"x")
        for _ in range(times):
            assert bool(self.selector.select(timeout)) is readable
        if readable:
            self.ours.recv(1)

    def close(self):
        self.selector.close()
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def often():
    made = Wakes(1_000_000_000 // MOST_WAKES_PER_S - 1_000)
    yield made
    made.close()


def test_a_selector_that_wakes_up_too_often_naps_and_reads_what_came_meanwhile(often):
    often.wake(WAKES_PER_LOOK)
    assert often.selector.napping
    assert often.naps == []
    often.wake(3)
    assert often.naps == [NAP_S] * 3


def test_naps_end_when_they_gather_nothing_any_more(often):
    often.wake(WAKES_PER_LOOK)
    often.wake(WAKES_PER_LOOK)
    assert often.selector.napping
    often.wake(FEWEST_NAPS_THAT_FOUND - 1)
    often.wake(WAKES_PER_LOOK - FEWEST_NAPS_THAT_FOUND + 1, readable=False, timeout=2 * NAP_S)
    assert not often.selector.napping


def test_looks_without_waiting_neither_nap_nor_count(often):
    often.wake(WAKES_PER_LOOK)
    often.wake(3 * WAKES_PER_LOOK, timeout=0)
    assert often.selector.napping
    assert often.naps == []


def test_fewer_wakes_are_served_at_once():
    rarely = Wakes(1_000_000_000 // MOST_WAKES_PER_S + 1_000)
    rarely.wake(5 * WAKES_PER_LOOK)
    assert not rarely.selector.napping
    assert rarely.naps == []
    rarely.close()
