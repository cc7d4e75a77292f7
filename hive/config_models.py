"""The fleet file's keys, their types, ranges and defaults, as pydantic models; config.py reads and completes them.

A key that stands in no model is an error, and every number has a least and a greatest value: what is beyond them is a
slip of the pen, and would overflow or starve what it is handed to. Texts are for people and file systems, and have no
control characters. Amounts are exact: a YAML number or a text becomes a Decimal by its digits, and has no more of them
than a message between gate and worker carries without loss (hive.shm.decimals.halves).
"""

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from hive.sim.symbols import MOST_SYMBOLS, RATE_MAX
from hive.texts import visible

STRATEGIES_MAX = 2000
NAME = r"^[a-z0-9][a-z0-9_-]{0,31}$"
AMOUNT_DIGITS = 18  # before the point, and as many after it
TEXT_MAX = 4096  # as of a path (PATH_MAX)
DAY_S = 86_400


def _exact(value: Any) -> Decimal:
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise InvalidOperation
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise ValueError(f"must be a number, was {value!r}") from None
    if number.is_finite() and not _fits(number):
        digits = f"{AMOUNT_DIGITS} digits before the point and {AMOUNT_DIGITS} after it"
        raise ValueError(f"must have at most {digits}, was {value!s:.50}")
    return number


def _fits(number: Decimal) -> bool:
    return number.adjusted() < AMOUNT_DIGITS and number.as_tuple().exponent >= -AMOUNT_DIGITS


def _plain(text: str) -> str:
    if visible(text) != text:
        raise PydanticCustomError("text", "must have no control characters, was {text}", {"text": f"{text!r:.80}"})
    return text


