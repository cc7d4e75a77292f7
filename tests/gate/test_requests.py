"""What becomes of requests while those who want them change their minds, or die, or the venue tells otherwise."""

import asyncio

import pytest

from gate.fake_venue import TAG, AccountBench, live, trade
from hive.gate.errors import NotSent, Throttled, Unanswered
from hive.shm.messages import IntentKind
from hive.shm.refusals import Refusal


@pytest.fixture
async def bench(tmp_path):
    made = AccountBench(tmp_path)
    made.venue.connecting = asyncio.get_running_loop().create_future()
    yield made
    made.close()
    await asyncio.sleep(0)


async def test_an_order_that_is_cancelled_while_it_waits_for_its_connection_is_not_sent(bench):
    order = bench.place("1")
    await bench.settle()
    bench.ask(IntentKind.CANCEL, order)
    bench.venue.connecting.set_result(None)
    await bench.settle()
    assert bench.venue.calls == []
    assert bench.kinds(order) == ["CANCELLED"]


@pytest.mark.parametrize("cancel", [True, False], ids=["on_crash: cancel", "on_crash: keep"])
async def test_an_order_that_waits_for_its_connection_when_its_worker_dies_is_not_sent(bench, cancel):
    order = bench.place("1")
    await bench.settle()
    assert bench.account.worker_gone({TAG}, 1, cancel) == 1
    bench.venue.connecting.set_result(None)
    await bench.settle()
    assert bench.venue.calls == []
    assert bench.kinds(order) == ["REJECTED"]
    assert bench.told[-1][1].code == Refusal.WORKER_GONE


async def test_an_order_on_its_way_when_its_worker_dies_stays_where_orders_are_kept(bench):
    bench.venue.connecting.set_result(None)
    answer = asyncio.get_running_loop().create_future()
    bench.venue.script["place"].append(answer)
    order = bench.place("1")
    bench.account.worker_gone({TAG}, 1, cancel=False)
    answer.set_result((live(order), []))
    await bench.settle()
    assert bench.venue.calls == [("place", order)]
    assert bench.kinds(order) == ["ACKED"]


async def test_an_order_without_a_connection_is_not_tried_again_for_a_dead_worker(bench):
    order = bench.place("1")
    await bench.settle()
    bench.account.worker_gone({TAG}, 1, cancel=False)
    bench.venue.connecting.set_exception(NotSent("no connection could be made"))
    await bench.settle()
    assert bench.venue.calls == []
    assert bench.kinds(order) == ["REJECTED"]


async def test_an_order_that_a_limit_refused_is_not_tried_again_for_a_dead_worker(bench):
    bench.venue.connecting.set_result(None)
    answer = asyncio.get_running_loop().create_future()
    bench.venue.script["place"].append(answer)
    order = bench.place("1")
    bench.account.worker_gone({TAG}, 1, cancel=False)
    answer.set_exception(Throttled(1.0, "429"))
    await bench.settle()
    assert bench.venue.calls == [("place", order)]
    assert bench.kinds(order) == ["REJECTED"]


async def test_a_cancel_goes_while_what_was_filled_cannot_be_read(bench):
    bench.venue.connecting.set_result(None)
    name = bench.place("1")
    await bench.settle()
    order, ledger = bench.account.ledger.get(name), bench.account.ledger
    bench.venue.script["trades"].extend([Unanswered("REST is down")] * 100)
    bench.account.apply(order, ledger.observe(order, live(name, executed="0.5"), (), bench.clock.now))
    bench.ask(IntentKind.CANCEL, name)
    await bench.settle()
    assert ("cancel", name) in bench.venue.calls
    assert bench.kinds(name) == ["ACKED"]  # its end comes after its fills
    bench.account.apply(order, ledger.observe(order, None, [trade(1, "0.5")], bench.clock.now))
    assert bench.kinds(name) == ["ACKED", "FILL", "CANCELLED"]


async def test_an_order_that_was_put_back_and_withdrawn_and_lives_after_all_is_cancelled(bench):
    bench.venue.connecting.set_result(None)
    bench.venue.script["place"].append(Throttled(1.0, "429"))
    name = bench.place("1")
    await bench.settle()
    bench.ask(IntentKind.CANCEL, name)
    assert bench.kinds(name) == ["CANCELLED"]
    order, ledger = bench.account.ledger.get(name), bench.account.ledger
    bench.account.apply(order, ledger.observe(order, live(name), (), bench.clock.now))
    await bench.settle()
    assert ("cancel", name) in bench.venue.calls
    assert bench.kinds(name) == ["CANCELLED", "ACKED", "CANCELLED"]
