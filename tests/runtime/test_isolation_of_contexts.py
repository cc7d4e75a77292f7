"""Every strategy as if alone: each row of docs/contexts.md that the other tests of this folder do not show."""

import asyncio
import gc
import importlib
import logging
import shutil
import sys
import tracemalloc
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hummingbot.client.hummingbot_application import HummingbotApplication
from hummingbot.core.utils.kill_switch import ActiveKillSwitch
from hummingbot.strategy_v2.executors.executor_orchestrator import ExecutorOrchestrator
from hummingbot.strategy_v2.executors.position_executor.position_executor import PositionExecutor

from hive.shm.ids import parse_order_id, strategy_tag
from hive.shm.messages import Reply, ReplyKind
from hive.workers.log import StrategyFilter
from hummingbot.runtime import engine
from hummingbot.runtime.rules import VenueRules
from hummingbot.runtime.selftest import KNOWN
from runtime.conftest import EXAMPLES
from runtime.pmm import PMM

TOUCH = {"exchange": "binance", "trading_pair": "BTC-USDT", "order_amount_quote": 60, "spread": "0.01"}
SCRIPT = """
import logging
from decimal import Decimal, getcontext
import random
from hummingbot.strategy.strategy_v2_base import StrategyV2Base, StrategyV2ConfigBase

PLACE = {place!r}
seen = []

class NotesConfig(StrategyV2ConfigBase):
    script_file_name: str = "notes.py"
    word: str = "none"

    def update_markets(self, markets):
        return markets.add_or_update("binance", "BTC-USDT")

class Notes(StrategyV2Base):
    of_class = {{}}

    def on_tick(self):
        seen.append((PLACE, self.config.word))
        self.of_class[self.config.word] = len(seen)
        if self.config.word == "short":
            getcontext().prec = 3
        self.third = Decimal(1) / 3
        self.drawn = random.random()
        self.logger().info("noted %s", self.config.word)
"""


def write_root(root: Path, place: str) -> Path:
    """Make a root with the script `notes`."""
    (root / "scripts").mkdir(parents=True)
    (root / "scripts" / "notes.py").write_text(SCRIPT.format(place=place))
    return root


def module_of(context):
    return sys.modules[type(context.host_data.strategy).__module__]


def balances(context):
    connector = context.host_data.connectors["binance"]
    return {asset: (connector.get_balance(asset), connector.get_available_balance(asset)) for asset in ("BTC", "USDT")}


def tell_capital(stage, name, asset, free, locked="0"):
    amounts = {"amount": Decimal(free), "cumulative": Decimal(locked)}
    stage.venue.send(Reply(ReplyKind.BALANCE, 0, strategy_tag(name), fee_asset=asset, **amounts))


async def test_capital_is_all_that_its_strategy_sees_of_the_account(stage):
    tell_capital(stage, "rich", "USDT", "1000", "20")
    await stage.settle()
    await stage.start("rich", "v1", "pure_market_making", PMM, capital=True)
    await stage.start("sharing", "v1", "pure_market_making", PMM)
    rich, sharing = stage.cores["rich"], stage.cores["sharing"]
    assert balances(rich) == {"BTC": (0, 0), "USDT": (1020, 1000)}
    assert balances(sharing) == {"BTC": (10, 10), "USDT": (1000000, 1000000)}
    tell_capital(stage, "rich", "BTC", "0.5")
    stage.venue.open_account(USDT="7")
    await stage.settle()
    assert balances(rich) == {"BTC": (Decimal("0.5"), Decimal("0.5")), "USDT": (1020, 1000)}
    assert balances(sharing)["USDT"] == (7, 7)
    assert rich.host_data.connectors["binance"].get_all_balances() == {"BTC": Decimal("0.5"), "USDT": 1020}


async def test_a_strategy_with_capital_is_not_ready_before_it_was_told_of_it(stage):
    await stage.start("rich", "v1", "pure_market_making", PMM, capital=True)
    connector = stage.cores["rich"].host_data.connectors["binance"]
    assert not connector.status_dict["account_balance"]
    tell_capital(stage, "rich", "USDT", "1000")
    await stage.settle()
    assert connector.status_dict["account_balance"]


async def test_two_instances_of_a_script_share_no_state_of_module_class_decimals_or_chance(stage, tmp_path):
    root = str(write_root(tmp_path / "root", "here"))
    for name, word in (("one", "short"), ("other", "long")):
        await stage.start(name, "script", "notes", {"word": word}, root=root)
    await stage.tick(3)
    one, other = (stage.cores[name] for name in ("one", "other"))
    assert set(module_of(one).seen) == {("here", "short")}
    assert set(module_of(other).seen) == {("here", "long")}
    assert list(type(one.host_data.strategy).of_class) == ["short"]
    thirds = [context.host_data.strategy.third for context in (one, other)]
    assert thirds == [Decimal("0.333"), Decimal(1) / 3]
    assert one.host_data.strategy.drawn != other.host_data.strategy.drawn
    assert type(one.host_data.strategy).on_tick.__code__ is type(other.host_data.strategy).on_tick.__code__


