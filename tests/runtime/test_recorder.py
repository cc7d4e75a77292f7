"""What a strategy leaves and finds again, and that its rows are those of Hummingbot's own recorder."""

import asyncio
import json
import sqlite3
import sys
import threading
import time
import traceback
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from types import SimpleNamespace

import pytest
from hummingbot.client.config.client_config_map import DBSqliteMode
from hummingbot.connector.markets_recorder import MarketsRecorder
from hummingbot.core.data_type.common import OrderType, TradeType
from hummingbot.core.data_type.in_flight_order import InFlightOrder, OrderState
from hummingbot.core.data_type.trade_fee import AddedToCostTradeFee, TokenAmount
from hummingbot.core.event.events import OrderFilledEvent
from hummingbot.model.inventory_cost import InventoryCost
from hummingbot.model.position import Position
from hummingbot.model.sql_connection_manager import SQLConnectionManager, SQLConnectionType
from hummingbot.strategy import pure_market_making
from hummingbot.strategy.pure_market_making import inventory_cost_price_delegate

from hive.gate.journal import Journal
from hive.gate.order import Order, State
from hive.gate.recorder_orders import SEEN_NS
from hive.gate.venue import Trade
from hive.shm.ids import strategy_tag
from hive.shm.messages import ReplyKind, Side
from hummingbot.runtime.inventory_cost import InventoryCosts
from hummingbot.runtime.singletons import claim_recorder_slot
from runtime import pmm

PMM = {**pmm.PMM, "filled_order_delay": 60.0}
REWORDED = (  # of a tracked order: times, what is compared one by one, and what nobody reads back
    "creation_timestamp",
    "last_update_timestamp",
    "order_fills",
    "cumulative_fee_paid_base",
    "cumulative_fee_paid_quote",
)
CLOCK_MS = 10_000  # the strategy's clock is set by hand, the venue's is the machine's


@dataclass
class GateJournal:
    """Writes what the stage's venue says into a journal, as the gate does."""

    journal: Journal
    stage: object

    def follow(self) -> None:
        """Take everything that the venue says from now on."""
        self.orders: dict[str, Order] = {}
        send = self.stage.venue.send

        def told(reply) -> None:
            self.take(reply)
            send(reply)

        self.stage.venue.send = told

    def take(self, reply) -> None:
        order = self.orders.get(reply.client_order_id)
        if order is None:
            order = self.orders[reply.client_order_id] = self.sent(self.stage.venue.orders[reply.client_order_id])
        order.exchange_order_id = order.exchange_order_id or reply.exchange_order_id
        if reply.kind is ReplyKind.ACKED:
            order.state = State.ACKED
            self.journal.acked(order)
        elif reply.kind is ReplyKind.FILL:
            trade = Trade(
                reply.trade_id, reply.price, reply.amount, reply.fee, reply.fee_asset, reply.maker, reply.wall_ns
            )
            order.filled += trade.amount
            self.journal.fill(order, trade)
        else:
            order.state = State[reply.kind.name]
            self.journal.ended(order)
        assert self.journal.commit()

    def sent(self, intent) -> Order:
        order = Order(
            client_order_id=intent.client_order_id,
            pair=intent.pair,
            symbol=intent.pair.replace("-", ""),
            tag=intent.client_order_id[7:12],
            origin=intent.kind,
            side=intent.side,
            order_type=intent.order_type,
            tif=intent.tif,
            price=intent.price,
            amount=intent.amount,
            worker_epoch=1,
            created_ns=intent.created_ns,
            state=State.SENT,
        )
        self.journal.sent(order)
        return order


@pytest.fixture
def gate(stage, tmp_path):
    journal = Journal.open(tmp_path / "journal", "stage", "binance", policy="none")
    gate = GateJournal(journal, stage)
    gate.follow()
    yield gate
    journal.close()


def select(path, query, *values):
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query, values)]


async def until(condition):
    async with asyncio.timeout(30):
        while not (found := condition()):
            await asyncio.sleep(0.05)
    return found


def without(row, names):
    return {name: value for name, value in row.items() if name not in names}


