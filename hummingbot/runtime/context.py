"""One strategy as Hummingbot knows it: a `TradingCore` whose connectors, clock, recorder and configuration are its own.

`TradingCore` already is one strategy with everything around it. This subclass makes Hive's connectors, hands its
clock to the worker, and leaves the rest of the start to Hummingbot's own code, so V1 starters, V2 scripts and
controllers run as they stand.
"""

import asyncio
import inspect
import logging
import time
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

from hummingbot.client.config.config_data_types import BaseClientModel
from hummingbot.client.config.config_helpers import ClientConfigAdapter
from hummingbot.client.settings import SCRIPT_STRATEGIES_MODULE
from hummingbot.core.connector_manager import ConnectorManager
from hummingbot.core.trading_core import TradingCore
from hummingbot.model.trade_fill import TradeFill
from hummingbot.strategy.strategy_v2_base import StrategyV2Base, StrategyV2ConfigBase
from pydantic import ValidationError

from hive.workers.context import StrategyContext
from hive.workers.errors import UnknownInstrument
from hive.workers.host import StrategySpec
from hive.workers.recording import StrategyLine
from hummingbot.runtime import shared_code
from hummingbot.runtime.actions import use_action_queue
from hummingbot.runtime.candles import SharedCandles
from hummingbot.runtime.clock import ContextClock
from hummingbot.runtime.config_maps import ConfigLoader, private_starter
from hummingbot.runtime.connector import SharedExchange
from hummingbot.runtime.controller_files import DOCUMENTS
from hummingbot.runtime.errors import RuntimeHostError, StrategyConfigError, StrategyStartError
from hummingbot.runtime.mistakes import problems, shown, told, usual, went_through
from hummingbot.runtime.price_sources import price_markets
from hummingbot.runtime.private_modules import PrivateModules
from hummingbot.runtime.recorder import History, StrategyDatabase, StrategyRecorder, fee_types
from hummingbot.runtime.rows import read_rows
from hummingbot.runtime.singletons import BookRateOracle

log = logging.getLogger(__name__)


class StrategyApp:
    """What strategies reach as `HummingbotApplication.main_application()`: a headless application of their own."""

    _mqtt = None

    def __init__(self, core: "HummingbotContext"):
        self.trading_core = core
        self.warnings: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.trading_core, name)

    def notify(self, message: str) -> None:
        """Log a strategy's message to its operator."""
        log.info("%s", message)

    def add_application_warning(self, warning: Any) -> None:
        """Log a connector's or strategy's warning."""
        log.warning("%s", getattr(warning, "warning_msg", warning))

    def stop(self, *ignored: Any) -> None:
        """Stop this strategy alone, as the `stop` command of a stock instance would stop its bot."""
        self.trading_core.stop_requested()


class SharedConnectorManager(ConnectorManager):
    """Makes Hive's connectors; no keys are looked up, because a worker has none."""

    def __init__(self, client_config: ClientConfigAdapter, core: "HummingbotContext"):
        super().__init__(client_config)
        self._core = core

    def create_connector(self, connector_name, trading_pairs, trading_required=True, api_keys=None):
        """Return the strategy's connector of that name, made on first use.

        Raises:
            UnknownVenue: the fleet has no venue of that name.
        """
        connector = self.connectors.get(connector_name)
        if connector is None:
            connector = self._core.make_connector(connector_name, trading_pairs, trading_required)
            self.connectors[connector_name] = connector
            self._core.rate_oracle.register_connector(connector)
        return connector

    def remove_connector(self, connector_name: str) -> bool:
        """Forget a connector; returns whether there was one."""
        self._core.rate_oracle.unregister_connector(connector_name)
        return self.connectors.pop(connector_name, None) is not None