async def test_scripts_of_one_name_come_from_the_root_of_their_strategy(stage, tmp_path):
    for place in ("here", "there"):
        await stage.start(place, "script", "notes", {"word": "x"}, root=str(write_root(tmp_path / place, place)))
    await stage.start("default", "script", "touch_maker", TOUCH)
    await stage.tick(3)
    assert [{place for place, _ in module_of(stage.cores[name]).seen} for name in ("here", "there")] == [
        {"here"},
        {"there"},
    ]
    assert module_of(stage.cores["default"]).__file__ == str(EXAMPLES / "scripts" / "touch_maker.py")


async def test_a_reload_by_one_strategy_leaves_the_others_as_they_are(stage, tmp_path):
    root = str(write_root(tmp_path / "root", "here"))
    for name in ("one", "other"):
        await stage.start(name, "script", "notes", {"word": name}, root=root)
    await stage.tick(3)
    one, other = (stage.cores[name] for name in ("one", "other"))
    seen = list(module_of(other).seen)
    one.run(importlib.reload, module_of(one))
    assert module_of(one).seen == []
    assert module_of(other).seen == seen != []


async def test_an_executor_kind_that_a_strategy_replaces_or_adds_is_its_own(stage):
    for name in ("own", "other"):
        await stage.start(name, "script", "touch_maker", TOUCH)
    own, other = (stage.cores[name] for name in ("own", "other"))
    stock = dict(ExecutorOrchestrator._executor_mapping)

    class MyPositionExecutor(PositionExecutor):
        """What a script may have instead of the stock one."""

    def replace_and_add():
        kinds = ExecutorOrchestrator._executor_mapping
        kinds["position_executor"] = kinds["mine"] = MyPositionExecutor
        del kinds["lp_executor"]
        return dict(own.host_data.strategy.executor_orchestrator._executor_mapping)

    theirs = {**stock, "position_executor": MyPositionExecutor, "mine": MyPositionExecutor}
    del theirs["lp_executor"]
    assert own.run(replace_and_add) == own.run(dict, ExecutorOrchestrator._executor_mapping) == theirs
    assert other.run(dict, ExecutorOrchestrator._executor_mapping) == dict(ExecutorOrchestrator._executor_mapping)
    assert dict(ExecutorOrchestrator._executor_mapping) == stock
    own.host_data, core = None, own.host_data  # as when its strategy has been removed and a task of it runs on
    own.run(ExecutorOrchestrator._executor_mapping.update, {"late": MyPositionExecutor})
    own.host_data = core
    assert dict(ExecutorOrchestrator._executor_mapping) == stock


async def test_controllers_and_their_configurations_come_from_the_root_of_their_strategy(stage, tmp_path):
    root = tmp_path / "root"
    for folder in ("scripts", "controllers", "conf/controllers"):
        shutil.copytree(EXAMPLES / folder, root / folder)
    config = root / "conf" / "controllers" / "ladder_btc.yml"
    config.write_text(config.read_text().replace("total_amount_quote: 400", "total_amount_quote: 123"))
    names = {"controllers_config": ["ladder_btc.yml"]}
    await stage.start("own", "script", "controllers_runner", names, root=str(root))
    await stage.start("fleets", "script", "controllers_runner", names)
    own, fleets = (stage.cores[name].host_data.strategy.controllers["ladder_btc"] for name in ("own", "fleets"))
    assert [one.config.total_amount_quote for one in (own, fleets)] == [123, 400]
    assert type(own) is not type(fleets)
    assert [Path(sys.modules[type(one).__module__].__file__).parents[2] for one in (own, fleets)] == [root, EXAMPLES]
    own.config.total_amount_quote = Decimal(1)
    assert fleets.config.total_amount_quote == 400
    again = stage.cores["own"].run(stage.cores["own"].host_data.strategy.config.load_controller_configs)
    assert again[0].total_amount_quote == 123  # what the strategy re-reads every ten seconds


async def test_a_kill_switch_ends_its_own_strategy_with_its_orders_and_no_other(stage):
    for name in ("loser", "other"):
        await stage.start(name, "v1", "pure_market_making", PMM)
    await stage.tick(3)
    context = stage.cores["loser"]
    core = context.host_data

    async def lost_half():
        return Decimal("-0.5")

    core.calculate_profitability = lost_half  # what the switch asks; the switch itself is upstream's
    context.run(ActiveKillSwitch(Decimal(-10), core).start)
    await stage.settle(100)
    placed = {tag: set() for tag in map(strategy_tag, ("loser", "other"))}
    for order in stage.venue.placed:
        placed[parse_order_id(order.client_order_id)[1]].add(order.client_order_id)
    assert set(stage.venue.cancelled) == placed[strategy_tag("loser")] != set()
    assert ("loser", "paused", "the strategy asked to be stopped") in stage.states
    assert core.strategy is None
    other = stage.cores["other"].host_data
    assert set(other.connectors["binance"].in_flight_orders) == placed[strategy_tag("other")]
    assert not [state for state in stage.states if state[0] == "other"]


