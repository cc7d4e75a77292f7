"""A fleet as the operator described it: frozen values, complete and checked. `hive/config.py` makes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class RuntimeConfig:
    """How strategies run. The limit counts per worker; the scheduler is "round_robin", "priority_based" or "fair".

    interrupt_after_ms: how long a strategy may hold its worker before it is interrupted. loop_share: the part of its
    worker's time that one strategy may take for long. worker_memory_mb: of a worker's own memory. log_lines_per_s: of
    one strategy. None: no limit. rebalance: "on" or "off"; rebalance_after_s: how long a worker must be overloaded
    before a strategy leaves it by itself.
    """

    max_strategies_per_container: int = 50
    tick_interval_ms: int = 100
    scheduler_algorithm: str = "round_robin"
    hang_after_ms: int = 2000
    interrupt_after_ms: int | None = 500
    loop_share: float | None = 0.5
    worker_memory_mb: int | None = 1500
    log_lines_per_s: float | None = 200.0
    rebalance: str = "off"
    rebalance_after_s: float = 30.0
    stop_timeout_s: float = 30.0
    restart_wait_max_s: float = 30.0


@dataclass(frozen=True, slots=True)
class MultiplexerConfig:
    """How market data is shared; `protocol` other than "shm" is accepted and has no effect yet."""

    enabled: bool = True
    protocol: str = "shm"
    max_connections_per_exchange: int = 5


@dataclass(frozen=True, slots=True)
class RateLimitingConfig:
    """Orders per second, None for the venue's own limits alone.

    adaptive_throttling: after a refusal for too many requests, less is used than the venue states. feed_share: the
    part of a venue's request weight that is kept for the feed. max_order_age_s: how long an order may wait in the gate,
    None: longer than the bound of starvation. queue_per_strategy: how many may wait.
    """

    global_orders_per_second: float | None = None
    per_strategy_orders_per_second: float | None = None
    adaptive_throttling: bool = True
    feed_share: float = 0.4
    max_order_age_s: float | None = None
    queue_per_strategy: int = 100


@dataclass(frozen=True, slots=True)
class MonitoringConfig:
    """Where /metrics is served; None or 0 for nowhere."""

    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    enable_profiling: bool = False


@dataclass(frozen=True, slots=True)
class FeedConfig:
    """Market data in shared memory.

    depth: levels per side; depths: where a pair has its own number. versions: books kept per instrument. instruments,
    trades: room per venue. candles: kept per series. audit_interval_s: how often each book is compared with a fresh
    snapshot, 0 never. rules_interval_s: how often the venue's rules are read again. linger_s: how long an instrument
    stays subscribed after its last reader left. lock_memory, huge_pages: "auto" (if allowed), "on" (or do not start),
    "off".
    """

    depth: int = 50
    depths: Mapping[str, int] = field(default_factory=dict)
    versions: int = 8
    instruments: int = 64
    trades: int = 8192
    candles: int = 1000
    audit_interval_s: float = 300.0
    rules_interval_s: float = 600.0
    linger_s: float = 10.0
    lock_memory: str = "auto"
    huge_pages: str = "auto"


@dataclass(frozen=True, slots=True)
class OnStale:
    """What happens when a book is not live: new orders are refused; resting ones go after `cancel_after_ms`.

    `cancel_after_ms` None: resting orders are kept.
    """

    stale_after_ms: int = 80
    cancel_after_ms: int | None = 1000


@dataclass(frozen=True, slots=True)
class JournalConfig:
    """The gate's journal: when it reaches the disk ("interval", "every" record, "none"), and how much is kept."""

    policy: str = "interval"
    interval_ms: float = 10.0
    file_mb: float = 16.0
    keep_mb: float = 1024.0


@dataclass(frozen=True, slots=True)
class LogsConfig:
    """The log file that each strategy has: how large one may become, and how many are kept with the newest."""

    max_mb: float = 10.0
    keep: int = 3


@dataclass(frozen=True, slots=True)
class StrategyRisk:
    """Limits before an order is sent; None and no entry: no limit.

    max_order_notional: in the pair's quote asset. max_position: by asset, bought or sold. price_band: a part of the
    live best price. loss_limit: by quote asset, over loss_window: "run" or "day" (UTC).
    """

    max_order_notional: Decimal | None = None
    max_position: Mapping[str, Decimal] = field(default_factory=dict)
    max_open_orders: int | None = None
    price_band: Decimal | None = None
    loss_limit: Mapping[str, Decimal] = field(default_factory=dict)
    loss_window: str = "run"


@dataclass(frozen=True, slots=True)
class Risk(StrategyRisk):
    """The same for a venue or the fleet. `self_trade`: "refuse" or "allow" orders that meet another strategy's."""

    self_trade: str = "refuse"


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
    record: Path | None = None
    risk: Risk = Risk()


@dataclass(frozen=True, slots=True)
class EnvironmentKeys:
    """A venue's keys are in the two environment variables named here."""

    api_key_env: str
    api_secret_env: str


@dataclass(frozen=True, slots=True)
class FileKeys:
    """A venue's keys are in a file that the fleet's user alone may read."""

    path: Path


@dataclass(frozen=True, slots=True)
class KeystoreKeys:
    """A venue's keys are in a connector's file of Hummingbot's keystore, conf/connectors/NAME.yml."""

    path: Path


type KeySource = EnvironmentKeys | FileKeys | KeystoreKeys


@dataclass(frozen=True, slots=True)
class LiveVenue:
    """A venue at the addresses named here; `production`: they are those where money is real."""

    name: str
    kind: str
    rest_url: str
    ws_url: str
    ws_api_url: str
    keys: KeySource
    recv_window_ms: int = 5000
    production: bool = False
    mode: str = "live"
    record: Path | None = None
    risk: Risk = Risk()


@dataclass(frozen=True, slots=True)
class ReplayVenue:
    """A venue played from a recording of its market data; it takes no orders. `speed` 0: as fast as possible."""

    name: str
    kind: str
    file: Path
    speed: float = 1.0
    mode: str = "replay"
    record: None = None


type Venue = SimVenue | LiveVenue | ReplayVenue


@dataclass(frozen=True, slots=True)
class Quota:
    """What one strategy may use of its account (None: no limit of its own), and its share when that is short.

    The share is `weight` x 2 ** `priority_level`.
    """

    max_orders_per_second: float | None = None
    max_api_weight_per_minute: int | None = None
    priority_level: int = 0
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class StrategyConfig:
    """One strategy of the fleet.

    `kind` is "v1" or "script"; `name` what Hummingbot calls it; `config` its file's values with `set:` merged in;
    `pairs` those that its configuration names; `tick_interval_ms` None is the fleet's;
    `tick_on_book_ms` how long after its last tick a book's change ticks it, None: never; `capital` what it may trade
    with, by asset, {}: the account's; `capital_venue` where, None: at the only venue; `worker` "dedicated": one of its
    own; `venues` those that its configuration names; `root` where its files are, None: in the fleet's.
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
    tick_on_book_ms: int | None = None
    weight: float = 1.0
    quota: Quota = Quota()
    risk: StrategyRisk = StrategyRisk()
    capital: Mapping[str, Decimal] = field(default_factory=dict)
    capital_venue: str | None = None
    worker: str | None = None
    venues: tuple[str, ...] = ()
    root: Path | None = None


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
    venues: tuple[Venue, ...]
    strategies: tuple[StrategyConfig, ...]
    notices: tuple[str, ...] = ()
    on_unknown_orders: str = "cancel"
    journal: JournalConfig = JournalConfig()
    logs: LogsConfig = LogsConfig()
    risk: Risk = Risk()