class HummingbotContext(TradingCore):
    """One strategy context; made, started, ticked and stopped inside its `StrategyContext`."""

    def __init__(
        self,
        spec: StrategySpec,
        context: StrategyContext,
        client_config: ClientConfigAdapter,
        loader: ConfigLoader,
        make_connector: Callable[["HummingbotContext", str, list[str], bool], SharedExchange],
        make_candles: Callable[["HummingbotContext", str, str, str, int], SharedCandles],
        prepare_markets: Callable[[str, list[str]], Any],
        tick_interval_s: float,
        stop_requested: Callable[[], None],
        root: Path,
        line: StrategyLine,
        venues: Iterable[str],
    ):
        """Make a context.

        Args:
            spec: which strategy, with its merged configuration.
            context: the worker's context of the strategy.
            client_config: the fleet's client configuration, shared by all contexts.
            loader: the worker's loader of V1 configurations.
            make_connector: makes a connector for (self, name, trading pairs, trading required).
            make_candles: makes candles for (self, connector's name, trading pair, interval, how many).
            prepare_markets: coroutine function (venue name, pairs) that returns when the feed has all pairs.
            tick_interval_s: seconds between two ticks.
            stop_requested: called when the strategy asks its application to stop.
            root: the folder with the strategy's scripts/ and controllers/, and conf/controllers/.
            line: to the recorder.
            venues: the fleet's, by their connectors' names.
        """
        self.rate_oracle = BookRateOracle(client_config.global_token.global_token_name)
        self.modules = PrivateModules(context.tag, root)
        super().__init__(client_config, scripts_path=root / SCRIPT_STRATEGIES_MODULE)
        self.spec = spec
        self.context = context
        self.connector_manager = SharedConnectorManager(client_config, self)
        self.app = StrategyApp(self)
        self.made: list[SharedExchange] = []  # every connector, those that only give rates included
        self.stop_requested = stop_requested
        self._loader = loader
        self._make_connector = make_connector
        self._make_candles = make_candles
        self._prepare_markets = prepare_markets
        self._tick_interval_s = tick_interval_s
        self._start_error: BaseException | None = None
        self._end: asyncio.Task[bool] | None = None
        self._line = line
        self._venues = list(venues)
        self._history: History = {}

    def make_connector(self, name: str, trading_pairs: list[str], trading_required: bool = True) -> SharedExchange:
        """Return a new connector of this strategy."""
        connector = self._make_connector(self, name, trading_pairs, trading_required)
        self.made.append(connector)
        return connector

    def make_candles(self, connector: str, trading_pair: str, interval: str, max_records: int) -> SharedCandles:
        """Return new candles of this strategy; raises UnknownVenue when the fleet has no venue of that name."""
        return self._make_candles(self, connector, trading_pair, interval, max_records)

    def notify(self, msg: str, level: str = "INFO") -> None:
        """Log a message of the strategy or its starter; a failing starter says its reason this way."""
        self._last_notice = msg
        log.log(getattr(logging, level.upper(), logging.INFO), "%s", msg)

    async def launch(self) -> None:
        """Start the strategy by its own starter.

        Raises:
            StrategyConfigError: its configuration does not load.
            UnknownVenue: it asks for an exchange that the fleet has no venue for.
            StrategyStartError: its starter ended without a strategy.
        """
        self._last_notice = ""
        place = self.spec.config_file or self.spec.id
        if self.spec.kind == "v1":
            self.strategy_config_map = await self._loader.load(self.spec.name, self.spec.config, place)
        file_name = f"{self.spec.id}.yml"
        fees = fee_types(self._venues)
        self._history = await self._line.open(self.spec.tag, self.spec.name, file_name, fees)
        started = await self.start_strategy(self.spec.name, dict(self.spec.config), file_name)
        if isinstance(self._start_error, RuntimeHostError):
            raise self._start_error
        if self._start_error is not None:
            raise StrategyStartError(f"{place}: {told(self._start_error, self.modules.root)}") from self._start_error
        if not started or self.strategy is None:
            reason = self._last_notice or "its starter made no strategy"
            raise StrategyStartError(f"strategy {self.spec.id} ({self.spec.name}) did not start: {reason}")
        self._history = {}
        self.markets_recorder.started()

    async def initialize_markets(self, market_names: list[tuple[str, list[str]]]) -> None:
        """Wait until the feed has every market, then make the connectors."""
        try:
            for name, pairs in [*market_names, *price_markets(self.strategy_config_map)]:
                await self._prepare_markets(name, list(pairs))
        except UnknownInstrument as error:
            self._start_error = StrategyConfigError(f"{self.spec.config_file or self.spec.id}: {error}")
            raise
        except Exception as error:  # starters swallow what is raised here: keep it for launch()
            self._start_error = error
            raise
        await super().initialize_markets(market_names)

    async def start_clock(self) -> bool:
        """Make the clock that the worker will tick and add the connectors to it."""
        self.clock = ContextClock(self._tick_interval_s, time.time() // self._tick_interval_s * self._tick_interval_s)
        for connector in self.connector_manager.connectors.values():
            self.clock.add_iterator(connector)
        self._is_running = True
        self.start_time = time.time() * 1e3
        return True

    async def stop_clock(self) -> bool:
        """Stop everything that the clock ticks."""
        if self.clock is not None:
            self.clock.close()
            self.clock = None
        self._is_running = False
        return True

    def keep_time(self, wall_timestamp: float) -> None:
        """Do all of a tick but what the strategy itself does in it; for one that is paused.

        Shown is the last multiple of the tick interval, as ticks are told, so that time does not go back when the
        strategy is ticked again; nor does it when the wall clock was set back meanwhile.
        """
        if self.clock is None:
            return
        told = wall_timestamp // self._tick_interval_s * self._tick_interval_s
        if self.strategy is not None and told < self.strategy.current_timestamp:
            told = self.strategy.current_timestamp
        for connector in self.connector_manager.connectors.values():
            connector.follow_rules()
            connector.deliver_trades()
            connector._set_current_timestamp(told)
        if self.strategy is not None:
            self.strategy._set_current_timestamp(told)

    async def shutdown(self, skip_order_cancellation: bool = False) -> bool:
        """Stop this strategy alone: its kill switch, or code of its own, asks for the end of its bot."""
        self.stop_requested()
        return True

    async def end(self, keep_orders: bool = False) -> None:
        """Stop for good, as the `stop` command of a stock instance does; once, however often it is asked for."""
        if self._end is None:
            self._end = self.context.create_task(super().shutdown(skip_order_cancellation=keep_orders), name="shutdown")
        await self._end

    def tick(self, wall_timestamp: float) -> None:
        """Tick connectors, then the strategy; changed rules and the trades since the last tick come first."""
        clock = self.clock
        if clock is None:
            return
        for connector in self.connector_manager.connectors.values():
            connector.follow_rules()
            connector.deliver_trades()
        clock.tick(wall_timestamp)

    def initialize_markets_recorder(self, db_name: str | None = None) -> None:
        """Record into this strategy's own database, named by its id, through the recorder."""
        self.trade_fill_db = StrategyDatabase(self.client_config_map, self.spec.id, self._line, self._history)
        self.markets_recorder = StrategyRecorder(
            self.trade_fill_db,
            list(self.connector_manager.connectors.values()),
            self._strategy_file_name,
            self.strategy_name,
            self.client_config_map.market_data_collection,
            self._line,
            self._history,
        )
        self.markets_recorder.start()

    async def calculate_profitability(self) -> Decimal:
        """Return the average return of the markets that were traded since the start, for the kill switch."""
        connectors = self.connector_manager.connectors.values()
        if self.markets_recorder is None or not all(connector.ready for connector in connectors):
            return Decimal(0)
        rows = await self._line.trades(int(self.init_time * 1e3))
        trades = [TradeFill(**row) for row in read_rows(TradeFill, {TradeFill.__tablename__: rows})]
        returns = [one.return_pct for one in await self.calculate_performance_metrics_by_connector_pair(trades)]
        return sum(returns) / len(returns) if returns else Decimal(0)

    def _initialize_metrics_for_connector(self, connector, connector_name: str) -> None:
        """No metrics leave a fleet: there is nothing to collect them."""

    async def _initialize_regular_strategy(self) -> None:
        start = private_starter(self.strategy_name, self.strategy_config_map)
        try:
            result = start(self)
            if inspect.isawaitable(result):
                await result
        except Exception as error:  # start_strategy() swallows it: keep it for launch()
            self._start_error = self._start_error or error
            raise

    async def _initialize_v2_strategy(self) -> None:
        try:
            await super()._initialize_v2_strategy()
            use_action_queue(self.strategy, self.context)
        except Exception as error:  # start_strategy() swallows it: keep it for launch()
            self._start_error = self._start_error or error
            raise

    async def _start_strategy_execution(self) -> None:
        try:
            await super()._start_strategy_execution()
        except Exception as error:  # the same
            self._start_error = self._start_error or error
            raise

    def load_v2_class(self, strategy_name: str) -> tuple[type[StrategyV2Base], BaseClientModel]:
        """Return the strategy's class and its config, both from modules of its own.

        Raises:
            StrategyConfigError: there is no such script, it holds no strategy, its configuration is not valid, or its
                code replaces some of what all strategies of the worker use.
        """
        if since := shared_code.accept():
            text = "code of some strategy has replaced, while it ran, what all use: %s"
            self.logger().warning(text, ", ".join(sorted(since)[:10]))
        replaced: list[str] = []
        try:
            loaded = self._load_class(strategy_name)
        finally:
            if not self.spec.extra.get("dedicated"):
                replaced = shared_code.put_back()
        if replaced:
            rule = "which all strategies of its worker use; with `worker: dedicated` in the fleet file it may"
            raise StrategyConfigError(f"script {strategy_name}: its code replaces {', '.join(replaced[:3])}, {rule}")
        return loaded

    def _load_class(self, strategy_name: str) -> tuple[type[StrategyV2Base], BaseClientModel]:
        place = self.spec.config_file or self.spec.id
        root = self.modules.root
        try:
            module = self.modules.load(f"{SCRIPT_STRATEGIES_MODULE}.{strategy_name}")
        except Exception as error:
            raise StrategyConfigError(f"{place}: script {strategy_name}: {told(error, root)}") from error
        strategy = _class_in(module, StrategyV2Base, (StrategyV2Base,), place)
        model = _class_in(module, BaseClientModel, (BaseClientModel, StrategyV2ConfigBase), place)
        try:
            config = model(**self._load_strategy_config())
        except ValidationError as error:
            raise StrategyConfigError(f"{place}: {problems(error)}") from error
        if not self.modules.holds(strategy):  # its class attribute `markets` would be that of all strategies
            strategy = type(strategy.__name__, (strategy,), {"__module__": strategy.__module__, "markets": {}})
        try:
            strategy.init_markets(config)
        except Exception as error:
            if went_through(error, "load_controller_configs"):
                place = shown(DOCUMENTS.last, root)
            what = problems(error) if isinstance(error, ValidationError) else told(error, root)
            raise StrategyConfigError(f"{place}: {what}") from error
        return strategy, config


def _class_in(module: Any, base: type, excluded: tuple[type, ...], place: str) -> type:
    for _, member in inspect.getmembers(module, inspect.isclass):
        if issubclass(member, base) and member not in excluded:
            return member
    raise StrategyConfigError(f"{place}: {usual(module.__name__)} holds no subclass of {base.__name__}")
