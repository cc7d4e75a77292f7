"""Orders of a connector: plain ones leave inside of `buy()`, others the way of Hummingbot, and each is told of."""

import asyncio
import threading
from decimal import Decimal

import pytest
from hummingbot.core.data_type.common import OrderType, PositionAction, TradeType
from hummingbot.core.event.event_logger import EventLogger
from hummingbot.core.event.events import BuyOrderCreatedEvent, MarketEvent, MarketOrderFailureEvent

from hive.shm.book import LIVE, STALE
from hive.shm.ids import ORDER_ID_MAX, parse_order_id
from hive.shm.messages import Side

PAIR = "BTC-USDT"
TOUCH = {"exchange": "binance", "trading_pair": PAIR, "order_amount_quote": 60, "spread": "0.01"}
EVENTS = (MarketEvent.BuyOrderCreated, MarketEvent.SellOrderCreated, MarketEvent.OrderFailure)


class Trader:
    """A strategy that never ticks; what its connector is asked here, it asks in its context."""

    def __init__(self, stage):
        self.stage = stage
        self.context = stage.cores["trader"]
        self.connector = self.context.host_data.connectors["binance"]
        self.heard = EventLogger()
        for event in EVENTS:
            self.connector.add_listener(event, self.heard)

    def buy(self, amount="0.5", order_type=OrderType.LIMIT, price="90.007", **options):
        return self.order(self.connector.buy, amount, order_type, price, options)

    def sell(self, amount="0.5", order_type=OrderType.LIMIT, price="110.007", **options):
        return self.order(self.connector.sell, amount, order_type, price, options)

    def order(self, call, amount, order_type, price, options):
        return self.context.run(lambda: call(PAIR, Decimal(amount), order_type, Decimal(price), **options))

    def sent(self):
        """Return what has left for the gate, without a pass of the loop."""
        self.stage.venue.pump()
        return self.stage.venue.placed

    async def failures(self):
        await self.stage.settle()
        return [event for event in self.heard.event_log if isinstance(event, MarketOrderFailureEvent)]


@pytest.fixture
async def trader(stage):
    await stage.start("trader", "script", "touch_maker", TOUCH)
    made = Trader(stage)
    yield made
    for event in EVENTS:
        made.connector.remove_listener(event, made.heard)


async def test_a_limit_order_has_left_and_is_tracked_when_buy_returns(trader):
    name = trader.buy()
    (intent,) = trader.sent()
    assert (intent.client_order_id, intent.side) == (name, Side.BUY)
    assert (intent.price, intent.amount) == (Decimal(90), Decimal("0.5"))
    tracked = trader.connector.in_flight_orders[name]
    assert (tracked.price, tracked.amount, tracked.trade_type) == (intent.price, intent.amount, TradeType.BUY)
    await trader.stage.settle()
    (created,) = trader.heard.event_log
    assert isinstance(created, BuyOrderCreatedEvent)
    assert (created.order_id, created.exchange_order_id) == (name, tracked.exchange_order_id)
    assert tracked.is_open
    assert trader.sent() == [intent]  # once


async def test_ids_are_the_strategys_own_and_no_two_are_equal(trader):
    names = [call() for _ in range(50) for call in (trader.buy, trader.sell)]
    assert len(set(names)) == len(names)
    assert {parse_order_id(name)[1] for name in names} == {trader.context.tag}
    assert max(map(len, names)) <= ORDER_ID_MAX
    assert {name[13:18] for name in names} == {"BBCUT", "SBCUT"}
    await trader.stage.settle()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"amount": "0.000001"}, "minimum order size"),
        ({"amount": "0.01"}, "minimum notional size"),
        ({"order_type": OrderType.AMM_SWAP}, "supported order types"),
    ],
)
async def test_an_order_that_breaks_a_rule_fails_as_hummingbot_has_it_and_is_not_sent(trader, options, reason):
    name = trader.buy(**options)
    (failure,) = await trader.failures()
    assert failure.order_id == name
    assert reason in failure.error_message
    assert trader.sent() == []


async def test_an_order_that_is_refused_here_fails_once(trader):
    trader.stage.set_state(PAIR, STALE)
    name = trader.buy()
    assert name in trader.connector.in_flight_orders
    (failure,) = await trader.failures()
    assert (failure.order_id, failure.error_type) == (name, "OrderRefused")
    assert trader.context.counters.orders_refused.value == 1
    assert trader.sent() == []
    assert trader.connector.in_flight_orders == {}


async def test_an_order_that_the_venue_rejects_fails_once(trader):
    trader.stage.venue.refuse = "no money"
    name = trader.sell()
    (failure,) = await trader.failures()
    assert (failure.order_id, failure.error_type) == (name, "OrderRejected")
    assert "no money" in failure.error_message


async def test_a_market_order_and_one_without_a_price_go_the_long_way(trader):
    trader.buy(order_type=OrderType.MARKET, price="NaN")
    assert trader.sent() == []
    await asyncio.sleep(0)
    (intent,) = trader.sent()
    assert intent.price is None
    trader.buy(price="NaN")
    await trader.failures()
    assert trader.sent() == [intent]


async def test_an_exit_leaves_at_once_while_it_can_and_waits_while_it_cannot(trader):
    trader.sell(position_action=PositionAction.CLOSE)
    assert len(trader.sent()) == 1
    trader.stage.set_state(PAIR, STALE)
    trader.sell(position_action=PositionAction.CLOSE)
    assert await trader.failures() == []
    assert len(trader.sent()) == 1
    trader.stage.set_state(PAIR, LIVE)
    async with asyncio.timeout(60):
        while len(trader.sent()) < 2:
            await asyncio.sleep(0.01)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
async def test_an_order_from_another_thread_is_an_error_and_is_not_sent(trader):
    raised = []

    def place():
        try:
            trader.connector.buy(PAIR, Decimal("0.5"), OrderType.LIMIT, Decimal(90))
        except RuntimeError:
            raised.append("no loop runs here")

    thread = threading.Thread(target=place)
    thread.start()
    thread.join()
    assert raised
    assert trader.sent() == []