async def test_rows_of_orders_and_fills_are_those_that_hummingbots_own_recorder_writes(stage, gate, tmp_path):
    name = f"like{time.time_ns()}"
    await stage.start(name, "v1", "pure_market_making", PMM)
    core = stage.cores[name].host_data
    stock_path = tmp_path / "stock.sqlite"

    def record_as_stock():
        database = SQLConnectionManager(
            core.client_config_map, SQLConnectionType.TRADE_FILLS, db_path=str(stock_path)
        )
        collection = core.client_config_map.market_data_collection
        markets = list(core.connector_manager.connectors.values())
        recorder = MarketsRecorder(database, markets, f"{name}.yml", "pure_market_making", collection)
        claim_recorder_slot()
        recorder.start()
        return recorder

    stock = stage.cores[name].run(record_as_stock)
    await stage.tick(3)
    bid = next(order for order in stage.venue.placed if order.side is Side.BUY)
    ask = next(order for order in stage.venue.placed if order.side is Side.SELL)
    stage.venue.fill(bid, bid.amount / 4, final=False)
    await stage.settle()
    stage.venue.fill(bid, bid.amount - bid.amount / 4)
    stage.venue.fill(ask, ask.amount / 2, final=False)
    await stage.settle()
    stage.venue.say(ask, ReplyKind.CANCELLED)
    await stage.settle()
    ours_path = core.trade_fill_db.db_path
    ended = 'SELECT * FROM "Order" WHERE last_status IN (\'BuyOrderCompleted\', \'OrderCancelled\')'
    await until(lambda: len(select(ours_path, ended)) == 2)

    for table, key, times in (
        ('"Order"', "id", ("creation_timestamp", "last_update_timestamp")),
        ("TradeFill", "order_id, exchange_trade_id", ("timestamp",)),
        ("OrderStatus", "order_id, id", ("timestamp", "id")),
    ):
        query = f"SELECT * FROM {table} ORDER BY {key}"
        expected, found = select(stock_path, query), select(ours_path, query)
        assert len(expected) > 1
        assert [without(row, times) for row in found] == [without(row, times) for row in expected], table
        for mine, theirs in zip(found, expected, strict=True):
            assert all(abs(mine[one] - theirs[one]) < CLOCK_MS for one in times if one != "id"), (mine, theirs)
    stage.cores[name].run(stock.stop)
    stock.sql_manager.engine.dispose()


async def test_a_tracked_order_comes_back_as_it_was(stage, gate):
    name = f"again{time.time_ns()}"
    await stage.start(name, "v1", "pure_market_making", PMM)
    await stage.tick(3)
    bid = next(order for order in stage.venue.placed if order.side is Side.BUY)
    stage.venue.fill(bid, bid.amount / 4, final=False)
    await stage.settle()
    core = stage.cores[name].host_data
    tracked = core.connectors["binance"].in_flight_orders[bid.client_order_id]
    path = core.trade_fill_db.db_path
    await until(lambda: select(path, "SELECT * FROM TradeFill"))
    (row,) = select(path, "SELECT * FROM MarketState")
    saved = json.loads(row["saved_state"])[bid.client_order_id]
    assert without(saved, (*REWORDED, SEEN_NS)) == without(tracked.to_json(), REWORDED)
    assert tracked.to_json().keys() | {SEEN_NS} == saved.keys()
    restored = InFlightOrder.from_json(saved)
    for attribute in ("exchange_order_id", "trading_pair", "order_type", "trade_type", "price", "amount", "leverage"):
        assert getattr(restored, attribute) == getattr(tracked, attribute), attribute
    assert restored.executed_amount_base == tracked.executed_amount_base == bid.amount / 4
    assert restored.executed_amount_quote == tracked.executed_amount_quote
    assert restored.current_state is tracked.current_state is OrderState.OPEN
    assert list(restored.order_fills) == list(tracked.order_fills)
    (fill,), (original,) = restored.order_fills.values(), tracked.order_fills.values()
    assert fill.fee == original.fee
    written = saved["order_fills"][original.trade_id]
    assert written.keys() == original.to_json().keys()
    other = ("fill_timestamp", "exchange_order_id")  # this venue names an order anew with each message
    assert without(written, other) == without(original.to_json(), other)

    stage.cores.pop(name)  # its worker is killed: nobody stops it
    stage.router.unregister(core.context)
    stage.venue.hold = True
    await stage.start(name, "v1", "pure_market_making", PMM)
    await stage.settle()
    assert bid.client_order_id in stage.cores[name].host_data.connectors["binance"].in_flight_orders
    stage.venue.hold = False
    for order in list(gate.orders.values()):
        if order.state is State.ACKED:
            stage.venue.cancel(stage.venue.orders[order.client_order_id])
    await stage.settle()


