"""Where a fleet goes on this machine, and where it is kept what its strategies have cost in earlier runs."""

from pathlib import Path

from hive.cli_errors import CONFIG, Failure
from hive.costs import FILE as COSTS_FILE
from hive.costs import costs_of, read_costs
from hive.fleet import FleetConfig
from hive.handover import UpOptions
from hive.plan import Placement, PlanError, place
from hive.state import states_dir
from hive.topology import read_topology


def placed(fleet: FleetConfig, options: UpOptions) -> Placement:
    """Return where a fleet goes on this machine, by what earlier runs have cost; Failure with code 4: it cannot."""
    try:
        return place(
            fleet.strategies,
            workers=options.workers,
            cpus=read_topology(),
            limit=fleet.runtime.max_strategies_per_container,
            pin=options.pin,
            costs=costs_of(fleet, read_costs(costs_file(fleet))).values,
        )
    except PlanError as error:
        raise Failure(str(error), CONFIG) from None


def costs_file(fleet: FleetConfig) -> Path:
    """Return where it is kept what a fleet's strategies cost."""
    return states_dir() / fleet.name / COSTS_FILE
