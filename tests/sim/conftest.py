"""Exchanges for the tests of hive.sim."""
from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from sim.sim_process import Client, SimProcess


@pytest.fixture(scope="module")
def quiet() -> Iterator[SimProcess]:
    """An exchange whose books stand still."""
    process = SimProcess("--rate", "0", "--seed", "7")
    yield process
    assert process.stop() == 0


@pytest.fixture
async def client(quiet: SimProcess) -> AsyncIterator[Client]:
    """A client of the quiet exchange."""
    async with Client(quiet.info) as client:
        yield client
