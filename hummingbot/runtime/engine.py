"""Hummingbot in a worker: what all strategies share of it, and how one of them starts and stops.

Imported by `host.py` after `environment.prepare()` has set the paths that Hummingbot's modules copy on import; in the
server process, before any worker is forked.
"""

import asyncio
import importlib
import logging
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from hummingbot.client import settings
from hummingbot.client.config.client_config_map import AnonymizedMetricsDisabledMode, ClientConfigMap
from hummingbot.client.config.config_helpers import ClientConfigAdapter, get_strategy_starter_file, read_yml_file
from hummingbot.connector.trading_rule import TradingRule
from hummingbot.strategy_v2.executors import executor_orchestrator  # noqa: F401  imported lazily upstream
from pydantic import ValidationError

from hive.shm.instruments import InstrumentRules
from hive.shm.messages import Reply
from hive.workers.candles import CandleBoard
from hive.workers.context import CURRENT, StrategyContext, current
from hive.workers.host import StrategySpec, WorkerServices
from hummingbot.runtime import recorder, selftest, singletons
from hummingbot.runtime.candles import SharedCandles
from hummingbot.runtime.config_maps import ConfigLoader
from hummingbot.runtime.connector import SharedExchange
from hummingbot.runtime.context import HummingbotContext
from hummingbot.runtime.errors import StrategyConfigError, UnknownVenue

CHECKPOINT_EVERY_S = 60.0
CANCEL_AGAIN_S = 1.0
IGNORED_CLIENT_KEYS = {"anonymized_metrics_mode", "send_error_logs", "mqtt_bridge", "instance_id"}

log = logging.getLogger(__name__)


def load(strategies: Iterable[Mapping[str, Any]], fleet: str) -> ClientConfigAdapter:
    """Check the installation, import what the strategies need and fill the singleton slots.

    Args:
        strategies: mappings with `kind` ("v1" or "script") and `name`.
        fleet: the fleet's name.

    Returns:
        The client configuration of all contexts.

    Raises:
        ReleaseMismatch: the installed Hummingbot is not what Hive was compiled against.
        StrategyConfigError: `conf_client.yml` does not load.
    """
    selftest.check()
    config = client_config(fleet)
    recorder.warm_up(config)
    singletons.install()
    for kind, name in {(strategy["kind"], strategy["name"]) for strategy in strategies}:
        if kind == "v1":
            get_strategy_starter_file(name)
        elif (settings.SCRIPT_STRATEGIES_PATH / f"{name}.py").exists():
            importlib.import_module(f"{settings.SCRIPT_STRATEGIES_MODULE}.{name}")
    return config


def client_config(fleet: str) -> ClientConfigAdapter:
    """Return the operator's client configuration, without what phones home or opens a connection of its own.

    Raises:
        StrategyConfigError: `conf/conf_client.yml` does not load.
    """
    path = settings.CLIENT_CONFIG_PATH
    values = (read_yml_file(path) if path.exists() else None) or {}
    try:
        config = ClientConfigMap(
            **{key: value for key, value in values.items() if key not in IGNORED_CLIENT_KEYS},
            anonymized_metrics_mode=AnonymizedMetricsDisabledMode(),
            send_error_logs=False,
            instance_id=fleet,
        )
    except ValidationError as error:
        raise StrategyConfigError(f"{path}: {error}") from error
    return ClientConfigAdapter(config)