async def test_a_strategys_positions_and_controllers_are_found_by_its_next_life(stage):
    name = f"held{time.time_ns()}"
    config = {"controllers_config": ["ladder_btc.yml"]}
    await stage.start(name, "script", "controllers_runner", config)
    core = stage.cores[name].host_data
    figures = dict.fromkeys(
        ("volume_traded_quote", "breakeven_price", "unrealized_pnl_quote", "realized_pnl_quote", "cum_fees_quote"),
        Decimal("1.25"),
    )
    facts = {"controller_id": "ladder_btc", "connector_name": "binance", "side": "BUY", "trading_pair": "BTC-USDT"}
    for number, amount in enumerate(("0.5", "0.75")):
        position = Position(id=f"p{number}", timestamp=number, amount=Decimal(amount), **facts, **figures)
        core.markets_recorder.update_or_store_position(position)
    assert await core.markets_recorder._line.written(30)
    path = core.trade_fill_db.db_path
    assert [row["amount"] for row in select(path, "SELECT amount FROM Position")] == [750_000]
    assert [row["id"] for row in select(path, "SELECT id FROM Controllers")] == ["ladder_btc"]
    assert [position.amount for position in core.markets_recorder.get_all_positions()] == [Decimal("0.75")]
    assert name in core.markets_recorder._line._line._followed  # as its own code has asked the database

    second = stage.cores.pop(name).create_task(stage.host.stop(core.context))
    while not second.done():
        await stage.settle(3)
    await stage.start(name, "script", "controllers_runner", config)
    orchestrator = stage.cores[name].host_data.strategy.executor_orchestrator
    (held,) = orchestrator.positions_held["ladder_btc"]
    assert held.trading_pair == "BTC-USDT"


async def test_executors_are_recorded_when_they_end_and_read_by_the_next_life(stage):
    name = f"runs{time.time_ns()}"
    config = {"controllers_config": ["ladder_btc.yml"]}
    await stage.start(name, "script", "controllers_runner", config)
    for _ in range(60):
        await stage.tick()
        if stage.venue.placed:
            break
        await asyncio.sleep(0.1)  # controllers act in loops of their own, once a second
    core = stage.cores.pop(name).host_data
    stopping = core.context.create_task(stage.host.stop(core.context))
    while not stopping.done():
        await stage.settle(3)
    rows = select(core.trade_fill_db.db_path, "SELECT * FROM Executors")
    assert rows
    assert {row["controller_id"] for row in rows} == {"ladder_btc"}
    await stage.start(name, "script", "controllers_runner", config)
    recorder = stage.cores[name].host_data.markets_recorder
    assert {info.id for info in recorder.get_all_executors()} == {row["id"] for row in rows}


async def test_the_kill_switch_reckons_with_the_fills_since_the_start(stage, gate):
    name = f"stop{time.time_ns()}"
    await stage.start(name, "v1", "pure_market_making", PMM)
    await stage.tick(3)
    bid = next(order for order in stage.venue.placed if order.side is Side.BUY)
    context = stage.cores[name]
    assert await context.create_task(context.host_data.calculate_profitability()) == 0
    stage.venue.fill(bid)
    await stage.settle()
    assert strategy_tag(name) in bid.client_order_id
    assert await context.create_task(context.host_data.calculate_profitability()) != 0


# ---- What a strategy's inventory has cost ----------------------------------------------------------------------------


