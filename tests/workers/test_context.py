"""Contexts, inboxes and the executor, on a real loop."""

import asyncio
import decimal
import threading

import pytest

from hive import workers
from hive.workers.clock import MultiStrategyClock
from hive.workers.context import CURRENT, count_unresolved, current
from hive.workers.errors import UnresolvedContext
from hive.workers.loop import ContextExecutor
from hive.workers.scheduler import State, StrategyScheduler


async def passes(n=10):
    for _ in range(n):
        await asyncio.sleep(0)


def test_the_names_that_operators_know_are_importable():
    for name in ("MultiStrategyClock", "StrategyScheduler", "StrategyContext"):
        assert getattr(workers, name).__name__ == name


def test_a_context_says_whose_it_is_and_what_it_does(idle_strategies):
    context = idle_strategies.new("a")
    assert (context.strategy_id, context.config, context.state) == ("a", {}, None)
    scheduler = StrategyScheduler(
        MultiStrategyClock(idle_strategies.callbacks),
        loop=idle_strategies.loop,
        interval_ns=1_000_000,
        report=lambda *_: None,
    )
    scheduler.set_state(context, State.RUNNING)
    assert context.state is State.RUNNING


async def test_each_event_that_is_delivered_is_counted_raising_ones_too(strategies):
    context = strategies.new("a")
    for value in (1, 0, 2):
        context.post(lambda value=value: 1 / value)
    await passes()
    assert (context.counters.events_delivered.value, context.counters.errors.value) == (3, 1)


async def test_posted_calls_run_in_order_inside_the_context_and_never_at_once(strategies):
    context = strategies.new("a")
    seen = []
    for k in range(100):
        context.post(lambda k=k: seen.append((k, CURRENT.get().id)))
    assert seen == []
    await passes()
    assert seen == [(k, "a") for k in range(100)]


async def test_a_call_posted_from_the_inbox_runs_after_those_before_it(strategies):
    context = strategies.new("a")
    seen = []
    context.post(lambda: (seen.append(1), context.post(seen.append, 3)))
    context.post(seen.append, 2)
    await passes()
    assert seen == [1, 2, 3]


async def test_posting_from_inside_a_tick_does_not_enter_the_context_twice(strategies):
    context = strategies.new("a")
    seen = []

    def tick():
        context.post(seen.append, "event")
        seen.append("tick ends")

    context.run(tick)
    await passes()
    assert seen == ["tick ends", "event"]


async def test_what_a_posted_call_raises_is_counted_and_the_rest_still_runs(strategies, caplog):
    context = strategies.new("a")
    seen = []

    def leave():
        raise SystemExit(3)

    for fn in (lambda: 1 / 0, leave, lambda: seen.append("after")):
        context.post(fn)
    await passes()
    assert seen == ["after"]
    assert context.counters.errors.value == 2
    assert "strategy a:" in caplog.text


async def test_an_inbox_that_feeds_itself_leaves_room_for_others(strategies):
    greedy, modest = strategies.new("greedy"), strategies.new("modest")
    seen = []
    stop = False

    def again():
        if not stop:
            greedy.post(again)

    greedy.post(again)
    modest.post(seen.append, 1)
    for _ in range(20):
        await asyncio.sleep(0)
    stop = True
    await passes()
    assert seen == [1]


async def test_every_posted_call_begins_a_new_callback(strategies):
    context = strategies.new("a")
    values = []
    for _ in range(3):
        context.post(lambda: values.append(strategies.callbacks.value))
    await passes()
    assert values == [1, 2, 3]


async def test_a_resolved_future_reaches_its_task_and_that_tasks_children_before_the_next_event(strategies):
    context = strategies.new("a")
    loop = asyncio.get_running_loop()
    seen = []

    async def child():
        seen.append("child")

    async def waiter(future):
        seen.append(await future)
        asyncio.ensure_future(child())  # noqa: RUF006 - as Hummingbot does

    futures = [loop.create_future() for _ in range(3)]
    tasks = [context.create_task(waiter(future)) for future in futures]
    await passes(2)
    context.post(seen.append, "before")
    for k, future in enumerate(futures):
        context.resolve(future, f"ack {k}")
        context.post(seen.append, f"fill {k}")
    await asyncio.gather(*tasks)
    await passes(20)
    expected = ["before"]
    for k in range(3):
        expected += [f"ack {k}", "child", f"fill {k}"]
    assert seen == expected


async def test_the_result_of_a_future_that_nobody_waits_for_any_more_goes_elsewhere(strategies):
    context = strategies.new("a")
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    seen = []
    context.resolve(future, "ack", seen.append)
    context.post(seen.append, "fill")
    await passes()
    assert seen == ["ack", "fill"]


async def test_tasks_and_their_children_belong_to_the_strategy_that_started_them(strategies):
    names = []

    async def leaf():
        names.append(current().id)

    async def root():
        await asyncio.gather(*(asyncio.ensure_future(leaf()) for _ in range(3)))

    await asyncio.gather(*(strategies.new(name).create_task(root()) for name in "abc"))
    assert sorted(names) == sorted("aaabbbccc")


async def test_the_executor_keeps_the_context_of_who_handed_the_job_in(strategies):
    loop = asyncio.get_running_loop()
    executor = ContextExecutor(2)
    loop.set_default_executor(executor)

    def job():
        return current().id, threading.current_thread() is threading.main_thread()

    async def root():
        return [await loop.run_in_executor(None, job), await asyncio.to_thread(job)]

    for name in ("a", "b"):
        assert await strategies.new(name).create_task(root()) == [(name, False), (name, False)]


async def test_asking_for_the_strategy_outside_of_all_contexts_raises_and_is_counted():
    counted = []
    count_unresolved(lambda: counted.append(1))
    try:
        with pytest.raises(UnresolvedContext):
            current()
    finally:
        count_unresolved(None)
    assert counted == [1]


async def test_decimal_settings_of_one_strategy_are_not_those_of_another(strategies):
    def narrow():
        decimal.getcontext().prec = 3

    first, second = strategies.new("a"), strategies.new("b")
    second.run(decimal.getcontext)
    first.run(narrow)
    assert first.run(decimal.getcontext).prec == 3
    assert second.run(decimal.getcontext).prec == decimal.DefaultContext.prec
