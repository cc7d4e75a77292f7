"""The thread that syncs: every write is covered by a sync that began after it, and nothing is synced without one."""

import asyncio
import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hive.gate.journal_sync import SyncThread


class CountedFile:
    """In the place of a file: notes at each sync what was written by then."""

    def __init__(self) -> None:
        self.written = 0
        self.synced: list[int] = []
        self.error: OSError | None = None
        self.again = threading.Event()

    def sync(self) -> None:
        self.synced.append(self.written)
        self.again.set()
        if self.error is not None:
            raise self.error


@contextmanager
def syncing(file: CountedFile, interval_s: float, failed: list) -> Iterator[SyncThread]:
    thread = SyncThread(interval_s, lambda: file, lambda *told: failed.append(told))
    thread.start(asyncio.get_running_loop())
    try:
        yield thread
    finally:
        thread.stop()


async def test_each_write_is_covered_by_a_later_sync_and_writes_in_between_share_one():
    file, failed = CountedFile(), []
    with syncing(file, 0.001, failed) as thread:
        for _ in range(300):
            file.again.clear()
            for _ in range(5):
                file.written += 1
                thread.touch()
            while not file.synced or file.synced[-1] < file.written:
                file.again.wait(1)
                file.again.clear()
        assert file.synced == sorted(file.synced)
        assert 300 <= len(file.synced) <= 600  # of 1,500 writes; a sync may have begun in the middle of five
        count = len(file.synced)
        await asyncio.sleep(0.02)
        assert len(file.synced) <= count + 1  # the last of the five may have asked for another
    assert not failed


async def test_what_was_written_before_it_began_is_synced_too():
    file = CountedFile()
    thread = SyncThread(0.001, lambda: file, lambda *told: None)
    file.written = 3
    thread.touch()
    thread.start(asyncio.get_running_loop())
    assert file.again.wait(30)
    thread.stop()
    assert file.synced == [3]


async def test_a_sync_that_fails_is_told_in_the_loop_and_the_next_write_is_synced_again():
    file, failed = CountedFile(), []
    with syncing(file, 0.001, failed) as thread:
        file.error = OSError(errno.EIO, "broken")
        thread.touch()
        while not failed:
            await asyncio.sleep(0.001)
        assert failed == [(file, file.error)]
        file.error = None
        count = len(file.synced)
        thread.touch()
        while len(file.synced) == count:
            await asyncio.sleep(0.001)
    assert len(failed) == 1


async def test_it_ends_at_once_in_the_middle_of_a_long_interval_and_twice_does_no_harm():
    file = CountedFile()
    with syncing(file, 3600.0, []) as thread:
        thread.touch()
        thread.stop()
        thread.stop()
    assert not file.synced


async def test_one_that_never_began_can_be_touched_and_ended():
    thread = SyncThread(0.001, lambda: None, lambda *told: None)
    thread.touch()
    thread.touch()
    thread.stop()


async def test_one_whose_thread_cannot_be_started_says_so_and_can_be_ended(monkeypatch):
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    thread = SyncThread(0.001, lambda: None, lambda *told: None)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        thread.start(asyncio.get_running_loop())
    thread.stop()


async def test_it_leaves_no_descriptor_behind():
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with syncing(CountedFile(), 0.001, []) as thread:
            thread.touch()
    assert os.listdir("/proc/self/fd") == before
