"""What each strategy may spend, held against a count from scratch, over restarts and changes of what it was given."""

import random
from collections.abc import Mapping
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from gate.made_orders import BUY, MAKER, MARKET, MINE, OTHERS, SELL, Desk
from hive.gate.capital import Capital
from hive.gate.exact import plain
from hive.gate.order import Order, State
from hive.gate.tally import last_serial
from hive.shm.refusals import Refusal

Given = Mapping[str, Mapping[str, Decimal]]
GIVEN = {MINE: {"USDT": Decimal(1000), "BTC": Decimal("0.05")}}


class Bench(Desk):
    """One account's capital, and a book whose touch is set."""

    def __init__(self, given: Given = GIVEN) -> None:
        super().__init__()
        self.touch: tuple[float, float] | None = (99.0, 100.0)
        self.start(given)

    def start(self, given: Given) -> None:
        self.capital = Capital(given, lambda pair: self.touch)

    def admit(self, *what: object, **more: object) -> Order:
        order = self.order(*what, **more)
        assert self.capital.check(order) is None
        self.capital.admitted(order)
        return order

    def take(self, order: Order, *fill: str) -> None:
        self.capital.filled(order, self.fill(order, *fill))

    def end(self, order: Order, state: State = State.CANCELLED) -> None:
        order.state = state
        self.capital.ended(order)

    def both(self, asset: str, tag: str = MINE) -> tuple[str, str]:
        """Return (total, free) as texts."""
        return plain(self.capital.total(tag, asset)), plain(self.capital.free(tag, asset))


def test_a_buy_may_cost_what_is_free_and_no_more():
    bench = Bench()
    first = bench.admit(BUY, "4", "100")
    bench.admit(BUY, "6", "100", kind=MAKER)
    assert bench.capital.check(bench.order(BUY, "0.01", "1")) == (
        Refusal.CAPITAL,
        "capital: USDT needed must be <= 0 (free of 1000), was 0.01",
    )
    bench.end(first)
    bench.end(first)
    bench.admit(BUY, "4", "100")


def test_a_sell_may_sell_what_is_free_and_no_more():
    bench = Bench()
    order = bench.admit(SELL, "0.02", "100")
    assert bench.both("BTC") == ("0.05", "0.03")
    assert bench.capital.check(bench.order(SELL, "0.031", "1")) == (
        Refusal.CAPITAL,
        "capital: BTC needed must be <= 0.03 (free of 0.05), was 0.031",
    )
    bench.end(order)
    bench.admit(SELL, "0.05", None, kind=MARKET)


def test_what_was_not_given_is_there_only_once_it_was_bought():
    bench = Bench()
    assert bench.capital.check(bench.order(SELL, "1", "100", pair="ETH-USDT"))[0] is Refusal.CAPITAL
    order = bench.admit(BUY, "2", "100", pair="ETH-USDT")
    bench.take(order, "1", "100")
    bench.admit(SELL, "1", "100", pair="ETH-USDT")
    assert bench.capital.check(bench.order(SELL, "0.1", "100", pair="ETH-USDT"))[0] is Refusal.CAPITAL


def test_a_market_buy_reserves_more_than_the_best_ask_and_needs_one():
    bench = Bench()
    assert bench.capital.check(bench.order(BUY, "9.53", None, kind=MARKET))[0] is Refusal.CAPITAL
    order = bench.admit(BUY, "9.5", None, kind=MARKET)
    assert bench.both("USDT") == ("1000", "2.5")
    bench.take(order, "4.5", "110")  # worse than reserved: what is left to fill stays reserved
    assert bench.both("USDT") == ("505", "-20")
    bench.take(order, "5", "110")
    bench.end(order, State.FILLED)
    assert bench.both("USDT") == ("-45", "-45")
    bench.touch = None
    text = "capital: a market buy needs a best ask of BTC-USDT, there is none"
    assert bench.capital.check(bench.order(BUY, "1", None, kind=MARKET)) == (Refusal.CAPITAL, text)
    assert bench.capital.check(bench.order(SELL, "1", None, kind=MARKET)) is None


def test_a_strategy_without_capital_is_not_held():
    bench = Bench()
    order = bench.admit(BUY, "999999", "999999", OTHERS)
    bench.take(order, "1", "1")
    assert bench.capital.total(OTHERS, "USDT") is None
    assert bench.capital.free(OTHERS, "USDT") is None
    assert bench.capital.accounts(OTHERS) == {}
    assert bench.both("USDT") == ("1000", "1000")


