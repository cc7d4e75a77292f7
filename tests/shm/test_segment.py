"""Segments: created once, checked when opened, judged by their creator."""

import os
import re
import resource
import signal

import pytest

import forks
from hive.shm.atomics import monotonic_ns
from hive.shm.errors import LayoutMismatch, SegmentExists, SegmentMissing, ShmFull
from hive.shm.layout import MAGIC
from hive.shm.segment import (
    SHM_DIR,
    Segment,
    free_bytes,
    list_segments,
    process_start_ticks,
    segment_name,
    sweep,
)


def test_a_reader_sees_what_the_creator_wrote_and_cannot_write(create):
    made = create("x", 8192, kind="books")
    made.buffer[made.payload_offset : made.payload_offset + 5] = b"hello"
    seen = Segment.open(made.name, kind="books")
    assert bytes(seen.buffer[seen.payload_offset : seen.payload_offset + 5]) == b"hello"
    assert (seen.size, seen.epoch, seen.kind) == (8192, 1, "books")
    assert (seen.creator_pid, seen.creator_start) == (os.getpid(), process_start_ticks(os.getpid()))
    assert seen.payload_offset % 64 == 0
    with pytest.raises(TypeError):
        seen.buffer[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        seen.beat(1)
    seen.close()


def test_the_heartbeat_crosses(create):
    made = create("x", 8192)
    seen = Segment.open(made.name)
    assert seen.heartbeat_ns == 0
    now_ns = monotonic_ns()
    made.beat(now_ns)
    assert seen.heartbeat_ns == now_ns
    seen.close()


def test_a_name_is_taken_only_once_and_by_this_user_only(create):
    made = create("x", 8192)
    with pytest.raises(SegmentExists, match=re.escape(made.name)):
        Segment.create(made.name, 8192, kind="test", epoch=1)
    assert os.stat(f"{SHM_DIR}{made.name}").st_mode & 0o777 == 0o600


def test_all_bytes_are_really_allocated(create):
    made = create("x", 1 << 20)
    assert os.stat(f"{SHM_DIR}{made.name}").st_blocks * 512 >= 1 << 20


def test_more_than_dev_shm_has_free_is_an_error_and_leaves_nothing(run):
    name = segment_name(run, "huge", 1)
    with pytest.raises(ShmFull, match=f"{name} needs [0-9]+ bytes, /dev/shm has [0-9]+ free"):
        Segment.create(name, free_bytes() + (1 << 30), kind="test", epoch=1)
    assert list_segments(run) == []


def test_the_kernels_refusal_to_allocate_is_the_same_error(run):
    def create_beyond_the_limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
        with pytest.raises(ShmFull):
            Segment.create(segment_name(run, "large", 1), 1 << 20, kind="test", epoch=1)

    with forks.Forked(create_beyond_the_limit) as child:
        assert child.wait(10) == 0
    assert list_segments(run) == []


def test_a_missing_segment_is_missing(run):
    with pytest.raises(SegmentMissing, match="does not exist"):
        Segment.open(segment_name(run, "none", 1))


def test_a_segment_without_its_magic_is_not_published_yet(create):
    made = create("x", 8192)
    made.memory().store(0, 0)
    with pytest.raises(SegmentMissing, match="not published yet"):
        Segment.open(made.name)
    made.memory().store(0, MAGIC)
    Segment.open(made.name).close()


def test_another_kind_is_refused(create):
    with pytest.raises(LayoutMismatch, match="must be of kind 'books', was 'trades'"):
        Segment.open(create("x", 8192, kind="trades").name, kind="books")


def test_a_truncated_segment_is_refused(create):
    made = create("x", 8192)
    os.truncate(f"{SHM_DIR}{made.name}", 4096)
    with pytest.raises(LayoutMismatch, match="must have the 8192 bytes of its header, was 4096"):
        Segment.open(made.name)


def test_what_points_into_a_closed_segment_keeps_it_mapped(create):
    made = create("x", 8192)
    memory = made.memory()
    made.close()
    made.close()
    memory.store(1024, 7)
    assert memory.load(1024) == 7


def test_memory_refuses_what_lies_outside_or_askew(create):
    memory = create("x", 8192).memory()
    for offset in (-8, 8192, 8188, 3):
        with pytest.raises(ValueError, match="offset must"):
            memory.load(offset)


def test_names_that_would_mislead_are_refused():
    for run, name in (("", "x"), ("a", ""), ("a/b", "x"), ("a", "b c"), ("a.b", "x")):
        with pytest.raises(ValueError, match="must"):
            segment_name(run, name, 1)
    assert segment_name("0123abcd", "books.binance", 2) == "/hive.0123abcd.books.binance.2"


def test_a_listing_tells_runs_apart(create, run):
    made = create("books.binance", 8192, kind="books")
    (info,) = list_segments(run)
    assert (info.name, info.run, info.kind, info.size, info.alive) == (made.name, run, "books", 8192, True)
    assert info.creator_pid == os.getpid()
    assert info in list_segments()
    assert list_segments("ffffffff") == []


@pytest.mark.alone  # any fleet that starts sweeps what dead processes left
def test_sweep_leaves_the_living_and_takes_the_dead(create, run):
    mine = create("mine", 8192)
    orphans = [segment_name(run, f"orphan{i}", 1) for i in range(3)]

    def die_with_segments():
        for name in orphans:
            Segment.create(name, 8192, kind="test", epoch=1)

    with forks.Forked(die_with_segments) as child:
        assert child.wait(10) == 0
    assert [info.alive for info in list_segments(run)] == [True, False, False, False]
    assert sweep("00000000") == []
    assert sweep(run) == orphans
    assert [info.name for info in list_segments(run)] == [mine.name]


@pytest.mark.alone  # any fleet that starts sweeps what dead processes left
def test_what_the_dead_of_a_living_run_left_is_left_to_it(create, run):
    mine = create("mine", 8192)
    orphan = segment_name(run, "orphan", 1)
    with forks.Forked(lambda: Segment.create(orphan, 8192, kind="test", epoch=1)) as child:
        assert child.wait(10) == 0
    assert orphan not in sweep()
    assert [info.name for info in list_segments(run)] == [mine.name, orphan]
    mine.unlink()
    assert orphan in sweep()


@pytest.mark.alone  # any fleet that starts sweeps what dead processes left
def test_a_creator_that_is_a_zombie_is_dead(run):
    name = segment_name(run, "x", 1)
    with forks.Forked(lambda: Segment.create(name, 8192, kind="test", epoch=1)) as child:
        assert child.ended(10)
        assert process_start_ticks(child.pid) is None
        assert sweep(run) == [name]


@pytest.mark.alone  # any fleet that starts sweeps what dead processes left
def test_a_reused_pid_does_not_keep_a_segment(create, run):
    made = create("x", 8192)
    made.memory().store(72, made.creator_start - 1)  # creator_start: as if an earlier process had our pid
    assert sweep(run) == [made.name]


@pytest.mark.alone  # any fleet that starts sweeps what dead processes left
def test_a_file_that_died_before_it_had_a_creator_goes_when_it_is_old(run):
    path = SHM_DIR / f"hive.{run}.half.1"
    path.touch()
    assert sweep(run) == []
    os.utime(path, (1, 1))
    assert sweep(run) == [f"/{path.name}"]


def test_a_name_with_brackets_and_blanks_does_not_confuse_the_start_time():
    def rename_and_compare():
        before = process_start_ticks(os.getpid())
        with open("/proc/self/comm", "w") as comm:
            comm.write("a) b (c")
        assert process_start_ticks(os.getpid()) == before

    with forks.Forked(rename_and_compare) as child:
        assert child.wait(10) == 0
    assert process_start_ticks(0x7FFFFFF) is None


def test_unlink_may_be_repeated_and_a_mapping_outlives_it(create):
    made = create("x", 8192)
    seen = Segment.open(made.name)
    made.unlink()
    made.unlink()
    made.beat(5)
    assert seen.heartbeat_ns == 5
    seen.close()


def test_size_must_exceed_the_header(run):
    with pytest.raises(ValueError, match="size must be larger than its header of 256 bytes, was 256"):
        Segment.create(segment_name(run, "x", 1), 256, kind="test", epoch=1)
