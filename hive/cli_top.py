"""`hive top`: the running tool on a terminal, or one screen of it."""

import sys
import time
from dataclasses import dataclass

import click

from hive.cli_ask import find_readable
from hive.screens import screen_width
from hive.top import Top
from hive.top_sample import Sampler
from hive.top_view import Look, draw_all


@dataclass(frozen=True, slots=True)
class TopOptions:
    """The options of `hive top`; `width` in columns, None: the terminal's."""

    name: str | None = None
    sort: str = "id"
    interval_s: float = 1.0
    once: bool = False
    width: int | None = None


def top(options: TopOptions) -> None:
    """Watch a fleet until the operator leaves, or print one screen: if asked to, and where there is no terminal.

    Raises Failure: no such fleet (2), not running (3), a terminal that cannot be drawn on (1).
    """
    sampler = Sampler(find_readable(options.name))
    try:
        tool = Top(sampler, options.interval_s, options.sort)
        if not options.once and sys.stdin.isatty() and sys.stdout.isatty():
            tool.run()
            return
        tool.frame(time.monotonic())
        time.sleep(options.interval_s)
        frame = tool.frame(time.monotonic())
        for line in draw_all(frame, Look(sort=options.sort), options.width or screen_width()):
            click.echo(line)
    finally:
        sampler.close()
