"""What a strategy with capital is shown of it: what the gate holds, and what a count from scratch gives, always.

The world of test_account_properties.py: real router, links, account, journal; orders of both sides and many prices,
partial fills, fees in base, quote and a third asset, cancels, orders of unknown fate, deaths of gate and workers.
"""

import logging
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.fake_venue import OTHER, TAG, AccountBench
from gate.model_steps import check_at_rest, do, lives, settle, steps
from gate.model_worker import TAGS, Worker, strategy_counters
from gate.model_world import World
from hive.gate.venue import OrderStatus
from hive.shm.decimals import halves, to_mantissa, whole
from hive.shm.messages import ReplyKind, Side
from hive.workers.accounts import Accounts

EXAMPLES = 60
GIVEN = {TAG: {"USDT": Decimal("100.1"), "BTC": Decimal("2.00000003")}, OTHER: {"USDT": Decimal(30)}}
PRICES = tuple(map(Decimal, ("10", "9.12345678", "11.00000001", "0.00000123")))
AMOUNTS = tuple(map(Decimal, ("1", "0.12345678", "0.5", "3.3")))
FEES = (("0.001", "BTC"), ("0.01234567", "USDT"), ("0.00000001", "BNB"), ("0", "BNB"))

type Seen = dict[str, tuple[Decimal, Decimal]]


def seen(worker: Worker) -> Seen:
    """Return (total, free) by asset as a connector reads it."""
    totals, free = worker.router.total_balances(0, worker.tag), worker.router.free_balances(0, worker.tag)
    assert totals.keys() == free.keys()
    return {asset: (totals[asset], free[asset]) for asset in totals}


def counted(world: World, tag: str) -> Seen:
    """Return the same from what the exchange knows."""
    totals, free = dict(GIVEN[tag]), dict(GIVEN[tag])

    def move(asset: str, total: Decimal, reserved: Decimal = Decimal(0)) -> None:
        totals[asset] = totals.get(asset, Decimal(0)) + total
        free[asset] = free.get(asset, Decimal(0)) + total - reserved

    for name, placed in world.exchange.orders.items():
        if world.placed[name].tag != tag:
            continue
        buys, price = placed.order.side is Side.BUY, placed.order.price
        for trade in placed.trades:
            cost = trade.price * trade.amount
            move("BTC", trade.amount if buys else -trade.amount)
            move("USDT", -cost if buys else cost)
            move(trade.fee_asset, -trade.fee)
        if placed.status is OrderStatus.LIVE:
            move("USDT" if buys else "BTC", Decimal(0), placed.left * (price if buys else 1))
    return {asset: (totals[asset], free[asset]) for asset in totals}


def same(one: Seen, other: Seen) -> bool:
    """Compare, with an asset that is not there being 0."""
    nothing = (Decimal(0), Decimal(0))
    return all(one.get(asset, nothing) == other.get(asset, nothing) for asset in {*one, *other})


def check_shown(world: World) -> None:
    """Each strategy sees what the gate holds, as soon as messages have crossed."""
    world.pump()
    for worker in filter(None, world.workers):
        if world.gate is not None and not worker.busy:
            assert same(seen(worker), world.gate.bench.account.guards.capital.accounts(worker.tag))


def step(world: World, kind: str, a: int, b: int) -> None:
    """Take a step; placements are of all kinds here."""
    worker = world.workers[a % 2]
    world.exchange.fee = (Decimal(FEES[b % 4][0]), FEES[b % 4][1])
    if kind == "place" and worker is not None:
        worker.place(Side.SELL if a >= 5 else Side.BUY, PRICES[b % 4], AMOUNTS[a % 4])
    else:
        do(world, kind, a, b)
    check_shown(world)


@pytest.fixture(scope="module")
def counters():
    return strategy_counters()


@given(st.booleans(), steps(30, 60))
@lives(EXAMPLES)
def test_a_strategy_sees_what_the_gate_holds_and_what_a_count_from_scratch_gives(counters, cancel_lost, steps):
    log = logging.getLogger("test")
    with TemporaryDirectory() as folder:
        world = World(Path(folder), counters, cancel_lost, GIVEN)
        log.addHandler(world.errors)
        try:
            for one in steps:
                step(world, *one)
            settle(world)
            for _ in range(2):  # before and after everything was killed
                check_shown(world)
                for worker in world.workers:
                    assert same(seen(worker), counted(world, worker.tag)), worker.tag
                check_at_rest(world)
                settle(world)
        finally:
            log.removeHandler(world.errors)
            world.close()


@pytest.fixture
def bench(tmp_path):
    bench = AccountBench(tmp_path, given=GIVEN)
    yield bench
    bench.close()


async def test_the_capital_is_told_before_the_order_that_moved_it(bench):
    bench.account.guards.tick({"USDT": Decimal(10**6), "BTC": Decimal(10**6)}, bench.clock.now)
    bench.place("1")
    balance = bench.told[0][1]
    assert (balance.kind, balance.client_order_id, balance.fee_asset) == (ReplyKind.BALANCE, TAG, "USDT")
    assert (balance.amount, balance.cumulative) == (Decimal("90.1"), Decimal(10))


async def test_strategies_without_capital_are_told_of_none(tmp_path):
    bench = AccountBench(tmp_path)
    bench.place("1")
    bench.account.lives.tell_capital(set(TAGS))
    assert [reply for _, reply in bench.told if reply.kind is ReplyKind.BALANCE] == []
    bench.close()


async def test_a_workers_next_life_is_told_everything_anew(bench):
    bench.place("1")
    bench.told.clear()
    bench.account.lives.tell_capital({TAG})
    accounts = Accounts()
    for tag, reply in bench.told:
        assert tag == TAG
        assert accounts.take(reply)
    capital = accounts.capital(TAG, 0)
    assert capital.totals == {"USDT": Decimal("100.1"), "BTC": Decimal("2.00000003")}
    assert capital.free == {"USDT": Decimal("90.1"), "BTC": Decimal("2.00000003")}
    assert accounts.capital(OTHER, 0).totals == accounts[0].totals == {}


@given(st.decimals(allow_nan=False, allow_infinity=False, places=30, min_value=-(10**5), max_value=10**5))
def test_halves_are_sendable_and_sum_up_exactly(value):
    high, low = halves(value)
    for half in (high, low):
        to_mantissa(half)
    assert whole(high, low) == value
