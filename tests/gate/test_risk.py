"""Every limit with its message and its edge, and all counters against a count from scratch."""

import random
from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.made_orders import BUY, LIMIT, MAKER, MARKET, MINE, OTHERS, SELL, Desk
from hive.gate.errors import BootError
from hive.gate.exposure import FleetRisk, RiskLimits
from hive.gate.order import Order, State
from hive.gate.risk import Risk
from hive.gate.tally import last_serial
from hive.shm.refusals import Refusal

ALLOW = RiskLimits(self_trade="allow")


def limits(**given: object) -> RiskLimits:
    """Return limits that do not mind self-trades unless told to."""
    return RiskLimits(**{"self_trade": "allow", **given})


class Bench(Desk):
    """One account's risk, and a book whose touch is set."""

    def __init__(
        self, account: RiskLimits = ALLOW, fleet: RiskLimits = ALLOW, strategies: dict[str, RiskLimits] | None = None
    ) -> None:
        super().__init__()
        self.touch: tuple[float | Decimal, float | Decimal] | None = (99.0, 101.0)
        self.fleet = FleetRisk(fleet, strategies or {})
        self.risk = Risk(account, self.fleet, lambda pair: self.touch)

    def admit(self, *what: object, **more: object) -> Order:
        order = self.order(*what, **more)
        assert self.risk.check(order) is None
        self.risk.admitted(order)
        return order

    def take(self, order: Order, amount: str | Decimal, price: str, *fee: str) -> None:
        self.risk.filled(order, self.fill(order, amount, price, *fee))

    def end(self, order: Order, state: State = State.CANCELLED) -> None:
        order.state = state
        self.risk.ended(order)


HOLDERS = {
    "strategy": lambda own: Bench(strategies={MINE: own}),
    "account": lambda own: Bench(account=own),
    "fleet": lambda own: Bench(fleet=own),
}
each_holder = pytest.mark.parametrize(("holder", "bench_with"), HOLDERS.items())
BenchWith = Callable[[RiskLimits], Bench]


@each_holder
def test_an_order_may_be_worth_its_limit_and_no_more(holder: str, bench_with: BenchWith):
    bench = bench_with(limits(max_order_notional=Decimal(1000)))
    assert bench.risk.check(bench.order(BUY, "10", "100")) is None
    assert bench.risk.check(bench.order(SELL, "10", "100.01")) == (
        Refusal.ORDER_NOTIONAL,
        f"{holder} max_order_notional must be <= 1000 USDT, was 1000.1",
    )


def test_a_market_order_is_worth_what_it_takes_first():
    bench = Bench(account=limits(max_order_notional=Decimal(1000)))
    assert bench.risk.check(bench.order(BUY, "9.9", None, kind=MARKET)) is None
    assert bench.risk.check(bench.order(BUY, "10", None, kind=MARKET)) == (
        Refusal.ORDER_NOTIONAL,
        "account max_order_notional must be <= 1000 USDT, was 1010",
    )
    assert bench.risk.check(bench.order(SELL, "10", None, kind=MARKET)) is None  # 990


@pytest.mark.parametrize("touch", [None, (99.0, 0.0), (99.0, float("nan")), (99.0, float("inf"))])
def test_what_needs_a_price_is_refused_where_there_is_none(touch):
    for own, refusal, name in (
        (limits(max_order_notional=Decimal(1000)), Refusal.ORDER_NOTIONAL, "account max_order_notional"),
        (limits(price_band=Decimal("0.05")), Refusal.PRICE_BAND, "account price_band"),
        (limits(max_position={"USDT": Decimal(1000)}), Refusal.POSITION, "account max_position"),
    ):
        bench = Bench(account=own)
        bench.touch = touch
        fault = (refusal, f"{name} needs a best ask of BTC-USDT, there is none")
        assert bench.risk.check(bench.order(BUY, "1", None, kind=MARKET)) == fault
    bench = Bench(account=limits(max_position={"BTC": Decimal(1)}, max_open_orders=5))
    bench.touch = touch
    assert bench.risk.check(bench.order(BUY, "1", None, kind=MARKET)) is None  # nothing of it needs a price


