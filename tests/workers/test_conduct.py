"""What follows when a strategy harms those beside it: told, or it has to go, each with a reason."""

import asyncio
import os

import pytest

from hive.workers.clock import MultiStrategyClock
from hive.workers.conduct import INTERRUPTIONS, LOG_FLOOD, ORDER_FLOOD, SECOND_NS, WITHIN_NS, Conduct
from hive.workers.log_quota import LineQuota
from hive.workers.own_memory import OwnMemory
from hive.workers.refusals import Refusals
from hive.workers.schedstat import RunDelay
from hive.workers.scheduler import State, StrategyScheduler


class Idle:
    """A target that does nothing."""

    def tick(self, timestamp):
        pass


class Orders:
    """Notes whose orders are cancelled."""

    def __init__(self):
        self.cancelled = []

    def cancel_all(self, strategy):
        self.cancelled.append(strategy.id)
        return 0


class World:
    """A worker's strategies, a clock that a test sets, and what the supervisor is told."""

    def __init__(self, strategies):
        self.ns = 10 * SECOND_NS
        self.sent = []
        self.states = []
        self.orders = Orders()
        self.lines = LineQuota(10, lambda: self.ns)
        self.refusals = Refusals()
        loop = asyncio.get_running_loop()
        self.scheduler = StrategyScheduler(
            MultiStrategyClock(strategies.callbacks),
            loop=loop,
            interval_ns=SECOND_NS,
            report=lambda context, state, message: self.states.append((context.id, state, message)),
        )
        self.delay = RunDelay()
        self.conduct = Conduct(
            scheduler=self.scheduler,
            orders=self.orders,
            send=self.sent.append,
            loop=loop,
            delay=self.delay,
            loop_share=0.5,
            memory=OwnMemory(),
            memory_mb=None,
            lines=self.lines,
            refusals=self.refusals,
            now_ns=lambda: self.ns,
        )
        self.guilty, self.other = strategies.new("guilty"), strategies.new("other")
        for one in (self.guilty, self.other):
            self.conduct.take_in(one)
            self.scheduler.add(one, Idle())
        self.states.clear()

    def seconds(self, count=1):
        for _ in range(10 * count):
            self.ns += SECOND_NS // 10
            self.conduct.look()

    def went(self, what):
        assert [(one["type"], one["id"], one["what"], one["verdict"]) for one in self.sent] == [
            ("misbehaved", "guilty", what, "quarantine")
        ]
        reason = self.sent[0]["reason"]
        assert self.states[-1] == ("guilty", State.PAUSED, f"paused: {reason}")
        assert self.orders.cancelled == ["guilty"]
        return reason


@pytest.fixture
async def world(strategies):
    made = World(strategies)
    yield made
    made.delay.close()


async def test_the_third_tick_interrupted_within_a_minute_is_one_too_many(world):
    for _ in range(INTERRUPTIONS - 1):
        world.conduct.interrupted(world.guilty, True)
    assert (world.sent, world.states[-1][:2]) == ([], ("guilty", State.RUNNING))
    assert "was interrupted" in world.states[-1][2]
    world.ns += WITHIN_NS + 1
    world.conduct.interrupted(world.guilty, True)
    assert world.sent == []
    world.conduct.interrupted(world.guilty, True)
    world.conduct.interrupted(world.guilty, True)
    assert "3 ticks within a minute" in world.went("held the loop")


async def test_who_was_interrupted_outside_of_a_tick_goes_with_its_tasks(world):
    async def work():
        await asyncio.Event().wait()

    tasks = [world.guilty.create_task(work()), world.other.create_task(work())]
    await asyncio.sleep(0)
    world.conduct.interrupted(world.guilty, False)
    world.went("held the loop")
    await asyncio.sleep(0)
    assert [task.cancelled() for task in tasks] == [True, False]
    tasks[1].cancel()
    world.conduct.interrupted(world.guilty, False)
    assert len(world.sent) == 1


async def test_who_takes_the_loop_from_others_goes(world):
    for _ in range(3):
        world.guilty.counters.tick_duration_ns.record(SECOND_NS // 2)
        world.guilty.callbacks.took_ns += SECOND_NS // 3
        world.other.callbacks.took_ns += SECOND_NS // 100
        world.seconds()
    assert "83%" in world.went("took the loop")


async def test_who_is_alone_may_take_all_of_the_loop(world):
    world.scheduler.pause(world.other, "by hand")
    for _ in range(4):
        world.guilty.callbacks.took_ns += SECOND_NS
        world.seconds()
    assert world.sent == []


async def test_dropped_lines_are_told_and_a_flood_of_them_goes(world):
    for _ in range(100):
        world.lines.admits(world.guilty)
    world.seconds()
    assert world.sent == []
    assert world.states == [("guilty", State.RUNNING, "50 lines of its log were dropped in a second: 10 are kept")]
    for _ in range(LOG_FLOOD + 100):
        world.lines.admits(world.guilty)
    world.seconds()
    assert "lines of its log were dropped" in world.went("flooded the log")


async def test_refused_orders_and_refused_changes_of_the_process_are_told_now_and_then(world):
    world.guilty.orders_over = 7
    world.seconds()
    assert world.states == [("guilty", State.RUNNING, "7 orders were refused: too many of it wait")]
    for _ in range(3):
        world.guilty.orders_over += 5
        world.seconds()
    assert len(world.states) == 1
    world.refusals.install()
    try:
        with pytest.raises(SystemExit):
            world.guilty.run(os._exit, 3)
    finally:
        world.refusals.uninstall()
    world.seconds()
    assert world.states[1:] == [("guilty", State.RUNNING, "it asked its process to end, with status 3")]


async def test_a_flood_of_orders_goes(world):
    world.guilty.orders_over = ORDER_FLOOD - 1
    world.seconds()
    assert world.sent == []
    world.guilty.orders_over += ORDER_FLOOD
    world.seconds()
    assert "1000 orders were refused" in world.went("flooded its orders")


async def test_who_is_being_made_or_has_stopped_is_neither_interrupted_nor_judged(world, strategies):
    young = strategies.new("young")
    world.conduct.take_in(young)
    for state in (State.STARTING, State.STOPPED, State.FAILED):
        world.scheduler.set_state(young, state)
        assert not world.conduct.may_interrupt(young)
        world.conduct.accuse(young, "anything", "whatever")
    assert world.conduct.may_interrupt(world.guilty)
    assert world.sent == []
