"""What was won and lost, by hand and from scratch, over days, runs and restarts, with prices that come and go."""

import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.made_orders import BUY, MINE, OTHERS, SELL, Desk
from hive.gate.order import Order
from hive.gate.profit import Profit, window_name
from hive.gate.tally import last_serial

DAY_NS = 86_400_000_000_000
MIDNIGHT_NS = 20_783 * DAY_NS
USDT = (MINE, "USDT")


class Bench(Desk):
    """One account's results, and mids that are set."""

    def __init__(self, window: str = "run one") -> None:
        super().__init__()
        self.mids: dict[str, float] = {"BTC-USDT": 100.0}
        self.orders: list[Order] = []
        self.notes: dict[str, str] = {}
        self.start(window)

    def start(self, window: str) -> None:
        """Start, or start anew from what the journal gives back."""
        self.profit = Profit("sim", self.mids.get, window)
        self.profit.restore(self.notes, last_serial(self.orders, self.notes))
        for order in self.orders:
            self.profit.restored(order)
        self.note()

    def note(self) -> None:
        """Write what changed into the journal."""
        self.notes |= self.profit.snapshot()
        self.notes = {name: value for name, value in self.notes.items() if value}

    def trade(self, side, amount: str, price: str, *fee: str, tag: str = MINE, pair: str = "BTC-USDT") -> None:
        order = self.order(side, amount, price, tag, pair=pair)
        self.orders.append(order)
        self.profit.filled(order, self.fill(order, amount, price, *fee))

    def won(self, of: tuple[str, str] = USDT) -> Decimal:
        return self.profit.results().won[of]


def test_a_result_is_what_came_in_and_what_is_left_at_the_mid():
    bench = Bench()
    bench.trade(BUY, "3", "90")
    assert bench.won() == 30
    bench.trade(SELL, "1", "110")
    assert bench.won() == -270 + 110 + 200
    bench.mids["BTC-USDT"] = 50.5
    assert bench.won() == Decimal("-59.0")
    bench.trade(SELL, "4", "60")  # short by 2
    assert bench.won() == -270 + 110 + 240 - 101


def test_fees_count_whatever_they_are_paid_in():
    bench = Bench()
    bench.trade(BUY, "1", "100", "0.01", "BTC")
    assert bench.won() == -1
    bench.trade(SELL, "1", "100", "0.5", "USDT")
    assert bench.won() == Decimal("-1.5")
    bench.trade(SELL, "1", "100", "0.002", "BNB")
    bench.mids["BNB-USDT"] = 500.0
    assert bench.won() == Decimal("-2.5")
    assert bench.profit.results().unvalued == {}


def test_a_fee_in_an_asset_without_a_price_is_left_out_and_said():
    bench = Bench()
    bench.trade(BUY, "1", "90", "0.002", "BNB")
    bench.trade(BUY, "1", "90", "0.003", "BNB")
    results = bench.profit.results()
    assert results.won == {USDT: 20}
    assert results.unvalued == {(MINE, "BNB"): Decimal("-0.005")}
    assert results.unknown == {}


@pytest.mark.parametrize("gone", [None, 0.0, float("nan"), float("inf")])
def test_the_mid_known_last_stands_in_and_without_any_a_result_is_not_known(gone):
    bench = Bench()
    bench.trade(BUY, "1", "90")
    bench.trade(BUY, "1", "90", pair="ETH-USDT")
    bench.trade(BUY, "1", "90", tag=OTHERS)
    bench.mids["ETH-USDT"] = gone
    results = bench.profit.results()
    assert results.won == {(OTHERS, "USDT"): 10}
    assert results.unknown == {USDT: "ETH-USDT"}
    bench.mids["ETH-USDT"] = 80.0
    assert bench.won() == 0
    bench.mids["ETH-USDT"] = bench.mids["BTC-USDT"] = gone
    assert bench.won() == 0
    bench.trade(SELL, "1", "70", pair="ETH-USDT")
    assert bench.won() == -10


def test_each_quote_asset_has_its_own_result():
    bench = Bench()
    bench.mids["ETH-BTC"] = 0.05
    bench.trade(BUY, "1", "90")
    bench.trade(BUY, "1", "0.06", pair="ETH-BTC")
    assert bench.profit.results().won == {USDT: 10, (MINE, "BTC"): Decimal("-0.01")}


