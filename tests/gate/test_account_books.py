"""An account whose books are not live: no order is sent, cancels pass, and nothing is held for who waits."""

import asyncio

import pytest

from gate.fake_venue import OTHER, SECOND, AccountBench
from hive.gate.exposure import RiskLimits
from hive.gate.limits import Operation
from hive.shm.messages import STALE_BOOK, IntentKind


@pytest.fixture
async def bench(tmp_path):
    bench = AccountBench(tmp_path)
    yield bench
    bench.close()
    await bench.settle()


async def test_an_order_is_refused_when_its_book_is_not_live_at_the_moment_of_sending(bench):
    bench.venue.waits[Operation.PLACE] = SECOND
    order = bench.place("1")
    await bench.settle()
    bench.venue.waits.clear()
    bench.stale = "book of BTC-USDT is STALE"
    bench.account.pump()
    await bench.settle()
    (_, reply) = bench.told[-1]
    assert (reply.kind.name, reply.code, reply.text) == ("REJECTED", STALE_BOOK, "book of BTC-USDT is STALE")
    assert bench.venue.placed() == []
    assert bench.count("orders_refused_stale") == 1
    bench.stale = ""
    again = bench.place("2")
    await bench.settle()
    assert bench.kinds(order) == ["REJECTED"]
    assert bench.kinds(again) == ["ACKED"]


@pytest.mark.parametrize("at_once", [True, False])
async def test_an_order_that_may_not_be_sent_holds_nothing(tmp_path, at_once):
    bench = AccountBench(tmp_path, limits=RiskLimits(max_open_orders=1, self_trade="allow"))
    bench.stale = "book of BTC-USDT is STALE"
    if not at_once:
        bench.venue.waits[Operation.PLACE] = SECOND
    refused = bench.place("1")
    bench.venue.waits.clear()
    bench.account.pump()
    bench.stale = ""
    order = bench.place("2")
    await bench.settle()
    assert (bench.kinds(refused), bench.kinds(order)) == (["REJECTED"], ["ACKED"])
    bench.close()


async def test_an_order_is_refused_when_its_book_died_while_the_connection_was_made(bench):
    bench.venue.connecting = asyncio.get_running_loop().create_future()
    order = bench.place("1")
    bench.stale = "book of BTC-USDT is WRITER_DEAD"
    bench.venue.connecting.set_result(None)
    await bench.settle()
    assert bench.kinds(order) == ["REJECTED"]
    assert bench.told[-1][1].code == STALE_BOOK
    assert bench.venue.placed() == []
    assert bench.count("orders_refused_stale") == 1


async def test_a_book_is_looked_at_again_when_recording_the_order_took_long(bench):
    def stall():
        bench.clock.now += SECOND // 10
        bench.stale = "book of BTC-USDT is STALE"

    bench.venue.before_write = stall
    order = bench.place("1")
    await bench.settle()
    assert bench.venue.placed() == []
    assert bench.kinds(order) == ["REJECTED"]


async def test_a_stale_book_keeps_no_cancel_back(bench):
    order = bench.place("1")
    await bench.settle()
    bench.stale = "book of BTC-USDT is STALE"
    bench.ask(IntentKind.CANCEL, order)
    await bench.settle()
    assert bench.kinds(order) == ["ACKED", "CANCELLED"]


async def test_orders_that_wait_can_be_ended_together(bench):
    bench.venue.waits[Operation.PLACE] = SECOND
    orders = [bench.place("1"), bench.place("2", tag=OTHER)]
    bench.account.drop_waiting("the machine was suspended", STALE_BOOK)
    await bench.settle()
    assert [bench.kinds(order) for order in orders] == [["REJECTED"], ["REJECTED"]]
    assert bench.count("orders_refused_stale") == 2
    bench.venue.waits.clear()
    bench.account.pump()
    assert bench.venue.placed() == []
