"""Fleets that no file describes, with strategies as a test wants them."""

from pathlib import Path
from typing import Any

from hive.fleet import (
    FeedConfig,
    FleetConfig,
    MonitoringConfig,
    MultiplexerConfig,
    OnStale,
    RateLimitingConfig,
    RuntimeConfig,
    SimVenue,
    StrategyConfig,
)


def fleet(*strategies: StrategyConfig, **parts: Any) -> FleetConfig:
    """Return a fleet of these strategies on one simulated venue, unless `parts` say otherwise."""
    values = {
        "name": "made",
        "fleet_id": "abc23",
        "path": Path("/x/fleet.yml"),
        "root": Path("/x"),
        "runtime": RuntimeConfig(),
        "multiplexer": MultiplexerConfig(),
        "rate_limiting": RateLimitingConfig(),
        "monitoring": MonitoringConfig(),
        "feed": FeedConfig(),
        "on_stale": OnStale(),
        "on_crash": "cancel",
        "venues": (SimVenue("binance", "binance"),),
        "strategies": strategies,
    }
    return FleetConfig(**{**values, **parts})


def strategy(id: str, **values: Any) -> StrategyConfig:
    """Return a V1 strategy on BTC-USDT, unless `values` say otherwise."""
    return StrategyConfig(**{"id": id, "tag": id, "kind": "v1", "name": "pmm", "pairs": ("BTC-USDT",), **values})
