"""Screens of text on a terminal or in a pipe: one once, or one after the other.

Watching redraws in place on a terminal (q, Escape or ctrl-C leaves), and prints one screen after the other, or one JSON
object per line, into a pipe.
"""

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
from typing import Protocol

import click

from hive.cli_errors import Failure
from hive.top_view import Line, Style

PIPE_WIDTH = 150
RATE_S = 0.5  # between the two samples of a screen that is shown once
STYLES = {Style.TITLE: "1", Style.HEAD: "7", Style.DIM: "2", Style.BAD: "1;31"}
HOME, CLEAR_BELOW = "\x1b[H", "\x1b[J"
ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # the other screen, without a cursor; and back
WITHOUT_COLOR = {Style.BAD: "1"}  # where NO_COLOR is set (no-color.org)
LEAVING_KEYS = (b"q", b"Q", b"\x1b", b"\x03", b"\x04")


class Screen(Protocol):
    """What is shown: it measures, and draws what it measured last."""

    @property
    def alive(self) -> bool:
        """Whether what is watched ran when it was last looked at."""

    def measure(self) -> None:
        """Take a sample. Raises Failure when there is nothing (any more) to take it of."""

    def lines(self, width: int, height: int | None = None) -> list[Line]:
        """Return the screen as lines. Raises Failure when what was asked for is not there."""

    def json(self) -> str:
        """Return the screen as one line of JSON."""

    def foot(self) -> Line:
        """Return the last line of a screen that is redrawn."""


@dataclass(frozen=True, slots=True)
class Showing:
    """How a screen is shown: once or again and again, every `interval_s`, as text or as JSON."""

    watch: bool = False
    interval_s: float = 1.0
    as_json: bool = False


def show(screen: Screen, how: Showing) -> None:
    """Show a screen until it is done or the operator leaves. Raises what the screen raises at the start."""
    if not how.watch:
        screen.measure()
        time.sleep(min(how.interval_s, RATE_S))
        screen.measure()
        _print(screen, how)
    elif how.as_json or not sys.stdout.isatty():
        _stream(screen, how)
    else:
        _watch(screen, how)


def screen_width() -> int:
    """Return how wide a screen that is printed once may be: as the terminal, or as is usual in a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_WIDTH


def _print(screen: Screen, how: Showing) -> None:
    if how.as_json:
        click.echo(screen.json())
        return
    for line in screen.lines(screen_width()):
        click.echo(_styled(line, sys.stdout.isatty()).rstrip())


def _stream(screen: Screen, how: Showing) -> None:
    """Print a screen or a JSON object for every interval until the fleet ends or nobody reads."""
    try:
        for _ in _turns(how.interval_s, time.sleep):
            screen.measure()
            if how.as_json:
                print(screen.json(), flush=True)
            else:
                print("\n".join(line.text.rstrip() for line in screen.lines(PIPE_WIDTH)), "", sep="\n", flush=True)
            if not screen.alive:
                return
    except (BrokenPipeError, KeyboardInterrupt):
        # Python flushes stdout once more at its end, and must not find the pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _watch(screen: Screen, how: Showing) -> None:
    """Redraw in place until a key leaves."""
    screen.measure()
    screen.lines(PIPE_WIDTH)  # a wrong name is told before the screen is taken
    with _other_screen() as wait:
        for _ in _turns(how.interval_s, wait):
            screen.measure()
            size = shutil.get_terminal_size()
            try:
                lines = screen.lines(size.columns, size.lines - 1)
            except Failure as failure:  # it was there, and is not now; it may come back
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
    if os.environ.get("NO_COLOR"):
        code = WITHOUT_COLOR.get(line.style, code)
    return f"\x1b[{code}m{line.text}\x1b[0m" if colored and code else line.text
