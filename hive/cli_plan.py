"""`hive plan`: what a fleet will take of this machine and of its venues, before anything starts."""

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from hive import descriptors, memory
from hive.cli_errors import ERROR, OK, Failure
from hive.cli_up import loaded
from hive.costs import FILE as COSTS_FILE
from hive.costs import Costs, costs_of, measured, read_costs, write_costs
from hive.fleet import FleetConfig, SimVenue
from hive.handover import UpOptions
from hive.needs import Machine, Needs, as_json, needs_of
from hive.placing import costs_file, placed
from hive.plan import Placement, shm_parts
from hive.plan_view import draw_plan
from hive.shm.segment import free_bytes
from hive.state import FleetDir
from hive.top_sample import Sampler
from hive.topology import read_topology

WIDTH = 80  # in a pipe


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """The options of `hive plan`. `measure`: write down first what the running fleet's strategies cost."""

    up: UpOptions
    as_json: bool = False
    measure: bool = False


def plan(options: PlanOptions) -> int:
    """Print the plan; return 1 when the fleet will not fit.

    Raises:
        Failure: the configuration is wrong (4); there is nothing to measure (1).
    """
    fleet = loaded(options.up)
    if options.measure:
        measure(fleet)
    placement = placed(fleet, options.up)
    costs = costs_of(fleet, read_costs(costs_file(fleet)))
    figures = memory.read_figures()
    topology = read_topology()
    machine = Machine(topology.power, memory.available(), free_bytes(), descriptors.allowed())
    sims = sum(isinstance(venue, SimVenue) for venue in fleet.venues)
    sizes = [len(worker.strategies) for worker in placement.workers]
    needs = needs_of(
        fleet,
        placement,
        costs,
        memory.needed(figures, sizes, sims) if figures is not None else {},
        shm_parts(fleet.feed, len(fleet.venues), len(placement.workers), len(fleet.strategies)),
        machine,
    )
    if options.as_json:
        click.echo(json.dumps(document(fleet, placement, costs, needs, machine), indent=1))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH
        sources = figures.sources if figures is not None else ()
        for line in draw_plan(fleet, placement, costs, needs, machine, sources, max(40, width)):
            click.echo(line)
    return ERROR if needs.problems else OK


def measure(fleet: FleetConfig) -> None:
    """Write down what the strategies of the running fleet have cost so far. Raises Failure when it says nothing."""
    sampler = Sampler(FleetDir.of(fleet.name))
    try:
        sample = sampler.sample()
    finally:
        sampler.close()
    if sample is None or not sample.alive:
        raise Failure(f"--measure: fleet {fleet.name} does not run")
    found = measured(sample, fleet)
    if not found:
        raise Failure(f"--measure: fleet {fleet.name} has not run for a minute yet, or none of its strategies runs")
    write_costs(Path(sample.fleet["state_dir"]) / COSTS_FILE, found, fleet)


def document(
    fleet: FleetConfig, placement: Placement, costs: Costs, needs: Needs, machine: Machine
) -> dict[str, Any]:
    """Return the plan as plain values."""
    return {
        "fleet": fleet.name,
        "fits": not needs.problems,
        "placement": {
            "feed_cpus": list(placement.feed_cpus),
            "gate_cpus": list(placement.gate_cpus),
            "remarks": list(placement.remarks),
            "workers": [
                {
                    "index": worker.index,
                    "cpu": worker.cpu,
                    "cost": worker.cost,
                    "dedicated": worker.dedicated,
                    "strategies": [one.id for one in worker.strategies],
                }
                for worker in placement.workers
            ],
        },
        "costs": {
            "unit": "cpus" if costs.in_cpus else "weight",
            "strategies": {key: {"cost": cost, "from": costs.sources[key]} for key, cost in costs.values.items()},
        },
        "machine": {
            "cpus": machine.cpus,
            "memory_bytes": machine.memory,
            "shm_bytes": machine.shm,
            "open_files": machine.files,
        },
        **as_json(needs),
    }
