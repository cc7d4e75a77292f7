"""What questions about orders bring to light: old fills, orders that a person changed, orders that are gone."""

from decimal import Decimal
from functools import partial

import pytest

from gate.fake_venue import FLEET_ID, SECOND, TAG, AccountBench, live
from hive.gate.order import State
from hive.gate.venue import OrderStatus, Trade
from hive.shm.ids import parse_order_id
from hive.shm.messages import IntentKind, ReplyKind, unpack

GIVEN = {TAG: {"USDT": Decimal(100), "BTC": Decimal(0)}}


@pytest.fixture
def gates(gates):
    """Return a function that makes the next gate of an account with capital; the one before is killed."""
    return partial(gates, given=GIVEN)


def fill(bench: AccountBench, order: str, trade_id: int, amount: str) -> Trade:
    """Let the venue fill a part of an order now; nobody is told."""
    made = Trade(trade_id, Decimal(10), Decimal(amount), Decimal(0), "BTC", True, bench.venue.venue_ns())
    bench.venue.fills.setdefault(f"x{order[-4:]}", []).append(made)
    executed = sum(one.amount for one in bench.venue.fills[f"x{order[-4:]}"])
    status = OrderStatus.FILLED if executed == 1 else OrderStatus.LIVE
    bench.venue.orders[order] = live(order, status, str(executed))
    return made


def total(bench: AccountBench) -> Decimal:
    """Return what the strategy has of the base asset."""
    bench.account.tick()
    bench.journal.commit()
    return bench.account.guards.capital.total(TAG, "BTC")


def forget(bench: AccountBench, order: str) -> None:
    """Let an order that ended be taken in by its worker and, ten minutes later, be forgotten."""
    bench.account.taken(order)
    bench.journal.commit()
    bench.clock.now += 601 * SECOND
    assert bench.account.ledger.forget_ended(bench.clock.now - 600 * SECOND) == 1


async def test_a_cancel_of_an_order_that_was_forgotten_tells_its_fills_and_counts_none_of_them_again(gates):
    bench = gates()
    order = bench.place("1")
    await bench.settle()
    account = bench.account
    entry = account.ledger.get(order)
    trade = fill(bench, order, 7, "1")
    account.apply(entry, account.ledger.observe(entry, bench.venue.orders[order], (trade,), bench.clock.now))
    for _ in range(2):  # a strategy may ask for it as often as it likes
        assert total(bench) == 1
        forget(bench, order)
        bench.told.clear()
        bench.ask(IntentKind.CANCEL, order)
        await bench.settle()
        assert bench.kinds(order) == ["ACKED", "FILL", "FILLED"]
    assert total(bench) == 1
    assert total(gates()) == 1
    bench.clock.now += 601 * SECOND
    assert total(gates()) == 1


async def test_a_cancel_of_an_order_that_nobody_knows_counts_what_was_filled_lately(gates):
    bench = gates()
    order = "hv" + "tests" + TAG + "-stray"
    fill(bench, order, 7, "0.25")
    bench.clock.now += 700 * SECOND
    fill(bench, order, 8, "0.5")
    bench.ask(IntentKind.CANCEL, order)
    await bench.settle()
    assert bench.kinds(order) == ["ACKED", "FILL", "FILL", "CANCELLED"]
    assert total(bench) == Decimal("0.5")  # the first is older than all that a journal forgets
    assert total(gates()) == Decimal("0.5")


async def test_an_order_with_the_longest_id_is_sent_taken_over_adopted_and_cancelled_as_any(gates):
    bench = gates()
    tail = "B" + 22 * "7"
    order = bench.place(tail)
    await bench.settle()
    assert len(order) == 36
    assert parse_order_id(order) == (FLEET_ID, TAG)
    second = gates()
    second.ask(IntentKind.CANCEL, order, worker_epoch=2)
    await second.settle()
    stray = order[:-1] + "8"
    state = live(stray)
    found = second.account.ledger.adopt(state, "BTC-USDT", TAG, second.clock.now)
    second.account.apply(found, second.account.ledger.observe(found, state, (), second.clock.now))
    second.journal.commit()
    third = gates()
    assert third.account.ledger.get(stray).state is State.ACKED
    third.ask(IntentKind.CANCEL, stray, worker_epoch=2)
    await third.settle()
    told = [unpack(reply.pack()) for one in (bench, second, third) for _, reply in one.told]
    assert [(reply.kind.name, reply.client_order_id) for reply in told if reply.kind is not ReplyKind.BALANCE] == [
        ("ACKED", order), ("CANCELLED", order), ("ACKED", stray), ("CANCELLED", stray),
    ]


@pytest.mark.parametrize("name", ["x9ah3kd02kd9a2nd0q2nd9d1a2k9fk3d9a2a", "hvtests" + TAG + "-" + 24 * "7"])
def test_an_id_that_a_person_or_another_program_chose_is_nobodys(name):
    assert parse_order_id(name) is None
