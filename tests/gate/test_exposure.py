"""Limits from a boot message, and what counts against them: all counters against a count from scratch."""

import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.made_orders import BUY, MINE, OTHERS, SELL
from gate.risk_bench import Bench, limits
from hive.gate.errors import BootError
from hive.gate.exposure import RiskLimits
from hive.gate.order import Order, State
from hive.gate.tally import last_serial


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"max_order_notional": "-1"}, "risk: max_order_notional must be a number >= 0, was -1"),
        ({"max_position": {"BTC": "NaN"}}, "risk: max_position of BTC must be a number >= 0, was NaN"),
        ({"max_open_orders": -1}, "risk: max_open_orders must be a number >= 0, was -1"),
        ({"price_band": "Infinity"}, "risk: price_band must be a number >= 0, was Infinity"),
        ({"self_trade": "maybe"}, "risk: self_trade must be refuse or allow, was 'maybe'"),
    ],
)
def test_limits_that_are_none_are_refused(section, message):
    with pytest.raises(BootError) as error:
        RiskLimits.from_boot(section)
    assert str(error.value) == message


def test_a_boot_message_becomes_limits():
    section = {
        "max_order_notional": "1000.50",
        "max_position": {"BTC": "0.1"},
        "max_open_orders": 7,
        "price_band": None,
        "self_trade": None,
        "loss_limit": {"USDT": "5"},
    }
    expected = RiskLimits(Decimal("1000.50"), {"BTC": Decimal("0.1")}, 7)
    assert RiskLimits.from_boot(section) == expected
    assert RiskLimits.from_boot(None) == RiskLimits()


class Slow:
    """Counts everything from scratch, from all orders there ever were."""

    def __init__(self) -> None:
        self.orders: list[Order] = []

    def position(self, tags: tuple[str, ...], asset: str) -> Decimal:
        net = Decimal(0)
        for order in self.orders:
            base, quote = order.pair.split("-")
            sign = 1 if order.side is BUY else -1
            for trade in order.trades.values() if order.tag in tags else ():
                net += sign * trade.amount * ((asset == base) - trade.price * (asset == quote))
                net -= trade.fee * (trade.fee_asset == asset)
        return net

    def reach(self, tags: tuple[str, ...], asset: str) -> tuple[Decimal, Decimal]:
        up = down = Decimal(0)
        for order in self.orders:
            if order.final or order.tag not in tags:
                continue
            base, quote = order.pair.split("-")
            left = max(Decimal(0), order.amount - order.filled)
            gains = base if order.side is BUY else quote
            size = left if asset == base else left * order.price
            if asset in (base, quote):
                up, down = (up + size, down) if asset == gains else (up, down + size)
        net = self.position(tags, asset)
        return net - down, net + up

    def open_orders(self, tags: tuple[str, ...]) -> int:
        return sum(not order.final and order.tag in tags for order in self.orders)


@settings(max_examples=60, deadline=None)
@given(rng=st.randoms(use_true_random=False))
def test_counters_are_what_a_count_from_scratch_gives_also_after_restarts(rng: random.Random):
    slow = Slow()
    watched = limits(max_position=dict.fromkeys(("BTC", "USDT", "ETH"), Decimal(10**9)))
    bench = Bench(watched, watched, {MINE: watched})
    journal: dict[str, str] = {}
    for step in range(60):
        roll = rng.random()
        order = rng.choice(slow.orders) if slow.orders else None
        if roll < 0.3 or order is None:
            price = Decimal(rng.randrange(1, 10**9)).scaleb(-4)
            order = bench.order(
                rng.choice((BUY, SELL)),
                Decimal(rng.randrange(1, 10**12)).scaleb(-8),
                price,
                rng.choice((MINE, OTHERS)),
                pair=rng.choice(("BTC-USDT", "ETH-BTC")),
            )
            slow.orders.append(order)
            bench.risk.admitted(order)
        elif roll < 0.6:
            left = max(order.amount - order.filled, Decimal("0.00000001"))
            amount = (left * rng.randrange(1, 4) / 3).quantize(Decimal("1e-8")) or Decimal("1e-8")
            fee = Decimal(rng.randrange(10**6)).scaleb(-8)
            bench.take(order, amount, str(order.price), str(fee), rng.choice(("BTC", "BNB", "USDT")))
        elif roll < 0.8:
            if not order.final:
                bench.end(order, rng.choice((State.CANCELLED, State.FILLED, State.REJECTED)))
        elif roll < 0.83:
            order.state = State.ACKED
            bench.risk.admitted(order)
        elif roll < 0.9:
            journal |= bench.risk.snapshot()
        elif roll < 0.93:
            # what the journal gives back: the notes of a while ago, and every order that may have moved since
            serial = bench.serial
            bench = Bench(watched, watched, {MINE: watched})
            bench.serial = serial
            bench.risk.restore(journal)
            rng.shuffle(slow.orders)
            assert last_serial(slow.orders, journal) == serial
            for known in slow.orders:
                bench.risk.restored(known)
        for tags, holder in (
            ((MINE,), bench.fleet.strategy(MINE)),
            ((MINE, OTHERS), bench.risk.account),
            ((MINE, OTHERS), bench.fleet),
        ):
            for asset in ("BTC", "USDT", "ETH", "BNB"):
                assert holder.position(asset) == slow.position(tags, asset), step
            for asset in ("BTC", "USDT", "ETH"):
                assert holder.reach(asset) == slow.reach(tags, asset), step
            assert holder.open_orders == slow.open_orders(tags)
        assert bench.risk.position(MINE, "BTC") == slow.position((MINE,), "BTC")
