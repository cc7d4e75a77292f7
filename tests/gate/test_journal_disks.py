"""Disks that are full or break: new orders stop, and nothing that was recorded is lost."""

import asyncio
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gate.journal_rig import (
    SECOND,
    SMALL,
    WHOLE_LIFE,
    Clock,
    Life,
    descriptor,
    facts,
    journal,
    known,
    live_orders,
    made,
    newest,
    opened,
    recovered,
)
from hive.gate.journal import Journal
from hive.gate.journal_file import list_files
from hive.gate.journal_format import HEADER_BYTES, RECORD_BYTES


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tiny_disk(tmp_path) -> Iterator[Path]:
    """A disk of 1 MB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tiny", str(tmp_path)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("may not mount a file system")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def fill_disk(folder: Path) -> Path:
    """Take all of a disk's room."""
    path = folder / "others"
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return path
    raise AssertionError("the disk takes everything")


def through_a_full_disk(one: Journal, clock: Clock, make_room: Callable[[], object]) -> list[Life]:
    """Go on until orders are refused, end all that are out, get room, and go on."""
    lives = []
    while one.can_send and len(lives) < 1000:
        lives += live_orders(one, clock, 1, "sent", "acked", first=len(lives))
    assert 20 < len(lives) < 1000
    assert "cannot be begun" in one.failing
    refused = Life(one, made(5000, clock), clock)
    refused.sent()
    assert not one.commit()
    refused.live_through("unsent", "ended")
    for life in lives:
        life.live_through("fill", "ended")
        one.commit()
    assert one.backlog == 0  # it had its place
    for life in lives[:5]:
        life.fills()
        one.commit()
    assert one.backlog > 0
    make_room()
    clock.pass_ns(SECOND)
    assert one.commit()
    assert (one.backlog, one.failing, one.can_send) == (0, "", True)
    return [*lives, refused, *live_orders(one, clock, 20, *WHOLE_LIFE, first=6000)]


def test_on_a_full_disk_new_orders_stop_and_everything_else_is_kept(tiny_disk, clock):
    folder = tiny_disk / "journal"
    with journal(folder, clock) as one:
        others = fill_disk(tiny_disk)
        lives = through_a_full_disk(one, clock, others.unlink)
        assert not list(folder.glob("*.tmp"))
    assert recovered(folder, clock) == known(lives)


def test_a_gate_that_starts_on_a_full_disk_knows_its_orders_and_sends_none(tiny_disk, clock):
    folder = tiny_disk / "journal"
    with journal(folder, clock) as one:
        lives = live_orders(one, clock, 50, "sent", "acked")
    others = fill_disk(tiny_disk)
    with journal(folder, clock) as one:
        assert {order.client_order_id: facts(order) for order in one.recovered.orders} == known(lives)
        assert not one.can_send
        for life in lives:
            life.journal = one
            life.ended()
        assert not one.commit()
        assert one.backlog == 50
        others.unlink()
        clock.pass_ns(SECOND)
        assert one.commit()
        assert one.can_send
    assert recovered(folder, clock) == known(lives)


