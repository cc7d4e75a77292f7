"""The boot messages that the supervisor sends: a fleet and its placement in, dictionaries out. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from hive.fleet import FleetConfig, JournalConfig, ReplayVenue, StrategyConfig, StrategyRisk, Venue
from hive.halts import Halt
from hive.installation import names_in
from hive.plan import DEDICATED, WorkerPlan

HOST = "hummingbot.runtime.host:HummingbotHost"
MB = 1 << 20


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a venue is, and the descriptor of the keys to trade there with; a replay has neither address nor keys."""

    index: int
    name: str
    kind: str
    mode: str
    rest_url: str
    ws_url: str
    ws_api_url: str
    recv_window_ms: int
    key_fd: int | None
    production: bool = False

    def public(self) -> dict[str, Any]:
        """Return what every process may know of the venue."""
        return {name: value for name, value in asdict(self).items() if name != "key_fd"}


@dataclass(frozen=True, slots=True)
class Run:
    """What all processes of a run share."""

    run: str
    fleet: FleetConfig
    run_dir: Path
    state_dir: Path
    supervisor_pid: int
    host: str = HOST
    log_level: str = "INFO"
    without_logs: bool = False

    def log_file(self, role: str, index: int = 0) -> Path:
        """Return the log file of a process."""
        return self.state_dir / "logs" / (f"worker{index}.log" if role == "worker" else f"{role}.log")

    def common(self, role: str, epoch: int, index: int = 0) -> dict[str, Any]:
        """Return what every boot message has."""
        return {
            "type": "boot",
            "run": self.run,
            "fleet": self.fleet.name,
            "fleet_id": self.fleet.fleet_id,
            "epoch": epoch,
            "run_dir": str(self.run_dir),
            "log_file": None if self.without_logs else str(self.log_file(role, index)),  # None: stderr
            "log_level": self.log_level,
            "supervisor_pid": self.supervisor_pid,
            "profiling": self.fleet.monitoring.enable_profiling,
        }


def feed_boot(run: Run, epoch: int, endpoints: list[Endpoint]) -> dict[str, Any]:
    """Return the feed's boot message."""
    feed = run.fleet.feed
    follow = {
        "max_connections": run.fleet.multiplexer.max_connections_per_exchange,
        "depths": dict(feed.depths),
        "audit_interval_s": feed.audit_interval_s,
        "rules_interval_s": feed.rules_interval_s,
        "linger_s": feed.linger_s,
        "feed_share": run.fleet.rate_limiting.feed_share,
        "pairs": sorted({pair for one in run.fleet.strategies for pair in one.pairs}),
    }
    return {
        **run.common("feed", epoch),
        "stale_after_ms": run.fleet.on_stale.stale_after_ms,
        "depth": feed.depth,
        "versions": feed.versions,
        "capacity": feed.instruments,
        "trades_capacity": feed.trades,
        "candles": feed.candles,
        "lock_memory": feed.lock_memory,
        "huge_pages": feed.huge_pages,
        "venues": [{**one.public(), **follow, **_source(run.fleet.venues[one.index])} for one in endpoints],
    }


def _source(venue: Venue) -> dict[str, Any]:
    """Return where the feed writes a venue's raw data to, or what it plays instead of the venue."""
    if isinstance(venue, ReplayVenue):
        return {"file": str(venue.file), "speed": venue.speed}
    return {"record": str(venue.record) if venue.record is not None else ""}


