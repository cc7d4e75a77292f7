"""Emptying an account whose venue does not say everything."""

import logging
from pathlib import Path

import pytest

from gate.fake_venue import FLEET_ID, SECOND, TAG, AccountBench, FakeClock, FakeVenue, live
from hive.gate.closing import close_out
from hive.gate.errors import Unanswered
from hive.gate.order import State
from hive.gate.venue import OrderState
from hive.shm.ids import order_prefix


class ReadVenue(FakeVenue):
    """Its open orders cannot be read while `silent`; each look at them takes a second."""

    silent = False

    async def open_orders(self) -> list[OrderState]:
        self.clock.now += SECOND
        if self.silent:
            raise Unanswered("no answer")
        return await super().open_orders()


@pytest.fixture
def bench(tmp_path: Path):
    clock = FakeClock()
    made = AccountBench(tmp_path, clock=clock, venue=ReadVenue(clock))
    yield made
    made.close()


async def empty(bench: AccountBench, cancel: bool = True) -> int | None:
    log = logging.getLogger("test")
    return await close_out(bench.account, FLEET_ID, cancel, bench.clock.now + 3 * SECOND, log, bench.clock)


async def test_an_account_that_the_venue_shows_to_be_empty_is_empty(bench: AccountBench):
    order = bench.place("a")
    await bench.settle()
    assert await empty(bench) == 0
    assert bench.kinds(order) == ["ACKED", "CANCELLED"]


@pytest.mark.parametrize("cancel", [True, False])
async def test_nobody_knows_what_is_open_while_the_venue_does_not_tell(bench: AccountBench, cancel: bool):
    bench.venue.silent = True
    assert await empty(bench, cancel) is None


async def test_an_order_that_was_given_up_and_lives_is_cancelled(bench: AccountBench):
    bench.venue.script["place"].append(Unanswered("no answer"))
    order = bench.place("a")
    await bench.settle()
    bench.clock.now += 60 * SECOND
    known = bench.account.ledger.get(order)
    bench.account.apply(known, bench.account.ledger.reject(known, -2013, "never reached the venue", bench.clock.now))
    bench.venue.orders[order] = live(order)
    assert await empty(bench) == 0
    assert known.state is State.CANCELLED
    assert ("cancel", order) in bench.venue.calls


async def test_an_order_of_the_fleet_that_nobody_knew_is_cancelled(bench: AccountBench):
    order = order_prefix(FLEET_ID, TAG) + "b"
    bench.venue.orders[order] = live(order)
    assert await empty(bench) == 0
    assert ("cancel", order) in bench.venue.calls
