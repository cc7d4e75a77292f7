"""Segments that a test makes and that are gone after it."""

import secrets
from collections.abc import Callable, Iterator

import pytest

from hive.shm.order_queue import OrderQueue
from hive.shm.segment import Segment, segment_name


@pytest.fixture
def run() -> str:
    """A run of this test's own."""
    return secrets.token_hex(4)


@pytest.fixture
def create(run: str) -> Iterator[Callable[..., Segment]]:
    """create(name, size, kind) -> Segment of epoch 1."""
    made = []

    def make(name: str, size: int, kind: str = "test", epoch: int = 1) -> Segment:
        made.append(Segment.create(segment_name(run, name, epoch), size, kind=kind, epoch=epoch))
        return made[-1]

    yield make
    for segment in made:
        segment.unlink()
        segment.close()


@pytest.fixture
def create_queue(run: str) -> Iterator[Callable[..., OrderQueue]]:
    """create_queue(name, capacity_bytes) -> OrderQueue of epoch 1."""
    made = []

    def make(name: str, capacity_bytes: int = 1 << 16) -> OrderQueue:
        made.append(OrderQueue.create(segment_name(run, name, 1), 1, capacity_bytes))
        return made[-1]

    yield make
    for queue in made:
        queue.unlink()
        queue.close()
