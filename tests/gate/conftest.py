"""What the tests of several files of the gate start from."""

import asyncio

import pytest

from gate.fake_venue import AccountBench


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
