"""The worker's loop: what strategies raise in tasks and callbacks stays with them."""

import asyncio
import logging
import threading
from itertools import pairwise

import pytest

from hive.workers.clock import CallbackCounter
from hive.workers.context import current
from hive.workers.log import StrategyFilter
from hive.workers.loop import EXECUTOR_THREADS, new_loop, run_until_done


def test_every_return_of_the_selector_begins_a_new_callback():
    callbacks = CallbackCounter()
    loop = new_loop(callbacks)
    values = []

    async def main():
        for _ in range(5):
            values.append(callbacks.value)
            await asyncio.sleep(0)

    loop.run_until_complete(main())
    loop.close()
    assert all(late == early + 1 for early, late in pairwise(values))


@pytest.mark.parametrize("error", [SystemExit(2), KeyboardInterrupt()])
def test_a_strategy_that_exits_in_a_task_or_callback_is_named_and_the_loop_goes_on(loop, idle_strategies, error):
    guilty, innocent = idle_strategies.new("guilty"), idle_strategies.new("innocent")
    escaped = []
    done = []

    async def leave():
        await asyncio.sleep(0)
        raise error

    def leave_at_once():
        raise error

    async def work():
        for _ in range(10):
            await asyncio.sleep(0)
        done.append("work")

    async def main():
        tasks = [guilty.create_task(leave()), innocent.create_task(work())]
        loop.call_soon(leave_at_once, context=guilty.pycontext)
        loop.call_soon(leave_at_once)
        await asyncio.wait(tasks[1:])
        return 7

    task = loop.create_task(main())
    assert run_until_done(loop, task, lambda context, what: escaped.append((context and context.id, what))) == 7
    assert sorted(escaped, key=str) == sorted([("guilty", error), ("guilty", error), (None, error)], key=str)
    assert done == ["work"]


def test_what_a_task_or_callback_raises_is_counted_for_its_strategy(loop, idle_strategies, caplog):
    context = idle_strategies.new("a")

    async def fail():
        raise ValueError("task")

    def fail_at_once():
        raise ValueError("callback")

    async def main():
        context.create_task(fail())
        loop.call_soon(fail_at_once, context=context.pycontext)
        for _ in range(5):
            await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert context.counters.errors.value == 2
    assert caplog.text.count("strategy a:") == 2


def test_log_lines_carry_the_strategy_of_the_context_they_were_written_in(idle_strategies):
    seen = StrategyFilter()

    def record():
        made = logging.LogRecord("x", logging.INFO, "x", 1, "text", (), None)
        seen.filter(made)
        return made.strategy

    assert record() == "-"
    assert idle_strategies.new("a").run(record) == "a"
    assert idle_strategies.new("a2").run(lambda: current().id) == "a2"


def test_jobs_of_one_strategy_that_never_end_keep_no_other_from_its_own(loop, idle_strategies):
    guilty, innocent = idle_strategies.new("guilty"), idle_strategies.new("innocent")
    goes_on = threading.Event()

    async def main():
        stuck = [guilty.create_task(asyncio.to_thread(goes_on.wait, 30)) for _ in range(2 * EXECUTOR_THREADS)]
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(20):
                assert await innocent.create_task(asyncio.to_thread(current)) is innocent
                await asyncio.to_thread(len, "")  # nobody's
            assert not any(one.done() for one in stuck)
        finally:
            goes_on.set()
        assert all(await asyncio.gather(*stuck))

    loop.run_until_complete(main())
