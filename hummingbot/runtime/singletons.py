"""Hummingbot's process-wide singletons, made to answer for the strategy that asks.

Hummingbot keeps one application, one markets recorder, one rate oracle and one gateway client per process in class
attributes. `install()` puts an object into each of those slots that resolves through the current strategy's context
(`hive.workers.context.CURRENT`), so strategies in one process never see each other's. Once, before the first strategy.
"""

from collections.abc import Callable, Mapping
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

from hive.workers.context import current


class Forwarder:
    """Stands in a singleton's slot and passes every attribute on to the current strategy's own object."""

    __slots__ = ("_resolve",)

    def __init__(self, resolve: Callable[[], Any]):
        object.__setattr__(self, "_resolve", resolve)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_resolve")(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(object.__getattribute__(self, "_resolve")(), name, value)


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
    """Knows rates from one strategy's order books and from what the strategy sets; it polls nobody."""

    def __init__(self):
        super().__init__(source=SimpleNamespace(name="order books", get_prices=self._stored_prices))
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
    HummingbotApplication._main_app = Forwarder(lambda: current().host_data.app)
    RateOracle._shared_instance = Forwarder(lambda: current().host_data.rate_oracle)
    claim_recorder_slot()


def claim_recorder_slot() -> None:
    """Put the forwarder (back) into the recorder's slot; its constructor takes the slot each time."""
    MarketsRecorder._shared_instance = RECORDER


RECORDER = Forwarder(lambda: current().host_data.markets_recorder)
