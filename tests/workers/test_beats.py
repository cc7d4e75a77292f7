"""The loop's beats: wherever it waits, and nowhere else."""

import asyncio
import signal
import socket
import time
from decimal import Decimal

import pytest

from hive.shm.atomics import boottime_ns
from hive.shm.book import HALTED, LIVE, BookDirectory, BookTable, books_size
from hive.shm.instruments import InstrumentRules
from hive.shm.segment import Segment, segment_name
from hive.workers.beats import LOOK, QUIET, READABLE, Beats
from hive.workers.clock import CallbackCounter
from hive.workers.loop import new_loop
from hive.workers.own_memory import JUMP, OwnMemory

MS = 1_000_000
RULES = InstrumentRules("BTC-USDT", "BTCUSDT", "BTC", "USDT", *[Decimal(1)] * 5)


@pytest.fixture
def ends():
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture
def lag(counters):
    return counters.histogram("loop_lag_ns")


def waited(beats, fd, timeout, seconds):
    """Wait again and again; return what wait() returned."""
    found = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found.append(beats.wait(fd, timeout))
    return found


def test_a_loop_that_waits_beats_and_has_somebody_look_now_and_then(counters, lag, ends):
    begun = time.monotonic_ns()
    beats = Beats(counters, lag, every_ns=5 * MS, look_ns=50 * MS)
    for look in range(1, 4):
        assert beats.wait(ends[0].fileno(), None) == LOOK
        assert time.monotonic_ns() - begun >= look * 47 * MS  # a beat may come half of one too early for a look
    assert 3 <= beats.count <= (beats.last_ns - begun) // (2 * MS)  # each within 3 ms of its time at the earliest
    assert lag.read().count == beats.count
    assert begun < beats.last_ns <= time.monotonic_ns()


def test_how_long_it_is_to_the_next_look_may_be_changed(counters, lag, ends):
    beats = Beats(counters, lag, every_ns=MS, look_ns=60_000 * MS)
    assert beats.wait(ends[0].fileno(), 0.01) == QUIET
    beats.look_ns = 20 * MS
    assert beats.wait(ends[0].fileno(), None) == LOOK


def test_memory_that_jumps_is_looked_at_and_nothing_else_of_it(counters, lag, ends):
    memory = OwnMemory()
    memory.read()
    beats = Beats(counters, lag, every_ns=5 * MS, look_ns=60_000 * MS, memory=memory)
    assert beats.wait(ends[0].fileno(), 0.25) == QUIET
    kept = bytearray(b"x") * (4 * JUMP)
    assert beats.wait(ends[0].fileno(), None) == LOOK
    memory.read()
    assert beats.wait(ends[0].fileno(), 0.25) == QUIET
    del kept
    memory.close()


def test_a_loop_that_does_not_wait_does_not_beat_and_the_next_beat_tells_how_late_it_is(counters, lag, ends):
    beats = Beats(counters, lag, every_ns=5 * MS, look_ns=60_000 * MS)
    beats.wait(ends[0].fileno(), 0)
    before = beats.last_ns
    time.sleep(0.05)
    assert (beats.last_ns, beats.count) == (before, 1)
    beats.wait(ends[0].fileno(), 0)
    assert beats.count == 2
    assert lag.read().max >= 45 * MS


@pytest.mark.parametrize(("timeout", "expected"), [(0, READABLE), (-1, READABLE), (0.0003, QUIET), (0.012, QUIET)])
def test_it_waits_as_long_as_it_is_asked_to_whatever_it_beats_meanwhile(counters, lag, ends, timeout, expected):
    beats = Beats(counters, lag, every_ns=5 * MS, look_ns=60_000 * MS)
    begun = time.monotonic()
    assert beats.wait(ends[0].fileno(), timeout) == expected
    assert time.monotonic() - begun >= timeout


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_it_returns_at_once_when_there_is_something_to_read(counters, lag, ends, timeout):
    beats = Beats(counters, lag, every_ns=60_000 * MS, look_ns=60_000 * MS)
    ends[1].send(b"x")
    assert beats.wait(ends[0].fileno(), timeout) == READABLE


def test_who_asks_is_looked_for_with_the_next_beat(counters, lag, ends):
    beats = Beats(counters, lag, every_ns=5 * MS, look_ns=60_000 * MS)
    beats.wait(ends[0].fileno(), 0)
    beats.ask()
    assert beats.wait(ends[0].fileno(), None) == LOOK
    assert beats.count == 2


def test_the_alarm_comes_only_when_it_has_not_beaten_for_so_long(counters, lag, ends):
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    try:
        beats = Beats(counters, lag, every_ns=MS, look_ns=10 * MS, limit_s=2.0, again_s=0.01)
        waited(beats, ends[0].fileno(), 0.001, 0.05)
        left, again = signal.getitimer(signal.ITIMER_REAL)
        assert 0 < left <= 2.0
        assert again == pytest.approx(0.01, abs=0.001)
        assert rung == []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_books_that_change_their_state_and_feeds_that_are_silent_are_looked_at_with_the_next_beat(
    counters, lag, ends, run
):
    segment = Segment.create(segment_name(run, "books", 1), books_size(2, 5), kind="books", epoch=1)
    try:
        table = BookTable(segment, 2, 5)
        slot = table.add(RULES)
        table.set_state(slot, LIVE, 1)
        segment.beat(time.monotonic_ns())
        reader = BookDirectory(segment, 60_000 * MS).reader_of("BTC-USDT")
        assert reader.state_at(boottime_ns()) == LIVE
        beats = Beats(counters, lag, every_ns=MS, look_ns=60_000 * MS)
        beats.wait(ends[0].fileno(), 0)
        beats.watch([reader])
        table.set_state(slot, HALTED, 2)
        assert beats.wait(ends[0].fileno(), None) == LOOK
        assert beats.count == 2
        beats.watch([reader])
        assert beats.wait(ends[0].fileno(), 0.01) == QUIET  # nothing has changed
        count = beats.count
        reader.silent_after_ns = 1
        assert beats.wait(ends[0].fileno(), None) == LOOK
        assert beats.count == count + 1
        del reader, table
    finally:
        segment.unlink()


def test_beats_need_an_interval(counters, lag):
    with pytest.raises(ValueError, match="every_ns must be at least 1, was 0"):
        Beats(counters, lag, every_ns=0)


def test_a_loop_beats_while_it_sleeps_and_runs_its_looks_as_callbacks(counters, lag):
    callbacks = CallbackCounter()
    loop = new_loop(callbacks)
    looks = []
    beats = Beats(counters, lag, every_ns=MS, look_ns=5 * MS)
    enough = loop.create_future()

    def look():
        looks.append(beats.count)
        if len(looks) == 3:
            enough.set_result(None)

    async def main():
        loop._selector.beat(beats, lambda: loop.call_soon(look))
        await enough
        loop._selector.beat(None)

    loop.run_until_complete(main())
    count = beats.count
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    assert len(looks) == 3
    assert looks[-1] >= 3
    assert beats.count == count  # it beats no more
