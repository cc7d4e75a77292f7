"""The fleet file: what it accepts, what it means, and what it says when it is wrong."""

import itertools
import json
from decimal import Decimal
from pathlib import Path

import pytest

from hive.boots import Endpoint, Run, gate_boot, server_boot, strategy_spec, worker_boot
from hive.config import ConfigError, load_fleet
from hive.fleet import LiveVenue, Quota, Risk, SimVenue, StrategyRisk
from hive.halts import Halt
from hive.plan import place
from hive.shm import ids
from hive.shm.decimals import halves, to_mantissa, whole

EXAMPLE = """
runtime: {max_strategies_per_container: 50, tick_interval_ms: 100, scheduler_algorithm: round_robin}   # or priority_based; the limit counts per worker
multiplexer: {enabled: true, protocol: unix_socket, max_connections_per_exchange: 5}                   # or shm (default), tcp, redis: for processes that cannot map the memory
rate_limiting: {global_orders_per_second: 10, per_strategy_orders_per_second: 1, adaptive_throttling: true}
monitoring: {metrics_port: 9090, enable_profiling: false}
"""  # noqa: E501  as operators have it
VENUES = "venues: {binance: {mode: sim}}\n"
ONE = "strategies: [{script: quoter, config: quoter.yml}]\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small installation with one V1 configuration, two scripts and a controller."""
    files = {
        "conf/strategies/pmm.yml": (
            "template_version: 24\nstrategy: pure_market_making\nexchange: binance\nmarket: BTC-USDT\n"
            "bid_spread: 0.5\nask_spread: 0.5\norder_refresh_time: 10.0\norder_amount: 0.01\n"
        ),
        "conf/scripts/quoter.yml": "script_file_name: quoter.py\nexchange: binance\ntrading_pair: ETH-USDT\n",
        "conf/scripts/many.yml": "script_file_name: many.py\ncontrollers_config: [grid.yml]\n",
        "conf/controllers/grid.yml": (
            "controller_type: generic\ncontroller_name: grid\nconnector_name: binance\ntrading_pair: SOL-USDT\n"
        ),
        "scripts/quoter.py": "",
        "scripts/many.py": "",
        "controllers/generic/grid.py": "",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def fleet_of(root: Path, text: str, **options):
    path = root / "fleet.yml"
    path.write_text(text)
    return load_fleet(path, **options)


def problems_of(root: Path, text: str, **options) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        fleet_of(root, text, **options)
    return caught.value.problems


def test_the_example_loads_as_it_stands(root):
    fleet = fleet_of(root, EXAMPLE + VENUES + ONE)
    assert fleet.runtime.max_strategies_per_container == 50
    assert fleet.runtime.tick_interval_ms == 100
    assert fleet.multiplexer.max_connections_per_exchange == 5
    assert fleet.rate_limiting.global_orders_per_second == 10
    assert fleet.monitoring.metrics_port == 9090
    assert fleet.venues == (SimVenue("binance", "binance"),)


def test_scripts_with_controllers_are_ticked_once_a_second_unless_something_else_is_said(root):
    entries = "{script: quoter, config: quoter.yml}, {script: many, config: many.yml}"
    own = "{id: own, script: many, config: many.yml, tick_interval_ms: 250}"
    strategies = f"strategies: [{entries}, {own}]\n"
    assert [one.tick_interval_ms for one in fleet_of(root, VENUES + strategies).strategies] == [None, 1000, 250]
    named = fleet_of(root, "runtime: {tick_interval_ms: 100}\n" + VENUES + strategies).strategies
    assert [one.tick_interval_ms for one in named] == [None, None, 250]


@pytest.mark.parametrize(
    ("interval", "rule"),
    [(9, "greater than or equal to 10"), (600_001, "less than or equal to 600000")],
)
def test_intervals_are_from_ten_milliseconds_to_ten_minutes(root, interval, rule):
    text = f"strategies: [{{script: quoter, tick_interval_ms: {interval}}}]\n"
    assert problems_of(root, VENUES + text) == [f"fleet.yml: strategies.0.tick_interval_ms: Input should be {rule}"]
    assert problems_of(root, f"runtime: {{tick_interval_ms: {interval}}}\n" + VENUES + ONE) == [
        f"fleet.yml: runtime.tick_interval_ms: Input should be {rule}"
    ]
    for allowed in (10, 600_000):
        fleet = fleet_of(root, VENUES + f"strategies: [{{script: quoter, tick_interval_ms: {allowed}}}]\n")
        assert fleet.strategies[0].tick_interval_ms == allowed


@pytest.mark.parametrize(("tick_on", "spacing_ms"), [("timer", None), ("book", 10), ("{book: 25}", 25)])
def test_a_strategy_may_be_ticked_on_a_change_of_its_books(root, tick_on, spacing_ms):
    fleet = fleet_of(root, VENUES + f"strategies: [{{script: quoter, config: quoter.yml, tick_on: {tick_on}}}]\n")
    assert fleet.strategies[0].tick_on_book_ms == spacing_ms
    assert strategy_spec(fleet.strategies[0], 0)["tick_on_book_ms"] == spacing_ms  # as its worker is told


def test_a_tick_on_anything_else_is_refused(root):
    for wrong in ("trade", "{book: 0}", "{trade: 10}"):
        problems = problems_of(root, VENUES + f"strategies: [{{script: quoter, tick_on: {wrong}}}]\n")
        assert problems
        assert all(one.startswith("fleet.yml: strategies.0.tick_on") for one in problems)


def test_every_scheduler_algorithm_is_accepted(root):
    for name in ("round_robin", "priority_based", "fair"):
        runtime = f"runtime: {{scheduler_algorithm: {name}}}\n"
        assert fleet_of(root, runtime + VENUES + ONE).runtime.scheduler_algorithm == name


def test_the_example_loads_from_a_second_file_too(root):
    (root / "hive_config.yml").write_text(EXAMPLE)
    together = fleet_of(root, VENUES + ONE, config=root / "hive_config.yml")
    assert together == fleet_of(root, EXAMPLE + VENUES + ONE)


def test_each_key_without_effect_has_one_plain_line(root):
    notices = fleet_of(root, EXAMPLE + VENUES + ONE).notices
    assert [line.split(": ")[0] for line in notices] == [
        "multiplexer.protocol",
    ]
    assert notices[0].startswith("multiplexer.protocol: unix_socket has no effect yet: ")


def test_nothing_is_said_of_keys_that_work(root):
    assert fleet_of(root, VENUES + ONE).notices == ()


def test_every_quota_is_taken_and_has_its_default(root):
    quota = "quota: {max_orders_per_second: 1, max_api_weight_per_minute: 60, priority_level: -5, weight: 0.5}"
    fleet = fleet_of(root, VENUES + f"strategies: [{{script: quoter, {quota}}}, {{id: other, script: quoter}}]\n")
    assert fleet.notices == ()
    assert [one.quota for one in fleet.strategies] == [Quota(1, 60, -5, 0.5), Quota(None, None, 0, 1.0)]


def test_a_priority_beyond_five_levels_is_refused(root):
    assert problems_of(root, VENUES + "strategies: [{script: quoter, quota: {priority_level: 6}}]\n") == [
        "fleet.yml: strategies.0.quota.priority_level: Input should be less than or equal to 5"
    ]


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


DIGITS = "Value error, must have at most 18 digits before the point and 18 after it"


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("risk: {max_order_notional: 0}", "risk.max_order_notional: Input should be greater than 0"),
        ("risk: {max_order_notional: much}", "risk.max_order_notional: Value error, must be a number, was 'much'"),
        *(
            (f"risk: {{max_order_notional: {value}}}", f"risk.max_order_notional: {DIGITS}, was {value.strip("'")}")
            for value in ("1e+60", "1e+18", "1e-19", "'1e-999999999'", "'1e999999999'")
        ),
        ("risk: {max_order_notional: true}", "risk.max_order_notional: Value error, must be a number, was True"),
        ("risk: {max_order_notional: .inf}", "risk.max_order_notional: Input should be a finite number"),
        ("risk: {price_band: 1.01}", "risk.price_band: Input should be less than or equal to 1"),
        ("risk: {loss_limit: {usdt: 1}}", "risk.loss_limit.usdt.[key]: String should match pattern '^[A-Z0-9]{1,20}$'"),
        ("risk: {self_trade: perhaps}", "risk.self_trade: Input should be 'refuse' or 'allow'"),
        ("risk: {max_order: 5}", "risk.max_order: Extra inputs are not permitted"),
        ("on_unknown_orders: keep", "on_unknown_orders: Input should be 'cancel' or 'adopt'"),
        ("journal: {policy: sometimes}", "journal.policy: Input should be 'interval', 'every' or 'none'"),
        ("journal: {interval_ms: 0}", "journal.interval_ms: Input should be greater than or equal to 1"),
        (
            "rate_limiting: {queue_per_strategy: 0}",
            "rate_limiting.queue_per_strategy: Input should be greater than or equal to 1",
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


def test_names_that_no_counter_could_carry_are_refused(root):
    venues = "venues: {%s: {mode: sim, kind: binance}}\n"
    assert problems_of(root, venues % "'a,b'" + "strategies: [{script: quoter}]\n") == [
        "fleet.yml: venues.a,b: must be 1 to 32 of A-Z, a-z, 0-9, '_', '.', '-', was 'a,b'"
    ]
    name = "coinbase_advanced_trade"
    long = venues % name + f"strategies: [{{script: quoter, id: {'s' * 58}}}]\n"
    assert problems_of(root, long) == [
        f"fleet.yml: venues.{name}: its name and the longest id of a strategy must be at most 80 characters "
        "together, were 81"
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


def test_a_key_in_both_files_is_an_error(root):
    (root / "more.yml").write_text("feed: {depth: 20}\n")
    problems = problems_of(root, "feed: {depth: 10}\n" + VENUES + ONE, config=root / "more.yml")
    assert problems == ["fleet.yml: feed: stands in more.yml too; keep one"]


def test_errors_of_the_second_file_name_it(root):
    (root / "more.yml").write_text("runtime: {tick_interval: 5}\n")
    problems = problems_of(root, VENUES + ONE, config=root / "more.yml")
    assert problems[0] == "more.yml: runtime.tick_interval: Extra inputs are not permitted"


def test_all_errors_are_found_at_once_with_file_place_and_rule(root):
    problems = problems_of(
        root,
        "runtime: {tick_interval_ms: fast}\nvenues: {binance: {mode: sim, sed: 3}}\n"
        "strategies: [{script: quoter, shre: 2}]\n",
    )
    assert problems == [
        "fleet.yml: runtime.tick_interval_ms: Input should be a valid integer",
        "fleet.yml: venues.binance.sed: Extra inputs are not permitted",
        "fleet.yml: strategies.0.shre: Extra inputs are not permitted",
    ]


def test_errors_in_every_strategys_files_are_found_at_once(root):
    (root / "conf/strategies/bad.yml").write_text("strategy: avellaneda_market_making\nexchange: kraken\n")
    problems = problems_of(
        root,
        VENUES + "strategies:\n- {strategy: pure_market_making, config: bad.yml}\n"
        "- {strategy: pure_market_making, config: gone.yml}\n- {script: gone}\n- {id: neither}\n",
    )
    assert [problem.split(": ", 2)[:2] for problem in problems] == [
        ["conf/strategies/bad.yml", "strategy"],
        ["fleet.yml", "strategies.0"],
        ["fleet.yml", "strategies.1.config"],
        ["fleet.yml", "strategies.2"],
        ["fleet.yml", "strategies.3"],
    ]
    assert problems[1].endswith("exchange: must be one of the fleet's venues (binance), was 'kraken'")


def test_broken_yaml_is_named_by_line_and_column(root):
    assert problems_of(root, "runtime: {\nvenues: ]\n")[0].startswith("fleet.yml: line 2, column 9: ")


def test_brackets_without_end_are_an_error_like_another(root):
    assert problems_of(root, "[" * 100_000) == ["fleet.yml: must not be nested so deeply"]


@pytest.mark.parametrize("rate", [".inf", ".nan"])
def test_a_rate_is_a_finite_number(root, rate):
    problems = problems_of(root, VENUES + ONE + f"rate_limiting: {{global_orders_per_second: {rate}}}\n")
    assert problems == ["fleet.yml: rate_limiting.global_orders_per_second: Input should be a finite number"]


def test_a_key_that_stands_twice_is_an_error(root):
    assert problems_of(root, VENUES + ONE + VENUES)[0] == "fleet.yml: line 3, column 1: 'venues' stands twice"


def test_a_missing_fleet_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yml: No such file or directory"):
        load_fleet(tmp_path / "none.yml")


def test_a_fleet_needs_venues_and_strategies(root):
    assert problems_of(root, "name: x\n") == [
        "fleet.yml: venues: Field required",
        "fleet.yml: strategies: Field required",
    ]


def test_values_are_read_as_hummingbot_reads_them(root):
    (root / "conf/scripts/quoter.yml").write_text(
        "exchange: binance\ntrading_pair: ETH-USDT\nstart_time: 12:30:00\nsmall: 1e-5\nflag: yes\nday: 2024-01-01\n"
        "code: 010\nempty:\n"
    )
    config = fleet_of(root, VENUES + ONE).strategies[0].config
    assert config["start_time"] == "12:30:00"
    assert config["small"] == 1e-5
    assert config["flag"] == "yes"
    assert config["day"] == "2024-01-01"
    assert config["code"] == 10
    assert config["empty"] is None


def test_for_each_is_a_product_with_readable_ids(root):
    fleet = fleet_of(
        root,
        VENUES + "strategies:\n- {id: pmm, strategy: pure_market_making, config: conf/strategies/pmm.yml, "
        "for_each: {pair: [BTC-USDT, ETH-USDT], spread: [0.1, 0.2]}, set: {order_amount: 2}}\n",
    )
    assert [strategy.id for strategy in fleet.strategies] == [
        "pmm-BTC-USDT-0.1",
        "pmm-BTC-USDT-0.2",
        "pmm-ETH-USDT-0.1",
        "pmm-ETH-USDT-0.2",
    ]
    last = fleet.strategies[-1]
    assert (last.config["market"], last.config["bid_spread"], last.config["ask_spread"]) == ("ETH-USDT", 0.2, 0.2)
    assert last.config["order_amount"] == 2
    assert last.config["order_refresh_time"] == 10.0
    assert last.pairs == ("ETH-USDT",)
    assert last.tag == ids.strategy_tag(last.id)
    assert (last.kind, last.name, last.config_file) == ("v1", "pure_market_making", "conf/strategies/pmm.yml")


def test_pair_means_the_key_that_a_script_has(root):
    fleet = fleet_of(
        root, VENUES + "strategies: [{script: quoter, config: quoter.yml, for_each: {pair: [A-B, C-D]}, count: 2}]\n"
    )
    assert [strategy.id for strategy in fleet.strategies] == [
        "quoter-A-B-1",
        "quoter-A-B-2",
        "quoter-C-D-1",
        "quoter-C-D-2",
    ]
    assert fleet.strategies[2].config["trading_pair"] == "C-D"


def test_a_controllers_pairs_belong_to_its_script(root):
    fleet = fleet_of(root, VENUES + "strategies: [{script: many.py, config: conf/scripts/many.yml}]\n")
    assert fleet.strategies[0].name == "many"
    assert fleet.strategies[0].pairs == ("SOL-USDT",)


def test_a_controller_that_is_not_there_is_named(root):
    (root / "controllers/generic/grid.py").unlink()
    assert problems_of(root, VENUES + "strategies: [{script: many, config: many.yml}]\n") == [
        f"conf/controllers/grid.yml: controller_name: there is no controllers/generic/grid.py in {root}"
    ]


def test_two_equal_ids_are_refused(root):
    problems = problems_of(root, VENUES + "strategies: [{script: quoter}, {script: quoter}]\n")
    assert problems == ["fleet.yml: strategies.1.id: quoter is taken by strategies.0; give one of them another id"]


def test_two_equal_ids_of_one_entry_are_refused(root):
    problems = problems_of(root, VENUES + "strategies: [{script: quoter, for_each: {pair: [A-B, A-B]}}]\n")
    assert problems == ["fleet.yml: strategies.0.id: quoter-A-B is taken by strategies.0; give one of them another id"]


def test_two_equal_tags_are_refused(root):
    one, other = two_ids_with_one_tag()
    problems = problems_of(
        root, VENUES + f"strategies: [{{id: {one}, script: quoter}}, {{id: {other}, script: quoter}}]"
    )
    assert problems == [
        f"fleet.yml: strategies.1.id: {other} and {one} have the same tag ({ids.strategy_tag(one)}); "
        "change one of the ids"
    ]


def two_ids_with_one_tag() -> tuple[str, str]:
    seen: dict[str, str] = {}
    for number in itertools.count():
        strategy_id = f"quoter-{number}"
        other = seen.setdefault(ids.strategy_tag(strategy_id), strategy_id)
        if other != strategy_id:
            return other, strategy_id


@pytest.mark.parametrize("key", ["set", "for_each"])
def test_a_v1_key_that_does_not_exist_is_refused(root, key):
    value = "{shre: [1]}" if key == "for_each" else "{shre: 1}"
    entry = f"{{strategy: pure_market_making, config: pmm.yml, {key}: {value}}}"
    problems = problems_of(root, VENUES + f"strategies: [{entry}]\n")
    assert problems == [f"fleet.yml: strategies.0.{key}.shre: pure_market_making has no such key"]


def test_a_v1_strategy_that_does_not_exist_is_refused(root):
    (root / "conf/strategies/x.yml").write_text("strategy: twap\n")
    problems = problems_of(root, VENUES + "strategies: [{strategy: twap, config: x.yml}]\n")
    assert problems == ["conf/strategies/x.yml: Hummingbot has no V1 strategy twap"]


def test_production_hosts_are_refused_with_the_reason(root):
    live = "{mode: live, rest_url: 'https://api.binance.com', ws_url: 'ws://127.0.0.1:1/ws', "
    live += "ws_api_url: 'ws://127.0.0.1:1/ws-api', api_key_env: KEY, api_secret_env: SECRET}"
    problems = problems_of(root, f"venues: {{binance: {live}}}\n" + ONE)
    assert len(problems) == 1
    assert problems[0].startswith("fleet.yml: venues.binance.rest_url: api.binance.com is not a loopback")


def test_a_live_venue_on_loopback_is_taken(root):
    live = "{mode: live, rest_url: 'http://127.0.0.1:1', ws_url: 'ws://127.0.0.1:1/ws', "
    live += "ws_api_url: 'ws://127.0.0.1:1/ws-api', api_key_env: KEY, api_secret_env: SECRET}"
    (venue,) = fleet_of(root, f"venues: {{binance: {live}}}\n" + ONE).venues
    assert isinstance(venue, LiveVenue)
    assert (venue.rest_url, venue.keys.api_secret_env) == ("http://127.0.0.1:1", "SECRET")


def test_a_paper_trade_venue_speaks_its_exchanges_protocol_and_is_never_live(root):
    strategies = "strategies: [{script: quoter, set: {exchange: binance_paper_trade}}]\n"
    (venue,) = fleet_of(root, "venues: {binance_paper_trade: {mode: sim}}\n" + strategies).venues
    assert (venue.name, venue.kind) == ("binance_paper_trade", "binance")
    live = "{mode: live, rest_url: 'http://127.0.0.1:1', ws_url: 'ws://127.0.0.1:1/ws', "
    live += "ws_api_url: 'ws://127.0.0.1:1/ws-api', api_key_env: KEY, api_secret_env: SECRET}"
    problems = problems_of(root, f"venues: {{binance_paper_trade: {live}}}\n" + strategies)
    assert problems == [
        "fleet.yml: venues.binance_paper_trade.mode: must be sim or replay where the name says paper trade, was live"
    ]


def test_a_venue_of_another_protocol_is_refused(root):
    problems = problems_of(root, "venues: {kraken: {mode: sim}}\nstrategies: [{script: quoter}]\n")
    called = "must be called binance, or have `kind: binance`"
    assert problems == [f"fleet.yml: venues.kraken: {called}: Hive speaks no other venue's protocol yet"]


@pytest.mark.parametrize("name", ["binnance", "binance_perpetual", "paper_trade", "Binance"])
def test_a_venue_that_hummingbot_has_no_connector_for_is_refused(root, name):
    venues = f"venues: {{{name}: {{mode: sim, kind: binance}}}}\n"
    (problem,) = problems_of(root, venues + "strategies: [{script: quoter}]\n")
    rule = f"fleet.yml: venues.{name}: must be called as one of Hummingbot's spot connectors ("
    assert problem.startswith(rule)
    assert problem.endswith(f", okx, xrpl), was {name!r}")


def test_a_missing_venue_mode_is_named(root):
    assert problems_of(root, "venues: {binance: {seed: 1}}\n" + ONE) == [
        "fleet.yml: venues.binance: Unable to extract tag using discriminator 'mode'"
    ]


def test_hold_keeps_resting_orders(root):
    assert fleet_of(root, "on_stale: {mode: hold}\n" + VENUES + ONE).on_stale.cancel_after_ms is None
    assert fleet_of(root, "on_stale: {cancel_after_ms: 300}\n" + VENUES + ONE).on_stale.cancel_after_ms == 300


def test_the_name_comes_from_option_file_or_file_name(root):
    assert fleet_of(root, VENUES + ONE).name == "fleet"
    fleet = fleet_of(root, "name: mine\n" + VENUES + ONE)
    assert (fleet.name, fleet.fleet_id) == ("mine", ids.fleet_id("mine"))
    assert fleet_of(root, "name: mine\nfleet_id: abc23\n" + VENUES + ONE, name="other").fleet_id == "abc23"
    assert problems_of(root, VENUES + ONE, name="No Spaces")[0].startswith("name: must be 1 to 32 of a-z")


def test_another_root_can_be_named(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "fleet.yml"
    elsewhere.write_text(VENUES + ONE)
    assert load_fleet(elsewhere, root=root).strategies[0].config["trading_pair"] == "ETH-USDT"
    with pytest.raises(ConfigError, match=r"there is no conf/scripts/quoter\.yml"):
        load_fleet(elsewhere)


def test_a_fault_of_the_simulated_exchange_is_checked(root):
    problems = problems_of(root, "venues: {binance: {mode: sim, faults: [nonsense]}}\n" + ONE)
    assert len(problems) == 1
    assert problems[0].startswith("fleet.yml: venues.binance.faults.0: fault must be one of drop, stall,")


def test_a_strategy_with_a_root_of_its_own_has_its_files_there(root, tmp_path):
    other = tmp_path / "other"
    for name in ("conf/scripts", "conf/controllers", "scripts", "controllers/generic"):
        (other / name).mkdir(parents=True)
    (other / "scripts" / "many.py").write_text("")
    (other / "controllers" / "generic" / "elsewhere.py").write_text("")
    grid = "controller_type: generic\ncontroller_name: elsewhere\nconnector_name: binance\ntrading_pair: ADA-USDT\n"
    (other / "conf/controllers/grid.yml").write_text(grid)
    (other / "conf/scripts/many.yml").write_text("script_file_name: many.py\ncontrollers_config: [grid.yml]\n")
    fleet = fleet_of(
        root,
        VENUES + "strategies:\n- {id: a, script: many, config: many.yml}\n"
        f"- {{id: b, script: many, config: many.yml, root: {other}, capital: {{USDT: 5}}}}\n",
    )
    assert [one.root for one in fleet.strategies] == [None, other]
    assert [one.pairs for one in fleet.strategies] == [("SOL-USDT",), ("ADA-USDT",)]
    run = Run("r", fleet, root, root / "state", 1)
    kinds = server_boot(run, 1)["host_config"]["strategies"]
    assert {(kind["name"], kind["root"], *kind["controllers"]) for kind in kinds} == {
        ("many", str(root), "grid.yml"),
        ("many", str(other), "grid.yml"),
    }
    workers = place(fleet.strategies, workers=1, cpus=(0,), limit=50).workers
    specs = worker_boot(run, 1, workers[0], [])["strategies"]
    assert {(spec["id"], spec["root"], spec["capital"]) for spec in specs} == {
        ("a", None, False),
        ("b", str(other), True),
    }


def test_errors_in_a_root_of_its_own_name_that_root(root, tmp_path):
    assert problems_of(root, VENUES + "strategies: [{script: quoter, root: nowhere}]\n") == [
        f"fleet.yml: strategies.0.root: {root}/nowhere is not a folder",
        f"fleet.yml: strategies.0: script quoter: there is no scripts/quoter.py in {root}/nowhere",
    ]


def test_strategies_logs_are_bounded_as_the_file_says(root):
    fleet = fleet_of(root, "logs: {max_mb: 2.5, keep: 7}\n" + VENUES + ONE)
    workers = place(fleet.strategies, workers=1, cpus=(0,), limit=50).workers
    boot = worker_boot(Run("r", fleet, root, root / "state", 1), 1, workers[0], [])
    folder = str(root / "state" / "logs" / "strategies")
    assert boot["strategy_logs"] == {"folder": folder, "max_bytes": 5 << 19, "keep": 7}
    assert problems_of(root, "logs: {max_mb: 0, keep: 0}\n" + VENUES + ONE) == [
        "fleet.yml: logs.max_mb: Input should be greater than or equal to 0.1",
        "fleet.yml: logs.keep: Input should be greater than or equal to 1",
    ]


def test_what_an_entry_stands_for_is_counted_before_it_is_made(root):
    lists = ", ".join(f"k{number}: [{', '.join(map(str, range(10)))}]" for number in range(9))
    assert problems_of(root, VENUES + f"strategies: [{{script: quoter, for_each: {{{lists}}}}}]\n") == [
        "fleet.yml: strategies.0: for_each and count must make at most 2000 strategies, made 1000000000"
    ]


def test_every_id_that_an_entry_makes_is_checked(root):
    text = f"strategies: [{{script: quoter, for_each: {{trading_pair: [BTC-USDT, {'A' * 70}]}}}}]\n"
    (problem,) = problems_of(root, VENUES + text)
    assert problem.startswith("fleet.yml: strategies.0.id: must be 1 to 64 of A-Z,")


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("x: &x [*x]", "must hold at most 1000000 values, counted wherever an alias repeats them"),
        (f"x: {'1' * 5000}", "line 1, column 4: a whole number must have at most 100 digits, had 5000"),
    ],
)
def test_yaml_that_never_ends_is_refused(root, line, rule):
    assert problems_of(root, line + "\n" + VENUES + ONE) == [f"fleet.yml: {rule}"]


def test_aliases_of_aliases_are_counted_without_being_followed(root):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 40)]
    assert problems_of(root, "\n".join(lines) + "\n" + VENUES + ONE)[0].startswith("fleet.yml: must hold at most")


def test_a_name_that_is_too_long_for_the_file_system_is_said(root):
    (problem,) = problems_of(root, VENUES + f"strategies: [{{script: quoter, config: {'x' * 5000}}}]\n")
    assert problem.endswith("x: File name too long")


def test_a_fleet_file_that_is_not_there_is_named_whole(root):
    with pytest.raises(ConfigError) as caught:
        load_fleet(root / "none.yml")
    assert caught.value.problems == [f"{root}/none.yml: No such file or directory"]


def test_an_address_that_is_none_is_refused(root):
    live = "{mode: live, rest_url: 'http://[', ws_url: 'ws://127.0.0.1:1', "
    live += "ws_api_url: 'ws://127.0.0.1:1', keys_file: x}"
    (problem,) = problems_of(root, f"venues: {{binance: {live}}}\n" + ONE)
    assert problem.startswith("fleet.yml: venues.binance.rest_url: must be an address, was 'http://[': ")


def test_files_elsewhere_are_named_as_they_are_written(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "quoter.yml").write_text("a: [\n")
    (elsewhere / "more.yml").write_text("runtime: {tick_interval: 5}\n")
    (problem,) = problems_of(root, VENUES + f"strategies: [{{script: quoter, config: {elsewhere}/quoter.yml}}]\n")
    assert problem.startswith(f"{elsewhere}/quoter.yml: line ")
    (problem, *_) = problems_of(root, VENUES + ONE, config=elsewhere / "more.yml")
    assert problem == f"{elsewhere}/more.yml: runtime.tick_interval: Extra inputs are not permitted"
    (root / "conf/scripts/quoter.yml").write_text("a: [\n")
    assert problems_of(root, VENUES + ONE)[0].startswith("conf/scripts/quoter.yml: line ")
