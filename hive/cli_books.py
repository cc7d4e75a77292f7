"""`hive books`: the instruments of a running fleet, or one book's ladder; once, or again and again.

Watching redraws in place on a terminal (q, Escape or ctrl-C leaves), and prints one screen after the other, or one JSON
object per line, into a pipe.
"""

import json
import os
import select
import shutil
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import click

from hive.books_sample import BooksSample, BooksSampler, Key
from hive.books_view import as_json, draw_ladder, draw_list
from hive.cli_ask import find_fleet
from hive.cli_errors import ERROR, NOT_FOUND, NOT_RUNNING, Failure
from hive.top_view import Line, Style

PIPE_WIDTH = 150
RATE_S = 0.5  # between the two samples of a screen that is shown once
STYLES = {Style.TITLE: "1", Style.HEAD: "7", Style.DIM: "2", Style.BAD: "1;31"}
HOME, CLEAR_BELOW = "\x1b[H", "\x1b[J"
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # the other screen, without a cursor; and back
LEAVING_KEYS = (b"q", b"Q", b"\x1b", b"\x03", b"\x04")


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
    sampler = BooksSampler(find_fleet(options.fleet))
    try:
        screen = Screen(sampler, options)
        if not options.watch:
            screen.measure()
            time.sleep(min(options.interval_s, RATE_S))
            screen.measure()
            _print(screen, options)
        elif options.as_json or not sys.stdout.isatty():
            _stream(screen, options)
        else:
            _watch(screen, options)
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


def _print(screen: Screen, options: BooksOptions) -> None:
    if options.as_json:
        click.echo(screen.json())
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_WIDTH
    for line in screen.lines(width):
        click.echo(_styled(line, sys.stdout.isatty()).rstrip())


def _stream(screen: Screen, options: BooksOptions) -> None:
    """Print a screen or a JSON object for every interval until the fleet ends or nobody reads."""
    try:
        for _ in _turns(options.interval_s, time.sleep):
            screen.measure()
            if options.as_json:
                print(screen.json(), flush=True)
            else:
                print("\n".join(line.text.rstrip() for line in screen.lines(PIPE_WIDTH)), "", sep="\n", flush=True)
            if not screen.alive:
                return
    except (BrokenPipeError, KeyboardInterrupt):
        # Python flushes stdout once more at its end, and must not find the pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _watch(screen: Screen, options: BooksOptions) -> None:
    """Redraw in place until a key leaves."""
    screen.measure()
    screen.chosen()  # a wrong name is told before the screen is taken
    with _other_screen() as wait:
        for _ in _turns(options.interval_s, wait):
            screen.measure()
            size = shutil.get_terminal_size()
            try:
                lines = screen.lines(size.columns, size.lines - 1)
            except Failure as failure:  # it was followed, and is not now; it may come back
                lines = [Line(failure.message, Style.BAD)]
            lines += [Line("")] * (size.lines - 1 - len(lines)) + [screen.foot()]
            padded = (Line(line.text[: size.columns].ljust(size.columns), line.style) for line in lines)
            sys.stdout.write(HOME + "\r\n".join(_styled(line, True) for line in padded) + CLEAR_BELOW)
            sys.stdout.flush()


def _turns(interval_s: float, wait: Callable[[float], bool | None]) -> Iterator[None]:
    """Yield now and then every `interval_s`, until wait(seconds) returns true; a late turn is not made up for."""
    due = time.monotonic()
    while True:
        yield
        due = max(due + interval_s, time.monotonic())
        if wait(max(0.0, due - time.monotonic())):
            return


@contextmanager
def _other_screen() -> Iterator[Callable[[float], bool]]:
    """Take over the terminal; gives wait(seconds), which returns early and true when a key says to leave."""
    keys = sys.stdin.fileno() if sys.stdin.isatty() else None
    before = termios.tcgetattr(keys) if keys is not None else None
    resized_in, resized_out = os.pipe()
    os.set_blocking(resized_out, False)
    old_handler = signal.signal(signal.SIGWINCH, lambda *_: os.write(resized_out, b"."))

    def wait(seconds: float) -> bool:
        ready, _, _ = select.select([fd for fd in (keys, resized_in) if fd is not None], [], [], seconds)
        if resized_in in ready:
            os.read(resized_in, 4096)
        return keys in ready and os.read(keys, 32)[:1] in (*LEAVING_KEYS, b"")

    try:
        if keys is not None:
            tty.setcbreak(keys)
        sys.stdout.write(ENTER)
        yield wait
    except KeyboardInterrupt:
        pass
    finally:
        sys.stdout.write(LEAVE)
        sys.stdout.flush()
        if before is not None:
            termios.tcsetattr(keys, termios.TCSADRAIN, before)
        signal.signal(signal.SIGWINCH, old_handler)
        os.close(resized_in)
        os.close(resized_out)


def _styled(line: Line, colored: bool) -> str:
    code = STYLES.get(line.style)
    return f"\x1b[{code}m{line.text}\x1b[0m" if colored and code else line.text