def test_a_window_is_named_by_run_or_by_the_day_in_utc():
    assert window_name("run", "r7", MIDNIGHT_NS) == "run r7"
    assert window_name("day", "r7", MIDNIGHT_NS - 1) == "day 2026-11-25"
    assert window_name("day", "r7", MIDNIGHT_NS) == "day 2026-11-26"


def test_a_new_day_begins_at_nothing_and_what_is_held_counts_from_its_first_mid():
    bench = Bench("day 2026-11-25")
    bench.trade(BUY, "2", "150", "1", "BNB")
    assert bench.won() == -100
    bench.profit.enter("day 2026-11-25")
    bench.profit.enter("day 2026-11-24")  # a clock that goes back
    assert bench.won() == -100
    bench.profit.enter("day 2026-11-26")
    assert bench.won() == 0
    assert bench.profit.results().unvalued == {}
    bench.mids["BTC-USDT"] = 90.0
    assert bench.won() == -20
    bench.trade(SELL, "2", "80")
    assert bench.won() == -40
    bench.profit.enter("day 2026-11-27")
    bench.mids["BTC-USDT"] = 1.0
    assert bench.won() == 0


def test_what_is_carried_over_a_restart_without_a_price_waits_for_one():
    bench = Bench("day 2026-11-25")
    bench.trade(BUY, "2", "150")
    bench.note()
    bench.trade(BUY, "1", "150")  # in the journal, not in the notes
    bench.mids.clear()
    bench.start("day 2026-11-27")
    bench.profit.enter("day 2026-11-27")
    assert bench.profit.results().unknown == {USDT: "BTC-USDT"}
    bench.trade(SELL, "1", "120")
    bench.note()
    bench.start("day 2026-11-27")
    assert bench.profit.results().won == {}
    bench.mids["BTC-USDT"] = 110.0
    assert bench.won() == 10
    bench.mids["BTC-USDT"] = 100.0
    assert bench.won() == -10


def test_a_restarted_gate_goes_on_and_a_new_run_begins_at_nothing():
    bench = Bench("run one")
    bench.trade(BUY, "1", "150")
    bench.note()
    bench.trade(BUY, "1", "150")
    bench.start("run one")
    assert bench.won() == -100
    bench.start("run two")
    assert bench.profit.results().won == {}
    bench.trade(SELL, "1", "99")
    bench.start("run two")
    assert bench.won() == -1
    bench.start("day 2026-11-26")
    assert bench.profit.results().won == {}


@settings(max_examples=60, deadline=None)
@given(rng=st.randoms(use_true_random=False))
def test_results_are_what_a_count_from_scratch_gives_also_after_restarts(rng: random.Random):
    bench = Bench()
    bench.mids |= {"ETH-BTC": 0.05, "BNB-USDT": 500.5, "BNB-BTC": 0.01}
    for _ in range(50):
        roll = rng.random()
        if roll < 0.6:
            bench.trade(
                rng.choice((BUY, SELL)),
                str(Decimal(rng.randrange(1, 10**9)).scaleb(-8)),
                str(Decimal(rng.randrange(1, 10**6)).scaleb(-4)),
                str(Decimal(rng.randrange(10**4)).scaleb(-8)),
                rng.choice(("BNB", "BTC", "USDT")),
                tag=rng.choice((MINE, OTHERS)),
                pair=rng.choice(("BTC-USDT", "ETH-BTC")),
            )
        elif roll < 0.8:
            bench.mids[rng.choice(sorted(bench.mids))] = rng.uniform(0.01, 1000)
        elif roll < 0.9:
            bench.note()
        else:
            rng.shuffle(bench.orders)
            bench.start("run one")
        expected: dict[tuple[str, str], Decimal] = {}
        mid = {pair: Decimal(repr(price)) for pair, price in bench.mids.items()}
        for order in bench.orders:
            base, quote = order.pair.split("-")
            sign = 1 if order.side is BUY else -1
            for trade in order.trades.values():
                worth = {base: mid[order.pair], quote: Decimal(1)}
                fee = trade.fee * (worth.get(trade.fee_asset) or mid.get(f"{trade.fee_asset}-{quote}") or Decimal(0))
                won = sign * trade.amount * (mid[order.pair] - trade.price) - fee
                expected[order.tag, quote] = expected.get((order.tag, quote), Decimal(0)) + won
        won = bench.profit.results().won
        assert won.keys() == expected.keys()
        assert all(abs(won[of] - expected[of]) < Decimal("1e-12") for of in won)
