"""Limits and capital in a fleet file: exact, with their defaults, and as the gate is told."""

import json
from decimal import Decimal

import pytest

from config.conftest import ONE, VENUES, fleet_of, problems_of
from hive.boots import Endpoint, Run, gate_boot
from hive.fleet import Risk, StrategyRisk
from hive.halts import Halt
from hive.plan import place
from hive.shm.decimals import halves, to_mantissa, whole

DIGITS = "Value error, must have at most 18 digits before the point and 18 after it"


def test_amounts_are_exact_as_numbers_and_as_texts(root):
    fleet = fleet_of(
        root,
        "risk: {max_order_notional: 0.1, price_band: '0.05', max_position: {BTC: 1e-8}, loss_limit: {USDT: 100}}\n"
        + VENUES
        + "strategies: [{script: quoter, capital: {USDT: '123456789012345678.123456789012345678', BTC: 0}}]\n",
    )
    risk = fleet.risk
    assert (risk.max_order_notional, risk.price_band) == (Decimal("0.1"), Decimal("0.05"))
    assert (risk.max_position, risk.loss_limit) == ({"BTC": Decimal("0.00000001")}, {"USDT": Decimal(100)})
    assert fleet.strategies[0].capital == {"USDT": Decimal("123456789012345678.123456789012345678"), "BTC": Decimal(0)}


@pytest.mark.parametrize("amount", ["123456789012345678.123456789012345678", "-123456789012345678.1"])
def test_no_amount_has_more_digits_than_a_message_carries(amount):
    assert whole(*halves(Decimal(amount))) == Decimal(amount)
    assert to_mantissa(halves(Decimal(amount))[0])


def test_a_capital_beyond_what_a_message_carries_is_refused(root):
    assert problems_of(root, VENUES + "strategies: [{script: quoter, capital: {USDT: 1e60}}]\n") == [
        f"fleet.yml: strategies.0.capital.USDT: {DIGITS}, was 1e+60"
    ]