Exact = Annotated[Decimal, BeforeValidator(_exact), Field(allow_inf_nan=False)]
Amount = Annotated[Exact, Field(gt=0)]
NoneOrMore = Annotated[Exact, Field(ge=0)]
Asset = Annotated[str, Field(pattern=r"^[A-Z0-9]{1,20}$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=TEXT_MAX)]
Text = Annotated[str, Field(min_length=1, max_length=TEXT_MAX), AfterValidator(_plain)]
Level = Annotated[int, Field(ge=5, le=1000)]
OrdersPerSecond = Annotated[float, Field(ge=0.001, le=100_000)]
OpenOrders = Annotated[int, Field(ge=1, le=1_000_000)]


class Model(BaseModel):
    """What all have in common: no key too many, and no value of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Runtime(Model):
    """`runtime:`"""

    max_strategies_per_container: int = Field(50, ge=1, le=1000)
    tick_interval_ms: int = Field(100, ge=10, le=600_000)
    scheduler_algorithm: Literal["round_robin", "priority_based", "fair"] = "round_robin"
    hang_after_ms: int = Field(2000, ge=200, le=600_000)
    interrupt_after_ms: int | None = Field(500, ge=50, le=600_000)
    loop_share: float | None = Field(0.5, gt=0, le=1)
    worker_memory_mb: int | None = Field(1500, ge=100, le=16_777_216)
    log_lines_per_s: float | None = Field(200.0, ge=0.01, le=1_000_000)
    rebalance: Literal["off", "on"] = "off"
    rebalance_after_s: float = Field(30.0, ge=6, le=3600)
    stop_timeout_s: float = Field(30.0, gt=0, le=600)
    restart_wait_max_s: float = Field(30.0, ge=0.1, le=600)


class Multiplexer(Model):
    """`multiplexer:`"""

    enabled: bool = True
    protocol: Literal["shm", "unix_socket", "tcp", "redis"] = "shm"
    max_connections_per_exchange: int = Field(5, ge=1, le=300)


class RateLimiting(Model):
    """`rate_limiting:`"""

    global_orders_per_second: OrdersPerSecond | None = None
    per_strategy_orders_per_second: OrdersPerSecond | None = None
    adaptive_throttling: bool = True
    feed_share: float = Field(0.4, gt=0, lt=1)
    max_order_age_s: float | None = Field(None, gt=0, le=DAY_S)
    queue_per_strategy: int = Field(100, ge=1, le=100_000)


class Monitoring(Model):
    """`monitoring:`"""

    metrics_port: int | None = Field(None, ge=0, le=65535)
    metrics_host: Text = "127.0.0.1"
    enable_profiling: bool = False


class Feed(Model):
    """`feed:`"""

    depth: Level = 50
    depths: dict[str, Level] = {}
    versions: int = Field(8, ge=2, le=64)
    instruments: int = Field(64, ge=1, le=4096)
    trades: int = Field(8192, ge=64, le=1 << 20)
    candles: int = Field(1000, ge=100, le=10_000)
    audit_interval_s: float = Field(300.0, ge=0, le=DAY_S)
    rules_interval_s: float = Field(600.0, ge=1, le=DAY_S)
    linger_s: float = Field(10.0, ge=0, le=DAY_S)
    lock_memory: Literal["auto", "on", "off"] = "auto"
    huge_pages: Literal["auto", "on", "off"] = "auto"


class OnStale(Model):
    """`on_stale:`"""

    stale_after_ms: int = Field(80, ge=30, le=3_600_000)
    cancel_after_ms: int | None = Field(1000, ge=0, le=1000 * DAY_S)
    mode: Literal["cancel", "hold"] = "cancel"


class Journal(Model):
    """`journal:`"""

    policy: Literal["interval", "every", "none"] = "interval"
    interval_ms: float = Field(10.0, ge=1, le=10_000)
    file_mb: float = Field(16.0, ge=1, le=1024)
    keep_mb: float = Field(1024.0, ge=0, le=1_048_576)


class Logs(Model):
    """`logs:`"""

    max_mb: float = Field(10.0, ge=0.1, le=10_240)
    keep: int = Field(3, ge=1, le=100)


class Limits(Model):
    """`risk:` of a strategy."""

    max_order_notional: Amount | None = None
    max_position: dict[Asset, NoneOrMore] = {}
    max_open_orders: OpenOrders | None = None
    price_band: Annotated[Amount, Field(le=1)] | None = None
    loss_limit: dict[Asset, Amount] = {}
    loss_window: Literal["run", "day"] | None = None


class Risk(Limits):
    """`risk:` of the fleet and of a venue."""

    self_trade: Literal["refuse", "allow"] | None = None


class Sim(Model):
    """A venue of mode sim."""

    mode: Literal["sim"]
    kind: Text | None = None
    seed: int = Field(7, ge=0, le=(1 << 63) - 1)
    rate: float | None = Field(None, ge=0.001, le=RATE_MAX)
    symbols: int | None = Field(None, ge=1, le=MOST_SYMBOLS)
    faults: list[Text] = []
    recv_window_ms: int = Field(5000, ge=1, le=60_000)
    record: Text | None = None
    risk: Risk = Risk()


class Replay(Model):
    """A venue of mode replay."""

    mode: Literal["replay"]
    kind: Text | None = None
    file: Text
    speed: float = Field(1.0, ge=0, le=1_000_000)


class Live(Model):
    """A venue of mode live."""

    mode: Literal["live"]
    kind: Text | None = None
    rest_url: Text
    ws_url: Text
    ws_api_url: Text
    api_key_env: Variable | None = None
    api_secret_env: Variable | None = None
    keys_file: Text | None = None
    keystore: Literal[True] | Text | None = None
    production: bool = False
    recv_window_ms: int = Field(5000, ge=1, le=60_000)
    record: Text | None = None
    risk: Risk = Risk()

    @model_validator(mode="after")
    def _one_source_of_keys(self) -> Self:
        variables = [key for key in ("api_key_env", "api_secret_env") if getattr(self, key) is not None]
        others = [key for key in ("keys_file", "keystore") if getattr(self, key) is not None]
        if not variables and not others:
            rule = "must say where its keys are: api_key_env with api_secret_env, keys_file or keystore"
            raise PydanticCustomError("keys", rule)
        if len(others) > 1 or (variables and others):
            names = ", ".join(variables + others)
            raise PydanticCustomError("keys", f"must have its keys from one place, names {names}")
        if len(variables) == 1:
            raise PydanticCustomError("keys", f"must name both api_key_env and api_secret_env, names {variables[0]}")
        return self


class Quota(Model):
    """`quota:` of a strategy."""

    max_orders_per_second: OrdersPerSecond | None = None
    max_api_weight_per_minute: int | None = Field(None, ge=1, le=1_000_000)
    priority_level: int = Field(0, ge=-5, le=5)
    weight: float = Field(1.0, ge=0.001, le=1000)


class TickOnBook(Model):
    """`tick_on:` of a strategy that is also ticked when a book changes, at least so many ms after its last tick."""

    book: int = Field(ge=1, le=600_000)


class Entry(Model):
    """An entry of `strategies:`."""

    id: Text | None = None
    strategy: Text | None = None
    script: Text | None = None
    config: Text | None = None
    set: dict[str, Any] = {}
    for_each: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}
    count: int = Field(1, ge=1, le=STRATEGIES_MAX)
    priority: int = Field(0, ge=-100, le=100)
    tick_interval_ms: int | None = Field(None, ge=10, le=600_000)
    tick_on: Literal["timer", "book"] | TickOnBook = "timer"
    weight: float = Field(1.0, ge=0.001, le=1000)
    worker: Literal["dedicated"] | None = None
    root: Text | None = None
    quota: Quota = Quota()
    risk: Limits = Limits()
    capital: dict[Asset, NoneOrMore] = {}


class File(Model):
    """The whole file."""

    name: str | None = Field(None, pattern=NAME)
    fleet_id: str | None = Field(None, pattern=r"^[a-z2-7]{5}$")
    runtime: Runtime = Runtime()
    multiplexer: Multiplexer = Multiplexer()
    rate_limiting: RateLimiting = RateLimiting()
    monitoring: Monitoring = Monitoring()
    feed: Feed = Feed()
    on_stale: OnStale = OnStale()
    on_crash: Literal["cancel", "keep"] = "cancel"
    on_unknown_orders: Literal["cancel", "adopt"] = "cancel"
    user: Text | None = None
    gate_user: Text | None = None
    journal: Journal = Journal()
    logs: Logs = Logs()
    risk: Risk = Risk()
    venues: dict[str, Annotated[Sim | Live | Replay, Field(discriminator="mode")]] = {}
    strategies: list[Entry] = []