@each_holder
def test_as_many_orders_may_be_open_as_the_limit_says(holder: str, bench_with: BenchWith):
    bench = bench_with(limits(max_open_orders=2))
    first = bench.admit(BUY, "1", "90")
    bench.admit(BUY, "1", "90")
    refused = (Refusal.OPEN_ORDERS, f"{holder} max_open_orders must be <= 2, would be 3")
    assert bench.risk.check(bench.order(SELL, "1", "110")) == refused
    bench.end(first)
    bench.risk.ended(first)  # an end counts once
    bench.admit(SELL, "1", "110")
    assert bench.risk.check(bench.order(SELL, "1", "110")) == refused


def test_other_strategies_orders_count_for_account_and_fleet_only():
    bench = Bench(account=limits(max_open_orders=3), strategies={MINE: limits(max_open_orders=1)})
    bench.admit(BUY, "1", "90", OTHERS)
    bench.admit(BUY, "1", "90", OTHERS)
    bench.admit(BUY, "1", "90", MINE)
    assert bench.risk.check(bench.order(BUY, "1", "90", MINE))[1].startswith("strategy max_open_orders")
    assert bench.risk.check(bench.order(BUY, "1", "90", OTHERS))[1].startswith("account max_open_orders")


@each_holder
def test_a_price_may_go_beyond_the_touch_as_far_as_the_band(holder: str, bench_with: BenchWith):
    bench = bench_with(limits(price_band=Decimal("0.05")))
    bench.touch = (100.0, 200.0)
    for judge in (bench.risk.check, bench.risk.recheck):
        assert judge(bench.order(BUY, "1", "210")) is None
        assert judge(bench.order(SELL, "1", "95")) is None
        assert judge(bench.order(BUY, "1", "1")) is None  # what is far on the passive side takes nothing
        assert judge(bench.order(SELL, "1", "9999")) is None
        assert judge(bench.order(BUY, "1", None, kind=MARKET)) is None
        assert judge(bench.order(BUY, "1", "210.01")) == (
            Refusal.PRICE_BAND,
            f"{holder} price_band: a buy must be <= 210, was 210.01",
        )
        assert judge(bench.order(SELL, "1", "94.99")) == (
            Refusal.PRICE_BAND,
            f"{holder} price_band: a sell must be >= 95, was 94.99",
        )
        bench.touch = (100.0, 0.0)
        refused = (Refusal.PRICE_BAND, f"{holder} price_band needs a best ask of BTC-USDT, there is none")
        assert judge(bench.order(BUY, "1", "100")) == refused
        assert judge(bench.order(BUY, "1", None, kind=MARKET)) == refused
        assert judge(bench.order(SELL, "1", "95")) is None  # its side has a price
        bench.touch = (100.0, 200.0)


def test_the_tightest_band_counts_and_is_named():
    bench = Bench(account=limits(price_band=Decimal("0.5")), fleet=limits(price_band=Decimal("0.01")))
    text = "fleet price_band: a buy must be <= 102.01, was 102.02"
    assert bench.risk.check(bench.order(BUY, "1", "102.02")) == (Refusal.PRICE_BAND, text)


def test_at_sending_the_band_is_held_against_the_book_of_then():
    bench = Bench(account=limits(price_band=Decimal("0.05")))
    order = bench.admit(BUY, "1", "105")
    assert bench.risk.recheck(order) is None
    bench.touch = (79.0, 80.0)
    assert bench.risk.recheck(order) == (Refusal.PRICE_BAND, "account price_band: a buy must be <= 84, was 105")
    bench.touch = None
    assert bench.risk.recheck(order)[0] is Refusal.PRICE_BAND