def gate_boot(
    run: Run,
    epoch: int,
    endpoints: list[Endpoint],
    workers: tuple[WorkerPlan, ...],
    halts: Iterable[Halt] = (),
    living: Mapping[int, int] | None = None,
    lives: Mapping[str, int] | None = None,
    kept: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Return the gate's boot message; the venues' keys go with it as descriptors, in the same order.

    Args:
        halts: what is in force.
        living: the epoch of each worker that lives; open orders of the others are judged by `on_crash`.
        lives: the number of each strategy's life, by its id.
        kept: the life whose open orders rest for the next one, by the ids of strategies that are between two.
    """
    fleet = run.fleet
    numbers, rest = lives or {}, kept or {}
    strategies = [
        {**owner_entry(one, worker.index, numbers.get(one.id)), "kept": rest.get(one.id)}
        for worker in workers
        for one in worker.strategies
    ]
    return {
        **run.common("gate", epoch),
        "state_dir": str(run.state_dir),
        "journal": _journal(fleet.journal),
        "venues": [{**one.public(), **_account(fleet.venues[one.index])} for one in endpoints],
        "strategies": strategies,
        "assets": sorted({asset for one in fleet.strategies for pair in one.pairs for asset in pair.split("-")})
        or ["USDT"],
        "risk": _texts(fleet.risk),
        "rate_limiting": asdict(fleet.rate_limiting),
        "adaptive": fleet.rate_limiting.adaptive_throttling,
        "queue_per_strategy": fleet.rate_limiting.queue_per_strategy,
        "stale_after_ms": fleet.on_stale.stale_after_ms,
        "on_supervisor_death": fleet.on_crash,
        "on_worker_death": fleet.on_crash,
        "on_unknown_orders": fleet.on_unknown_orders,
        "halts": [one.scope() for one in halts],
        "living": {str(index): epoch for index, epoch in (living or {}).items()},
    }


def owner_entry(one: StrategyConfig, worker: int, life: int | None = None) -> dict[str, Any]:
    """Return what the gate is told of a strategy."""
    return {
        "id": one.id,
        "tag": one.tag,
        "worker": worker,
        "life": life,
        "quota": asdict(one.quota),
        "risk": _texts(one.risk),
        "capital": _amounts(one.capital),
        "capital_venue": one.capital_venue,
    }


def recorder_boot(run: Run, epoch: int, endpoints: list[Endpoint]) -> dict[str, Any]:
    """Return the recorder's boot message."""
    venues = [one.public() for one in endpoints]
    return {**run.common("recorder", epoch), "state_dir": str(run.state_dir), "venues": venues}


def _account(venue: Venue) -> dict[str, Any]:
    return {} if isinstance(venue, ReplayVenue) else {"risk": _texts(venue.risk)}


def _journal(journal: JournalConfig) -> dict[str, Any]:
    return {
        "policy": journal.policy,
        "interval_s": journal.interval_ms / 1e3,
        "file_bytes": round(journal.file_mb * MB),
        "keep_bytes": round(journal.keep_mb * MB),
    }


def _texts(risk: StrategyRisk) -> dict[str, Any]:
    """Return limits with every amount as a text, so that none passes through a float."""
    return {name: _text(value) for name, value in asdict(risk).items()}


def _text(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _amounts(value)
    return f"{value:f}" if isinstance(value, Decimal) else value


def _amounts(amounts: Mapping[str, Decimal]) -> dict[str, str]:
    return {asset: f"{amount:f}" for asset, amount in amounts.items()}


def server_boot(run: Run, epoch: int) -> dict[str, Any]:
    """Return the worker server's boot message."""
    fleet = run.fleet
    kinds = sorted({(one.kind, one.name, str(one.root or fleet.root), _controllers(one)) for one in fleet.strategies})
    config = {
        "fleet": fleet.name,
        "root": str(fleet.root),
        "data": str(run.state_dir / "data"),
        "venues": [venue.name for venue in fleet.venues],
        "strategies": [
            {"kind": kind, "name": name, "root": root, "controllers": list(controllers)}
            for kind, name, root, controllers in kinds
        ],
    }
    return {**run.common("server", epoch), "host": run.host, "host_config": config}


def _controllers(one: StrategyConfig) -> tuple[str, ...]:
    """Return the files of a script's controllers."""
    return tuple(names_in(one.config.get("controllers_config"))) if one.kind == "script" else ()


def worker_boot(
    run: Run,
    epoch: int,
    worker: WorkerPlan,
    endpoints: list[Endpoint],
    numbers: Mapping[str, int] | None = None,
    held: Mapping[str, str] | None = None,
    *,
    quarantine: bool = False,
) -> dict[str, Any]:
    """Return a worker's boot message.

    Args:
        numbers: of the strategies, by id; None: their places in the fleet.
        held: why strategies are paused, by id.
        quarantine: whether the worker is one strategy's that misbehaved.
    """
    fleet = run.fleet
    if numbers is None:
        numbers = {one.id: index for index, one in enumerate(fleet.strategies)}
    return {
        **run.common("worker", epoch, worker.index),
        "index": worker.index,
        "cpu": worker.cpu,
        "quarantine": quarantine,
        "tick_interval_ms": fleet.runtime.tick_interval_ms,
        "scheduler": fleet.runtime.scheduler_algorithm,
        "stale_after_ms": fleet.on_stale.stale_after_ms,
        "cancel_after_ms": fleet.on_stale.cancel_after_ms,
        "interrupt_after_ms": fleet.runtime.interrupt_after_ms,
        "loop_share": fleet.runtime.loop_share,
        "memory_mb": fleet.runtime.worker_memory_mb,
        "log_lines_per_s": fleet.runtime.log_lines_per_s,
        "orders_waiting": 2 * fleet.rate_limiting.queue_per_strategy,  # the gate's queue, and as many on their way
        "strategy_logs": {
            "folder": str(run.state_dir / "logs" / "strategies"),
            "max_bytes": round(fleet.logs.max_mb * MB),
            "keep": fleet.logs.keep,
        },
        "venues": [one.public() for one in endpoints],
        "strategies": [
            strategy_spec(one, numbers[one.id], (held or {}).get(one.id, "")) for one in worker.strategies
        ],
    }


def strategy_spec(one: StrategyConfig, index: int, held: str = "") -> dict[str, Any]:
    """Return what a worker is told of a strategy; `held`: why it is not to be ticked at first."""
    return {
        **({"paused": held} if held else {}),
        "id": one.id,
        "tag": one.tag,
        "index": index,
        "kind": one.kind,
        "name": one.name,
        "config": dict(one.config),
        "config_file": one.config_file,
        "priority": one.priority,
        "tick_interval_ms": one.tick_interval_ms,
        "tick_on_book_ms": one.tick_on_book_ms,
        "pairs": list(one.pairs),
        "root": None if one.root is None else str(one.root),
        "capital": bool(one.capital),
        "dedicated": one.worker == DEDICATED,
    }
