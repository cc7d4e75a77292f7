"""What strategies print: lines of the log with their id."""

import contextlib
import io
import logging
import sys
import traceback
from functools import partial

import pytest

from hive.workers.log import StrategyFilter
from hive.workers.printed import LINE_MAX, PrintedLines


class Kept(logging.Handler):
    """Keeps whose each line is, and the line."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str, str]] = []
        self.addFilter(StrategyFilter())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.strategy, record.name, record.getMessage()))


@pytest.fixture
def kept():
    handler = Kept()
    logging.getLogger().addHandler(handler)
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.INFO)
    yield handler
    logging.getLogger().setLevel(level)
    logging.getLogger().removeHandler(handler)


def test_each_line_is_logged_for_who_printed_it_though_others_print_in_between(kept, idle_strategies):
    a, b = idle_strategies.new("a"), idle_strategies.new("b")
    with contextlib.redirect_stdout(PrintedLines("stdout", logging.INFO, sys.stdout)):
        a.run(partial(print, "spread", 0.1, end=" "))
        b.run(print, "one\n\ntwo %s")
        print("nobody's")
        a.run(print, "wide")
        a.run(partial(print, "x" * (LINE_MAX + 1), end="", flush=True))
    assert [one for one in kept.lines if one[1] == "stdout"] == [
        ("b", "stdout", "one"),
        ("b", "stdout", "two %s"),
        ("-", "stdout", "nobody's"),
        ("a", "stdout", "spread 0.1 wide"),
        ("a", "stdout", "x" * (LINE_MAX + 1)),
    ]


def test_a_traceback_that_is_printed_is_in_the_log_too(kept, idle_strategies):
    def fail():
        try:
            raise ValueError("no such spread")
        except ValueError:
            traceback.print_exc()

    with contextlib.redirect_stderr(PrintedLines("stderr", logging.WARNING, sys.stderr)):
        idle_strategies.new("a").run(fail)
    assert kept.lines[-1] == ("a", "stderr", "ValueError: no such spread")


def test_who_asks_for_more_than_text_has_what_is_below():
    below = io.TextIOWrapper(io.BytesIO())
    stream = PrintedLines("stdout", logging.INFO, below)
    assert (stream.buffer, stream.writable(), stream.isatty()) == (below.buffer, True, False)
    with pytest.raises(TypeError, match="must be str, not bytes"):
        stream.write(b"x")