@each_holder
def test_position_and_open_orders_together_stay_within_the_limit(holder: str, bench_with: BenchWith):
    bench = bench_with(limits(max_position={"BTC": Decimal(2)}))
    order = bench.admit(BUY, "1.5", "90")
    bench.take(order, "1", "90")
    bench.admit(BUY, "0.5", "90")  # 1 held, 1 open: exactly the limit
    refused = f"{holder} max_position: BTC must stay within 2, would be 2.001"
    assert bench.risk.check(bench.order(BUY, "0.001", "90")) == (Refusal.POSITION, refused)
    sells = bench.admit(SELL, "3", "110")  # what is open to buy does not count on this side
    refused = f"{holder} max_position: BTC must stay within 2, would be -2.001"
    assert bench.risk.check(bench.order(SELL, "0.001", "110")) == (Refusal.POSITION, refused)
    bench.end(order)
    bench.end(sells)
    bench.admit(BUY, "0.5", "90")
    assert bench.risk.check(bench.order(BUY, "0.001", "90"))[0] is Refusal.POSITION


def test_a_position_beyond_its_limit_may_shrink_and_not_grow():
    bench = Bench(account=limits(max_position={"BTC": Decimal(1)}))
    found = bench.order(BUY, "5", "90")  # a fill of before the limit
    bench.take(found, "5", "90")
    assert bench.risk.check(bench.order(SELL, "2", "110")) is None
    assert bench.risk.check(bench.order(SELL, "6", "110")) is None
    assert bench.risk.check(bench.order(SELL, "6.5", "110"))[0] is Refusal.POSITION
    assert bench.risk.check(bench.order(BUY, "0.1", "110"))[0] is Refusal.POSITION


def test_both_assets_of_a_pair_are_positions_and_fees_are_part_of_them():
    bench = Bench(account=limits(max_position={"BTC": Decimal(1)}))
    bench.touch = None
    order = bench.admit(BUY, "8", "0.1", pair="ETH-BTC")  # costs 0.8 BTC
    refused = "account max_position: BTC must stay within 1, would be -1.1"
    assert bench.risk.check(bench.order(BUY, "3", "0.1", pair="ETH-BTC")) == (Refusal.POSITION, refused)
    bench.take(order, "8", "0.05", "0.01", "BTC")  # cheaper than reserved
    bench.end(order, State.FILLED)
    assert bench.risk.account.position("BTC") == Decimal("-0.41")
    assert bench.risk.account.reach("BTC") == (Decimal("-0.41"), Decimal("-0.41"))
    assert bench.risk.check(bench.order(SELL, "2", "1", pair="ETH-BTC"))[0] is Refusal.POSITION
    assert bench.risk.check(bench.order(SELL, "1.41", "1", pair="ETH-BTC")) is None


def test_a_fill_after_the_end_moves_the_position_and_nothing_else():
    bench = Bench(account=limits(max_position={"BTC": Decimal(2)}))
    order = bench.admit(BUY, "2", "90")
    bench.end(order)
    bench.take(order, "2", "90")
    assert bench.risk.account.position("BTC") == 2
    assert bench.risk.account.reach("BTC") == (2, 2)
    assert bench.risk.account.open_orders == 0
    assert bench.risk.check(bench.order(BUY, "0.1", "90"))[0] is Refusal.POSITION


def test_an_order_that_lives_again_counts_again():
    bench = Bench(account=limits(max_position={"BTC": Decimal(2)}, max_open_orders=1))
    order = bench.admit(BUY, "2", "90")
    bench.end(order, State.REJECTED)
    order.state = State.ACKED
    bench.risk.admitted(order)
    assert bench.risk.account.reach("BTC") == (0, 2)
    assert bench.risk.check(bench.order(BUY, "2", "90"))[0] is Refusal.OPEN_ORDERS
    bench.end(order)
    assert bench.risk.account.reach("BTC") == (0, 0)


