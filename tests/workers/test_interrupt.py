"""Interruptions: only code of a strategy is interrupted, wherever the signal strikes."""

import asyncio
import io
import logging
import signal
import socket
import threading
import time
import traceback

import pytest

from hive.workers.context import CURRENT
from hive.workers.interrupt import PROTECTED, TickInterrupted, callback_of
from hive.workers.loop import run_until_done
from hive.workers.schedstat import RunDelay
from hive.workers.watchdog import Watchdog

STORM = 150
STORM_EVERY_S = 0.0007


@pytest.fixture
def alarm():
    """Gives SIGALRM and the timer back as they were."""
    handler, left = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0]
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, left)


class Beats:
    """Beats a watchdog from the loop, as the pulse of a worker does."""

    def __init__(self, loop, delay=None, **options):
        self.interrupted = []
        self._loop = loop
        self.dog = Watchdog(
            delay=delay or RunDelay(),
            on_interrupted=lambda strategy, in_tick: self.interrupted.append((strategy.id, in_tick)),
            **options,
        )

    def run(self, main):
        task = self._loop.create_task(main)
        self.dog.start()
        self._beat()
        try:
            run_until_done(self._loop, task, lambda *_: None)
        finally:
            self._timer.cancel()
            self.dog.stop()

    def _beat(self):
        self.dog.beat()
        self._timer = self._loop.call_later(0.005, self._beat)


def spin():
    while True:
        pass


def sleep_long():
    time.sleep(3600)


def wait_for_a_lock():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def wait_for_an_event():
    threading.Event().wait()


def read_a_silent_socket():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.recv(1)


@pytest.mark.parametrize("block", [spin, sleep_long, wait_for_a_lock, wait_for_an_event, read_a_silent_socket])
def test_a_callback_that_never_ends_is_interrupted_and_the_others_go_on(loop, alarm, idle_strategies, caplog, block):
    guilty, innocent = idle_strategies.new("guilty"), idle_strategies.new("innocent")
    beats = Beats(loop, limit_s=0.05, interrupt_after_s=0.1)
    worked = []

    async def hold():
        block()

    async def work():
        while not beats.interrupted:
            worked.append(1)
            await asyncio.sleep(0.005)

    async def main():
        task = guilty.create_task(hold())
        await innocent.create_task(work())
        with pytest.raises(TickInterrupted, match="strategy guilty must give the loop back within 100 ms"):
            await task

    beats.run(main())
    assert beats.interrupted == [("guilty", False)]
    assert guilty.counters.slow_callbacks.value == 1
    assert innocent.counters.slow_callbacks.value == 0
    assert "strategy guilty blocked the loop for" in caplog.text


def test_an_interruption_that_is_swallowed_is_repeated_until_one_gets_through(loop, alarm, idle_strategies):
    context = idle_strategies.new("a")
    beats = Beats(loop, limit_s=0.03, interrupt_after_s=0.05)
    swallowed = []

    async def hold():
        while len(swallowed) < 5:
            try:
                spin()
            except BaseException as error:  # noqa: BLE001 - as bad code does
                swallowed.append(error)

    async def main():
        await context.create_task(hold())

    beats.run(main())
    assert all(isinstance(one, TickInterrupted) for one in swallowed)


def test_a_tick_is_told_from_other_callbacks_by_the_context_of_its_callback(loop, alarm, idle_strategies):
    context = idle_strategies.new("a")
    beats = Beats(loop, limit_s=0.03, interrupt_after_s=0.05)

    async def main():
        loop.call_soon(context.run, spin)
        while not beats.interrupted:
            await asyncio.sleep(0.01)

    beats.run(main())
    assert beats.interrupted == [("a", True)]


def test_nobody_is_interrupted_who_may_not_be_or_is_no_strategy(loop, alarm, idle_strategies):
    context = idle_strategies.new("a")
    beats = Beats(loop, limit_s=0.02, interrupt_after_s=0.04, may_interrupt=lambda _: False)

    def hold():
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            pass

    async def main():
        hold()
        context.run(hold)
        await asyncio.sleep(0)

    beats.run(main())
    assert beats.interrupted == []


