"""The fleet file as a whole: its sections, the second file, its name, and every error at once with its place."""

import pytest

from config.conftest import ONE, VENUES, fleet_of, problems_of
from hive.boots import Run, worker_boot
from hive.config import ConfigError, load_fleet
from hive.fleet import SimVenue
from hive.plan import place
from hive.shm import ids

EXAMPLE = """
runtime: {max_strategies_per_container: 50, tick_interval_ms: 100, scheduler_algorithm: round_robin}   # or priority_based; the limit counts per worker
multiplexer: {enabled: true, protocol: unix_socket, max_connections_per_exchange: 5}                   # or shm (default), tcp, redis: for processes that cannot map the memory
rate_limiting: {global_orders_per_second: 10, per_strategy_orders_per_second: 1, adaptive_throttling: true}
monitoring: {metrics_port: 9090, enable_profiling: false}
"""  # noqa: E501  as operators have it


def test_the_example_loads_as_it_stands(root):
    fleet = fleet_of(root, EXAMPLE + VENUES + ONE)
    assert fleet.runtime.max_strategies_per_container == 50
    assert fleet.runtime.tick_interval_ms == 100
    assert fleet.multiplexer.max_connections_per_exchange == 5
    assert fleet.rate_limiting.global_orders_per_second == 10
    assert fleet.monitoring.metrics_port == 9090
    assert fleet.venues == (SimVenue("binance", "binance"),)


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
        "fleet.yml: runtime.tick_interval_ms: Input should be a valid integer, was 'fast'",
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
        ["conf/strategies/bad.yml", "exchange"],
        ["fleet.yml", "strategies.1.config"],
        ["fleet.yml", "strategies.2"],
        ["fleet.yml", "strategies.3"],
    ]
    assert problems[1].endswith(": must be one of the fleet's venues (binance), was 'kraken'")


@pytest.mark.parametrize("rate", [".inf", ".nan"])
def test_a_rate_is_a_finite_number(root, rate):
    problems = problems_of(root, VENUES + ONE + f"rate_limiting: {{global_orders_per_second: {rate}}}\n")
    rule = f"Input should be a finite number, was {rate[1:]}"
    assert problems == [f"fleet.yml: rate_limiting.global_orders_per_second: {rule}"]


def test_a_missing_fleet_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yml: No such file or directory"):
        load_fleet(tmp_path / "none.yml")


def test_a_fleet_needs_venues_and_strategies(root):
    assert problems_of(root, "name: x\n") == [
        "fleet.yml: venues: Field required",
        "fleet.yml: strategies: Field required",
    ]
    assert problems_of(root, "venues: {}\nstrategies: []\n") == [
        "fleet.yml: venues: must not be empty",
        "fleet.yml: strategies: must not be empty",
    ]
    assert problems_of(root, "venues: [binance]\nstrategies: quoter\n") == [
        "fleet.yml: venues: must be a mapping, was a list",
        "fleet.yml: strategies: must be a list, was 'quoter'",
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


def test_strategies_logs_are_bounded_as_the_file_says(root):
    fleet = fleet_of(root, "logs: {max_mb: 2.5, keep: 7}\n" + VENUES + ONE)
    workers = place(fleet.strategies, workers=1, cpus=(0,), limit=50).workers
    boot = worker_boot(Run("r", fleet, root, root / "state", 1), 1, workers[0], [])
    folder = str(root / "state" / "logs" / "strategies")
    assert boot["strategy_logs"] == {"folder": folder, "max_bytes": 5 << 19, "keep": 7}
    assert problems_of(root, "logs: {max_mb: 0, keep: 0}\n" + VENUES + ONE) == [
        "fleet.yml: logs.max_mb: Input should be greater than or equal to 0.1, was 0",
        "fleet.yml: logs.keep: Input should be greater than or equal to 1, was 0",
    ]


def test_a_name_that_is_too_long_for_the_file_system_is_said(root):
    (problem,) = problems_of(root, VENUES + f"strategies: [{{script: quoter, config: {'x' * 300}}}]\n")
    assert problem.endswith("x: File name too long")


def test_a_fleet_file_that_is_not_there_is_named_whole(root):
    with pytest.raises(ConfigError) as caught:
        load_fleet(root / "none.yml")
    assert caught.value.problems == [f"{root}/none.yml: No such file or directory"]


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
