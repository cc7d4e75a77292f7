"""Hummingbot's markets recorder of one strategy, without a database: the fleet's recorder has that, in its own process.

Orders, fills and their statuses are recorded from the gate's journal, so nothing listens for them here. What only this
process knows (executors, controllers, positions, market data when that is collected) is handed over as rows. What a
strategy reads while it starts was asked for before (`history`), so its calls, which cannot wait, need not.

Code of a strategy that asks the database itself (a script that queries trades) finds it behind `sql_manager`, opened
when it is asked first. It waits for the disk then, as in a stock instance, and for the recorder to write what it has;
from then on the recorder keeps it up to date.
"""

import asyncio
import json
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

from hummingbot.client.config.client_config_map import MarketDataCollectionConfigMap
from hummingbot.client.config.config_helpers import ClientConfigAdapter
from hummingbot.client.config.trade_fee_schema_loader import TradeFeeSchemaLoader
from hummingbot.connector.connector_base import ConnectorBase
from hummingbot.connector.markets_recorder import MarketsRecorder
from hummingbot.core.data_type.common import PriceType, TradeType
from hummingbot.core.data_type.trade_fee import TradeFeeBase
from hummingbot.core.event.events import FundingPaymentCompletedEvent, MarketEvent
from hummingbot.model.controllers import Controllers
from hummingbot.model.executors import Executors
from hummingbot.model.funding_payment import FundingPayment
from hummingbot.model.inventory_cost import InventoryCost
from hummingbot.model.market_data import MarketData
from hummingbot.model.position import Position
from hummingbot.model.sql_connection_manager import SQLConnectionManager, SQLConnectionType
from hummingbot.strategy_v2.controllers.controller_base import ControllerConfigBase
from hummingbot.strategy_v2.models.executors_info import ExecutorInfo
from sqlalchemy.orm import configure_mappers

from hive.workers.recording import StrategyLine
from hummingbot.runtime.inventory_cost import KEY as COST_KEY
from hummingbot.runtime.inventory_cost import VOLUMES, InventoryCosts
from hummingbot.runtime.rows import bound, read_rows
from hummingbot.runtime.singletons import claim_recorder_slot

POSITION_KEY = ("controller_id", "connector_name", "trading_pair", "side")
POSITION_UPDATE = (
    "timestamp",
    "volume_traded_quote",
    "amount",
    "breakeven_price",
    "unrealized_pnl_quote",
    "cum_fees_quote",
)

FOLLOWED_WITHIN_S = 1.0

log = logging.getLogger(__name__)

type History = Mapping[str, list[dict[str, Any]]]


def warm_up() -> None:
    """Set up the rows' classes before the fork, so that workers share what SQLAlchemy makes for that."""
    configure_mappers()


