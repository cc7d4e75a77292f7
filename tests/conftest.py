"""Every test leaves /dev/shm, the process table and the run directory as it found them, and ends."""

import shutil
import signal
from collections.abc import Iterator

import pytest

import leaks

RUN_DIR = leaks.private_run_dir()
DEADLINE_S = 300  # against hanging for ever; proves no speed


@pytest.fixture(scope="session", autouse=True)
def nothing_left_by_the_session() -> Iterator[None]:
    """Catch what fixtures of wider scope than a test leave."""
    yield from watched()
    shutil.rmtree(RUN_DIR, ignore_errors=True)


@pytest.fixture(autouse=True)
def nothing_left_by_the_test() -> Iterator[None]:
    """Fail the test that leaves a segment, a process, a socket or a FIFO, and clear it away."""
    yield from watched()


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


def watched() -> Iterator[None]:
    """Look before and after; fail when something was left."""
    before = leaks.look()
    yield
    left = leaks.new_since(before)
    if left:
        leaks.clear(before)
        pytest.fail("left behind:\n  " + "\n  ".join(left), pytrace=False)