def test_fills_move_totals_at_their_own_price_and_fees_are_charged_where_they_come():
    bench = Bench()
    order = bench.admit(BUY, "2", "100")
    bench.take(order, "1", "90", "0.001", "BTC")
    assert bench.both("USDT") == ("910", "810")
    assert bench.both("BTC") == ("1.049", "1.049")
    bench.take(order, "1", "100", "0.01", "BNB")
    bench.end(order, State.FILLED)
    assert bench.both("USDT") == ("810", "810")
    assert bench.both("BNB") == ("-0.01", "-0.01")
    assert list(bench.capital.accounts(MINE)) == ["BNB", "BTC", "USDT"]
    assert bench.capital.accounts(MINE)["BTC"] == (Decimal("2.049"), Decimal("2.049"))


def test_a_fill_after_the_end_moves_the_total_and_releases_nothing_twice():
    bench = Bench()
    order = bench.admit(BUY, "2", "100")
    bench.end(order)
    bench.take(order, "2", "100")
    assert bench.both("USDT") == ("800", "800")
    bench.end(order)
    assert bench.both("USDT") == ("800", "800")


def test_an_order_that_lives_again_reserves_again():
    bench = Bench()
    order = bench.admit(BUY, "2", "100")
    bench.end(order, State.REJECTED)
    order.state = State.ACKED
    bench.capital.admitted(order)
    bench.capital.admitted(order)
    assert bench.both("USDT") == ("1000", "800")


def test_more_than_the_account_has_was_given_out():
    given = {MINE: {"USDT": Decimal(600), "BTC": Decimal(1)}, OTHERS: {"USDT": Decimal(500)}}
    bench = Bench(given)
    assert bench.capital.over_given({"USDT": Decimal(1100), "BTC": Decimal(1)}) == {}
    over = bench.capital.over_given({"USDT": Decimal("1099.5")})
    assert over == {"USDT": Decimal("0.5"), "BTC": Decimal(1)}


def test_a_debt_of_one_strategy_lends_nothing_to_another():
    bench = Bench({MINE: {"USDT": Decimal(600)}, OTHERS: {"BNB": Decimal(1)}})
    order = bench.admit(BUY, "1", "100")
    bench.take(order, "1", "100", "0.25", "BNB")
    bench.end(order, State.FILLED)
    assert bench.capital.over_given({"USDT": Decimal(500), "BTC": Decimal(1), "BNB": Decimal("0.75")}) == {
        "BNB": Decimal("0.25")
    }


def test_what_belongs_to_no_strategy_is_shown_and_stays_with_nobody():
    bench = Bench()
    balances = {"USDT": Decimal(1500), "BTC": Decimal("0.04"), "DUST": Decimal("0.1")}
    drift = {"USDT": Decimal(500), "BTC": Decimal("-0.01"), "DUST": Decimal("0.1")}
    assert bench.capital.drift(balances) == drift
    assert balances["USDT"] == 1500
    assert bench.both("USDT") == ("1000", "1000")


def restart(bench: Bench, given: Given, notes: dict[str, str], orders: list[Order]) -> list[str]:
    """Start anew from what the journal gives back; returns the lines."""
    bench.start(given)
    lines = bench.capital.restore(notes, last_serial(orders, notes))
    for order in orders:
        bench.capital.restored(order)
    notes |= bench.capital.snapshot()
    for name in [name for name, value in notes.items() if not value]:
        del notes[name]
    return lines


def test_after_a_restart_it_goes_on_with_open_orders_reserved():
    bench, notes = Bench(), {}
    assert restart(bench, GIVEN, notes, []) == []
    order = bench.admit(BUY, "4", "100")
    bench.take(order, "1", "100")
    notes |= bench.capital.snapshot()
    bench.take(order, "1", "100")  # in the journal, not in the notes
    assert restart(bench, GIVEN, notes, [order]) == []
    assert bench.both("USDT") == ("800", "600")
    assert bench.both("BTC") == ("2.05", "2.05")


