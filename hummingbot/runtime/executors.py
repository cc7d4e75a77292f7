"""A V2 strategy's executors for who looks on from outside: what each trades, and what it has bought and not sold again.

    {"id": "9dHx", "kind": "position_executor", "markets": [{"venue": "binance", "pair": "BTC-USDT", "net": "0.002"}]}

An executor is an object in memory and ends with its process; its orders and what it holds do not. `net` is in the base
asset, bought less sold, fees not counted, by the orders that the executor itself keeps track of. Nothing of
Hummingbot's has that sum for every kind of executor, so the orders are found where each keeps them: in its attributes,
in the lists and mappings that those are, and in the levels of a grid.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from hummingbot.core.data_type.common import TradeType
from hummingbot.core.data_type.in_flight_order import InFlightOrder
from hummingbot.strategy_v2.executors.executor_base import ExecutorBase
from hummingbot.strategy_v2.executors.grid_executor.data_types import GridLevel
from hummingbot.strategy_v2.models.executors import TrackedOrder

from hive.shm.counters import Counter

ZERO = Decimal(0)
AGAIN = 3  # calls
CLOSELY_EVERY = 10


class LiveExecutors:
    """The executors of a strategy that have not ended, each time it is called; in the order of their making.

    What they hold changes by fills, and an executor may know of one a little after it was counted. So they are looked
    at closely AGAIN times after a change, and else every CLOSELY_EVERY calls: most calls find that nothing has changed.

    Args:
        strategy: of any kind; one without executors has none.
        fills: the strategy's counter.
    """

    def __init__(self, strategy: Any, fills: Counter) -> None:
        self._strategy = strategy
        self._count = fills
        self._alive: list[ExecutorBase] = []
        self._fills = 0
        self._calls = 0  # since the last change
        self._shown: list[dict[str, Any]] = []

    def __call__(self) -> list[dict[str, Any]]:
        """Return them, JSON-able; not to be changed."""
        alive = live_executors(self._strategy)
        fills = self._count.value
        if alive != self._alive or fills != self._fills:
            self._alive, self._fills, self._calls = alive, fills, 0
        if self._calls < AGAIN or self._calls % CLOSELY_EVERY == 0:
            self._shown = [_shown(executor) for executor in alive]
        self._calls += 1
        return self._shown


def live_executors(strategy: Any) -> list[ExecutorBase]:
    """Return the executors of a strategy that have not ended, in the order of their making; [] for V1 strategies."""
    orchestrator = getattr(strategy, "executor_orchestrator", None)
    if orchestrator is None:
        return []
    return [
        executor
        for executors in orchestrator.active_executors.values()
        for executor in executors
        if not executor.is_closed
    ]


def _shown(executor: ExecutorBase) -> dict[str, Any]:
    nets = dict.fromkeys(_markets(executor.config), ZERO)
    for order in _orders(executor):
        signed = order.executed_amount_base if order.trade_type is TradeType.BUY else -order.executed_amount_base
        if signed:
            market = _market_of(executor.config, order)
            nets[market] = nets.get(market, ZERO) + signed
    return {
        "id": executor.config.id,
        "kind": executor.config.type,
        "markets": [{"venue": venue, "pair": pair, "net": _plain(net)} for (venue, pair), net in nets.items()],
    }


def _markets(config: Any) -> Iterator[tuple[str, str]]:
    """Yield the venue and pair of an executor; arbitrage and cross-exchange executors have two."""
    sides = (getattr(config, "buying_market", None), getattr(config, "selling_market", None))
    for one in (config, *sides):
        if hasattr(one, "connector_name") and hasattr(one, "trading_pair"):
            yield one.connector_name, one.trading_pair


def _market_of(config: Any, order: InFlightOrder) -> tuple[str, str]:
    side = "buying_market" if order.trade_type is TradeType.BUY else "selling_market"
    return getattr(getattr(config, side, config), "connector_name", ""), order.trading_pair


def _orders(executor: ExecutorBase) -> Iterator[InFlightOrder]:
    """Yield each order that the executor keeps track of, once."""
    seen = set()
    for tracked in _tracked(executor):
        if tracked.order_id and tracked.order_id not in seen:
            seen.add(tracked.order_id)
            order = tracked.order or _fetched(executor, tracked.order_id)
            if order is not None:
                yield order


def _tracked(executor: ExecutorBase) -> Iterator[TrackedOrder]:
    for value in vars(executor).values():
        held = value.values() if isinstance(value, dict) else value if isinstance(value, list) else (value,)
        for one in held:
            if isinstance(one, TrackedOrder):
                yield one
            elif isinstance(one, GridLevel):
                yield from filter(None, (one.active_open_order, one.active_close_order))


def _fetched(executor: ExecutorBase, order_id: str) -> InFlightOrder | None:
    """Return an order whose creation the executor has not been told of yet."""
    found = (executor.get_in_flight_order(name, order_id) for name in executor.connectors)
    return next((order for order in found if order is not None), None)


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}" if number else "0"