def test_a_strategy_has_one_position_over_all_accounts_and_an_account_its_own():
    desk = Desk()
    fleet = FleetRisk(limits(max_position={"BTC": Decimal(3)}), {MINE: limits(max_position={"BTC": Decimal(2)})})
    one, two = (Risk(limits(max_position={"BTC": Decimal("1.5")}), fleet, lambda pair: None) for _ in range(2))
    one.admitted(desk.order(BUY, "1", "90"))
    order = desk.order(BUY, "1", "90")
    assert two.check(order) is None
    two.admitted(order)
    assert two.check(desk.order(BUY, "0.1", "90"))[1].startswith("strategy max_position")
    assert two.check(desk.order(BUY, "0.6", "90", OTHERS))[1].startswith("account max_position")
    two.admitted(desk.order(BUY, "0.5", "90", OTHERS))
    one.admitted(desk.order(BUY, "0.5", "90", OTHERS))
    assert one.check(desk.order(BUY, "0.1", "90", "third"))[1].startswith("account max_position")
    three = Risk(limits(), fleet, lambda pair: None)
    assert three.check(desk.order(BUY, "0.1", "90", "third"))[1].startswith("fleet max_position")


CROSSED = [
    ((SELL, "1", "100", OTHERS), (BUY, "1", "100"), "self_trade: BTC-USDT 100 meets another strategy's sell at 100"),
    ((SELL, "1", "100", OTHERS), (BUY, "1", "101"), "self_trade: BTC-USDT 101 meets another strategy's sell at 100"),
    ((BUY, "1", "100", OTHERS), (SELL, "1", "99.5"), "self_trade: BTC-USDT 99.5 meets another strategy's buy at 100"),
]


@pytest.mark.parametrize("state", [State.PENDING, State.SENT, State.UNKNOWN, State.ACKED])
@pytest.mark.parametrize(("first", "second", "text"), CROSSED)
def test_a_limit_order_that_would_trade_with_another_strategys_is_refused(state, first, second, text):
    bench = Bench(account=RiskLimits(), fleet=RiskLimits())
    bench.touch = None
    theirs = bench.admit(*first, state=state)
    order = bench.order(*second)
    assert bench.risk.check(order) == (Refusal.SELF_TRADE, text)
    assert bench.risk.recheck(order) == (Refusal.SELF_TRADE, text)
    bench.end(theirs)
    assert bench.risk.check(order) is None


@pytest.mark.parametrize(("price", "kind"), [("101", LIMIT), ("101", MAKER), (None, MARKET)])
def test_a_strategy_may_trade_with_itself(price, kind):
    bench = Bench(account=RiskLimits(), fleet=RiskLimits())
    bench.admit(SELL, "1", "100", state=State.SENT)
    bench.admit(SELL, "1", "102", OTHERS)
    order = bench.admit(BUY, "1", price, kind=kind)
    assert bench.risk.recheck(order) is None


@pytest.mark.parametrize("state", [State.SENT, State.UNKNOWN, State.ACKED])
@pytest.mark.parametrize(
    ("side", "others_side", "meets", "passes"),
    [(BUY, SELL, ("100", "101"), ("101.01", "150")), (SELL, BUY, ("100", "99"), ("98.99", "50"))],
)
def test_a_market_order_is_refused_while_another_strategy_rests_at_the_best_price(
    state, side, others_side, meets, passes
):
    for price in passes:
        bench = Bench(account=RiskLimits(), fleet=RiskLimits())
        bench.admit(others_side, "1", price, OTHERS, state=state)
        for judge in (bench.risk.check, bench.risk.recheck):
            assert judge(bench.order(side, "1", None, kind=MARKET)) is None
    name = others_side.name.lower()
    for price in meets:
        bench = Bench(account=RiskLimits(), fleet=RiskLimits())
        bench.admit(others_side, "1", price, OTHERS, state=state)
        refused = Refusal.SELF_TRADE, f"self_trade: BTC-USDT market meets another strategy's {name} at {price}"
        for judge in (bench.risk.check, bench.risk.recheck):
            order = bench.order(side, "1", None, kind=MARKET)
            assert judge(order) == refused
            bench.touch = None
            assert judge(order) is None  # nobody knows: only a price band asks for a book
            bench.touch = (99.0, 101.0)


