"""`hive books`: the instruments of a running fleet, or one book's ladder; once, or again and again."""

import json
from dataclasses import dataclass

from hive.books_sample import BooksSample, BooksSampler, Key
from hive.books_view import as_json, draw_ladder, draw_list
from hive.cli_ask import find_readable
from hive.cli_errors import ERROR, NOT_FOUND, NOT_RUNNING, Failure
from hive.screens import Showing, show
from hive.top_view import Line, Style


@dataclass(frozen=True, slots=True)
class BooksOptions:
    """The options of `hive books`."""

    pair: str | None = None
    fleet: str | None = None
    venue: str | None = None
    depth: int = 10
    watch: bool = False
    interval_s: float = 1.0
    as_json: bool = False


def books(options: BooksOptions) -> None:
    """Show what was asked for. Raises Failure: no such fleet, venue or pair (2), not running (3)."""
    sampler = BooksSampler(find_readable(options.fleet))
    try:
        show(Screen(sampler, options), Showing(options.watch, options.interval_s, options.as_json))
    finally:
        sampler.close()


class Screen:
    """The last two samples, and what of them is shown."""

    def __init__(self, sampler: BooksSampler, options: BooksOptions) -> None:
        self._sampler = sampler
        self._options = options
        self._now: BooksSample | None = None
        self._before: BooksSample | None = None

    @property
    def alive(self) -> bool:
        """Whether the fleet ran when it was last looked at."""
        return self._now is not None and self._now.alive

    def measure(self) -> None:
        """Take a sample. Raises Failure when there is nothing (any more) to take it of."""
        sample = self._sampler.sample()
        if sample is None:
            raise Failure(f"fleet {self._options.fleet}: it does not run", NOT_RUNNING)
        self._before, self._now = self._now, sample

    def chosen(self) -> list[Key]:
        """Return the instruments to show, by venue and pair. Raises Failure when a name is not there."""
        options, venues = self._options, self._now.beats_ns
        if options.venue is not None and options.venue not in venues:
            raise Failure(f"there is no venue {options.venue}; known: {', '.join(venues)}", NOT_FOUND)
        keys = sorted(key for key in self._now.books if options.venue in (None, key[0]))
        if options.pair is None:
            return keys
        pair = options.pair.upper()
        found = [key for key in keys if key[1] == pair]
        if not found:
            known = ", ".join(sorted({key[1] for key in keys})) or "none yet"
            raise Failure(f"{pair} is not followed; these are: {known}", NOT_FOUND)
        if len(found) > 1:
            raise Failure(f"{pair} is followed at {', '.join(key[0] for key in found)}: choose with --venue", ERROR)
        return found

    def lines(self, width: int, height: int | None = None) -> list[Line]:
        """Return the screen as lines."""
        keys = self.chosen()
        if self._options.pair is None:
            return draw_list(self._now, self._before, keys, width, height)
        return draw_ladder(self._now, self._before, keys[0], self._options.depth, width, height)

    def json(self) -> str:
        """Return the screen as one line of JSON."""
        levels = None if self._options.pair is None else self._options.depth
        return json.dumps(as_json(self._now, self._before, self.chosen(), levels))

    def foot(self) -> Line:
        """Return the last line of a screen that is redrawn."""
        took_ms = self._now.took_ns / 1e6
        return Line(f"q leave  every {self._options.interval_s:g} s  [read in {took_ms:.1f} ms]", Style.DIM)
