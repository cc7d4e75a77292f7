"""What the gate is told at boot, checked once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from hive.gate.errors import BootError
from hive.gate.exposure import RiskLimits
from hive.gate.quota import StrategyQuota

REQUEST_TIMEOUT_S = 5.0
RECV_WINDOW_MS = 5000
FEED_SHARE = 0.4
POLICIES = ("cancel", "keep")
UNKNOWN_ORDERS = ("cancel", "adopt")
QUEUE_PER_STRATEGY = 100


@dataclass(frozen=True, slots=True)
class RiskSettings:
    """Limits on what may be risked: by a strategy, on an account, or by the fleet. `loss_limit` is by quote asset."""

    limits: RiskLimits = field(default_factory=RiskLimits)
    loss_limit: Mapping[str, Decimal] = field(default_factory=dict)
    loss_window: str = "run"


@dataclass(frozen=True, slots=True)
class VenueSettings:
    """One venue account; the keys are kept out of its repr."""

    index: int
    name: str
    rest_url: str
    ws_api_url: str
    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)
    recv_window_ms: int = RECV_WINDOW_MS
    request_timeout_s: float = REQUEST_TIMEOUT_S
    simulated: bool = False
    production: bool = False
    risk: RiskSettings = field(default_factory=RiskSettings)


@dataclass(frozen=True, slots=True)
class OwnerSettings:
    """One strategy: whose orders carry its tag, and what it may do.

    capital: by asset; None: it shares the account. capital_venue: where it has it; None: at the only venue.
    life: the number of its present life, greater than that of every earlier one, on whatever worker; None: its worker's
    epoch is used instead. kept: an earlier life whose open orders rest for the next one; None: there is none.
    """

    id: str
    tag: str
    worker: int
    quota: StrategyQuota = field(default_factory=StrategyQuota)
    risk: RiskSettings = field(default_factory=RiskSettings)
    capital: Mapping[str, Decimal] | None = None
    capital_venue: str | None = None
    life: int | None = None
    kept: int | None = None


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """How the journals are kept: see `hive.gate.journal.Journal`."""

    policy: str = "interval"
    interval_s: float = 0.01
    file_bytes: int = 16 << 20
    keep_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True)
class Halt:
    """What may place no new orders: a strategy, a venue, or with neither everything."""

    strategy: str | None
    venue: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class GateSettings:
    """The gate's boot message.

    replays: names of the venues that are played from a recording, by index; they take no orders, and their accounts
    have nothing of all `assets` that strategies name. stale_after_ms: age of the feed's heartbeat from which on its
    books allow no order; None: orders go whatever the feed does. max_order_age_s: None leaves it to the gate.
    living: the epochs of the workers that are alive, by index; orders of others are cancelled or kept by
    `on_worker_death`.
    on_unknown_orders: what becomes of open orders of this fleet that no journal knows, "cancel" or "adopt".
    """

    run: str
    fleet: str
    fleet_id: str
    epoch: int
    run_dir: Path
    log_file: str | None
    log_level: str
    venues: tuple[VenueSettings, ...]
    replays: dict[int, str]
    assets: tuple[str, ...]
    strategies: tuple[OwnerSettings, ...]
    orders_per_second: float | None
    orders_per_second_each: float | None
    max_order_age_s: float | None
    feed_share: float
    on_supervisor_death: str
    on_worker_death: str
    stale_after_ms: float | None = None
    state_dir: Path = Path()
    journal: JournalSettings = field(default_factory=JournalSettings)
    risk: RiskSettings = field(default_factory=RiskSettings)
    adaptive: bool = True
    on_unknown_orders: str = "cancel"
    queue_per_strategy: int = QUEUE_PER_STRATEGY
    halts: tuple[Halt, ...] = ()
    living: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def from_boot(cls, boot: dict) -> "GateSettings":
        """Read the boot message; BootError names what is missing or wrong in it."""
        try:
            rates = boot.get("rate_limiting") or {}
            each = _above_zero(rates, "per_strategy_orders_per_second")
            settings = cls(
                run=boot["run"],
                fleet=boot["fleet"],
                fleet_id=boot["fleet_id"],
                epoch=int(boot["epoch"]),
                run_dir=Path(boot["run_dir"]),
                log_file=boot.get("log_file"),
                log_level=str(boot.get("log_level") or "INFO").upper(),
                venues=tuple(_venue(entry) for entry in boot["venues"] if not is_replay(entry)),
                replays={int(entry["index"]): entry["name"] for entry in boot["venues"] if is_replay(entry)},
                assets=tuple(boot.get("assets", ())),
                strategies=tuple(read_owner(entry) for entry in boot["strategies"]),
                orders_per_second=_above_zero(rates, "global_orders_per_second"),
                orders_per_second_each=each,
                max_order_age_s=_above_zero(rates, "max_order_age_s"),
                feed_share=float(rates.get("feed_share") or FEED_SHARE),
                on_supervisor_death=boot.get("on_supervisor_death", "cancel"),
                on_worker_death=boot.get("on_worker_death", "cancel"),
                stale_after_ms=_above_zero(boot, "stale_after_ms"),
                state_dir=Path(boot.get("state_dir") or boot["run_dir"]),
                journal=JournalSettings(**(boot.get("journal") or {})),
                risk=_risk(boot.get("risk")),
                adaptive=bool(boot.get("adaptive", True)),
                on_unknown_orders=boot.get("on_unknown_orders") or "cancel",
                queue_per_strategy=int(boot.get("queue_per_strategy") or QUEUE_PER_STRATEGY),
                halts=tuple(
                    Halt(one.get("strategy"), one.get("venue"), one["reason"]) for one in boot.get("halts", ())
                ),
                living={int(index): int(epoch) for index, epoch in (boot.get("living") or {}).items()},
            )
        except KeyError as error:
            raise BootError(f"the gate's boot message lacks {error}") from None
        for name, allowed in (
            ("on_supervisor_death", POLICIES),
            ("on_worker_death", POLICIES),
            ("on_unknown_orders", UNKNOWN_ORDERS),
        ):
            if getattr(settings, name) not in allowed:
                raise BootError(f"{name} must be {' or '.join(allowed)}, was {getattr(settings, name)!r}")
        return settings

    def capital_assets(self) -> list[str]:
        """Return the assets in which strategies have capital."""
        return sorted({asset for strategy in self.strategies for asset in strategy.capital or ()})

    def journal_folder(self, venue: VenueSettings) -> Path:
        """Return where a venue's journal lies; a simulated exchange's, which dies with its run, apart."""
        return account_folder(self.state_dir, venue.name, venue.simulated)


def account_folder(state_dir: Path, venue: str, simulated: bool) -> Path:
    """Return where the journal of a venue account lies."""
    folder = state_dir / "journal" / venue
    return folder / "simulated" if simulated else folder


def is_replay(entry: dict) -> bool:
    """Return whether a venue of the boot message is played from a recording: it has no account, and so no keys."""
    return entry.get("mode") == "replay"


def _venue(entry: dict) -> VenueSettings:
    for name in ("api_key", "api_secret"):
        if not entry[name] or not entry[name].isascii():
            raise BootError(f"venue {entry['name']}: {name} must be ASCII and not empty")
    return VenueSettings(
        index=int(entry["index"]),
        name=entry["name"],
        rest_url=entry["rest_url"],
        ws_api_url=entry["ws_api_url"],
        api_key=entry["api_key"],
        api_secret=entry["api_secret"],
        recv_window_ms=int(entry.get("recv_window_ms") or RECV_WINDOW_MS),
        request_timeout_s=float(entry.get("request_timeout_s") or REQUEST_TIMEOUT_S),
        simulated=entry.get("mode") == "sim",
        production=bool(entry.get("production")),
        risk=_risk(entry.get("risk")),
    )


def read_owner(entry: dict) -> OwnerSettings:
    """Read one strategy of the boot message, or of a message that adds or changes one; raises BootError."""
    given = entry.get("quota") or {}
    weight = given.get("max_api_weight_per_minute")
    quota = StrategyQuota(
        max_orders_per_second=_above_zero(given, "max_orders_per_second"),
        max_api_weight_per_minute=None if weight is None else int(weight),
        priority_level=int(given.get("priority_level") or 0),
        weight=_above_zero(given, "weight") or 1.0,
    )
    capital = _amounts(entry.get("capital"))
    return OwnerSettings(
        entry["id"],
        entry["tag"],
        int(entry["worker"]),
        quota,
        _risk(entry.get("risk")),
        capital or None,
        entry.get("capital_venue"),
        None if entry.get("life") is None else int(entry["life"]),
        None if entry.get("kept") is None else int(entry["kept"]),
    )


def _risk(raw: Mapping[str, Any] | None) -> RiskSettings:
    raw = raw or {}
    return RiskSettings(RiskLimits.from_boot(raw), _amounts(raw.get("loss_limit")), raw.get("loss_window") or "run")


def _amounts(texts: Mapping[str, str] | None) -> dict[str, Decimal]:
    return {asset: Decimal(text) for asset, text in (texts or {}).items()}


def _above_zero(section: dict, name: str) -> float | None:
    value = section.get(name)
    if value is None:
        return None
    if not float(value) > 0:
        raise BootError(f"{name} must be > 0, was {value}")
    return float(value)