def test_what_a_venue_or_strategy_does_not_say_of_losses_and_self_trades_is_as_for_the_fleet(root):
    text = "risk: {self_trade: allow, loss_window: day}\n"
    text += "venues: {binance: {mode: sim, risk: {max_open_orders: 9}}, kucoin: {mode: sim, kind: binance, risk: %s}}\n"
    text += "strategies: [{script: quoter}, {id: x, script: quoter, risk: {loss_window: day, price_band: 1}}]\n"
    fleet = fleet_of(root, text % "{self_trade: refuse, loss_window: day}")
    said = [(one.risk.self_trade, one.risk.loss_window) for one in fleet.venues]
    assert said == [("allow", "day"), ("refuse", "day")]
    assert fleet.venues[0].risk.max_open_orders == 9
    assert [one.risk for one in fleet.strategies] == [
        StrategyRisk(loss_window="day"),
        StrategyRisk(price_band=Decimal(1), loss_window="day"),
    ]
    quiet = fleet_of(root, VENUES + ONE)
    assert (quiet.risk, quiet.venues[0].risk) == (Risk(), Risk(loss_window="run", self_trade="refuse"))


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("risk: {max_order_notional: 0}", "risk.max_order_notional: Input should be greater than 0, was 0"),
        ("risk: {max_order_notional: much}", "risk.max_order_notional: Value error, must be a number, was 'much'"),
        *(
            (f"risk: {{max_order_notional: {value}}}", f"risk.max_order_notional: {DIGITS}, was {value.strip("'")}")
            for value in ("1e+60", "1e+18", "1e-19", "'1e-999999999'", "'1e999999999'")
        ),
        ("risk: {max_order_notional: true}", "risk.max_order_notional: Value error, must be a number, was True"),
        ("risk: {max_order_notional: .inf}", "risk.max_order_notional: Input should be a finite number, was Infinity"),
        ("risk: {price_band: 1.01}", "risk.price_band: Input should be less than or equal to 1, was 1.01"),
        (
            "risk: {loss_limit: {usdt: 1}}",
            "risk.loss_limit.usdt.[key]: String should match pattern '^[A-Z0-9]{1,20}$', was 'usdt'",
        ),
        ("risk: {self_trade: perhaps}", "risk.self_trade: Input should be 'refuse' or 'allow', was 'perhaps'"),
        ("risk: {max_order: 5}", "risk.max_order: Extra inputs are not permitted"),
        ("on_unknown_orders: keep", "on_unknown_orders: Input should be 'cancel' or 'adopt', was 'keep'"),
        ("journal: {policy: other}", "journal.policy: Input should be 'interval', 'every' or 'none', was 'other'"),
        ("journal: {interval_ms: 0}", "journal.interval_ms: Input should be greater than or equal to 1, was 0"),
        (
            "rate_limiting: {queue_per_strategy: 0}",
            "rate_limiting.queue_per_strategy: Input should be greater than or equal to 1, was 0",
        ),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused_with_its_place(root, section, problem):
    assert problems_of(root, section + "\n" + VENUES + ONE) == [f"fleet.yml: {problem}"]


def test_the_window_of_losses_is_the_fleets_alone(root):
    text = "venues: {binance: {mode: sim, risk: {loss_window: day}}, kucoin: {mode: sim, kind: binance}}\n"
    text += "strategies: [{script: quoter, count: 2, risk: {loss_window: day}}]\n"
    assert problems_of(root, text) == [
        "fleet.yml: venues.binance.risk.loss_window: must be as for the fleet (run), was day",
        "fleet.yml: strategies.0.risk.loss_window: must be as for the fleet (run), was day",
    ]


REPLAYED = "{mode: replay, kind: binance, file: x}"
TWO_VENUES = f"venues: {{binance: {{mode: sim}}, kucoin: {{mode: sim, kind: binance}}, okx: {REPLAYED}}}\n"


@pytest.mark.parametrize(
    ("strategy", "named"),
    [
        ("script: quoter", "none"),  # its code may name any
        ("script: quoter, config: quoter.yml, set: {hedge: {markets: 'a,  kucoin'}}", "binance, kucoin"),
        ("script: quoter, set: {kucoin: [], controllers_config: [grid.yml]}", "binance, kucoin"),
        ("strategy: pure_market_making, config: pmm.yml, set: {exchange: okx}", "none"),
    ],
)
def test_capital_needs_to_have_one_place_among_several_venues(root, strategy, named):
    (root / "x").write_text("")
    rule = "needs a configuration that names one of the fleet's venues (binance, kucoin), this one names"
    assert problems_of(root, TWO_VENUES + f"strategies: [{{{strategy}, capital: {{USDT: 5}}}}]\n") == [
        f"fleet.yml: strategies.0.capital: {rule} {named}"
    ]


def test_capital_is_where_the_configuration_says(root):
    (root / "x").write_text("")
    entries = [
        "{id: one, script: quoter, config: quoter.yml, set: {exchange: kucoin}, capital: {USDT: 5}}",
        "{id: two, script: many, config: many.yml, capital: {USDT: 5}}",
        "{id: three, script: quoter}",
    ]
    fleet = fleet_of(root, TWO_VENUES + f"strategies: [{', '.join(entries)}]\n")
    assert [one.capital_venue for one in fleet.strategies] == ["kucoin", "binance", None]
    alone = fleet_of(root, VENUES + "strategies: [{script: quoter, capital: {USDT: 5}}]\n")
    assert alone.strategies[0].capital_venue is None


def test_a_strategy_has_no_word_in_self_trades(root):
    assert problems_of(root, VENUES + "strategies: [{script: quoter, risk: {self_trade: allow}}]\n") == [
        "fleet.yml: strategies.0.risk.self_trade: Extra inputs are not permitted"
    ]


def test_the_gates_boot_message_has_every_limit_exactly(root):
    fleet = fleet_of(
        root,
        "risk: {max_position: {BTC: 0.30}, loss_limit: {USDT: 1000}}\n"
        "journal: {file_mb: 2, keep_mb: 0, interval_ms: 5}\n"
        "rate_limiting: {adaptive_throttling: false, queue_per_strategy: 7, max_order_age_s: 12.5}\n"
        "on_unknown_orders: adopt\n"
        "venues: {binance: {mode: sim, risk: {max_order_notional: '1000.10'}}}\n"
        "strategies: [{script: quoter, config: quoter.yml, capital: {USDT: 50}, risk: {max_open_orders: 3}}]\n",
    )
    workers = place(fleet.strategies, workers=1, cpus=(0,), limit=50).workers
    venue = Endpoint(0, "binance", "binance", "sim", "http://x", "ws://x", "ws://y", 5000, None)
    halts = [Halt("binance", None, "maintenance"), Halt(None, "quoter", "loss")]
    boot = gate_boot(Run("r", fleet, root, root / "state", 1), 3, [venue], workers, halts, {0: 4, 2: 1})
    assert json.loads(json.dumps(boot)) == boot
    assert boot["state_dir"] == str(root / "state")
    assert boot["journal"] == {"policy": "interval", "interval_s": 0.005, "file_bytes": 2 << 20, "keep_bytes": 0}
    nothing = {"max_order_notional": None, "max_position": {}, "max_open_orders": None, "price_band": None}
    nothing |= {"loss_limit": {}, "loss_window": "run"}
    fleetwide = {"max_position": {"BTC": "0.3"}, "loss_limit": {"USDT": "1000"}, "self_trade": "refuse"}
    assert boot["risk"] == {**nothing, **fleetwide}
    assert boot["venues"][0]["risk"] == {**nothing, "max_order_notional": "1000.10", "self_trade": "refuse"}
    (strategy,) = boot["strategies"]
    assert strategy["risk"] == {**nothing, "max_open_orders": 3}
    assert (strategy["capital"], strategy["capital_venue"]) == ({"USDT": "50"}, None)
    assert strategy["quota"]["weight"] == 1.0
    assert (boot["adaptive"], boot["queue_per_strategy"], boot["on_unknown_orders"]) == (False, 7, "adopt")
    assert boot["rate_limiting"]["max_order_age_s"] == 12.5
    assert boot["halts"] == [
        {"venue": "binance", "strategy": None, "reason": "maintenance"},
        {"venue": None, "strategy": "quoter", "reason": "loss"},
    ]
    assert boot["living"] == {"0": 4, "2": 1}
