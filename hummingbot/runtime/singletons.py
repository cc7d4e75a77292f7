"""Hummingbot's process-wide singletons, made to answer for the strategy that asks.

Hummingbot keeps one application, one markets recorder, one rate oracle, one gateway client and one table of executor
kinds per process in class attributes. `install()` puts an object into each of those slots that resolves through the
current strategy's context (`hive.workers.context.CURRENT`), so strategies in one process never see each other's. Once,
before the first strategy.
"""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import partial
from types import MappingProxyType, SimpleNamespace
from typing import Any

from hummingbot.client.hummingbot_application import HummingbotApplication
from hummingbot.client.settings import AllConnectorSettings
from hummingbot.connector.markets_recorder import MarketsRecorder
from hummingbot.core.gateway.gateway_http_client import GatewayHttpClient
from hummingbot.core.rate_oracle.rate_oracle import RateOracle
from hummingbot.core.utils.trading_pair_fetcher import TradingPairFetcher
from hummingbot.data_feed.candles_feed.candles_factory import CandlesFactory
from hummingbot.strategy_v2.executors.executor_orchestrator import ExecutorOrchestrator

from hive.workers.context import CURRENT, current


class Forwarder:
    """Stands in a singleton's slot and passes every attribute on to the current strategy's own object."""

    __slots__ = ("_resolve",)

    def __init__(self, resolve: Callable[[], Any]):
        object.__setattr__(self, "_resolve", resolve)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_resolve")(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(object.__getattribute__(self, "_resolve")(), name, value)


class OwnTable(MutableMapping[str, Any]):
    """Stands for a table that is filled once per process: what a strategy changes in it is changed for itself alone.

    Args:
        name: of the attribute of the strategy's host data that holds its copy, made by its first change.
        table: what everybody begins with.
    """

    def __init__(self, name: str, table: Mapping[str, Any]):
        self._name = name
        self._table = dict(table)

    def __getitem__(self, key: str) -> Any:
        return self._seen()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._changed()[key] = value

    def __delitem__(self, key: str) -> None:
        del self._changed()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._seen())

    def __len__(self) -> int:
        return len(self._seen())

    def _seen(self) -> dict[str, Any]:
        return getattr(_host_data(), self._name, self._table)

    def _changed(self) -> dict[str, Any]:
        if CURRENT.get(None) is None:
            return self._table
        own = dict(self._seen())
        host = _host_data()
        if host is not None:  # code that has outlived its strategy changes nothing
            setattr(host, self._name, own)
        return own


def _host_data() -> Any:
    return getattr(CURRENT.get(None), "host_data", None)


class NullGateway:
    """Takes the gateway client's place: no fleet reaches a DEX gateway, so nothing polls for one."""

    gateway_config_keys: tuple[str, ...] = ()
    ready = False

    def start_monitor(self) -> None:
        """Do nothing: there is no gateway to watch."""

    def stop_monitor(self) -> None:
        """Do nothing: nothing was started."""

    async def get_default_swap_provider(self, network: str) -> None:
        """Return None: no swap provider."""


class NullPairFetcher:
    """Takes the trading pair fetcher's place, which would ask every exchange while a configuration is validated."""

    ready = False
    trading_pairs: Mapping[str, list[str]] = MappingProxyType({})


class BookRateOracle(RateOracle):
    """Knows rates from one strategy's order books and from what the strategy sets; it polls nobody.

    Args:
        quote_token: what `get_rate` counts in: the client configuration's global token.
    """

    def __init__(self, quote_token: str):
        source = SimpleNamespace(name="order books", get_prices=self._stored_prices)
        super().__init__(source=source, quote_token=quote_token)
        self._ready_event.set()

    async def _stored_prices(self, quote_token: str | None = None) -> dict[str, Any]:
        return self.prices

    def start(self) -> None:
        """Do nothing: there is no source to poll."""

    def stop(self) -> None:
        """Do nothing: nothing was started."""

    async def stored_or_live_rate(self, pair: str) -> Any:
        """Return the rate of `pair` from books and stored prices, or None."""
        return self.get_pair_rate(pair)

    async def rate_async(self, pair: str) -> Any:
        """Return the rate of `pair` from books and stored prices, or None."""
        return self.get_pair_rate(pair)

    async def get_rate(self, base_token: str) -> Any:
        """Return the rate of `base_token` in the oracle's quote token, or None."""
        return self.get_pair_rate(f"{base_token}-{self.quote_token}")


def _candles_of_current_strategy(connector: str, trading_pair: str, interval: str, max_records: int) -> Any:
    return current().host_data.make_candles(connector, trading_pair, interval, max_records)


def install() -> None:
    """Fill Hummingbot's singleton slots; the process must run strategies only inside their contexts from now on."""
    GatewayHttpClient._GatewayHttpClient__instance = NullGateway()
    TradingPairFetcher._sf_shared_instance = NullPairFetcher()
    CandlesFactory._candles_map = {
        name: partial(_candles_of_current_strategy, name)
        for name in {*CandlesFactory._candles_map, *AllConnectorSettings.get_connector_settings()}
    }
    ExecutorOrchestrator._executor_mapping = OwnTable("executor_kinds", ExecutorOrchestrator._executor_mapping)
    HummingbotApplication._main_app = Forwarder(lambda: current().host_data.app)
    RateOracle._shared_instance = Forwarder(lambda: current().host_data.rate_oracle)
    claim_recorder_slot()


def claim_recorder_slot() -> None:
    """Put the forwarder (back) into the recorder's slot; its constructor takes the slot each time."""
    MarketsRecorder._shared_instance = RECORDER


RECORDER = Forwarder(lambda: current().host_data.markets_recorder)
