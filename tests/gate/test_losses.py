"""The kill switch: who trips, when, how often, and after what."""

from decimal import Decimal

import pytest

from gate.made_orders import BUY, MINE, OTHERS, SELL, Desk
from hive.gate.errors import BootError
from hive.gate.losses import LossWatch, Trip
from hive.gate.profit import Profit, window_name

DAY_NS = 86_400_000_000_000
NOW_NS = 20_783 * DAY_NS + 5
FLEET = (None, None)
HUNDRED = {"USDT": Decimal(100)}


class Bench(Desk):
    """Two accounts, and a watch over both."""

    def __init__(self, limits: dict, kind: str = "run") -> None:
        super().__init__()
        self.limits = limits
        self.kind = kind
        self.mids: dict[str, float] = {"BTC-USDT": 100.0, "ETH-USDT": 10.0}
        self.now_ns = NOW_NS
        self.notes: dict[str, str] = {}
        self.one, self.two = self.profits = [
            Profit(name, self.mids.get, window_name(kind, "r1", NOW_NS)) for name in ("one", "two")
        ]
        self.start()

    def start(self) -> None:
        """Start the watch, or start it anew from its notes."""
        self.watch = LossWatch(self.profits, self.limits, self.kind, "r1")
        self.watch.restore(self.notes, self.now_ns)

    def note(self) -> None:
        self.notes |= self.watch.snapshot()
        self.notes = {name: value for name, value in self.notes.items() if value}

    def lose(self, amount: str, tag: str = MINE, profit: Profit | None = None) -> None:
        """Buy at 100 more than the mid, and sell at the mid."""
        for side, price in ((BUY, "200"), (SELL, "100")):
            order = self.order(side, Decimal(amount) / 100, price, tag)
            (profit or self.one).filled(order, self.fill(order, order.amount, price))

    def check(self) -> list[Trip]:
        return self.watch.check(self.now_ns)


def test_a_strategy_trips_when_its_loss_is_above_the_limit_and_once():
    bench = Bench({(MINE, None): HUNDRED})
    bench.lose("100")
    bench.lose("5000", OTHERS)
    assert bench.check() == []  # exactly the limit is allowed
    bench.lose("0.01")
    trips = bench.check()
    assert trips == [Trip(MINE, None, "USDT", Decimal("100.01"), Decimal(100))]
    assert trips[0].text == "strategy mine2 loss_limit must be <= 100 USDT, was 100.01"
    bench.lose("500")
    assert bench.check() == []


def test_strategies_are_summed_over_venues_venues_over_strategies_and_the_fleet_over_all():
    bench = Bench({(MINE, None): HUNDRED, (None, "one"): HUNDRED, (None, "two"): HUNDRED, FLEET: HUNDRED})
    bench.lose("60", MINE, bench.one)
    bench.lose("30", OTHERS, bench.two)
    assert bench.check() == []
    bench.lose("30", OTHERS, bench.two)
    assert [(trip.strategy, trip.venue) for trip in bench.check()] == [FLEET]
    bench.lose("45", MINE, bench.two)
    assert [trip.text for trip in bench.check()] == [
        "strategy mine2 loss_limit must be <= 100 USDT, was 105",
        "venue two loss_limit must be <= 100 USDT, was 105",
    ]


def test_what_one_strategy_wins_another_may_lose_for_the_fleet():
    bench = Bench({FLEET: HUNDRED})
    bench.lose("-150", OTHERS)
    bench.lose("250")
    assert bench.check() == []
    bench.lose("1")
    assert bench.check()[0].text == "fleet loss_limit must be <= 100 USDT, was 101"


