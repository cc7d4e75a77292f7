"""The commands about orders: `hive halt`, `resume` and `flat` ask the supervisor, `hive gate` reads the counters."""

import json
import time
from typing import Any

import click

from hive import report
from hive.cli_ask import find_fleet, find_readable
from hive.cli_errors import ERROR, NOT_RUNNING, TIMEOUT, Failure
from hive.control import ANSWER_WITHIN_S, ControlError, ask
from hive.gate_view import as_json, draw_gate
from hive.halts import Halt
from hive.screens import Showing, show
from hive.state import FleetDir
from hive.top_sample import Sample, Sampler
from hive.top_view import Frame, Line, Style

FLAT_SPARE_S = 10.0  # beyond what the supervisor gives itself


def halt(name: str | None, venue: str | None, strategy: str | None, reason: str | None) -> None:
    """Let a fleet, a venue or a strategy place no new orders, and print what is halted now."""
    folder = find_fleet(name)
    answer = _asked(folder, {"command": "halt", "venue": venue, "strategy": strategy, "reason": reason})
    _print_halts(folder.name, answer)


def resume(name: str | None, venue: str | None, strategy: str | None) -> None:
    """Lift a halt, and print what is halted still."""
    folder = find_fleet(name)
    answer = _asked(folder, {"command": "resume", "venue": venue, "strategy": strategy})
    for whom in answer["lifted"]:
        click.echo(f"fleet {folder.name}: {whom} may trade, as far as nothing else is halted")
    if not answer["lifted"]:
        whom = f"venue {venue}" if venue else f"strategy {strategy}" if strategy else "the fleet as a whole"
        click.echo(f"fleet {folder.name}: {whom} was not halted")
    _print_halts(folder.name, answer)


def flat(name: str | None, timeout_s: float) -> None:
    """Halt a fleet and cancel its orders.

    Raises:
        Failure: 1 when orders are left, with what is left; 5 when that is not known in time.
    """
    folder = find_fleet(name)
    answer = _asked(folder, {"command": "flat", "timeout_s": timeout_s}, timeout_s + FLAT_SPARE_S)
    if answer["open"] is None:
        raise Failure(f"fleet {folder.name}: {answer['text']}; it stays halted", TIMEOUT)
    if answer["open"]:
        text = f": {answer['text']}" if answer["text"] else ""
        raise Failure(f"fleet {folder.name}: {answer['open']} orders are open{text}; it stays halted", ERROR)
    click.echo(f"fleet {folder.name}: nothing of it is open, says the venue; it stays halted until `hive resume`")


def gate(name: str | None, how: Showing) -> None:
    """Show a fleet's gate. Raises Failure: no such fleet (2), not running (3)."""
    sampler = Sampler(find_readable(name))
    try:
        show(Screen(sampler, how.interval_s), how)
    finally:
        sampler.close()


class Screen:
    """The reports since the start and between the last two samples, and what of them is shown."""

    def __init__(self, sampler: Sampler, interval_s: float) -> None:
        self._sampler = sampler
        self._interval_s = interval_s
        self._before: tuple[float, Sample] | None = None
        self._frame: Frame | None = None

    @property
    def alive(self) -> bool:
        """Whether the fleet ran when it was last looked at."""
        return self._frame is not None and self._frame.total["state"] != "gone"

    def measure(self) -> None:
        """Take a sample. Raises Failure when there is nothing to take it of."""
        sample = self._sampler.sample()
        if sample is None:
            raise Failure("the fleet does not run", NOT_RUNNING)
        now = time.monotonic()
        then, before = self._before or (now, sample)
        self._before = (now, sample)
        recent = report.build(sample.since(before))
        self._frame = Frame(report.build(sample), recent, max(now - then, 1e-9), sample.took_ns)

    def lines(self, width: int, height: int | None = None) -> list[Line]:
        """Return the screen as lines."""
        return draw_gate(self._frame, width, height)

    def json(self) -> str:
        """Return the screen as one line of JSON."""
        return json.dumps(as_json(self._frame))

    def foot(self) -> Line:
        """Return the last line of a screen that is redrawn."""
        return Line(f"q leave  every {self._interval_s:g} s  [read in {self._frame.took_ns / 1e6:.1f} ms]", Style.DIM)


def _asked(folder: FleetDir, request: dict[str, Any], timeout_s: float = ANSWER_WITHIN_S) -> dict[str, Any]:
    try:
        return ask(folder.control, request, timeout_s)
    except ControlError as error:
        raise Failure(str(error), error.code) from None


def _print_halts(fleet: str, answer: dict[str, Any]) -> None:
    halts = [Halt(**one) for one in answer["halts"]]
    for one in halts:
        click.echo(f"fleet {fleet}: halted: {one}")
    if not halts:
        click.echo(f"fleet {fleet}: nothing is halted")
    if answer["note"]:
        click.echo(f"warning: {answer['note']}", err=True)