def test_a_strategy_that_runs_after_another_one_held_the_loop_is_not_interrupted_for_it(loop, alarm, idle_strategies):
    guilty, innocent = idle_strategies.new("guilty"), idle_strategies.new("innocent")
    beats = Beats(loop, limit_s=0.2, interrupt_after_s=0.4)

    def hold(seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            pass

    async def main():
        loop.call_soon(hold, 0.35, context=guilty.pycontext)
        loop.call_soon(hold, 0.1, context=innocent.pycontext)
        await asyncio.sleep(0.6)

    beats.run(main())
    assert "innocent" not in [name for name, _ in beats.interrupted]


def test_a_signal_that_comes_when_the_loop_has_beaten_again_blames_nobody(loop, alarm, idle_strategies, caplog):
    prompt = idle_strategies.new("prompt")
    beats = Beats(loop, limit_s=30, interrupt_after_s=60)

    async def work():
        signal.raise_signal(signal.SIGALRM)  # of a timer that ran out before the last beat

    async def main():
        await prompt.create_task(work())
        beats.dog.beat()

    beats.run(main())
    assert prompt.counters.slow_callbacks.value == 0
    assert "blocked the loop" not in caplog.text


def test_without_a_limit_nobody_is_interrupted(loop, alarm, idle_strategies):
    context = idle_strategies.new("a")
    beats = Beats(loop, limit_s=0.02)

    async def hold():
        time.sleep(0.2)  # noqa: ASYNC251 - as bad code does

    async def main():
        await context.create_task(hold())

    beats.run(main())
    assert (beats.interrupted, context.counters.slow_callbacks.value > 0) == ([], True)


class Crowd:
    """A run delay on a host where others have the CPU for a part of the time."""

    def __init__(self, part):
        self._part = part

    def ns(self):
        return int(time.monotonic_ns() * self._part)


@pytest.mark.parametrize(("part", "interrupted"), [(0.8, True), (1.0, False)])
def test_waiting_for_a_cpu_delays_an_interruption_and_does_not_prevent_it(
    loop, alarm, idle_strategies, part, interrupted
):
    context = idle_strategies.new("a")
    beats = Beats(loop, Crowd(part), limit_s=0.02, interrupt_after_s=0.08)

    def hold():
        until = time.monotonic() + (60 if interrupted else 0.4)
        while time.monotonic() < until:
            pass

    async def main():
        loop.call_soon(hold, context=context.pycontext)
        while not context.counters.slow_callbacks.value:
            await asyncio.sleep(0.01)

    beats.run(main())
    assert beats.interrupted == ([("a", False)] if interrupted else [])


def test_interruptions_begin_in_no_code_of_hive_asyncio_or_logging_and_leave_the_inbox_in_order(
    loop, alarm, idle_strategies, caplog
):
    """A storm: signals at random moments, of which each raises wherever it is allowed."""
    context, other = idle_strategies.new("a"), idle_strategies.new("b")
    caplog.set_level(logging.CRITICAL)
    log = logging.Logger("storm")
    log.addHandler(logging.StreamHandler(io.StringIO()))
    raised = []
    refused = 0
    delivered = []

    def strike(signum, frame):
        nonlocal refused
        if len(raised) == STORM or CURRENT.get(None) is None:
            return
        if not callback_of(frame).may_interrupt:
            refused += 1
            return
        raised.append(TickInterrupted("now"))
        raise raised[-1]

    def busy(turns):
        for number in range(turns):
            log.error("line %d", number)
            loop.call_soon(int)
            context.post(int)
            other.post(int)
            sum(range(200))

    def handle(number):
        delivered.append(number)
        busy(10)

    async def work():
        while True:
            busy(10)
            await asyncio.sleep(0)

    async def main():
        task = None
        number = 0
        while len(raised) < STORM:
            if task is None or task.done():
                task = context.create_task(work())
            context.post(handle, number)
            number += 1
            await asyncio.sleep(0)
        task.cancel()
        while context.pending or other.pending:
            await asyncio.sleep(0)
        return number

    signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, 0.001, STORM_EVERY_S)
    sent = loop.run_until_complete(main())
    assert refused > 0
    begun = set(delivered)
    assert delivered == sorted(begun)
    assert sent - len(begun) <= STORM  # an event that did not get to its first line was interrupted before it
    for error in raised:
        path = [frame.f_globals["__name__"] for frame, _ in traceback.walk_tb(error.__traceback__)]
        own = path.index(__name__)  # what came before led into the strategy
        assert not any(is_protected(name) for name in path[own:] if name != "signal"), path


def is_protected(module):
    return any(module == one or module.startswith(f"{one}.") for one in PROTECTED)
