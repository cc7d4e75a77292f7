"""A position is closed although its strategy is paused, its book was stale for a while, or the gate was away."""

import asyncio
from decimal import Decimal
from functools import partial

import pytest
from hummingbot.core.data_type.common import OrderType, PositionAction
from hummingbot.core.event.events import MarketOrderFailureEvent

from hive.shm.book import LIVE, STALE
from hive.shm.messages import OrderType as IntentOrderType
from hive.shm.messages import Reply, ReplyKind, Side
from hive.workers.scheduler import State

PATIENCE = 200  # rounds of a tenth of a second
PAIR = "BTC-USDT"
LADDER = {"controllers_config": ["ladder_btc.yml"]}
TOUCH = {"exchange": "binance", "trading_pair": PAIR, "order_amount_quote": 60, "spread": "0.01"}


async def until(stage, condition, ticks=False):
    for _ in range(PATIENCE):
        await (stage.tick() if ticks else stage.settle())
        if found := condition():
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"not in {PATIENCE} rounds; placed: {stage.venue.placed}")


def exits(stage):
    return [one for one in stage.venue.placed if one.order_type is IntentOrderType.MARKET]


async def bought(stage):
    """Start the ladder and have its first bid filled."""
    await stage.start("ladder", "script", "controllers_runner", LADDER)
    bids = await until(stage, lambda: [one for one in stage.venue.placed if one.side is Side.BUY], ticks=True)
    stage.venue.fill(bids[0])
    await stage.settle()
    return stage.cores["ladder"]


async def test_the_time_limit_of_a_position_passes_while_its_strategy_is_paused(stage):
    context = await bought(stage)
    stage.services.scheduler.set_state(context, State.PAUSED, "by its operator")
    core = context.host_data
    later = core.strategy.current_timestamp + 21  # the controller's time limit is 20 seconds

    def closing():
        core.context.run(core.keep_time, later)  # again and again: the worker shows it the real time once a second
        return exits(stage)

    (close,) = await until(stage, closing)
    assert close.side is Side.SELL
    stage.venue.fill(close._replace(price=Decimal(100)))


async def test_the_worker_shows_paused_strategies_the_time_by_itself(stage):
    await stage.start("a", "script", "touch_maker", TOUCH)
    context = stage.cores["a"]
    strategy = context.host_data.strategy
    context.run(context.host_data.keep_time, 1.0)
    stage.services.scheduler.set_state(context, State.PAUSED, "by its operator")
    await until(stage, lambda: strategy.current_timestamp > 1.0)
    assert context.host_data.connectors["binance"].current_timestamp == strategy.current_timestamp


async def test_a_paused_strategy_opens_nothing_and_goes_on_when_it_is_ticked_again(stage):
    context = await bought(stage)
    resting = len(stage.venue.placed)
    stage.services.scheduler.set_state(context, State.PAUSED, "by its operator")
    core = context.host_data
    (controller,) = core.strategy.controllers.values()
    controller.executors_info = []  # so that it wants every level anew, at each of its steps
    steps = controller.determine_executor_actions
    wanted = []
    controller.determine_executor_actions = lambda: wanted.append(steps()) or wanted[-1]
    controller.executors_update_event.set()
    await until(stage, lambda: wanted)
    for _ in range(25):
        await stage.settle()
        await asyncio.sleep(0.1)
    assert len(wanted) == 1
    opened = [one for one in stage.venue.placed[resting:] if one.side is Side.BUY]
    assert opened == []  # the position that it had may be closed: executors run on
    stage.services.scheduler.set_state(context, State.RUNNING, "again")
    await until(stage, lambda: len(wanted) > 1, ticks=True)


async def test_time_does_not_go_back_when_a_strategy_is_ticked_again_after_a_pause(stage):
    """A tick is told the multiple of the interval before it, and a phase may be nearly as long as the interval."""
    await stage.start("a", "script", "touch_maker", TOUCH)
    core = stage.cores["a"].host_data
    core._tick_interval_s = 60.0
    core.context.run(core.tick, 600.0)
    for wall, shown in ((659.9, 600.0), (661.0, 660.0), (300.0, 660.0), (719.9, 660.0)):
        core.context.run(core.keep_time, wall)
        assert (core.strategy.current_timestamp, core.connectors["binance"].current_timestamp) == (shown, shown)
    core.context.run(core.tick, 660.0)  # due at 719.95, told 660
    assert core.strategy.current_timestamp == 660.0


async def test_a_stop_loss_that_meets_a_stale_book_waits_for_it_and_is_sent_once(stage):
    context = await bought(stage)
    connector = context.host_data.connectors["binance"]
    stage.quote(PAIR, 95.0)  # the stop loss is one per cent
    stage.set_state(PAIR, STALE)
    await until(stage, lambda: connector._exits._waiting)
    for _ in range(10):
        await stage.settle()
        await asyncio.sleep(0.1)
    assert exits(stage) == []
    stage.set_state(PAIR, LIVE)
    (close,) = await until(stage, lambda: exits(stage))
    assert close.side is Side.SELL
    failed = {event.order_id for event in connector.event_logs if isinstance(event, MarketOrderFailureEvent)}
    assert close.client_order_id not in failed
    stage.venue.fill(close._replace(price=Decimal(95)))
    for _ in range(5):
        await stage.settle()
        await asyncio.sleep(0.1)
    assert exits(stage) == [close]


def sell(context, connector, action):
    place = partial(connector.sell, PAIR, Decimal(1), OrderType.MARKET, Decimal(100), position_action=action)
    return context.run(place)


@pytest.mark.parametrize("action", [PositionAction.OPEN, PositionAction.NIL])
async def test_an_order_that_closes_nothing_is_refused_at_once_while_its_book_is_stale(stage, action):
    await stage.start("a", "script", "touch_maker", TOUCH)
    connector = stage.cores["a"].host_data.connectors["binance"]
    stage.set_state(PAIR, STALE)
    order = sell(stage.cores["a"], connector, action)
    await stage.settle()
    assert [event.order_id for event in connector.event_logs if isinstance(event, MarketOrderFailureEvent)] == [order]


async def test_an_exit_waits_for_the_account_too_and_a_cancel_ends_its_wait(stage):
    await stage.start("a", "script", "touch_maker", TOUCH)
    context = stage.cores["a"]
    connector = context.host_data.connectors["binance"]
    stage.venue.send(Reply(ReplyKind.OPENED, 0, text="its user stream is down"))
    await stage.settle()
    first, second = (sell(context, connector, PositionAction.CLOSE) for _ in range(2))
    await stage.settle()
    assert (stage.venue.placed, set(connector.in_flight_orders)) == ([], {first, second})
    context.run(connector.cancel, PAIR, first)
    await until(stage, lambda: first not in connector.in_flight_orders)
    assert stage.venue.cancelled == []  # the gate has never heard of it
    stage.venue.send(Reply(ReplyKind.OPENED, 0))
    (placed,) = await until(stage, lambda: stage.venue.placed)
    assert placed.client_order_id == second
    assert placed.created_ns > 0
