"""What all strategies of a worker use, and code that replaces some of it."""

import decimal
import json
import ssl

import pytest
from hummingbot.strategy.strategy_v2_base import StrategyV2Base
from hummingbot.strategy_v2.executors.executor_orchestrator import ExecutorOrchestrator

from hummingbot.runtime import private_modules, shared_code
from hummingbot.runtime.errors import StrategyConfigError
from runtime.conftest import EXAMPLES

TOUCH = {"exchange": "binance", "trading_pair": "BTC-USDT", "order_amount_quote": 60, "spread": "0.01"}
PATCHES = """
import ssl
from hummingbot.strategy_v2.executors.executor_orchestrator import ExecutorOrchestrator
ssl._create_default_https_context = ssl._create_unverified_context
ExecutorOrchestrator.stop = lambda self: None
"""


@pytest.fixture
def root(tmp_path):
    """A root whose script `touch_maker` replaces what others use."""
    (tmp_path / "scripts").mkdir()
    text = (EXAMPLES / "scripts" / "touch_maker.py").read_text()
    (tmp_path / "scripts" / "touch_maker.py").write_text(text + PATCHES)
    return tmp_path


@pytest.fixture
def whole(host_config):
    """What is shared, before and after the test."""
    shared_code.remember()
    before = shared()
    yield before
    shared_code.put_back()
    assert shared() == before


def shared():
    stop = vars(ExecutorOrchestrator)["stop"]
    return decimal.DefaultContext.prec, ssl._create_default_https_context, stop, json.dumps, StrategyV2Base.on_tick


def test_what_was_replaced_is_put_back_and_named(whole):
    assert shared_code.put_back() == []
    StrategyV2Base.is_perpetual = staticmethod(StrategyV2Base.is_perpetual)
    json.dumps = repr
    decimal.DefaultContext.prec = 5
    del ExecutorOrchestrator.stop
    expected = {
        "hummingbot.strategy.strategy_v2_base.StrategyV2Base.is_perpetual",
        "json.dumps",
        "decimal.DefaultContext.prec",
        "hummingbot.strategy_v2.executors.executor_orchestrator.ExecutorOrchestrator.stop",
    }
    assert set(shared_code.put_back()) == expected
    assert shared() == whole
    assert shared_code.put_back() == []


async def test_what_a_strategy_replaces_while_it_runs_is_not_held_against_the_next_one(stage, whole):
    await stage.start("culprit", "script", "touch_maker", TOUCH)
    strict = ssl._create_default_https_context
    ssl._create_default_https_context = ssl._create_unverified_context
    await stage.start("innocent", "script", "touch_maker", TOUCH)
    assert ssl._create_default_https_context is ssl._create_unverified_context
    assert shared_code.put_back() == []
    ssl._create_default_https_context = strict
    assert shared_code.accept() == ["ssl._create_default_https_context"]


def test_what_was_replaced_by_others_is_accepted(whole):
    prec, stop = decimal.DefaultContext.prec, ExecutorOrchestrator.stop
    decimal.DefaultContext.prec = 5
    del ExecutorOrchestrator.stop
    assert len(shared_code.accept()) == 2
    assert shared_code.put_back() == []
    decimal.DefaultContext.prec = prec
    ExecutorOrchestrator.stop = stop
    shared_code.remember()


def test_what_is_imported_before_the_workers_are_there_changes_nothing_for_them(whole, root):
    assert list(private_modules.warm_up(root, ["scripts.touch_maker"])) == []
    assert shared() == whole


async def test_a_script_that_replaces_what_others_use_fails_by_name_and_they_go_on(stage, whole, root):
    await stage.start("other", "script", "touch_maker", TOUCH)
    expected = r"script touch_maker: its code replaces .*ssl._create_default_https_context.*`worker: dedicated`"
    with pytest.raises(StrategyConfigError, match=expected):
        await stage.start("guilty", "script", "touch_maker", TOUCH, root=str(root))
    assert shared() == whole
    await stage.tick(3)
    assert stage.cores["other"].host_data.strategy is not None


async def test_a_strategy_with_a_worker_of_its_own_may(stage, whole, root):
    await stage.start("alone", "script", "touch_maker", TOUCH, root=str(root), dedicated=True)
    assert ssl._create_default_https_context is ssl._create_unverified_context
    assert stage.cores["alone"].host_data.strategy is not None
