"""What the tests of hive.workers share: a real counters segment, contexts on the running loop, and leak checks."""

import asyncio
import os
import secrets

import pytest

from hive.shm.counters import Counters, counters_size
from hive.shm.ids import strategy_tag
from hive.shm.segment import Segment, segment_name
from hive.workers.clock import CallbackCounter
from hive.workers.context import StrategyContext, StrategyCounters
from hive.workers.loop import new_loop
from tests.workers.router_stage import Stage


@pytest.fixture
def run():
    """A run id of this test; nothing of it is left in /dev/shm afterwards."""
    name = secrets.token_hex(4)
    yield name
    left = [entry for entry in os.listdir("/dev/shm") if f".{name}." in entry]
    assert left == []


@pytest.fixture
def counters(run):
    segment = Segment.create(segment_name(run, "counters.test", 0), counters_size(8000, 800), kind="counters", epoch=0)
    yield Counters.create(segment, 8000)
    segment.unlink()


class Strategies:
    """Makes contexts the way a worker does."""

    def __init__(self, counters, loop):
        self.counters = counters
        self.loop = loop
        self.callbacks = CallbackCounter()
        self.made = []

    def new(self, name, *, priority=0):
        context = StrategyContext(
            name,
            strategy_tag(name),
            len(self.made),
            loop=self.loop,
            callbacks=self.callbacks,
            counters=StrategyCounters.of(self.counters, name),
            priority=priority,
        )
        self.made.append(context)
        return context


@pytest.fixture
async def strategies(counters):
    return Strategies(counters, asyncio.get_running_loop())


@pytest.fixture
def idle_strategies(counters):
    """Contexts on a loop that never runs, for what needs none."""
    loop = asyncio.new_event_loop()
    yield Strategies(counters, loop)
    loop.close()


@pytest.fixture
def loop(idle_strategies):
    made = new_loop(idle_strategies.callbacks)
    idle_strategies.loop = made
    yield made
    made.run_until_complete(made.shutdown_default_executor())
    made.close()


@pytest.fixture
async def stage(run, strategies):
    made = Stage(run, strategies)
    yield made
    made.close()