class ErrorCounter(logging.Handler):
    """Counts what Hummingbot's and the strategies' own code logs as an error among the strategy's errors.

    Upstream catches most exceptions and logs them. Hive's own loggers are left out: they count for themselves.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)

    def emit(self, record: logging.LogRecord) -> None:
        """Count one record."""
        context = CURRENT.get(None)
        if context is not None and not record.name.startswith("hive."):
            context.counters.errors.inc()


class WorkerEngine:
    """Starts and stops the strategies of one worker."""

    def __init__(self, services: WorkerServices, client_config: ClientConfigAdapter):
        self._services = services
        self._client_config = client_config
        self._venues = {venue["name"]: int(venue["index"]) for venue in services.venues}
        self._loader = ConfigLoader()
        self._candles = CandleBoard(services.books)
        self._rules: dict[InstrumentRules, TradingRule] = {}
        self._journals: dict[str, asyncio.Task[None]] = {}
        for handler in [one for one in logging.getLogger().handlers if isinstance(one, ErrorCounter)]:
            logging.getLogger().removeHandler(handler)  # each error counts once, however many engines a process has had
        logging.getLogger().addHandler(ErrorCounter())

    async def start(self, spec: StrategySpec, context: StrategyContext) -> HummingbotContext:
        """Start one strategy; runs inside its context."""
        core = HummingbotContext(
            spec=spec,
            context=context,
            client_config=self._client_config,
            loader=self._loader,
            make_connector=self._make_connector,
            make_candles=self._make_candles,
            prepare_markets=self._prepare_markets,
            tick_interval_s=(spec.tick_interval_ms or self._services.tick_interval_ns * 1e-6) / 1000,
            stop_requested=lambda: self._stop_requested(context),
        )
        context.host_data = core
        context.on_reply = _on_reply
        await core.launch()
        keep_checkpointing = _keep_checkpointing(core.trade_fill_db.db_path)
        self._journals[spec.id] = context.create_task(keep_checkpointing, name="checkpoint")
        return core

    async def stop(self, context: StrategyContext) -> None:
        """Stop one strategy and close its database; runs inside its context."""
        core = context.host_data
        if core is None:
            return
        journal = self._journals.pop(context.id, None)
        if journal is not None:
            journal.cancel()
        await core.shutdown()
        if core.trade_fill_db is not None:
            core.trade_fill_db.engine.dispose()

    def _stop_requested(self, context: StrategyContext) -> None:
        services = self._services
        services.scheduler.pause(context, "the strategy asked to be stopped")
        services.orders.cancel_all(context)
        # Orders whose tasks have not had their first step yet come after this.
        services.loop.call_later(CANCEL_AGAIN_S, services.orders.cancel_all, context)

    def _make_connector(
        self, core: HummingbotContext, name: str, trading_pairs: list[str], trading_required: bool
    ) -> SharedExchange:
        return SharedExchange(
            name=name,
            venue=self._venue(name),
            trading_pairs=trading_pairs,
            trading_required=trading_required,
            context=core.context,
            services=self._services,
            rules=self._trading_rule,
        )

    def _make_candles(
        self, core: HummingbotContext, name: str, trading_pair: str, interval: str, max_records: int
    ) -> SharedCandles:
        return SharedCandles(
            core.context.id, name, self._venue(name), self._candles, trading_pair, interval, max_records
        )

    async def _prepare_markets(self, name: str, pairs: list[str]) -> None:
        await self._services.instruments(self._venue(name), pairs)

    def _venue(self, name: str) -> int:
        if name not in self._venues:
            raise UnknownVenue(
                f"exchange {name}: the fleet has no such venue, it has {', '.join(sorted(self._venues))}"
            )
        return self._venues[name]

    def _trading_rule(self, rules: InstrumentRules) -> TradingRule:
        rule = self._rules.get(rules)
        if rule is None:
            bounds = {} if rules.max_qty is None else {"max_order_size": rules.max_qty}
            rule = self._rules[rules] = TradingRule(
                rules.pair,
                min_order_size=rules.min_qty,
                min_price_increment=rules.tick,
                min_base_amount_increment=rules.step,
                min_notional_size=rules.min_notional or Decimal(0),
                **bounds,
            )
        return rule


async def _keep_checkpointing(path: str) -> None:
    while True:
        await asyncio.sleep(CHECKPOINT_EVERY_S)
        await asyncio.to_thread(recorder.checkpoint, path)


def _on_reply(reply: Reply) -> None:
    core = current().host_data
    for connector in core.connector_manager.connectors.values():
        if connector.venue == reply.venue:
            connector.on_reply(reply)
            return
    log.warning("%s of order %s: no connector of venue %d", reply.kind.name, reply.client_order_id, reply.venue)
