"""The feed's heart: it beats while it waits, and not when that would be late."""

import asyncio
import os
import select
import signal
import socket
import threading
import time
from contextlib import ExitStack
from itertools import pairwise, product
from selectors import EVENT_READ, EVENT_WRITE, EpollSelector, SelectorKey

import pytest

from hive.feed.heart import LOOK, QUIET, READABLE, Heart
from hive.shm.atomics import boottime_ns
from hive.shm.segment import Segment, segment_name

MS = 1_000_000
EVERY_NS, LOOK_AFTER_NS = 10 * MS, 60_000 * MS
HOUR_NS = 3_600_000 * MS


@pytest.fixture
def segments():
    made = [
        Segment.create(segment_name(f"{os.getpid():08x}", f"heart{index}", 1), 4096, kind="books", epoch=1)
        for index in range(2)
    ]
    yield made
    for one in made:
        one.unlink()
        one.close()


@pytest.fixture
def heart(segments):
    made = Heart(every_ns=EVERY_NS, look_after_ns=LOOK_AFTER_NS)
    made.keep([one.memory() for one in segments])
    yield made
    made.keep(())


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for fd in ends:
        os.close(fd)


@pytest.fixture
def keys(pipe):
    return {pipe[0]: SelectorKey(pipe[0], pipe[0], EVENT_READ, "mine")}


@pytest.fixture
def epoll(pipe):
    with select.epoll() as made:
        made.register(pipe[0], select.EPOLLIN)
        yield made


def test_it_beats_for_every_segment_while_it_waits(heart, segments, pipe, epoll, keys):
    began_ns, began_boot_ns = time.monotonic_ns(), boottime_ns()
    assert heart.wait(epoll, 0.05, keys) == QUIET
    assert time.monotonic_ns() - began_ns >= 50 * MS
    for one in segments:
        assert began_ns + 2 * EVERY_NS <= one.heartbeat_ns == heart.last_ns
        assert began_boot_ns <= one.heartbeat_boot_ns == heart.last_boot_ns


def test_it_beats_while_it_waits_without_end(heart, segments, pipe, epoll, keys):
    beats = []

    def look():
        while len(beats) < 5:
            if segments[0].heartbeat_ns not in beats:
                beats.append(segments[0].heartbeat_ns)
        os.write(pipe[1], b"x")

    looking = threading.Thread(target=look)
    looking.start()
    assert heart.wait(epoll, None, keys) == READABLE
    looking.join()
    assert beats == sorted(beats)


def test_what_is_readable_is_said_at_once_and_a_look_without_waiting_too(heart, pipe, epoll, keys):
    assert (heart.wait(epoll, 0, keys), heart.ready) == (QUIET, [])
    os.write(pipe[1], b"x")
    assert (heart.wait(epoll, 60.0, keys), heart.ready) == (READABLE, [(keys[pipe[0]], EVENT_READ)])
    assert (heart.wait(epoll, 0, keys), heart.ready) == (READABLE, [(keys[pipe[0]], EVENT_READ)])
    os.read(pipe[0], 1)
    assert (heart.wait(epoll, 0.001, keys), heart.ready) == (QUIET, [])


def test_what_is_ready_comes_with_its_key_and_events_as_from_a_selector(heart):
    both = EVENT_READ | EVENT_WRITE
    with EpollSelector() as selector, ExitStack() as ends:
        for events, what in product((EVENT_READ, EVENT_WRITE, both), ("quiet", "sent", "closed")):
            ours, theirs = map(ends.enter_context, socket.socketpair())
            selector.register(ours, events, (events, what))
            if what == "sent":
                theirs.send(b"x")
            if what == "closed":
                theirs.close()
        expected = {key.data: events for key, events in selector.select(0)}
        assert heart.wait(selector._selector, 0, selector._fd_to_key) == READABLE
        assert {key.data: events for key, events in heart.ready} == expected
        assert set(expected.values()) == {EVENT_READ, EVENT_WRITE, both}


