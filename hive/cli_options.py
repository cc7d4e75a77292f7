"""Options that several commands of `hive` have, and the kind of number that seconds are."""

import math
from pathlib import Path
from typing import Any

import click

from hive import completion

SECONDS_MAX = 366 * 86_400  # beyond some years what waits for it overflows


class Seconds(click.FloatRange):
    """A number of seconds within bounds; at most a year. `nan` passes every bound, so it is refused by itself."""

    def __init__(self, min: float, max: float = SECONDS_MAX, *, min_open: bool = False) -> None:
        super().__init__(min, max, min_open=min_open)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds = float(super().convert(value, param, ctx))
        if not math.isfinite(seconds):
            self.fail(f"must be a finite number of seconds, was {seconds}", param, ctx)
        return seconds


FILE = click.Path(exists=False, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)
ROOT = click.option(
    "--root", type=FOLDER, help="Where conf/, scripts/ and controllers/ are. [default: the fleet file's folder]"
)
CONFIG = click.option("--config", type=FILE, help="A second file with runtime, monitoring and other keys.")
WORKERS = click.option(
    "--workers",
    type=click.IntRange(1, 512),
    help="Worker processes.  [default: one per CPU; from four CPUs on two less, for feed and gate]",
)
SCOPE_VENUE = click.option("--venue", help="Only this venue.", shell_complete=completion.venues)
FLEET = click.option(
    "--fleet", metavar="NAME", help="Which.  [default: the only one that runs]", shell_complete=completion.fleets
)
ORDERS = click.option("--orders", type=click.Choice(["keep", "cancel"]), help="What becomes of its open orders.")
SCOPE_STRATEGY = click.option(
    "--strategy", metavar="ID", help="Only this strategy.", shell_complete=completion.strategies
)
