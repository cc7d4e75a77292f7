"""A generic controller that opens one executor of Hummingbot's own after the other, until one ends as it should.

It logs how each ended: `ID: an executor ended as STOP_LOSS`.

The executor's configuration is upstream's, written as YAML. Where a price is wanted, `{from_mid: -0.001}` stands for
the mid price of the pair less a thousandth, at the moment of opening.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from hummingbot.core.data_type.common import MarketDict, PriceType
from hummingbot.strategy_v2.controllers.controller_base import ControllerBase, ControllerConfigBase
from hummingbot.strategy_v2.executors.arbitrage_executor.data_types import ArbitrageExecutorConfig
from hummingbot.strategy_v2.executors.data_types import ExecutorConfigBase
from hummingbot.strategy_v2.executors.dca_executor.data_types import DCAExecutorConfig
from hummingbot.strategy_v2.executors.grid_executor.data_types import GridExecutorConfig
from hummingbot.strategy_v2.executors.order_executor.data_types import OrderExecutorConfig
from hummingbot.strategy_v2.executors.position_executor.data_types import PositionExecutorConfig
from hummingbot.strategy_v2.executors.twap_executor.data_types import TWAPExecutorConfig
from hummingbot.strategy_v2.executors.xemm_executor.data_types import XEMMExecutorConfig
from hummingbot.strategy_v2.models.executor_actions import CreateExecutorAction, ExecutorAction
from hummingbot.strategy_v2.models.executors import CloseType
from pydantic import Field

KINDS = {
    model.model_fields["type"].default: model
    for model in (
        ArbitrageExecutorConfig,
        DCAExecutorConfig,
        GridExecutorConfig,
        OrderExecutorConfig,
        PositionExecutorConfig,
        TWAPExecutorConfig,
        XEMMExecutorConfig,
    )
}


class ExecutorRoundsConfig(ControllerConfigBase):
    """Where it trades, what it opens, and which ends of an executor it waits for; with none it opens one."""

    controller_name: str = "executor_rounds"
    connector_name: str
    trading_pair: str
    other_connector_name: str | None = None
    executor: dict[str, Any]
    until: list[str] = Field(default_factory=list)

    def update_markets(self, markets: MarketDict) -> MarketDict:
        """Return the markets with this controller's one or two added."""
        for connector in filter(None, (self.connector_name, self.other_connector_name)):
            markets = markets.add_or_update(connector, self.trading_pair)
        return markets


class ExecutorRounds(ControllerBase):
    """Has one executor open at a time."""

    _told = 0

    async def update_processed_data(self) -> None:
        """Do nothing: what counts is the mid price of the moment."""

    def determine_executor_actions(self) -> list[ExecutorAction]:
        """Open an executor when none is open and none has ended as it should."""
        if any(not one.is_done for one in self.executors_info):
            return []
        for one in self.executors_info[self._told :]:
            end = "None" if one.close_type is None else one.close_type.name
            self.logger().info("%s: an executor ended as %s", self.config.id, end)
        self._told = len(self.executors_info)
        ends = {one.close_type for one in self.executors_info}
        wanted = {CloseType[name] for name in self.config.until}
        if ends and (not wanted or ends & wanted):
            return []
        return [CreateExecutorAction(controller_id=self.config.id, executor_config=self._executor())]

    def _executor(self) -> ExecutorConfigBase:
        config = self.config
        mid = self.market_data_provider.get_price_by_type(
            config.connector_name, config.trading_pair, PriceType.MidPrice
        )
        values = _priced(config.executor, mid)
        if "buying_market" not in values:
            values = {"connector_name": config.connector_name, "trading_pair": config.trading_pair, **values}
        return KINDS[values["type"]](timestamp=self.market_data_provider.time(), **values)


def _priced(value: Any, mid: Decimal) -> Any:
    if isinstance(value, Mapping):
        if set(value) == {"from_mid"}:
            return mid * (1 + Decimal(str(value["from_mid"])))
        return {key: _priced(inner, mid) for key, inner in value.items()}
    return [_priced(inner, mid) for inner in value] if isinstance(value, list) else value
