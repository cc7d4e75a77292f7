"""The fleet file: what it accepts, what it means, and what it says when it is wrong."""

import itertools
from pathlib import Path

import pytest

from hive.config import ConfigError, load_fleet
from hive.fleet import LiveVenue, SimVenue
from hive.shm import ids

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


def test_the_example_loads_from_a_second_file_too(root):
    (root / "hive_config.yml").write_text(EXAMPLE)
    together = fleet_of(root, VENUES + ONE, config=root / "hive_config.yml")
    assert together == fleet_of(root, EXAMPLE + VENUES + ONE)


def test_each_key_without_effect_has_one_plain_line(root):
    notices = fleet_of(root, EXAMPLE + VENUES + ONE).notices
    assert [line.split(": ")[0] for line in notices] == [
        "multiplexer.protocol",
        "rate_limiting.adaptive_throttling",
    ]
    assert notices[0].startswith("multiplexer.protocol: unix_socket has no effect yet: ")


def test_nothing_is_said_of_keys_that_work(root):
    assert fleet_of(root, VENUES + ONE).notices == ()


def test_quotas_without_effect_are_said_once(root):
    quota = "quota: {max_orders_per_second: 1, priority_level: 2, weight: 3}"
    notices = fleet_of(root, VENUES + f"strategies: [{{script: quoter, count: 3, {quota}}}]\n").notices
    assert notices == (
        "strategies: quota.priority_level has no effect yet",
        "strategies: quota.weight has no effect yet",
    )


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
    assert (venue.rest_url, venue.api_secret_env) == ("http://127.0.0.1:1", "SECRET")


def test_a_venue_of_another_protocol_is_refused(root):
    problems = problems_of(root, "venues: {kraken: {mode: sim}}\nstrategies: [{script: quoter}]\n")
    assert problems == ["fleet.yml: venues.kraken: must be one of binance: Hive speaks no other venue's protocol yet"]


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
