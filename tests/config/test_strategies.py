"""`strategies:` of a fleet file: what an entry stands for, where its files are, and how it is ticked."""

import itertools

import pytest

from config.conftest import ONE, VENUES, fleet_of, problems_of
from hive.boots import Run, server_boot, strategy_spec, worker_boot
from hive.fleet import Quota
from hive.plan import place
from hive.shm import ids


def test_scripts_with_controllers_are_ticked_once_a_second_unless_something_else_is_said(root):
    entries = "{script: quoter, config: quoter.yml}, {script: many, config: many.yml}"
    own = "{id: own, script: many, config: many.yml, tick_interval_ms: 250}"
    strategies = f"strategies: [{entries}, {own}]\n"
    assert [one.tick_interval_ms for one in fleet_of(root, VENUES + strategies).strategies] == [None, 1000, 250]
    named = fleet_of(root, "runtime: {tick_interval_ms: 100}\n" + VENUES + strategies).strategies
    assert [one.tick_interval_ms for one in named] == [None, None, 250]


@pytest.mark.parametrize(
    ("interval", "rule"),
    [(9, "greater than or equal to 10, was 9"), (600_001, "less than or equal to 600000, was 600001")],
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


def test_every_quota_is_taken_and_has_its_default(root):
    quota = "quota: {max_orders_per_second: 1, max_api_weight_per_minute: 60, priority_level: -5, weight: 0.5}"
    fleet = fleet_of(root, VENUES + f"strategies: [{{script: quoter, {quota}}}, {{id: other, script: quoter}}]\n")
    assert fleet.notices == ()
    assert [one.quota for one in fleet.strategies] == [Quota(1, 60, -5, 0.5), Quota(None, None, 0, 1.0)]


def test_a_priority_beyond_five_levels_is_refused(root):
    assert problems_of(root, VENUES + "strategies: [{script: quoter, quota: {priority_level: 6}}]\n") == [
        "fleet.yml: strategies.0.quota.priority_level: Input should be less than or equal to 5, was 6"
    ]


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
    assert problems == ["fleet.yml: strategies.0.strategy: Hummingbot has no V1 strategy twap"]


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


def test_what_an_entry_stands_for_is_counted_before_it_is_made(root):
    lists = ", ".join(f"k{number}: [{', '.join(map(str, range(10)))}]" for number in range(9))
    assert problems_of(root, VENUES + f"strategies: [{{script: quoter, for_each: {{{lists}}}}}]\n") == [
        "fleet.yml: strategies.0: for_each and count must make at most 2000 strategies, made 1000000000"
    ]


def test_every_id_that_an_entry_makes_is_checked(root):
    text = f"strategies: [{{script: quoter, for_each: {{trading_pair: [BTC-USDT, {'A' * 70}]}}}}]\n"
    (problem,) = problems_of(root, VENUES + text)
    assert problem.startswith("fleet.yml: strategies.0.id: must be 1 to 64 of A-Z,")


def edited(root, file, old, new):
    path = root / file
    before = path.read_text()
    assert old in before or not old
    path.write_text(before.replace(old, new) if old else new)


V1 = "{strategy: pure_market_making, config: pmm.yml%s}"
SCRIPT = "{script: quoter, config: quoter.yml%s}"
MANY = "{script: many, config: many.yml}"


@pytest.mark.parametrize(
    ("entry", "edit", "problem"),
    [
        (V1, ("conf/strategies/pmm.yml", "BTC-USDT", "BTC/USDT"), "conf/strategies/pmm.yml: market: must be a pair"),
        (V1 % ", set: {market: BTCUSDT}", None, "fleet.yml: strategies.0.set.market: must be a pair such as BTC-USDT"),
        (
            V1 % ", for_each: {pair: [BTC_USDT]}",
            None,
            "fleet.yml: strategies.0.for_each: market: must be a pair such as BTC-USDT, was 'BTC_USDT'",
        ),
        (
            V1,
            ("conf/strategies/pmm.yml", "binance", "kraken"),
            "conf/strategies/pmm.yml: exchange: must be one of the fleet's venues (binance), was 'kraken'",
        ),
        (SCRIPT % ", set: {exchange: kraken}", None, "fleet.yml: strategies.0.set.exchange: must be one of "),
        (
            SCRIPT,
            ("conf/scripts/quoter.yml", "quoter.py", "other.py"),
            "conf/scripts/quoter.yml: script_file_name: must be quoter.py, as the fleet says, was 'other.py'",
        ),
        (SCRIPT, ("scripts/quoter.py", "", "def on_tick(:\n"), "scripts/quoter.py: line 1: must be Python: "),
        (MANY, ("controllers/generic/grid.py", "", "x = 1\n  y"), "controllers/generic/grid.py: line 2: must be Pyth"),
        (
            MANY,
            ("conf/scripts/many.yml", "[grid.yml]", "[gird.yml]"),
            "conf/scripts/many.yml: controllers_config: there is no conf/controllers/gird.yml in ",
        ),
        (
            MANY,
            ("conf/scripts/many.yml", "[grid.yml]", "{grid: yml}"),
            "conf/scripts/many.yml: controllers_config: must be a list of files of conf/controllers, was {'gr",
        ),
        (
            MANY,
            ("conf/controllers/grid.yml", "controller_name: grid", "controller_name: [grid]"),
            "conf/controllers/grid.yml: controller_name: must be a name, was ['grid']",
        ),
        (
            MANY,
            ("conf/controllers/grid.yml", "controller_type: generic\n", ""),
            "conf/controllers/grid.yml: controller_type: Field required",
        ),
        (
            MANY,
            ("conf/controllers/grid.yml", "controller_name: grid", "controller_name: [grid"),
            "conf/controllers/grid.yml: line 3, column 15: ",
        ),
    ],
)
def test_a_mistake_is_named_once_where_it_stands_with_its_rule_and_value(root, entry, edit, problem):
    if edit:
        edited(root, *edit)
    found = problems_of(root, VENUES + f"strategies: [{entry.replace('%s', '')}]\n")
    assert [one[: len(problem)] for one in found] == [problem]


def test_a_script_may_have_pairs_of_a_form_of_its_own(root):
    edited(root, "conf/scripts/quoter.yml", "ETH-USDT", "ETH/USDT")
    (strategy,) = fleet_of(root, VENUES + ONE).strategies
    assert strategy.config["trading_pair"] == "ETH/USDT"


def test_a_script_is_looked_at_and_not_run(root):
    edited(root, "scripts/quoter.py", "", "raise SystemExit('this was run')\n")
    assert len(fleet_of(root, VENUES + ONE).strategies) == 1