def fill_event(side, price, amount, fee_asset, fee, number):
    fees = AddedToCostTradeFee(flat_fees=[TokenAmount(fee_asset, Decimal(fee))], percent=Decimal("0.001"))
    return OrderFilledEvent(
        float(number), f"o{number}", "BTC-USDT", side, OrderType.LIMIT, Decimal(price), Decimal(amount), fees
    )


FILLS = [
    fill_event(*fill, number)
    for number, fill in enumerate(
        (
            (TradeType.BUY, "30000.1", "0.3", "BTC", "0.0003"),
            (TradeType.BUY, "29999.7", "0.7", "USDT", "1.1"),
            (TradeType.SELL, "30100", "0.1", "USDT", "0.3"),
            (TradeType.BUY, "30050.05", "0.33333333", "BNB", "0.001"),
            (TradeType.SELL, "30200", "0.9", "BTC", "0.0001"),
        )
    )
]


def test_inventory_costs_are_those_that_hummingbots_own_delegate_keeps(tmp_path, host_config, monkeypatch):
    prices, changes = [], []
    mine = pure_market_making.InventoryCostPriceDelegate(
        SimpleNamespace(costs=InventoryCosts([], changes.append)), "BTC-USDT"
    )
    for event in FILLS:
        mine.process_order_fill_event(event)
        prices.append(mine.get_price())
    monkeypatch.setattr(inventory_cost_price_delegate, "InventoryCost", InventoryCost)
    path = tmp_path / "stock.sqlite"
    database = SQLConnectionManager(
        SimpleNamespace(db_mode=DBSqliteMode()), SQLConnectionType.TRADE_FILLS, str(path), called_from_migrator=True
    )
    stock = inventory_cost_price_delegate.InventoryCostPriceDelegate(database, "BTC-USDT")
    expected = []
    for event in FILLS:
        stock.process_order_fill_event(event)
        expected.append(stock.get_price())
    database.engine.dispose()
    assert prices == expected
    (row,) = select(path, "SELECT base_asset, quote_asset, base_volume, quote_volume FROM InventoryCost")
    assert changes[-1] == row


class Witness:
    """Notes every connection to a database that is not the recorder's, with its thread."""

    def __init__(self):
        self.seen = None
        sys.addaudithook(self.hear)

    def hear(self, event, values):
        if event != "sqlite3.connect" or self.seen is None:
            return
        if not any("/hive/gate/recorder" in frame.filename for frame in traceback.extract_stack()):
            self.seen.append((threading.current_thread().name, str(values[0])))


@pytest.fixture(scope="session")
def hook():
    return Witness()  # an audit hook stays


@pytest.fixture
def others(hook):
    hook.seen = []
    yield hook.seen
    hook.seen = None


async def test_inventory_cost_is_known_and_kept_without_a_database_call_on_the_loop(stage, gate, hook, others):
    name = f"cost{time.time_ns()}"
    await stage.start(name, "v1", "pure_market_making", PMM)
    core = stage.cores[name].host_data
    stopping = stage.cores.pop(name).create_task(stage.host.stop(core.context))
    while not stopping.done():
        await stage.settle(3)
    path = core.trade_fill_db.db_path
    hook.seen = None
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO InventoryCost VALUES (1, 'BTC', 'USDT', 2, 50000)")
    hook.seen = others
    config = {**PMM, "price_type": "inventory_cost", "inventory_price": 25_000}
    await stage.start(name, "v1", "pure_market_making", config)
    delegate = stage.cores[name].host_data.strategy.inventory_cost_price_delegate
    assert delegate.get_price() == 25_000
    await stage.tick(3)
    bid = next(order for order in stage.venue.placed if order.side is Side.BUY and order.price < 26_000)
    stage.venue.fill(bid)
    await stage.settle()
    price = delegate.get_price()
    assert price != 25_000
    assert await stage.cores[name].host_data.markets_recorder._line.written(30)
    assert others == []
    (row,) = select(path, "SELECT base_volume, quote_volume FROM InventoryCost")
    assert row["base_volume"] > 2
    assert float(price) == pytest.approx(row["quote_volume"] / row["base_volume"])