def fee_types(markets: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return how Hummingbot treats the fees of each market's trades, by side, as it names that in its rows."""
    kinds = {}
    for market in markets:
        schema = TradeFeeSchemaLoader.configured_schema_for_exchange(market)
        kinds[market] = {
            side.name: TradeFeeBase.new_spot_fee(schema, side).type_descriptor_for_json()
            for side in (TradeType.BUY, TradeType.SELL)
        }
    return kinds


class StrategyDatabase:
    """A strategy's database for code of its own that asks for one; opened when something of it is used first.

    Attributes:
        costs: the table InventoryCost, in memory.
    """

    def __init__(self, config: ClientConfigAdapter, name: str, line: StrategyLine, history: History):
        self.costs = InventoryCosts(history.get(InventoryCost.__tablename__, ()), self._store_cost)
        self._line = line
        self.db_path = SQLConnectionManager.create_db_path(db_name=name)
        self._config = config
        self._manager: SQLConnectionManager | None = None

    def __getattr__(self, name: str) -> Any:
        if self._manager is None:
            log.info("the strategy's own code opens its database")
            if not self._line.follow(FOLLOWED_WITHIN_S):
                log.warning("the recorder does not answer: the latest orders and fills may not be in the database yet")
            self._manager = SQLConnectionManager(
                self._config, SQLConnectionType.TRADE_FILLS, db_path=self.db_path, called_from_migrator=True
            )
        return getattr(self._manager, name)

    def _store_cost(self, values: dict[str, Any]) -> None:
        _upsert(self._line, InventoryCost, values, COST_KEY, VOLUMES)

    def close(self) -> None:
        """Close it if it was opened; repeating is harmless."""
        if self._manager is not None:
            self._manager.engine.dispose()


class StrategyRecorder(MarketsRecorder):
    """A `MarketsRecorder` that hands rows over, and leaves the process-wide slot to the forwarder."""

    def __init__(
        self,
        database: StrategyDatabase,
        markets: list[ConnectorBase],
        config_file_path: str,
        strategy_name: str,
        market_data_collection: MarketDataCollectionConfigMap,
        line: StrategyLine,
        history: History,
    ):
        """Make a recorder; see `MarketsRecorder` for the first five.

        Args:
            line: takes rows.
            history: what earlier lives of the strategy left, until `started`.
        """
        # Without markets: upstream would read two thousand fills and orders for each, of which Hive's connectors,
        # whose fills come from the gate's ledger, make no use.
        super().__init__(database, [], config_file_path, strategy_name, market_data_collection)
        self._markets = list(markets)
        self._line = line
        self._history: History | None = history
        claim_recorder_slot()

    def started(self) -> None:
        """Let go of the history: what asks later asks the database."""
        self._history = None

    def start(self) -> None:
        """Listen for what the gate's journal does not tell."""
        for market in self._markets:
            self._listen(market)
        if self._market_data_collection_config.market_data_collection_enabled:
            self._start_market_data_recording()

    def add_market(self, market: ConnectorBase) -> None:
        """Record a further connector."""
        if market not in self._markets:
            self._markets.append(market)
            self._listen(market)

    def store_or_update_executor(self, executor: Any) -> None:
        """Hand over an executor's row."""
        values = json.loads(executor.executor_info.model_dump_json())
        _upsert(self._line, Executors, values, ("id",), tuple(values))

    def store_position(self, position: Position) -> None:
        """Hand over a position's row."""
        self._insert(Position, _attributes(position))

    def update_or_store_position(self, position: Position) -> None:
        """Hand over a position's row, which takes the place of the one of its controller, pair and side."""
        _upsert(self._line, Position, _attributes(position), POSITION_KEY, POSITION_UPDATE)

    def store_controller_config(self, controller_config: ControllerConfigBase) -> None:
        """Hand over a controller's row."""
        config = json.loads(controller_config.model_dump_json())
        columns = ("id", "timestamp", "type")
        values = {
            "id": config["id"],
            "timestamp": time.time(),
            "type": config["controller_type"],
            "config": {name: value for name, value in config.items() if name not in columns},
        }
        self._insert(Controllers, values)

    def get_all_executors(self) -> list[ExecutorInfo]:
        """Return the executors of earlier lives; while the strategy starts, without asking the database."""
        if self._history is None:
            return super().get_all_executors()
        return [Executors(**row).to_executor_info() for row in read_rows(Executors, self._history)]

    def get_all_positions(self) -> list[Position]:
        """Return the positions of earlier lives; while the strategy starts, without asking the database."""
        if self._history is None:
            return super().get_all_positions()
        return [Position(**row) for row in read_rows(Position, self._history)]

    def restore_market_states(self, config_file_path: str, market: ConnectorBase) -> None:
        """Give a connector back the orders that it tracked; while the strategy starts, without asking the database."""
        if self._history is None:
            super().restore_market_states(config_file_path, market)
            return
        for row in self._history.get("MarketState", ()):
            if (row["config_file_path"], row["market"]) == (config_file_path, market.display_name):
                market.restore_tracking_states(json.loads(row["saved_state"]))

    def _listen(self, market: ConnectorBase) -> None:
        market.add_listener(MarketEvent.FundingPaymentCompleted, self._funding_payment_forwarder)

    def _did_complete_funding_payment(
        self, event_tag: int, market: ConnectorBase, evt: FundingPaymentCompletedEvent
    ) -> None:
        values = {
            "timestamp": evt.timestamp,
            "config_file_path": self.config_file_path,
            "market": market.display_name,
            "rate": evt.funding_rate,
            "symbol": evt.trading_pair,
            "amount": float(evt.amount),
        }
        self._insert(FundingPayment, values, how="keep")

    async def _record_market_data(self) -> None:
        while True:
            try:
                if all(market.ready for market in self._markets):
                    for market in self._markets:
                        for pair in market.trading_pairs:
                            self._insert(MarketData, self._market_data(market, pair), how="keep")
            except Exception:
                log.exception("market data cannot be recorded")
            await asyncio.sleep(self._market_data_collection_config.market_data_collection_interval)

    def _market_data(self, market: ConnectorBase, pair: str) -> dict[str, Any]:
        depth = self._market_data_collection_config.market_data_collection_depth + 1
        book = market.get_order_book(pair)
        return {
            "timestamp": self.db_timestamp,
            "exchange": market.display_name,
            "trading_pair": pair,
            "mid_price": market.get_price_by_type(pair, PriceType.MidPrice),
            "best_bid": market.get_price_by_type(pair, PriceType.BestBid),
            "best_ask": market.get_price_by_type(pair, PriceType.BestAsk),
            "order_book": {"bid": list(book.bid_entries())[:depth], "ask": list(book.ask_entries())[:depth]},
        }

    def _insert(self, model: type, values: Mapping[str, Any], how: str = "insert") -> None:
        self._line.row({"how": how, "table": model.__tablename__, "values": bound(model, values)})


def _upsert(
    line: StrategyLine, model: type, values: Mapping[str, Any], key: tuple[str, ...], update: tuple[str, ...]
) -> None:
    row = {"how": "upsert", "table": model.__tablename__, "values": bound(model, values)}
    line.row({**row, "key": key, "update": update})


def _attributes(row: Any) -> dict[str, Any]:
    return {column.name: getattr(row, column.name) for column in row.__table__.columns}
