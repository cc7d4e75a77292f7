"""`hive logs`: the logs of a fleet, of one process or of one strategy; also of a fleet that has ended.

    <state>/logs/feed.log, gate.log, worker0.log, ...     a process
    <state>/logs/strategies/ID.log                        a strategy; without that folder its lines in the workers' logs
"""

import contextlib
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from hive.cli_errors import ERROR, NOT_FOUND, Failure
from hive.logs import LogFile, Record, in_order
from hive.state import FleetDir, StateError, fleet_names, is_alive, states_dir

POLL_S = 0.2
STRATEGIES = "strategies"  # the folder of their logs

# as a worker writes them: date, time, level, pid, strategy
_STRATEGY = re.compile(r"\S+ \S+ +\w+ +\d+ (\S+) ")


@dataclass(frozen=True, slots=True)
class LogsOptions:
    """The options of `hive logs`. `what`: the id of a strategy, or a process as "gate", "worker" or "worker0"."""

    what: str | None = None
    fleet: str | None = None
    follow: bool = False
    lines: int = 50


def logs(options: LogsOptions) -> None:
    """Print the last lines, and with `follow` what comes, until ctrl-C.

    Raises:
        Failure: 2 there is no such fleet, strategy or process; 1 the fleet must be named.
    """
    folder, ids = logs_of(options.fleet)
    reader = Reader(partial(choose, folder, ids, options.what))
    try:
        show(reader.last(options.lines))
        while options.follow:
            time.sleep(POLL_S)
            show(reader.more())
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        reader.close()


class Reader:
    """The log files that are wanted, those that appear later too.

    Args:
        choose: returns them by name; asked again and again.
    """

    def __init__(self, choose: Callable[[], dict[str, LogFile]]) -> None:
        self._choose = choose
        self._files = choose()

    def close(self) -> None:
        """Close all files."""
        for file in self._files.values():
            file.close()

    def last(self, count: int) -> list[str]:
        """Return the last lines."""
        if count == 0:
            for file in self._files.values():
                file.last(1)
            return []
        return self._lines(in_order([file.last(count) for file in self._files.values()]))[-count:]

    def more(self) -> list[str]:
        """Return the lines that were written since."""
        with contextlib.suppress(Failure):  # between two runs there may be none for a moment
            for name, file in self._choose().items():
                self._files.setdefault(name, file)
        return self._lines(in_order([file.more() for file in self._files.values()]))

    def _lines(self, records: list[Record]) -> list[str]:
        if len(self._files) == 1:
            return [line for record in records for line in record.lines]
        width = max((len(name) for name in self._files), default=0)
        return [f"{record.name:<{width}} | {line}" for record in records for line in record.lines]


def choose(folder: Path, ids: frozenset[str], what: str | None) -> dict[str, LogFile]:
    """Return the log files that an argument means, by name: none and a process first, then a strategy.

    Args:
        folder: of the logs.
        ids: the strategies that the running fleet has.
        what: as in LogsOptions.

    Raises:
        Failure: it is neither a process nor a strategy; names those that are.
    """
    processes = {path.stem: path for path in sorted(folder.glob("*.log"))}
    chosen = {name: path for name, path in processes.items() if what in (None, name, name.rstrip("0123456789"))}
    if chosen or what is None:
        return {name: LogFile(path, name) for name, path in chosen.items()}
    known = strategies_in(folder) | ids
    if what not in known:
        named = f"; strategies: {', '.join(sorted(known)) or 'none'}; processes: {', '.join(processes) or 'none'}"
        raise Failure(f"there is no log of a strategy or process {what}{named}", NOT_FOUND)
    if (folder / STRATEGIES).is_dir():
        return {what: LogFile(folder / STRATEGIES / f"{what}.log", what)}
    workers = {name: path for name, path in processes.items() if name.startswith("worker")}
    return {name: LogFile(path, name, partial(_is_of, what)) for name, path in workers.items()}


def strategies_in(folder: Path) -> set[str]:
    """Return the ids of the strategies that have a log."""
    return {path.stem for path in (folder / STRATEGIES).glob("*.log")}


def logs_of(name: str | None) -> tuple[Path, frozenset[str]]:
    """Return a fleet's folder of logs, and the ids of its strategies while it runs.

    The named fleet; else the only one that runs; else the only one that left logs.
    """
    running = running_fleets()
    kept = {path.parent.name: path for path in sorted(states_dir().glob("*/logs"))}
    if name is None:
        candidates = sorted(running) or sorted(kept)
        if not candidates:
            raise Failure("there are no logs: no fleet has run yet", NOT_FOUND)
        if len(candidates) > 1:
            how = "are running" if running else "left logs, none is running"
            raise Failure(f"several fleets {how}, choose with --fleet: {', '.join(candidates)}", ERROR)
        name = candidates[0]
    if name in running:
        return running[name]
    if name in kept:
        return kept[name], frozenset()
    known = ", ".join(sorted({*kept, *running})) or "none"
    raise Failure(f"there are no logs of a fleet {name}; there are of: {known}", NOT_FOUND)


def running_fleets() -> dict[str, tuple[Path, frozenset[str]]]:
    """Return the folder of logs, and the ids, of each fleet that runs."""
    found = {}
    with contextlib.suppress(StateError):
        for name in fleet_names():
            fleet = FleetDir.of(name).read()
            if fleet is not None and is_alive(fleet):
                found[name] = (Path(fleet["state_dir"]) / "logs", frozenset(one["id"] for one in fleet["strategies"]))
    return found


def show(lines: list[str]) -> None:
    """Print lines and hand them on at once."""
    if lines:
        click.echo("\n".join(lines))


def _is_of(strategy: str, line: str) -> bool:
    match = _STRATEGY.match(line)
    return match is not None and match[1] == strategy