def test_a_market_order_meets_what_waits_once_that_has_been_sent():
    bench = Bench(account=RiskLimits(), fleet=RiskLimits())
    waiting = bench.admit(SELL, "1", "101", OTHERS, state=State.PENDING)
    order = bench.admit(BUY, "1", None, kind=MARKET)
    assert bench.risk.recheck(order) is None
    waiting.state = State.SENT
    assert bench.risk.recheck(order)[0] is Refusal.SELF_TRADE


@pytest.mark.parametrize("state", [State.PENDING, State.SENT])
@pytest.mark.parametrize("kind", [LIMIT, MAKER, MARKET])
def test_a_market_order_that_waits_or_is_on_its_way_is_in_nobodys_way(state, kind):
    bench = Bench(account=RiskLimits(), fleet=RiskLimits())
    market = bench.admit(SELL, "1", None, OTHERS, MARKET, state=state)
    assert bench.risk.check(bench.order(BUY, "1", None if kind is MARKET else "150", kind=kind)) is None
    bench.end(market, State.FILLED)


def test_orders_that_do_not_cross_or_are_of_other_pairs_live_beside_each_other():
    bench = Bench(account=RiskLimits(), fleet=RiskLimits())
    bench.admit(SELL, "1", "100")
    bench.admit(BUY, "1", "99.99", OTHERS)
    bench.admit(BUY, "1", "100", OTHERS, pair="ETH-USDT")
    bench.admit(SELL, "1", "100", OTHERS)


def test_a_post_only_order_is_left_to_the_venue_unless_one_that_may_still_take_is_under_way():
    bench = Bench(account=RiskLimits(), fleet=RiskLimits())
    resting = bench.admit(SELL, "1", "100", OTHERS, state=State.SENT)
    order = bench.order(BUY, "1", "100", kind=MAKER)
    assert bench.risk.check(order)[0] is Refusal.SELF_TRADE  # the sell may come second, and take
    resting.state = State.ACKED
    assert bench.risk.check(order) is None  # it would be the second, and the venue refuses it
    bench.end(resting)
    bench.admit(SELL, "1", "100", OTHERS, MAKER, state=State.SENT)
    assert bench.risk.check(order) is None  # two that never take
    assert bench.risk.check(bench.order(BUY, "1", "100", kind=LIMIT))[0] is Refusal.SELF_TRADE


@pytest.mark.parametrize(
    ("account", "fleet", "refused"),
    [
        (None, None, True),
        ("refuse", "allow", True),
        (None, "refuse", True),
        ("allow", "refuse", False),
        (None, "allow", False),
    ],
)
def test_an_account_says_whether_self_trades_are_refused_or_else_the_fleet(account, fleet, refused):
    bench = Bench(RiskLimits(self_trade=account), RiskLimits(self_trade=fleet))
    bench.risk.admitted(bench.order(SELL, "1", "100", OTHERS))
    assert (bench.risk.check(bench.order(BUY, "1", "100")) is not None) == refused


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


def test_texts_fit_a_reply():
    bench = Bench(
        RiskLimits(max_order_notional=Decimal("1234567.12"), price_band=Decimal("0.0123")),
        fleet=RiskLimits(max_position={"BTC": Decimal("1234.5678")}),
    )
    bench.risk.admitted(bench.order(SELL, "1", "97123.45", OTHERS))
    bench.touch = (97123.40, 97123.45)
    for order in (
        bench.order(BUY, "12345.12345678", "97123.12345678"),
        bench.order(BUY, "1", "123456.12345678"),
        bench.order(BUY, "1235.12345678", "97123.46"),
        bench.order(BUY, "1", "97123.46"),
    ):
        _, text = bench.risk.check(order)
        assert len(text) <= 72, text
        assert text.isascii()


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
