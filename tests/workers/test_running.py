"""Whose code runs: the word that others read, and the time that callbacks take."""

import asyncio
import time

import pytest

from hive.workers.busy import BusyLog
from hive.workers.loop import new_loop, note_callbacks
from hive.workers.running import Running


class Time:
    """Grows by as much with every look."""

    def __init__(self, step=1):
        self.ns = 0
        self.step = step

    def __call__(self):
        self.ns += self.step
        return self.ns


@pytest.fixture
def word(counters):
    return counters.counter("running_strategy")


def test_the_word_names_who_runs_and_the_time_goes_to_who_ran(idle_strategies, word):
    running = Running(word, now_ns=Time())
    a, b = idle_strategies.new("a"), idle_strategies.new("b")
    seen = []
    for strategy in (a, a, None, b, a, None, None):
        running.switch(strategy)
        seen.append(word.value)
    assert seen == [1, 1, 0, 2, 1, 0, 0]
    assert (a.callbacks.took_ns, b.callbacks.took_ns) == (2, 1)


def test_callbacks_are_told_to_the_busy_log_and_count_as_cpu_time(idle_strategies, word):
    busy = BusyLog()
    running = Running(word, busy, now_ns=Time(), cpu_ns=Time(10))
    a, b = idle_strategies.new("a"), idle_strategies.new("b")
    for strategy in (a, None, b, a, None):
        running.switch(strategy)
    assert (busy.total_ns, busy.since(0), busy.since(4)) == (3, 3, 1)  # from 1 to 2, and 3 to 5 without a gap
    assert (a.counters.strategy_cpu_ns.value, b.counters.strategy_cpu_ns.value) == (20, 10)


def test_tasks_timers_and_events_of_a_strategy_run_under_its_number(idle_strategies, word):
    loop = new_loop(idle_strategies.callbacks)
    note_callbacks(loop, Running(word))
    idle_strategies.loop = loop
    a, b = idle_strategies.new("a"), idle_strategies.new("b")
    seen = []

    def note(who):
        seen.append((who, word.value))

    async def work(who):
        note(who)
        await asyncio.sleep(0.001)
        note(who)
        child = asyncio.ensure_future(rest(who))  # inherits the context
        await child

    async def rest(who):
        note(who)

    async def main():
        b.post(note, "b")
        loop.call_soon(note, "-")
        loop.call_later(0.001, note, "-")
        await asyncio.gather(a.create_task(work("a")), b.create_task(work("b")), work("-"))
        note("-")

    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    assert len(seen) == 13
    assert all(number == {"-": 0, "a": 1, "b": 2}[who] for who, number in seen)
    assert word.value == 0
    assert 0 < a.callbacks.took_ns < 10**9


def test_cpu_time_of_callbacks_is_the_threads_however_short_they_are(idle_strategies, word):
    running = Running(word)
    a = idle_strategies.new("a")
    for _ in range(3):
        running.switch(a)
        time.sleep(0.05)  # takes no CPU
        running.switch(None)
    assert a.callbacks.took_ns >= 150_000_000
    assert 0 < a.counters.strategy_cpu_ns.value < 50_000_000