def test_a_descriptor_without_a_key_is_left_out(heart, pipe, epoll):
    os.write(pipe[1], b"x")
    assert (heart.wait(epoll, 60.0, {}), heart.ready) == (READABLE, [])


@pytest.mark.parametrize(("ago_s", "beats"), [(0, False), (25, False), (28, True), (120, True)])
def test_one_that_is_awake_beats_from_a_third_of_the_time_on(segments, epoll, keys, ago_s, beats):
    heart = Heart(every_ns=80_000 * MS, look_after_ns=LOOK_AFTER_NS * 10)
    heart.keep([one.memory() for one in segments])
    before_ns = time.monotonic_ns() - ago_s * 1000 * MS
    heart.beat(before_ns, boottime_ns() - ago_s * 1000 * MS)
    heart.wait(epoll, 0, keys)
    assert segments[0].heartbeat_ns == heart.last_ns
    assert (heart.last_ns > before_ns) is beats
    heart.keep(())


@pytest.mark.parametrize(("mono_ns", "boot_ns"), [(61_000 * MS, 61_000 * MS), (0, HOUR_NS), (61_000 * MS, 0)])
def test_a_late_beat_is_left_to_who_looks(heart, segments, pipe, epoll, keys, mono_ns, boot_ns):
    heart.beat(time.monotonic_ns() - EVERY_NS - mono_ns, boottime_ns() - EVERY_NS - boot_ns)
    before = heart.last_ns, heart.last_boot_ns
    assert heart.wait(epoll, 60.0, keys) == LOOK
    assert (heart.last_ns, heart.last_boot_ns) == before
    assert {(one.heartbeat_ns, one.heartbeat_boot_ns) for one in segments} == {before}
    heart.beat(time.monotonic_ns(), boottime_ns())
    assert heart.wait(epoll, 0, keys) == QUIET


def test_a_signal_that_tells_the_loop_ends_the_wait(heart, pipe, epoll, keys):
    before = signal.signal(signal.SIGUSR1, lambda *_: os.write(pipe[1], b"x"))  # as asyncio's wake-up descriptor
    timer = threading.Timer(0.02, signal.pthread_kill, (threading.get_ident(), signal.SIGUSR1))
    try:
        timer.start()
        assert heart.wait(epoll, 60.0, keys) == READABLE
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, before)


def test_only_what_is_kept_gets_the_beat(heart, segments, pipe, epoll):
    heart.keep(heart.memories[:1])
    heart.beat(time.monotonic_ns(), boottime_ns())
    assert (segments[0].heartbeat_ns, segments[1].heartbeat_ns) == (heart.last_ns, 0)


def test_a_segment_that_others_write_is_refused(heart, segments):
    reader = Segment.open(segments[0].name)
    try:
        with pytest.raises(ValueError, match="mapped read-only"):
            heart.keep([reader.memory()])
    finally:
        reader.close()


@pytest.mark.parametrize("every_ns", [0, -1, LOOK_AFTER_NS])
def test_beats_must_be_closer_than_what_is_late(every_ns):
    with pytest.raises(ValueError, match=f"every_ns must lie between 0 and look_after_ns = {LOOK_AFTER_NS}, was"):
        Heart(every_ns=every_ns, look_after_ns=LOOK_AFTER_NS)


class Turns(EpollSelector):
    """An asyncio selector that serves by `heart`, and counts how often the loop had a turn."""

    def __init__(self, heart):
        super().__init__()
        self.heart = heart
        self.loop = None
        self.turns = 0
        self.most = 1_000

    def select(self, timeout=None):
        self.turns += 1
        if self.loop is None or timeout == 0:
            return super().select(timeout)
        self.heart.serve(self._selector, timeout, self._fd_to_key, self.loop, self.most)
        return self.heart.ready


def turns(heart, scenario):
    """Run `await scenario(loop, selector, ours, theirs)` on a loop that the heart serves."""
    selector = Turns(heart)

    async def run():
        selector.loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            await scenario(selector.loop, selector, ours, theirs)
            selector.loop.remove_reader(ours)
        selector.loop = None

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        runner.run(run())


