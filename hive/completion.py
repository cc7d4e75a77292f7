"""What the shell offers after TAB: fleets, strategies, workers, venues and logs, from the files of running fleets.

    shell ──▶ `hive` with _HIVE_COMPLETE set ──▶ click ──▶ these functions ──▶ fleet.json

Each is a `shell_complete` of click: (context, parameter, what is typed) -> what may stand there. No process is asked,
nothing is written, and where nothing can be read nothing is offered.
"""

import contextlib
from typing import Any

import click
from click.shell_completion import get_completion_class

from hive.cli_errors import Failure
from hive.cli_logs import logs_of, running_fleets, strategies_in
from hive.state import FleetDir, StateError, fleet_names, is_alive, states_dir

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_HIVE_COMPLETE"


def script(command: click.Command, shell: str) -> str:
    """Return what a shell has to run to complete `hive`."""
    return get_completion_class(shell)(command, {}, "hive", VARIABLE).source()


def fleets(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the fleets that run."""
    return _starting(incomplete, (fleet["fleet"] for fleet in _running(None)))


def fleets_with_logs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the fleets that run or have run."""
    kept = {path.parent.name for path in states_dir().glob("*/logs")}
    return _starting(incomplete, kept | running_fleets().keys())


def strategies(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the strategies of the fleet that is named so far, else of all that run."""
    return _starting(incomplete, (one["id"] for fleet in _running(context) for one in fleet["strategies"]))


def fleets_and_strategies(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return both."""
    return fleets(context, parameter, incomplete) + strategies(context, parameter, incomplete)


def workers(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the numbers of the workers, and "new"."""
    found = (one for fleet in _running(context) for one in fleet["processes"] if one["role"] == "worker")
    return _starting(incomplete, ["new", *(str(one["index"]) for one in found)])


def venues(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the venues."""
    return _starting(incomplete, (one["name"] for fleet in _running(context) for one in fleet["venues"]))


def logs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the strategies and processes that have a log."""
    with contextlib.suppress(Failure):
        folder, ids = logs_of(context.params.get("fleet"))
        return _starting(incomplete, {path.stem for path in folder.glob("*.log")} | strategies_in(folder) | ids)
    return []


def _running(context: click.Context | None) -> list[dict[str, Any]]:
    """Return fleet.json of each fleet that runs, or of the one that the command line names."""
    named = None if context is None else context.params.get("fleet") or context.params.get("name")
    found = []
    with contextlib.suppress(StateError):
        for name in fleet_names():
            fleet = FleetDir.of(name).read()
            if fleet is not None and is_alive(fleet) and named in (None, name):
                found.append(fleet)
    return found


def _starting(incomplete: str, words: Any) -> list[str]:
    return sorted({word for word in words if word.startswith(incomplete)})