async def test_a_script_with_executors_that_asks_to_be_stopped_places_nothing_more(stage):
    await stage.start("ladder", "script", "controllers_runner", {"controllers_config": ["ladder_btc.yml"]})
    await stage.start("other", "script", "touch_maker", TOUCH)
    context = stage.cores["ladder"]

    def orders():
        return [one for one in stage.venue.placed if parse_order_id(one.client_order_id)[1] == context.tag]

    for _ in range(60):
        await stage.tick()
        if orders():
            break
        await asyncio.sleep(0.1)
    assert orders()
    context.run(lambda: HummingbotApplication.main_application().stop())
    for _ in range(200):
        await stage.tick()
        if context.host_data.strategy is None:
            break
        await asyncio.sleep(0.1)
    assert context.host_data.strategy is None
    before = len(orders())
    for _ in range(15):
        await stage.tick()
        await asyncio.sleep(0.1)
    assert len(orders()) == before
    assert {one.client_order_id for one in orders()} <= set(stage.venue.cancelled)
    assert stage.cores["other"].host_data.strategy is not None


async def test_notices_and_log_lines_name_their_own_strategy(stage, tmp_path, caplog):
    caplog.handler.addFilter(StrategyFilter())
    caplog.set_level(logging.INFO)
    root = str(write_root(tmp_path / "root", "here"))
    for name in ("one", "other"):
        await stage.start(name, "script", "notes", {"word": name}, root=root)
        notify = lambda name=name: HummingbotApplication.main_application().notify(f"noted {name}")  # noqa: E731
        stage.cores[name].run(notify)
    await stage.tick(3)
    said = [(record.strategy, record.getMessage()) for record in caplog.records if "noted" in record.getMessage()]
    assert set(said) == {("one", "noted one"), ("other", "noted other")}
    assert len(said) >= 4


async def test_a_cancel_of_anothers_order_is_refused(stage):
    for name in ("a", "b"):
        await stage.start(name, "v1", "pure_market_making", PMM)
    await stage.tick(3)
    a, b = (stage.cores[name] for name in ("a", "b"))
    theirs = next(iter(b.host_data.connectors["binance"].in_flight_orders))
    mine = a.host_data.connectors["binance"]
    assert theirs not in mine.in_flight_orders
    a.run(mine.cancel, "BTC-USDT", theirs)
    await stage.settle()
    assert theirs not in stage.venue.cancelled


async def test_connectors_share_one_map_of_rules_and_one_of_symbols(stage):
    for name in ("a", "b"):
        await stage.start(name, "v1", "pure_market_making", PMM)
    one, other = (stage.cores[name].host_data.connectors["binance"] for name in ("a", "b"))
    assert one.trading_rules is other.trading_rules
    assert await one.trading_pair_symbol_map() is await other.trading_pair_symbol_map()
    with pytest.raises(TypeError, match="does not support item assignment"):
        one.trading_rules["BTC-USDT"] = None


def test_a_hundred_connectors_on_1500_symbols_hold_the_rules_once():
    bases = [f"A{number}" for number in range(1500)]
    made = [replace(KNOWN, pair=f"{base}-USDT", symbol=f"{base}USDT", base=base) for base in bases]
    shared = VenueRules()
    gc.collect()
    tracemalloc.start()
    try:
        for one in made:
            shared.take(one)
        once, _ = tracemalloc.get_traced_memory()
        for _ in range(99):
            for one in made:
                shared.take(one)
        gc.collect()
        hundred, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(shared.rules) == len(shared.symbols) == 1500
    assert hundred - once < once / 100


def test_scripts_and_controllers_that_do_not_load_cost_the_fleet_nothing_at_its_start(host_config, tmp_path, caplog):
    root = write_root(tmp_path / "root", "here")
    (root / "scripts" / "broken.py").write_text("raise LookupError('no key')")
    (root / "conf" / "controllers").mkdir(parents=True)
    (root / "conf" / "controllers" / "torn.yml").write_text("controller_name: [")
    script = {"kind": "script", "root": str(root)}
    notes = {**script, "name": "notes", "controllers": ["torn.yml", "missing.yml"]}
    engine.warm_up([notes, {**script, "name": "broken"}])
    told = " ".join(record.getMessage() for record in caplog.records)
    assert all(name in told for name in ("controller torn.yml", "controller missing.yml", "scripts.broken"))
    assert "scripts.notes" not in told
