"""What the supervisor is told of executors, and when."""

import gc
import weakref

import pytest

from hive.workers.context import CURRENT
from hive.workers.executor_watch import EVERY, ExecutorWatch

GRID = {"id": "g", "kind": "grid_executor", "markets": [{"venue": "binance", "pair": "BTC-USDT", "net": "0.5"}]}


@pytest.fixture
def told():
    return []


@pytest.fixture
def watch(told):
    return ExecutorWatch(told.append)


def looks(watch, count=EVERY):
    for _ in range(count):
        watch.look()


def test_executors_are_told_once_each_time_they_have_changed(watch, told, idle_strategies):
    one = idle_strategies.new("one")
    watch.take_in(one)
    looks(watch)
    assert told == []  # a strategy that has none
    one.executors = lambda: [GRID]
    looks(watch, 2 * EVERY)
    assert told == [{"type": "executors", "id": "one", "executors": [GRID]}]
    one.executors = list
    looks(watch, 2 * EVERY)
    assert told[1:] == [{"type": "executors", "id": "one", "executors": []}]


def test_a_strategy_without_a_host_behind_it_has_none_any_more(watch, told, idle_strategies):
    one = idle_strategies.new("one")
    watch.take_in(one)
    one.executors = lambda: [GRID]
    looks(watch)
    one.executors = None
    looks(watch)
    assert [message["executors"] for message in told] == [[GRID], []]


def test_a_fill_is_told_with_the_next_look_that_finds_it_taken_in(watch, told, idle_strategies):
    one = idle_strategies.new("one")
    watch.take_in(one)
    one.executors = lambda: [GRID]
    looks(watch, EVERY + 1)
    filled = [{**GRID, "markets": []}]
    one.counters.fills.inc()
    one.post(lambda: None)  # the loop never runs here: it stays undelivered
    assert watch.look()  # again soon
    one.executors = lambda: filled
    watch.look()
    one._inbox.clear()
    assert not watch.look()
    assert [message["executors"] for message in told] == [[GRID], filled]


def test_it_is_asked_inside_its_context_and_what_it_raises_is_logged_once_and_stays_with_it(
    watch, told, idle_strategies, caplog
):
    bad, good = idle_strategies.new("bad"), idle_strategies.new("good")
    watch.take_in(bad)
    watch.take_in(good)
    bad.executors = lambda: [][0]
    good.executors = lambda: [{"id": CURRENT.get().id, "kind": "k", "markets": []}]
    looks(watch, 3 * EVERY)
    assert [message["executors"][0]["id"] for message in told] == ["good"]
    assert [record.getMessage() for record in caplog.records] == [
        "strategy bad: what its executors hold cannot be told"
    ]


def test_a_strategy_that_is_gone_is_forgotten_and_the_others_keep_their_turns(watch, told, idle_strategies):
    members = [idle_strategies.new(f"s{number}") for number in range(EVERY + 2)]
    for member in members:
        watch.take_in(member)
        member.executors = lambda: [GRID]
    looks(watch)
    assert {message["id"] for message in told} == {member.id for member in members}
    gone = weakref.ref(members.pop(3))
    del idle_strategies.made[3], member
    gc.collect()
    assert gone() is None
    told.clear()
    for member in members:
        member.executors = list
    looks(watch, 2 * EVERY)
    assert sorted(message["id"] for message in told) == sorted(member.id for member in members)
