"""Executors live in loops of their own: what they promise holds while their strategy is not ticked."""

import asyncio
import re
import shutil
from decimal import ROUND_DOWN, Decimal
from pathlib import Path

import pytest

from hive.shm.messages import OrderType, Side
from hummingbot.runtime.executors import AGAIN, CLOSELY_EVERY
from hummingbot.runtime.selftest import KNOWN
from runtime.pmm import PMM

PATIENCE = 200  # rounds of a tenth of a second
STEP = KNOWN.step
TESTS_ROOT = Path(__file__).parents[1] / "strategies_root"
EXAMPLES = Path(__file__).parents[2] / "examples"


async def rounds_until(stage, condition, ticks):
    """Let the executors' own loops run, ticking or not, until the condition holds; returns what it gave."""
    for _ in range(PATIENCE):
        await (stage.tick() if ticks else stage.settle())
        if found := condition():
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"not in {PATIENCE} rounds; placed: {stage.venue.placed}")


async def test_a_stop_loss_works_while_its_strategy_is_not_ticked(stage):
    await stage.start("ladder", "script", "controllers_runner", {"controllers_config": ["ladder_btc.yml"]})
    placed = stage.venue.placed
    bids = await rounds_until(stage, lambda: [one for one in placed if one.side is Side.BUY], ticks=True)
    stage.venue.fill(bids[0])
    await stage.settle()
    stage.quote("BTC-USDT", 95.0)  # the stop loss is one per cent
    market = lambda: [one for one in placed if one.order_type is OrderType.MARKET]  # noqa: E731
    (close,) = await rounds_until(stage, market, ticks=False)
    assert close.side is Side.SELL
    assert close.amount == (bids[0].amount * Decimal("0.999")).quantize(STEP, ROUND_DOWN)  # the fee was paid from it
    stage.venue.fill(close._replace(price=Decimal(95)))
    await stage.settle()


async def test_what_executors_trade_and_hold_is_known_from_outside_until_they_end(stage):
    await stage.start("ladder", "script", "controllers_runner", {"controllers_config": ["ladder_btc.yml"]})
    placed = stage.venue.placed
    shown = stage.cores["ladder"].executors

    def nets() -> list[str]:
        ((where, pair),) = {(one["venue"], one["pair"]) for lived in shown() for one in lived["markets"]}
        assert (where, pair) == ("binance", "BTC-USDT")
        return sorted((one["net"] for lived in shown() for one in lived["markets"]), key=Decimal)

    assert shown() == []
    await rounds_until(stage, lambda: len(placed) >= 4, ticks=True)
    assert {one["kind"] for one in shown()} == {"position_executor"}
    assert nets() == ["0", "0", "0", "0"]
    bid = next(one for one in placed if one.side is Side.BUY)
    ask = next(one for one in placed if one.side is Side.SELL)
    stage.venue.fill(bid, bid.amount / 2, final=False)
    stage.venue.fill(ask)
    await stage.settle()
    assert list(map(Decimal, nets())) == [-ask.amount, 0, 0, bid.amount / 2]


async def test_executors_are_looked_at_closely_when_something_may_have_changed_and_now_and_then(stage):
    await stage.start("ladder", "script", "controllers_runner", {"controllers_config": ["ladder_btc.yml"]})
    placed = stage.venue.placed
    await rounds_until(stage, lambda: len(placed) >= 4, ticks=True)
    shown = stage.cores["ladder"].executors
    made = [shown() for _ in range(CLOSELY_EVERY + 1)]
    assert made.count(made[0]) == len(made)
    assert len({id(one) for one in made}) == AGAIN + 1
    bid = next(one for one in placed if one.side is Side.BUY)
    stage.venue.fill(bid, bid.amount / 2, final=False)
    await stage.settle()
    assert shown() != made[0]


@pytest.mark.parametrize("kind", ["grid", "dca", "twap", "order"])
async def test_what_any_kind_of_executor_holds_is_found_where_it_keeps_its_orders(stage, tmp_path, kind):
    shutil.copytree(TESTS_ROOT, tmp_path / "root")
    shutil.copytree(EXAMPLES / "scripts", tmp_path / "root/scripts")
    file = tmp_path / f"root/conf/controllers/{kind}.yml"
    file.write_text(re.sub("trading_pair: .*", "trading_pair: BTC-USDT", file.read_text()))
    config = {"controllers_config": [f"{kind}.yml"]}
    await stage.start(kind, "script", "controllers_runner", config, root=str(tmp_path / "root"))
    placed = stage.venue.placed
    (first, *_) = await rounds_until(stage, lambda: list(placed), ticks=True)
    shown = stage.cores[kind].executors
    (executor,) = shown()
    assert executor["kind"] == f"{kind}_executor"
    assert executor["markets"] == [{"venue": "binance", "pair": "BTC-USDT", "net": "0"}]
    part = (first.amount / 2).quantize(STEP, ROUND_DOWN)
    stage.venue.fill(first._replace(price=first.price or Decimal(100)), part, final=False)
    await stage.settle()
    ((market,),) = (one["markets"] for one in shown())
    assert Decimal(market["net"]) == (part if first.side is Side.BUY else -part)


async def test_a_strategy_of_another_kind_has_no_executors(stage):
    await stage.start("pmm", "v1", "pure_market_making", PMM)
    assert stage.cores["pmm"].executors is None
