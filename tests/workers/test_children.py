"""Processes that a strategy's code forks: they are ended by a signal, wake nobody, and hold no lock."""

import asyncio
import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys

from forks import Forked
from hive.workers import process_wide
from hive.workers.children import part_from


def a_worker(context, folder) -> None:
    """Be a process like a worker, whose strategy has a child that it terminates."""
    process_wide.install()
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(lock, True)
    fcntl.flock(lock, fcntl.LOCK_EX)
    part_from(folder)
    heard = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, heard.append, "SIGTERM")
        ours, theirs = os.pipe()
        child = multiprocessing.get_context("fork").Process(target=wait_for_the_end, args=(theirs,))
        context.run(child.start)
        try:
            assert os.read(ours, 1) == b"x"
            child.terminate()
            await asyncio.to_thread(child.join, 10)
            assert child.exitcode == -signal.SIGTERM
        finally:
            child.kill()
        shows_its_descriptors = multiprocessing.get_context("fork").Process(target=holds_no_lock, args=(folder,))
        context.run(shows_its_descriptors.start)
        await asyncio.to_thread(shows_its_descriptors.join, 30)
        assert shows_its_descriptors.exitcode == 0
        for _ in range(10):
            await asyncio.sleep(0.001)

    asyncio.run(main())
    assert heard == []
    check = f"import os, sys; sys.exit(os.path.exists('/proc/self/fd/{lock}'))"
    assert subprocess.run([sys.executable, "-c", check], close_fds=False).returncode == 0


def wait_for_the_end(fd) -> None:
    """Say that this process runs, and wait."""
    os.write(fd, b"x")
    signal.pause()


def holds_no_lock(folder) -> None:
    """Fail when this process has the lock's file open."""
    held = {os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")}
    assert str(folder / "lock") not in held


def test_a_child_of_a_strategy_ends_when_it_is_terminated_and_its_worker_hears_and_lends_nothing(
    idle_strategies, tmp_path
):
    with Forked(a_worker, idle_strategies.new("a"), tmp_path.resolve()) as worker:
        assert worker.wait(90) == 0
