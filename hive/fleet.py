"""A fleet as the operator described it: frozen values, complete and checked. `hive/config.py` makes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """How strategies run. The limit counts per worker; the scheduler is "round_robin" or "priority_based"."""

    max_strategies_per_container: int = 50
    tick_interval_ms: int = 100
    scheduler_algorithm: str = "round_robin"
    hang_after_ms: int = 2000
    stop_timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class MultiplexerConfig:
    """How market data is shared; `protocol` other than "shm" is accepted and has no effect yet."""

    enabled: bool = True
    protocol: str = "shm"
    max_connections_per_exchange: int = 5


@dataclass(frozen=True, slots=True)
class RateLimitingConfig:
    """Orders per second, None for the venue's own limits alone."""

    global_orders_per_second: float | None = None
    per_strategy_orders_per_second: float | None = None
    adaptive_throttling: bool = False


@dataclass(frozen=True, slots=True)
class MonitoringConfig:
    """Where /metrics is served; None or 0 for nowhere."""

    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    enable_profiling: bool = False


@dataclass(frozen=True, slots=True)
class FeedConfig:
    """Books in shared memory: levels per side, versions kept, room for instruments and for trades per venue."""

    depth: int = 50
    versions: int = 8
    instruments: int = 64
    trades: int = 8192


@dataclass(frozen=True, slots=True)
class OnStale:
    """What happens when a book is not live: new orders are refused; resting ones go after `cancel_after_ms`.

    `cancel_after_ms` None: resting orders are kept.
    """

    stale_after_ms: int = 1000
    cancel_after_ms: int | None = 1000


@dataclass(frozen=True, slots=True)
class SimVenue:
    """A venue played by the simulated exchange, which is started with the fleet."""

    name: str
    kind: str
    seed: int = 7
    rate: float | None = None
    symbols: int | None = None
    faults: tuple[str, ...] = ()
    recv_window_ms: int = 5000
    mode: str = "sim"


@dataclass(frozen=True, slots=True)
class LiveVenue:
    """A venue at the addresses named here; the two environment variables hold its keys."""

    name: str
    kind: str
    rest_url: str
    ws_url: str
    ws_api_url: str
    api_key_env: str
    api_secret_env: str
    recv_window_ms: int = 5000
    mode: str = "live"


@dataclass(frozen=True, slots=True)
class Quota:
    """What one strategy may use of its account; None where the fleet's own limits are all."""

    max_orders_per_second: float | None = None
    max_api_weight_per_minute: int | None = None
    priority_level: int | None = None
    weight: float | None = None


@dataclass(frozen=True, slots=True)
class StrategyConfig:
    """One strategy of the fleet.

    `kind` is "v1" or "script"; `name` what Hummingbot calls it; `config` its file's values with `set:` merged in;
    `pairs` those that its configuration names; `tick_interval_ms` None is the fleet's.
    """

    id: str
    tag: str
    kind: str
    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    config_file: str | None = None
    pairs: tuple[str, ...] = ()
    priority: int = 0
    tick_interval_ms: int | None = None
    weight: float = 1.0
    quota: Quota = Quota()


@dataclass(frozen=True, slots=True)
class FleetConfig:
    """Everything that `hive up` needs to know; `notices` says in plain lines which keys have no effect yet."""

    name: str
    fleet_id: str
    path: Path
    root: Path
    runtime: RuntimeConfig
    multiplexer: MultiplexerConfig
    rate_limiting: RateLimitingConfig
    monitoring: MonitoringConfig
    feed: FeedConfig
    on_stale: OnStale
    on_crash: str
    venues: tuple[SimVenue | LiveVenue, ...]
    strategies: tuple[StrategyConfig, ...]
    notices: tuple[str, ...] = ()
