"""The commands that change a running fleet: add, remove, restart, pause, resume ID, move, apply."""

from pathlib import Path
from typing import Any

import click

from hive.cli_ask import find_fleet
from hive.cli_errors import ERROR, Failure
from hive.control import ControlError, ask
from hive.state import FleetDir, fleet_names

ONE_WITHIN_S = 150.0  # a stop, a start, and a gate that is started again in between
ALL_WITHIN_S = 3600.0
WORKER_DIGITS = 9  # a longer number is no worker's


def add(strategy: str, fleet: str | None, file: Path | None) -> None:
    """Start a strategy that the fleet file has and the fleet has not."""
    request = {"command": "add", "strategy": strategy, "file": None if file is None else str(file.absolute())}
    _say_where(strategy, _asked(find_fleet(fleet), request))


def remove(strategy: str, fleet: str | None) -> None:
    """End a strategy; its orders are cancelled."""
    folder = find_fleet(fleet)
    answer = _asked(folder, {"command": "remove", "strategy": strategy})
    left = f"; the gate cancels {answer['orders']} orders of it" if answer["orders"] else ""
    click.echo(f"fleet {folder.name}: strategy {strategy} is removed{left}")


def restart(strategy: str, fleet: str | None, orders: str | None) -> None:
    """End a strategy and start it anew."""
    _say_where(strategy, _asked(find_fleet(fleet), {"command": "restart", "strategy": strategy, "orders": orders}))


def move(strategy: str, worker: str, fleet: str | None, orders: str | None) -> None:
    """End a strategy and start it anew on another worker."""
    where = int(worker) if worker.isdecimal() and len(worker) <= WORKER_DIGITS else worker
    request = {"command": "move", "strategy": strategy, "worker": where, "orders": orders}
    _say_where(strategy, _asked(find_fleet(fleet), request))


def pause(strategy: str, fleet: str | None, reason: str | None) -> None:
    """Tick a strategy no more."""
    _say_where(strategy, _asked(find_fleet(fleet), {"command": "pause", "strategy": strategy, "reason": reason}))


def unpause(strategy: str, fleet: str | None) -> None:
    """Tick a paused strategy again."""
    _say_where(strategy, _asked(find_fleet(fleet), {"command": "unpause", "strategy": strategy}))


def apply(file: Path, fleet: str | None, dry_run: bool) -> None:
    """Make a running fleet what its file says; with `dry_run` only say how. Raises Failure when a step failed."""
    folder = find_fleet(fleet)
    request = {"command": "apply", "file": str(file.absolute()), "dry_run": dry_run}
    answer = _asked(folder, request, ALL_WITHIN_S)
    for line in answer["steps"]:
        click.echo(line)
    if not answer["steps"]:
        click.echo(f"fleet {folder.name} is as {file} says")
    if answer["failed"]:
        raise Failure("\n".join(f"error: {line}" for line in answer["failed"]), ERROR)


def meant(word: str | None, fleet: str | None) -> tuple[str | None, str | None]:
    """Return (fleet, strategy) that the word after `hive resume` means: a fleet's name, or a strategy of the fleet.

    Raises:
        Failure: it is both.
    """
    if word is None:
        return fleet, None
    is_fleet = fleet is None and word in fleet_names()
    is_strategy = not is_fleet or _has(word)
    if is_fleet and is_strategy:
        raise Failure(f"{word} is a fleet and a strategy: say --fleet {word}, or {word} --fleet NAME for the strategy")
    return (word, None) if is_fleet else (fleet, word)


def _has(strategy: str) -> bool:
    running = [found for name in fleet_names() if (found := FleetDir.of(name).read()) is not None]
    return any(one["id"] == strategy for found in running for one in found["strategies"])


def _say_where(strategy: str, answer: dict[str, Any]) -> None:
    where = f" on worker {answer['worker']}" if answer["worker"] is not None else ""
    text = f": {answer['message']}" if answer["message"] else ""
    click.echo(f"strategy {strategy} is {answer['state']}{where}{text}")


def _asked(folder: FleetDir, request: dict[str, Any], timeout_s: float = ONE_WITHIN_S) -> dict[str, Any]:
    try:
        return ask(folder.control, {key: value for key, value in request.items() if value is not None}, timeout_s)
    except ControlError as error:
        raise Failure(str(error), error.code) from None
