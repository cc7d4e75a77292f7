"""What a fleet's processes take of memory, reckoned from measurements that are committed in perf/results.

    end_to_end.json   each process's PSS and RSS; workers share the pages that they were forked with
    fleet.json        goal fleet.marginal_kb: one strategy more; without it a worker's own pages by its strategies

    PSS = own + shared / workers, RSS = own + shared    ->    shared = (RSS - PSS) x workers / (workers - 1)
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hive import cgroup

RESULTS = Path(__file__).resolve().parents[1] / "perf" / "results"
SINGLE = "end_to_end.json"
MANY = "fleet.json"
MB = 1e6


@dataclass(frozen=True, slots=True)
class MemoryFigures:
    """Bytes that each process kind was seen to take.

    singles: of each process that there is one of, by role. shared: what all workers have in common. worker: one
    worker's own with `strategies` strategies. strategy: one strategy more. sources: where the figures are.
    """

    singles: Mapping[str, float]
    shared: float
    worker: float
    strategies: int
    strategy: float
    sources: tuple[str, ...]

    def of_worker(self, strategies: int) -> float:
        """Return what a worker with so many strategies takes for itself, at most."""
        return self.worker + max(0, strategies - self.strategies) * self.strategy


def read_figures(folder: Path = RESULTS) -> MemoryFigures | None:
    """Return the figures of committed results, None where there are none (an installation without perf/)."""
    try:
        report = json.loads((folder / SINGLE).read_bytes())["details"]["report"]
    except (OSError, ValueError, KeyError):
        return None
    processes = report["processes"]
    workers = [one for one in processes if one["role"] == "worker"]
    if len(workers) < 2:
        return None
    pss, rss = (sum(one[key] for one in workers) / len(workers) * MB for key in ("pss_mb", "rss_mb"))
    shared = (rss - pss) * len(workers) / (len(workers) - 1)
    strategies = max(1, round(len(report["strategies"]) / len(workers)))
    marginal = _marginal(folder)
    return MemoryFigures(
        singles={one["role"]: one["pss_mb"] * MB for one in processes if one["role"] != "worker"},
        shared=shared,
        worker=rss - shared,
        strategies=strategies,
        strategy=marginal if marginal is not None else (rss - shared) / strategies,
        sources=_sources(marginal is not None),
    )


def needed(figures: MemoryFigures, strategies: Sequence[int], sims: int) -> dict[str, float]:
    """Return the bytes that a fleet's processes need, by kind.

    Args:
        strategies: how many each worker has.
        sims: how many simulated exchanges start with it.
    """
    parts = {role: size for role, size in figures.singles.items() if role != "sim"}
    parts["workers (shared)"] = figures.shared
    parts["workers (own)"] = sum(figures.of_worker(count) for count in strategies)
    if sims:
        parts["sim"] = sims * figures.singles.get("sim", 0.0)
    return parts


def available(root: Path = Path("/")) -> int | None:
    """Return how many bytes the machine and the cgroup leave, None when neither says so."""
    left = [cgroup.memory_left(root), _machine(root)]
    return min((one for one in left if one is not None), default=None)


def _machine(root: Path) -> int | None:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [line.split() for line in lines if line.startswith("MemAvailable:")]
    return int(found[0][1]) * 1024 if found else None


def _sources(all_measured: bool) -> tuple[str, ...]:
    if all_measured:
        return f"perf/results/{SINGLE}", f"perf/results/{MANY}"
    return (f"perf/results/{SINGLE} (what one strategy more takes: at most)",)


def _marginal(folder: Path) -> float | None:
    """Return what a strategy more was measured to take, None when that was not measured."""
    try:
        goals: list[dict[str, Any]] = json.loads((folder / MANY).read_bytes())["goals"]
    except (OSError, ValueError, KeyError):
        return None
    found = [goal["measured"] for goal in goals if goal["name"] == "fleet.marginal_kb"]
    return found[0] * 1e3 if found and found[0] is not None else None