def test_readers_read_without_a_turn_of_the_loop_and_know_when_it_woke_up(heart, segments):
    async def scenario(loop, selector, ours, theirs):
        woke, done = [], asyncio.Event()

        def read():
            woke.append((time.monotonic_ns(), heart.woke_ns, selector.turns))
            if ours.recv(1) == b"z":
                done.set()
            else:
                theirs.send(b"z" if len(woke) == 5 else b"x")

        loop.add_reader(ours, read)
        sent_ns = time.monotonic_ns()
        theirs.send(b"x")
        await done.wait()
        assert len(woke) == heart.served == 6
        assert len({turn for _, _, turn in woke}) == 1
        assert sent_ns <= woke[0][1]
        assert all(one <= now for now, one, _ in woke)
        assert all(earlier[0] <= later[1] for earlier, later in pairwise(woke))
        assert segments[0].heartbeat_ns > 0

    turns(heart, scenario)


def test_callbacks_and_earlier_timers_of_a_reader_are_run_before_more_is_read(heart):
    async def scenario(loop, selector, ours, theirs):
        told, done = [], asyncio.Event()

        def read():
            what = ours.recv(1)
            told.append(what)
            if what == b"a":
                loop.call_soon(told.append, "soon")
            elif what == b"b":
                loop.call_later(0.0001, told.append, "later")
            else:
                done.set()

        async def feed():
            for what in (b"a", b"b"):
                theirs.send(what)
                while len(told) < 2 or (what == b"b" and "later" not in told):
                    await asyncio.sleep(0.001)
            theirs.send(b"c")

        loop.call_later(3600, told.append, "never")
        loop.add_reader(ours, read)
        feeding = loop.create_task(feed())
        async with asyncio.timeout(60):
            await done.wait()
        await feeding
        assert told == [b"a", "soon", b"b", "later", b"c"]

    turns(heart, scenario)


def test_a_timer_comes_though_there_is_always_something_to_read(heart):
    async def scenario(loop, selector, ours, theirs):
        loop.add_reader(ours, lambda: None)  # never reads, so it is readable for ever
        theirs.send(b"x")
        selector.most = 1 << 40
        await asyncio.sleep(0.01)
        assert heart.served > 1
        selector.most = 5
        await asyncio.sleep(0.01)
        assert heart.served <= 5

    turns(heart, scenario)


def test_a_reader_that_one_before_it_removed_is_not_run(heart):
    async def scenario(loop, selector, ours, theirs):
        ran = []

        def read(mine, other):
            ran.append(mine)
            loop.remove_reader(other)
            mine.recv(1)

        loop.add_reader(ours, read, ours, theirs)
        loop.add_reader(theirs, read, theirs, ours)
        ours.send(b"x")
        theirs.send(b"x")
        theirs.setblocking(False)
        await asyncio.sleep(0.02)
        assert len(ran) == 1
        loop.remove_reader(theirs)

    turns(heart, scenario)


def test_a_reader_that_fails_is_reported_as_ever_and_what_can_be_written_is_left_to_the_loop(heart):
    async def scenario(loop, selector, ours, theirs):
        failures, wrote = [], asyncio.Event()
        loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))

        def read():
            ours.recv(1)
            raise ValueError("a reader failed")

        def write():
            loop.remove_writer(theirs)
            wrote.set()

        loop.add_reader(ours, read)
        theirs.send(b"x")
        await asyncio.sleep(0.02)
        assert [str(one) for one in failures] == ["a reader failed"]
        loop.add_writer(theirs, write)
        async with asyncio.timeout(60):
            await wrote.wait()

    turns(heart, scenario)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_reader_that_ends_the_process_ends_the_loop(heart, error):
    async def scenario(loop, selector, ours, theirs):
        def read():
            raise error

        loop.add_reader(ours, read)
        theirs.send(b"x")
        await asyncio.sleep(60)

    with pytest.raises(error):
        turns(heart, scenario)
