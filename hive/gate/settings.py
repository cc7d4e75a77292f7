"""What the gate is told at boot, checked once."""

from dataclasses import dataclass, field
from pathlib import Path

from hive.gate.errors import BootError

MAX_ORDER_AGE_S = 30.0
REQUEST_TIMEOUT_S = 5.0
RECV_WINDOW_MS = 5000
FEED_SHARE = 0.4
POLICIES = ("cancel", "keep")


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


@dataclass(frozen=True, slots=True)
class OwnerSettings:
    """One strategy: whose orders carry its tag, and how many of them a second it may place (None: no own limit)."""

    id: str
    tag: str
    worker: int
    orders_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class GateSettings:
    """The gate's boot message.

    replays: names of the venues that are played from a recording, by index; they take no orders, and their accounts
    have nothing of all `assets` that strategies name. stale_after_ms: age of the feed's heartbeat from which on its
    books allow no order; None: orders go whatever the feed does.
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
    max_order_age_s: float
    feed_share: float
    on_supervisor_death: str
    on_worker_death: str
    stale_after_ms: float | None = None

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
                strategies=tuple(_owner(entry) for entry in boot["strategies"]),
                orders_per_second=_above_zero(rates, "global_orders_per_second"),
                orders_per_second_each=each,
                max_order_age_s=float(rates.get("max_order_age_s") or MAX_ORDER_AGE_S),
                feed_share=float(rates.get("feed_share") or FEED_SHARE),
                on_supervisor_death=boot.get("on_supervisor_death", "cancel"),
                on_worker_death=boot.get("on_worker_death", "cancel"),
                stale_after_ms=_above_zero(boot, "stale_after_ms"),
            )
        except KeyError as error:
            raise BootError(f"the gate's boot message lacks {error}") from None
        for name in ("on_supervisor_death", "on_worker_death"):
            if getattr(settings, name) not in POLICIES:
                raise BootError(f"{name} must be cancel or keep, was {getattr(settings, name)!r}")
        return settings


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
    )


def _owner(entry: dict) -> OwnerSettings:
    quota = entry.get("quota") or {}
    return OwnerSettings(entry["id"], entry["tag"], int(entry["worker"]), _above_zero(quota, "max_orders_per_second"))


def _above_zero(section: dict, name: str) -> float | None:
    value = section.get(name)
    if value is None:
        return None
    if not float(value) > 0:
        raise BootError(f"{name} must be > 0, was {value}")
    return float(value)
