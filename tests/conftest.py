"""Every test leaves /dev/shm, the process table and the run directory as it found them, and ends."""

import shutil
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

import leaks

if TYPE_CHECKING:
    import lanes

pytest_plugins = ["lanes"]
RUN_DIR = leaks.private_run_dir()
DEADLINE_S = 300  # against hanging for ever; proves no speed


def pytest_unconfigure() -> None:
    shutil.rmtree(RUN_DIR, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def nothing_left_by_the_session(turns: "lanes.Turns") -> Iterator[None]:
    """Catch what fixtures of wider scope than a test leave."""
    yield from watched(turns)


@pytest.fixture(autouse=True)
def nothing_left_by_the_test(turns: "lanes.Turns") -> Iterator[None]:
    """Fail the test that leaves a segment, a process, a socket or a FIFO, and clear it away."""
    yield from watched(turns)


@pytest.fixture(autouse=True)
def ends_some_day() -> Iterator[None]:
    """Fail a test that hangs, so that the others run and its processes are cleared away."""

    def too_late(*_: object) -> None:
        pytest.fail(f"the test did not end within {DEADLINE_S} s")

    before = signal.signal(signal.SIGALRM, too_late)
    signal.alarm(DEADLINE_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def watched(turns: "lanes.Turns") -> Iterator[None]:
    """Look before and after; fail when something was left."""
    before = leaks.look()
    yield
    if leaks.new_since(before):
        with turns.alone():  # what a test of another lane killed, and has yet to clear away, is gone by then
            left = leaks.new_since(before, patience_s=0)
            if left:
                leaks.clear(before)
                pytest.fail("left behind:\n  " + "\n  ".join(left), pytrace=False)
