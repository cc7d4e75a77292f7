"""What the tests of several files of the gate start from."""

import asyncio

import pytest

from gate.fake_venue import AccountBench
from gate.journal_rig import Clock
from gate.recorder_rig import RecorderRig


@pytest.fixture
async def gates(tmp_path):
    """Return a function that makes the next gate of the account; the one before is killed."""
    made: list[AccountBench] = []

    def start(**options) -> AccountBench:
        if made:
            made[-1].kill()
            options = {"clock": made[-1].clock, "venue": made[-1].venue, **options}
        made.append(AccountBench(tmp_path, **options))
        return made[-1]

    yield start
    for bench in made:
        bench.close()
    await asyncio.sleep(0)


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still until it is told."""
    return Clock()


@pytest.fixture
def rig(tmp_path):
    """Return a recorder's inside."""
    one = RecorderRig(tmp_path)
    yield one
    one.batches.close()
