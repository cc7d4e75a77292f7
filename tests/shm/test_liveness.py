"""Who is silent, who is dead and who only waits for a CPU: by scripted looks, and by real processes."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from hive.shm.atomics import boottime_ns, monotonic_ns
from hive.shm.liveness import GRACE_NS, ProcessLook, SegmentWriter, Verdict, WriterLiveness, look_at
from hive.shm.segment import Segment, process_start_ticks, segment_name, unlink

MS = 1_000_000
LIMIT_NS = 80 * MS
BEAT_NS = 10**12
START = 77
PATIENCE_S = 20.0


class Kernel:
    """What looks find; counts them."""

    def __init__(self, state="S", ran_ns=0):
        self.seen = ProcessLook(START, state, ran_ns)
        self.looks = 0

    def __call__(self, pid):
        self.looks += 1
        return self.seen

    def shows(self, state, ran_ns=0, start=START):
        self.seen = ProcessLook(start, state, ran_ns)


@pytest.fixture
def kernel():
    return Kernel()


@pytest.fixture
def liveness(kernel):
    return WriterLiveness(1, START, LIMIT_NS, look=kernel)


def test_a_young_heartbeat_needs_no_look(liveness, kernel):
    for age_ns in (0, 10 * MS, LIMIT_NS // 2):
        assert liveness.look(BEAT_NS, BEAT_NS + age_ns) is Verdict.ALIVE
    assert kernel.looks == 0


@pytest.mark.parametrize("state", ["S", "D", "R"])
def test_up_to_the_limit_only_a_stop_or_the_end_counts(liveness, kernel, state):
    kernel.shows(state)
    assert liveness.look(BEAT_NS, BEAT_NS + LIMIT_NS) is Verdict.ALIVE
    assert kernel.looks == 1


@pytest.mark.parametrize("state", ["S", "D"])
def test_a_process_that_sleeps_beyond_the_limit_is_silent(liveness, kernel, state):
    kernel.shows(state)
    assert liveness.look(BEAT_NS, BEAT_NS + LIMIT_NS + 1) is Verdict.SILENT


@pytest.mark.parametrize("state", ["T", "t"])
def test_a_stopped_process_is_silent_before_the_limit(liveness, kernel, state):
    kernel.shows(state)
    assert liveness.look(BEAT_NS, BEAT_NS + LIMIT_NS // 2 + 1) is Verdict.SILENT


def test_silent_is_silent_until_the_heartbeat_moves(liveness, kernel):
    kernel.shows("T")
    assert liveness.look(BEAT_NS, BEAT_NS + 50 * MS) is Verdict.SILENT
    kernel.shows("R")  # it goes on, and has not looked at what it missed
    assert liveness.look(BEAT_NS, BEAT_NS + 60 * MS) is Verdict.SILENT
    assert liveness.look(BEAT_NS + 61 * MS, BEAT_NS + 62 * MS) is Verdict.ALIVE
    assert liveness.look(BEAT_NS + 61 * MS, BEAT_NS + 140 * MS) is Verdict.ALIVE  # a new silence is judged anew


def test_a_process_that_waits_for_a_cpu_has_some_more_time(liveness, kernel):
    kernel.shows("R", ran_ns=5_000 * MS)
    for age_ns in (LIMIT_NS // 2 + 1, LIMIT_NS + 1, LIMIT_NS + GRACE_NS):
        assert liveness.look(BEAT_NS, BEAT_NS + age_ns) is Verdict.ALIVE
    assert liveness.look(BEAT_NS, BEAT_NS + LIMIT_NS + GRACE_NS + 1) is Verdict.SILENT


def test_a_process_that_computes_instead_of_beating_is_silent(liveness, kernel):
    kernel.shows("R", ran_ns=5_000 * MS)
    assert liveness.look(BEAT_NS, BEAT_NS + LIMIT_NS // 2 + 1) is Verdict.ALIVE
    kernel.shows("R", ran_ns=5_040 * MS)
    assert liveness.look(BEAT_NS, BEAT_NS + LIMIT_NS + 1) is Verdict.SILENT


@pytest.mark.parametrize("seen", [None, ProcessLook(START, "Z", 0), ProcessLook(START + 1, "S", 0)])
def test_gone_a_zombie_or_another_process_is_dead_for_good(liveness, kernel, seen):
    kernel.seen = seen
    assert liveness.look(BEAT_NS, BEAT_NS + 50 * MS) is Verdict.DEAD
    kernel.shows("S")
    assert liveness.look(BEAT_NS + 50 * MS, BEAT_NS + 51 * MS) is Verdict.DEAD


def test_after_a_suspend_of_the_machine_nothing_is_alive(liveness, kernel):
    kernel.shows("R")
    assert liveness.look(BEAT_NS, BEAT_NS + 3600 * 1000 * MS) is Verdict.SILENT


def test_who_never_beat_is_silent(liveness):
    assert liveness.look(0, 10 * LIMIT_NS) is Verdict.SILENT


def test_the_limit_must_be_above_zero():
    with pytest.raises(ValueError, match="silent_after_ns must be above 0, was 0"):
        WriterLiveness(1, START, 0)


BEATER = """
import sys, time
from hive.shm.atomics import monotonic_ns
from hive.shm.segment import Segment
segment = Segment.create(sys.argv[1], 4096, kind="test", epoch=1)
segment.beat(monotonic_ns())
print("up", flush=True)
while True:
    if sys.argv[2] == "beat":
        segment.beat(monotonic_ns())
        time.sleep(0.005)
    elif sys.argv[2] == "sleep":
        time.sleep(1)