def test_a_fall_of_what_is_held_trips_and_a_missing_price_does_not():
    bench = Bench({(MINE, None): HUNDRED})
    order = bench.order(BUY, "10", "10", MINE, pair="ETH-USDT")
    bench.one.filled(order, bench.fill(order, "10", "10"))
    bench.mids["ETH-USDT"] = float("nan")
    assert bench.check() == []
    assert bench.watch.blind == {((MINE, None), "USDT"): "ETH-USDT"}  # who has no limit needs no price
    bench.lose("99")
    assert bench.check() == []
    bench.mids["ETH-USDT"] = 9.9
    assert bench.check() == []
    assert bench.watch.blind == {}
    del bench.mids["ETH-USDT"]  # stale: what was known last stands
    bench.lose("0.1")
    assert [trip.loss for trip in bench.check()] == [Decimal("100.1")]


def test_limits_of_several_assets_trip_each_for_itself():
    bench = Bench({(MINE, None): {"USDT": Decimal(100), "BTC": Decimal("0.5")}})
    bench.mids["ETH-BTC"] = 1.0
    order = bench.order(BUY, "1", "1.6", MINE, pair="ETH-BTC")
    bench.one.filled(order, bench.fill(order, "1", "1.6"))
    bench.lose("200")
    assert [(trip.asset, trip.loss) for trip in bench.check()] == [("USDT", 200), ("BTC", Decimal("0.6"))]


def test_after_a_reset_the_loss_counts_anew_for_that_scope_only():
    bench = Bench({(MINE, None): HUNDRED, FLEET: {"USDT": Decimal(250)}})
    bench.lose("150")
    assert len(bench.check()) == 1
    bench.watch.reset(MINE, None)
    assert bench.check() == []
    bench.lose("100")
    assert bench.check() == []
    bench.lose("1")
    assert {(trip.strategy, trip.loss) for trip in bench.check()} == {(MINE, 101), (None, 251)}


def test_a_reset_while_winning_gives_nothing_away():
    bench = Bench({(MINE, None): HUNDRED})
    bench.lose("-50")
    bench.check()
    bench.watch.reset(MINE, None)
    bench.lose("150")
    assert bench.check() == []  # 100 in all
    bench.lose("1")
    assert len(bench.check()) == 1


def test_what_was_forgiven_survives_a_restart_and_not_the_next_day():
    bench = Bench({(MINE, None): HUNDRED}, "day")
    bench.lose("150")
    assert len(bench.check()) == 1
    bench.start()
    assert len(bench.check()) == 1  # it stands, and is told to whoever started anew
    bench.watch.reset(MINE, None)
    bench.note()
    assert list(bench.notes) == ["forgiven/mine2/*/USDT"]
    bench.start()
    assert bench.check() == []
    bench.now_ns += DAY_NS
    bench.start()
    bench.note()
    assert bench.notes == {}
    bench.lose("100")
    assert bench.check() == []


def test_with_a_new_day_losses_and_trips_begin_anew():
    bench = Bench({(MINE, None): HUNDRED}, "day")
    bench.lose("150")
    assert len(bench.check()) == 1
    bench.watch.reset(MINE, None)
    bench.note()
    bench.now_ns += DAY_NS
    assert bench.check() == []
    bench.note()
    assert bench.notes == {}
    bench.lose("101")
    assert [trip.loss for trip in bench.check()] == [101]
    bench.now_ns -= DAY_NS // 2  # a clock that goes back over midnight
    assert bench.check() == []
    bench.lose("1")
    assert bench.check() == []


def test_fees_that_no_result_contains_are_said():
    bench = Bench({FLEET: HUNDRED})
    for profit in bench.profits:
        order = bench.order(BUY, "1", "100")
        profit.filled(order, bench.fill(order, "1", "100", "0.5", "BNB"))
    assert bench.check() == []
    assert bench.watch.unvalued == {(MINE, "BNB"): -1}


@pytest.mark.parametrize(
    ("scope", "who"), [((MINE, None), "strategy mine2"), ((None, "one"), "venue one"), (FLEET, "fleet")]
)
def test_a_limit_that_is_none_is_refused(scope, who):
    with pytest.raises(BootError, match=f"{who} loss_limit of USDT must be a number >= 0, was -1"):
        Bench({scope: {"USDT": Decimal(-1)}})
