"""The boot messages of the worker server and of a worker, read into frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hive.workers.clock import ORDERS
from hive.workers.errors import BootError
from hive.workers.host import StrategySpec

ASLEEP_AFTER_S = 20.0  # without a spawn; a fleet's start and the restart of several workers are well within it


@dataclass(frozen=True, slots=True)
class ServerBoot:
    """What the worker server is told."""

    host: str
    host_config: Mapping[str, Any]
    log_file: str | None = None
    log_level: str = "INFO"
    asleep_after_s: float = ASLEEP_AFTER_S

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "ServerBoot":
        """Return the values of a boot message; raises BootError naming what is wrong."""
        return cls(
            host=_get(raw, "host", str),
            host_config=raw.get("host_config") or {},
            log_file=raw.get("log_file"),
            log_level=raw.get("log_level") or "INFO",
            asleep_after_s=float(raw.get("asleep_after_s") or ASLEEP_AFTER_S),
        )


@dataclass(frozen=True, slots=True)
class WorkerBoot:
    """What a worker is told."""

    run: str
    fleet_id: str
    index: int
    epoch: int
    run_dir: str
    strategies: tuple[StrategySpec, ...]
    venues: tuple[Mapping[str, Any], ...]
    tick_interval_ns: int = 100_000_000
    scheduler: str = "round_robin"
    stale_after_ms: float = 80
    cancel_after_ms: float | None = 1000
    cpu: int | None = None
    quarantine: bool = False
    slow_callback_ms: float = 250
    log_file: str | None = None
    log_level: str = "INFO"
    interrupt_after_ms: float | None = None
    loop_share: float | None = None
    memory_mb: float | None = None
    log_lines_per_s: float | None = None
    orders_waiting: int | None = None
    strategy_logs: Mapping[str, Any] | None = None  # folder, max_bytes, keep; None: no files of strategies' own
    host_config: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "WorkerBoot":
        """Return the values of a boot message; raises BootError naming what is wrong."""
        interval_ms = raw.get("tick_interval_ms", 100)
        if not isinstance(interval_ms, int | float) or interval_ms <= 0:
            raise BootError(f"boot: tick_interval_ms must be positive, was {interval_ms}")
        scheduler = raw.get("scheduler") or "round_robin"
        if scheduler not in ORDERS:
            raise BootError(f"boot: scheduler must be one of {', '.join(ORDERS)}, was {scheduler}")
        specs = tuple(StrategySpec.from_dict(one) for one in raw.get("strategies", ()))
        for key in ("id", "tag", "index"):
            values = [getattr(spec, key) for spec in specs]
            if len(set(values)) != len(values):
                raise BootError(f"boot: strategies: every {key} must be there once, was {values}")
        options = {
            key: raw[key]
            for key in (
                "stale_after_ms",
                "cancel_after_ms",
                "cpu",
                "quarantine",
                "slow_callback_ms",
                "log_file",
                "log_level",
                "strategy_logs",
                "interrupt_after_ms",
                "loop_share",
                "memory_mb",
                "log_lines_per_s",
                "orders_waiting",
            )
            if key in raw
        }
        return cls(
            run=_get(raw, "run", str),
            fleet_id=_get(raw, "fleet_id", str),
            index=_get(raw, "index", int),
            epoch=_get(raw, "epoch", int),
            run_dir=_get(raw, "run_dir", str),
            strategies=specs,
            venues=tuple(raw.get("venues", ())),
            tick_interval_ns=round(interval_ms * 1e6),
            scheduler=scheduler,
            host_config=raw.get("host_config") or {},
            **options,
        )

    def venue_index(self, venue: int | str) -> int:
        """Return the index of a venue that a message names by index or name; raises KeyError when there is none."""
        for one in self.venues:
            if venue == one["index"] or venue == one["name"]:
                return int(one["index"])
        raise KeyError(venue)

    def venue_name(self, index: int) -> str:
        """Return the name of the venue of that index; raises KeyError when there is none."""
        for one in self.venues:
            if one["index"] == index:
                return one["name"]
        raise KeyError(index)


def _get(raw: Mapping[str, Any], key: str, kind: type) -> Any:
    if not isinstance(raw.get(key), kind):
        raise BootError(f"boot: {key} must be {kind.__name__}, was {raw.get(key)!r}")
    return raw[key]