"""


@pytest.fixture
def writer(run):
    """Start a writer that beats, computes or sleeps; returns (process, segment)."""
    started = []

    def start(way):
        name = segment_name(run, f"beats.{len(started)}", 1)
        process = subprocess.Popen([sys.executable, "-c", BEATER, name, way], stdout=subprocess.PIPE)
        started.append((process, name))
        assert process.stdout.readline() == b"up\n"
        return process, Segment.open(name)

    yield start
    for process, name in started:
        process.kill()
        process.wait()
        process.stdout.close()
        unlink(name)


def until(verdict, expected):
    deadline = time.monotonic() + PATIENCE_S
    while (found := verdict(boottime_ns())) is not expected:
        assert time.monotonic() < deadline, f"{found.name}, not {expected.name}"
        time.sleep(0.002)


def test_a_writer_that_is_stopped_is_silent_and_alive_again_when_it_beats(writer):
    process, segment = writer("beat")
    of = SegmentWriter(segment, LIMIT_NS)
    until(of.verdict, Verdict.ALIVE)
    process.send_signal(signal.SIGSTOP)
    until(of.verdict, Verdict.SILENT)
    process.send_signal(signal.SIGCONT)
    until(of.verdict, Verdict.ALIVE)


@pytest.mark.parametrize("way", ["sleep", "compute"])
def test_a_writer_that_hangs_is_silent(writer, way):
    _, segment = writer(way)
    until(SegmentWriter(segment, LIMIT_NS).verdict, Verdict.SILENT)


def test_a_writer_that_died_is_dead_even_before_it_is_waited_for(writer):
    process, segment = writer("beat")
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    until(SegmentWriter(segment, LIMIT_NS).verdict, Verdict.DEAD)


async def test_a_loop_that_watches_learns_of_the_end_whatever_the_heartbeat_says(writer):
    process, segment = writer("sleep")
    of = SegmentWriter(segment, 3600 * 1000 * MS)
    of.watch(asyncio.get_running_loop())
    assert of.verdict(boottime_ns()) is Verdict.ALIVE
    process.kill()
    async with asyncio.timeout(PATIENCE_S):
        while of.verdict(boottime_ns()) is Verdict.ALIVE:
            await asyncio.sleep(0.001)
    assert of.verdict(boottime_ns()) is Verdict.DEAD
    of.close()


async def test_a_writer_that_is_gone_when_the_watch_begins_is_dead(writer):
    process, segment = writer("beat")
    process.kill()
    process.wait()
    of = SegmentWriter(segment, 3600 * 1000 * MS)
    of.watch(asyncio.get_running_loop())
    assert of.verdict(boottime_ns()) is Verdict.DEAD


def test_the_kernel_is_read_as_it_shows_this_process():
    before = look_at(os.getpid())
    end_ns = monotonic_ns() + 60 * MS
    while monotonic_ns() < end_ns:
        pass
    after = look_at(os.getpid())
    assert before.start_ticks == after.start_ticks == process_start_ticks(os.getpid())
    assert after.state == "R"
    assert after.ran_ns > before.ran_ns
    assert look_at(1 << 22) is None
