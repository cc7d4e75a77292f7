"""What each strategy costs, as an earlier run of the fleet measured it, in `costs.json` of the fleet's state folder.

    a run's counters ──▶ measured() ──▶ costs.json ──▶ costs_of() at the next start ──▶ plan.place()

A cost is a share of one CPU: CPU seconds per second. Where nothing was measured it is the strategy's `weight`, times
the median of what the measured ones cost for each unit of theirs; where nothing at all was measured it is the bare
weight.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from hive.fleet import FleetConfig, StrategyConfig
from hive.top_sample import Sample

FILE = "costs.json"
SCHEMA = 1
SHORTEST_S = 60.0  # what a shorter run spends is mostly starting
MEASURED, ESTIMATED, WEIGHT = "measured", "estimated", "weight"


@dataclass(frozen=True, slots=True)
class Measured:
    """What one strategy was seen to cost: a share of one CPU, over so many seconds, as this kind at this interval."""

    share: float
    seconds: float
    kind: str
    name: str
    tick_interval_ms: int | None


@dataclass(frozen=True, slots=True)
class Costs:
    """What each strategy costs, by its id, and where that figure is from.

    `in_cpus`: the figures are shares of one CPU; else they are weights, which only compare strategies.
    """

    values: Mapping[str, float]
    sources: Mapping[str, str]
    in_cpus: bool


def costs_of(fleet: FleetConfig, known: Mapping[str, Measured]) -> Costs:
    """Return what the strategies of a fleet cost; what was measured of another kind or interval does not count."""
    shares = {
        one.id: known[one.id].share
        for one in fleet.strategies
        if one.id in known and _is_of(known[one.id], one, fleet.runtime.tick_interval_ms)
    }
    weights = {one.id: one.weight for one in fleet.strategies}
    if not shares:
        return Costs(weights, dict.fromkeys(weights, WEIGHT), in_cpus=False)
    unit = median(share / weights[key] for key, share in shares.items())
    values = {key: shares.get(key, weight * unit) for key, weight in weights.items()}
    return Costs(values, {key: MEASURED if key in shares else ESTIMATED for key in weights}, in_cpus=True)


def unchanged(began: FleetConfig, now: FleetConfig) -> FleetConfig:
    """Return the fleet with those strategies alone that were there from the beginning as they are now."""
    before = {one.id: one for one in began.strategies}
    return replace(now, strategies=tuple(one for one in now.strategies if before.get(one.id) == one))


def measured(sample: Sample, fleet: FleetConfig) -> dict[str, Measured]:
    """Return what a run has measured so far: of each strategy that runs, over the whole run, unless that was short.

    To its own CPU time comes an equal part of what its worker spent besides: on books, orders and its loop.
    """
    seconds = (sample.wall_ns - sample.fleet["started_wall_ns"]) / 1e9
    if seconds < SHORTEST_S:
        return {}
    own_ns = {one["id"]: _own_ns(sample, one["id"]) for one in sample.fleet["strategies"]}
    besides_ns = _besides_ns(sample, own_ns)
    running = {one["id"]: one["worker"] for one in sample.fleet["strategies"] if one["state"] == "running"}
    found = {}
    for one in fleet.strategies:
        if one.id in running and own_ns[one.id] > 0:
            share = (own_ns[one.id] + besides_ns.get(running[one.id], 0.0)) / 1e9 / seconds
            interval = one.tick_interval_ms or fleet.runtime.tick_interval_ms
            found[one.id] = Measured(share, round(seconds, 1), one.kind, one.name, interval)
    return found


def _own_ns(sample: Sample, strategy: str) -> int:
    """Return the CPU time of a strategy; that of its ticks where nothing else was counted."""
    worker = sample.counters["worker"]
    ticks = worker.histogram("tick_duration_ns", strategy=strategy)
    return worker.value("strategy_cpu_ns", strategy=strategy) or ticks.sum


def _besides_ns(sample: Sample, own_ns: Mapping[str, int]) -> dict[int, float]:
    """Return for each worker what it spent on none of its strategies, divided by their number."""
    spent: dict[int, list[int]] = {}
    for one in sample.fleet["strategies"]:
        spent.setdefault(one["worker"], []).append(own_ns[one["id"]])
    cpu_ns = {index: facts.cpu_ns for (role, index), facts in sample.facts.items() if role == "worker"}
    return {index: max(0, cpu_ns[index] - sum(own)) / len(own) for index, own in spent.items() if index in cpu_ns}


def read_costs(path: Path) -> dict[str, Measured]:
    """Return what the file says, {} when there is none or it is none of this version's."""
    try:
        document = json.loads(path.read_bytes())
        if document["schema"] != SCHEMA:
            return {}
        found = {key: Measured(**one) for key, one in document["strategies"].items()}
        return {key: one for key, one in found.items() if one.share > 0}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def write_costs(path: Path, fresh: Mapping[str, Measured], fleet: FleetConfig) -> None:
    """Replace the file; what it says of the fleet's other strategies stays."""
    ids = {one.id for one in fleet.strategies}
    kept = {key: one for key, one in read_costs(path).items() if key in ids}
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "strategies": {key: asdict(one) for key, one in sorted((kept | dict(fresh)).items())},
    }
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.write_text(json.dumps(document, indent=1) + "\n")
    new.rename(path)


def _is_of(one: Measured, strategy: StrategyConfig, interval_ms: int) -> bool:
    interval = strategy.tick_interval_ms or interval_ms
    return (one.kind, one.name, one.tick_interval_ms) == (strategy.kind, strategy.name, interval)
