"""The feed's heart: it beats while it waits, and not when that would be late."""

import os
import select
import signal
import socket
import threading
import time
from contextlib import ExitStack
from itertools import product
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


@pytest.mark.parametrize(("ago_s", "beats"), [(0, False), (15, False), (25, True), (120, True)])
def test_one_that_is_awake_beats_from_a_quarter_of_the_time_on(segments, epoll, keys, ago_s, beats):
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
