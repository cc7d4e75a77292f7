"""The market that a V1 strategy takes its prices from without trading there (`price_source: external_market`).

Hummingbot makes a simulated exchange for that, with order books of its own. Here it is one more connector of the
strategy, over the books that the feed has anyway; no order is ever sent through it.
"""

from hummingbot.client.config.config_helpers import ClientConfigAdapter
from hummingbot.client.config.config_var import ConfigVar
from hummingbot.connector.exchange import paper_trade

from hummingbot.runtime.connector import SharedExchange, connector_for_current_context


def price_markets(config: ClientConfigAdapter | dict[str, ConfigVar] | None) -> list[tuple[str, list[str]]]:
    """Return the connector and pairs that a configuration names as the source of its prices: one or none."""
    if not isinstance(config, dict) or "price_source" not in config:
        return []
    if config["price_source"].value != "external_market":
        return []
    return [(config["price_source_exchange"].value, [config["price_source_market"].value])]


def install() -> None:
    """Stand in for Hummingbot's factory of simulated exchanges; before any V1 starter is imported."""
    paper_trade.create_paper_trade_market = _market_of_current_strategy


def _market_of_current_strategy(exchange_name: str, trading_pairs: list[str]) -> SharedExchange:
    return connector_for_current_context(exchange_name, trading_pairs, trading_required=False)