def test_a_changed_configuration_changes_the_total_by_the_difference_and_says_so():
    bench, notes = Bench(), {}
    restart(bench, GIVEN, notes, [])
    order = bench.admit(BUY, "1", "100")
    bench.take(order, "1", "100")
    bench.end(order, State.FILLED)
    given = {MINE: {"USDT": Decimal(1500), "ETH": Decimal(2)}}
    assert restart(bench, given, notes, [order]) == [
        f"capital of {MINE}: 0 BTC instead of 0.05, the difference is added",
        f"capital of {MINE}: 2 ETH instead of 0, the difference is added",
        f"capital of {MINE}: 1500 USDT instead of 1000, the difference is added",
    ]
    assert bench.both("USDT") == ("1400", "1400")
    assert bench.both("BTC") == ("1", "1")
    assert bench.both("ETH") == ("2", "2")
    assert restart(bench, given, notes, [order]) == []  # said once
    assert bench.both("USDT") == ("1400", "1400")


def test_capital_that_was_taken_back_begins_anew_when_it_is_given_again():
    bench, notes = Bench(), {}
    restart(bench, GIVEN, notes, [])
    order = bench.admit(BUY, "1", "100")
    bench.take(order, "1", "100")
    bench.end(order, State.FILLED)
    assert restart(bench, {}, notes, [order]) == [
        f"capital of {MINE}: 0.05 BTC taken back, it is not held any more",
        f"capital of {MINE}: 1000 USDT taken back, it is not held any more",
    ]
    assert notes == {}
    assert restart(bench, {}, notes, [order]) == []
    assert restart(bench, GIVEN, notes, [order]) == []
    assert bench.both("USDT") == ("1000", "1000")  # its fills were before it was given this
    assert bench.both("BTC") == ("0.05", "0.05")
    late = bench.order(BUY, "1", "100")
    bench.take(late, "1", "100")
    restart(bench, GIVEN, notes, [order, late])
    assert bench.both("USDT") == ("900", "900")


class Slow:
    """Counts from scratch."""

    def __init__(self) -> None:
        self.orders: list[Order] = []

    def total(self, tag: str, asset: str) -> Decimal:
        total = GIVEN[tag].get(asset, Decimal(0))
        for order in self.orders:
            base, quote = order.pair.split("-")
            sign = 1 if order.side is BUY else -1
            for trade in order.trades.values() if order.tag == tag else ():
                total += sign * trade.amount * ((asset == base) - trade.price * (asset == quote))
                total -= trade.fee * (trade.fee_asset == asset)
        return total

    def reserved(self, tag: str, asset: str) -> Decimal:
        reserved = Decimal(0)
        for order in self.orders:
            base, quote = order.pair.split("-")
            left = max(Decimal(0), order.amount - order.filled)
            if not order.final and order.tag == tag:
                buys = order.side is BUY
                reserved += left * order.price * (buys and asset == quote) + left * (not buys and asset == base)
        return reserved


@settings(max_examples=60, deadline=None)
@given(rng=st.randoms(use_true_random=False))
def test_totals_are_what_a_count_from_scratch_gives_and_no_accepted_order_overdraws(rng: random.Random):
    bench, slow, notes = Bench(), Slow(), {}
    restart(bench, GIVEN, notes, [])
    for _ in range(60):
        roll = rng.random()
        order = rng.choice(slow.orders) if slow.orders else None
        if roll < 0.4 or order is None:
            order = bench.order(
                rng.choice((BUY, SELL)),
                Decimal(rng.randrange(1, 10**9)).scaleb(-8),
                Decimal(rng.randrange(1, 10**6)).scaleb(-4),
                rng.choice((MINE, OTHERS)),
                pair=rng.choice(("BTC-USDT", "ETH-BTC")),
            )
            if bench.capital.check(order) is None:
                slow.orders.append(order)
                bench.capital.admitted(order)
                base, quote = order.pair.split("-")
                if order.tag == MINE:
                    assert bench.capital.free(MINE, quote if order.side is BUY else base) >= 0
        elif roll < 0.6 and not order.final:
            left = max(order.amount - order.filled, Decimal("1e-8"))
            amount = max((left * rng.randrange(1, 4) / 3).quantize(Decimal("1e-8")), Decimal("1e-8"))
            bench.take(order, str(amount), str(order.price), "0.00000001", rng.choice(("BNB", "BTC")))
        elif roll < 0.8 and not order.final:
            bench.end(order)
        elif roll < 0.9:
            notes |= bench.capital.snapshot()
        elif roll < 0.95:
            assert restart(bench, GIVEN, notes, rng.sample(slow.orders, len(slow.orders))) == []
        for asset in ("BTC", "USDT", "ETH", "BNB"):
            assert bench.capital.total(MINE, asset) == slow.total(MINE, asset)
            assert bench.capital.free(MINE, asset) == slow.total(MINE, asset) - slow.reserved(MINE, asset)
