"""Hummingbot in a worker: what all strategies share of it, and how one of them starts and stops.

Imported by `host.py` after `environment.prepare()` has set the paths that Hummingbot's modules copy on import; in the
server process, before any worker is forked.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hummingbot.client import settings
from hummingbot.client.config.client_config_map import AnonymizedMetricsDisabledMode, ClientConfigMap
from hummingbot.client.config.config_helpers import ClientConfigAdapter, get_strategy_starter_file, read_yml_file
from hummingbot.strategy_v2.executors import executor_orchestrator  # noqa: F401  imported lazily upstream
from pydantic import ValidationError
from yaml import YAMLError

from hive.shm.messages import Reply
from hive.workers import process_wide
from hive.workers.candles import CandleBoard
from hive.workers.context import CURRENT, StrategyContext, current
from hive.workers.host import StrategySpec, WorkerServices
from hive.workers.recording import RecorderLine, StrategyLine
from hive.workers.scheduler import State
from hummingbot import data_path
from hummingbot.runtime import (
    controller_files,
    inventory_cost,
    price_sources,
    private_modules,
    recorder,
    selftest,
    shared_code,
    singletons,
)
from hummingbot.runtime.candles import SharedCandles
from hummingbot.runtime.config_maps import ConfigLoader
from hummingbot.runtime.connector import SharedExchange
from hummingbot.runtime.context import HummingbotContext
from hummingbot.runtime.errors import StrategyConfigError, UnknownVenue
from hummingbot.runtime.executors import LiveExecutors
from hummingbot.runtime.rules import VenueRules

ROWS_FOLDER = "rows"  # in the databases' folder, where the recorder looks
WRITTEN_WITHIN_S = 5.0  # a strategy's last rows, when it stops
CANCEL_AGAIN_S = 1.0
KEEP_TIME_S = 1.0  # between two looks of executors
IGNORED_CLIENT_KEYS = {"anonymized_metrics_mode", "send_error_logs", "mqtt_bridge", "instance_id"}

log = logging.getLogger(__name__)


def load(strategies: Iterable[Mapping[str, Any]], fleet: str) -> ClientConfigAdapter:
    """Check the installation, import what the strategies need and fill the singleton slots.

    Args:
        strategies: mappings with `kind` ("v1" or "script"), `name`, and for a script its `root`, when that is not the
            fleet's, and its `controllers` (their configurations' file names).
        fleet: the fleet's name.

    Returns:
        The client configuration of all contexts.

    Raises:
        ReleaseMismatch: the installed Hummingbot is not what Hive was compiled against.
        StrategyConfigError: `conf_client.yml` does not load.
    """
    selftest.check()
    process_wide.install()
    private_modules.install()
    config = client_config(fleet)
    recorder.warm_up()
    singletons.install()
    price_sources.install()
    inventory_cost.install()
    controller_files.install()
    warm_up(strategies)
    return config


def warm_up(strategies: Iterable[Mapping[str, Any]]) -> None:
    """Import what strategies are made of, see `load`; what cannot be imported is logged, and fails them alone."""
    modules: dict[Path, set[str]] = {}
    for strategy in strategies:
        if strategy["kind"] == "v1":
            get_strategy_starter_file(strategy["name"])
            continue
        root = Path(strategy.get("root") or fleet_root())
        names = modules.setdefault(root, set())
        names.add(f"scripts.{strategy['name']}")
        names.update(_controller_modules(root, strategy.get("controllers", ())))
    shared_code.remember()
    for root, names in modules.items():
        for name, error in private_modules.warm_up(root, sorted(names)):
            log.warning("%s of %s: %s: %s", name, root, type(error).__name__, error)


def _controller_modules(root: Path, files: Iterable[str]) -> Iterator[str]:
    for file in files:
        try:
            values = read_yml_file(root / "conf" / "controllers" / file) or {}
        except (OSError, YAMLError, TypeError, ValueError) as error:  # its strategies fail alone, when they start
            log.warning("controller %s of %s: %s", file, root, error)
            continue
        yield f"controllers.{values.get('controller_type', 'generic')}.{values.get('controller_name')}"


def fleet_root() -> Path:
    """Return the folder with conf/, scripts/ and controllers/ of strategies that name none of their own."""
    return Path(settings.SCRIPT_STRATEGIES_PATH).parent


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
        self._rules: defaultdict[int, VenueRules] = defaultdict(VenueRules)  # by venue
        self._recorder = RecorderLine(Path(services.run_dir), Path(data_path()) / ROWS_FOLDER)
        self._lines: dict[str, StrategyLine] = {}
        process_wide.install_on(services.loop)
        self._running: dict[str, HummingbotContext] = {}
        self._keep_time()
        for handler in [one for one in logging.getLogger().handlers if isinstance(one, ErrorCounter)]:
            logging.getLogger().removeHandler(handler)  # each error counts once, however many engines a process has had
        logging.getLogger().addHandler(ErrorCounter())

    async def start(self, spec: StrategySpec, context: StrategyContext) -> HummingbotContext:
        """Start one strategy; runs inside its context."""
        line = self._lines[spec.id] = StrategyLine(self._recorder, spec.id)
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
            root=Path(spec.extra.get("root") or fleet_root()),
            line=line,
            venues=self._venues,
        )
        context.host_data = core
        context.on_reply = _on_reply
        await core.launch()
        if hasattr(core.strategy, "executor_orchestrator"):
            context.executors = LiveExecutors(core.strategy, context.counters.fills)
        self._running[spec.id] = core
        return core

    async def stop(self, context: StrategyContext) -> None:
        """Stop one strategy and see its last rows written; runs inside its context."""
        core = context.host_data
        self._running.pop(context.id, None)
        if core is None:
            return
        try:
            await core.end(context.keeps_orders)
        finally:
            core.modules.close()
        if core.trade_fill_db is not None:
            core.trade_fill_db.close()
        line = self._lines.pop(context.id, None)
        if line is not None and not await line.written(WRITTEN_WITHIN_S):
            log.warning("strategy %s: the recorder has not written all of its rows yet", context.id)

    def _keep_time(self) -> None:
        """Show the time to strategies that are not ticked: their executors run on, and end positions by the clock."""
        self._services.loop.call_later(KEEP_TIME_S, self._keep_time)
        for core in self._running.values():
            if self._services.scheduler.state(core.context) is State.PAUSED:
                core.context.post(core.keep_time, time.time())

    def _stop_requested(self, context: StrategyContext) -> None:
        services = self._services
        services.scheduler.pause(context, "the strategy asked to be stopped")
        services.orders.cancel_all(context)
        context.create_task(context.host_data.end(), name="end")
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
            rules=self._rules[self._venue(name)],
            capital=bool(core.spec.extra.get("capital")),
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


def _on_reply(reply: Reply) -> None:
    core = current().host_data
    for connector in core.connector_manager.connectors.values():
        if connector.venue == reply.venue:
            connector.on_reply(reply)
            return
    log.warning("%s of order %s: no connector of venue %d", reply.kind.name, reply.client_order_id, reply.venue)