def test_a_limit_on_the_size_of_files_is_a_full_disk_too(tmp_path, clock):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with journal(tmp_path, clock) as one:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))  # in the middle of the reserve
            lives = through_a_full_disk(one, clock, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert recovered(tmp_path, clock) == known(lives)


def test_a_write_that_did_only_a_part_is_not_done(tmp_path, clock):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with journal(tmp_path, clock) as one:
        lives = live_orders(one, clock, 10, "sent", "acked")
        end = HEADER_BYTES + 20 * RECORD_BYTES
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (end + RECORD_BYTES // 2, before[1]))
            lives[0].fill()
            assert not one.commit()
            assert one.backlog == 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        image = shutil.copytree(tmp_path, tmp_path / "killed")
        with journal(image, clock) as next_one:
            assert 0 < next_one.recovered.torn <= RECORD_BYTES // 2
        clock.pass_ns(SECOND)
        assert one.commit()
    assert recovered(tmp_path, clock) == known(lives)


def test_after_a_write_that_failed_a_new_file_has_everything(tmp_path, clock):
    with journal(tmp_path, clock) as one:
        lives = live_orders(one, clock, 10, "sent", "acked")
        place = descriptor(newest(tmp_path))
        read_only = os.open(newest(tmp_path), os.O_RDONLY)
        os.dup2(read_only, place)
        os.close(read_only)
        lives += live_orders(one, clock, 10, "sent", "acked", first=10)  # EBADF, once
        assert len(list_files(tmp_path)) == 2
    assert recovered(tmp_path, clock) == known(lives)


def lose_writes(path: Path) -> None:
    """Let the disk take every byte, and tell only a sync (EINVAL) that it has none of them."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor(path))
    os.close(nowhere)


def test_with_every_commit_synced_none_is_true_when_the_disk_lost_it(tmp_path, clock):
    with journal(tmp_path, clock, policy="every") as one:
        lives = live_orders(one, clock, 10, "sent", "acked")
        lose_writes(newest(tmp_path))
        lives.append(Life(one, made(10, clock), clock))
        lives[-1].sent()
        assert not one.commit()
        assert "not synced" in one.failing
        assert not one.can_send
        clock.pass_ns(SECOND)
        assert one.commit()
        assert one.can_send
    assert recovered(tmp_path, clock) == known(lives)


async def test_what_a_later_sync_finds_lost_is_written_again(tmp_path, clock):
    one = opened(tmp_path, clock, policy="interval", interval_s=0.001)
    task = asyncio.create_task(one.run())
    lives = live_orders(one, clock, 10, "sent", "acked")
    lose_writes(newest(tmp_path))
    lives += live_orders(one, clock, 10, "sent", first=10)
    while not one.failing:
        await asyncio.sleep(0.001)
    assert "not synced" in one.failing
    assert not one.can_send
    clock.pass_ns(SECOND)
    while one.failing:
        await asyncio.sleep(0.001)
    image = shutil.copytree(tmp_path, tmp_path / "killed")
    task.cancel()
    one.close()
    assert recovered(image, clock) == known(lives)


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts the timers that are set."""

    timers = 0

    def call_at(self, *args: object, **options: object) -> asyncio.TimerHandle:
        self.timers += 1
        return super().call_at(*args, **options)


def test_neither_a_journal_at_rest_nor_one_that_writes_sets_timers(tmp_path, clock):
    loop, looks = CountingLoop(), 20

    async def idle() -> int:
        one = opened(tmp_path, clock, policy="interval", interval_s=0.001)
        task = asyncio.create_task(one.run())
        for look in range(looks):
            live_orders(one, clock, int(look < 10), "sent", first=look)
            await asyncio.sleep(0.005)
        task.cancel()
        one.close()
        return loop.timers - looks

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert runner.run(idle()) <= 1  # after its file was begun; a sync has a thread of its own


async def test_the_next_file_is_allocated_ahead_and_old_ones_are_cut(tmp_path, clock):
    one = opened(tmp_path, clock, policy="interval", interval_s=0.001)
    task = asyncio.create_task(one.run())
    lives = live_orders(one, clock, 36, *WHOLE_LIFE)  # more than half of a file
    ahead = tmp_path / "next.tmp"
    while not ahead.exists() or ahead.stat().st_size < SMALL:
        await asyncio.sleep(0.001)
    lives += live_orders(one, clock, 20, *WHOLE_LIFE, first=36)
    first, second = list_files(tmp_path)
    while first.stat().st_size == SMALL:
        await asyncio.sleep(0.001)
    assert first.stat().st_size % RECORD_BYTES == 0
    assert second.stat().st_size >= SMALL
    task.cancel()
    one.close()
    assert not list(tmp_path.glob("*.tmp"))
    assert recovered(tmp_path, clock) == known(lives)
