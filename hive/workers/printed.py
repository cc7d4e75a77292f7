"""What code prints in a worker becomes lines of the log: with the strategy's id, in its own file, as many as it may.

A strategy's `print()` would otherwise fill one file that nobody caps and that all share, after waiting for the disk on
the event loop; and its last lines, still in a buffer, would be lost with the process.
"""

import io
import logging
import sys
from typing import TextIO
from weakref import WeakKeyDictionary

from hive.workers.context import CURRENT, StrategyContext

LINE_MAX = 8192  # characters without a line's end, after which what was printed is a line all the same


class PrintedLines(io.TextIOBase):
    """Stands for sys.stdout or sys.stderr: logs each line that is written, in the context of who writes it.

    Args:
        name: of the logger.
        level: of the lines.
        before: what it stands for; whoever asks for the descriptor or the bytes has those of that.
    """

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, name: str, level: int, before: TextIO) -> None:
        self._log = logging.getLogger(name)
        self._level = level
        self._before = before
        self._begun: WeakKeyDictionary[StrategyContext, str] = WeakKeyDictionary()
        self._begun_outside = ""

    @property
    def buffer(self) -> io.BufferedIOBase:
        """The bytes below it."""
        return self._before.buffer

    def fileno(self) -> int:
        """Return the descriptor below it."""
        return self._before.fileno()

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Log the lines that are complete, and keep the rest for the next call from the same context."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        strategy = CURRENT.get(None)
        begun = self._begun_outside if strategy is None else self._begun.get(strategy, "")
        *lines, rest = (begun + text).split("\n")
        if len(rest) > LINE_MAX:
            lines.append(rest)
            rest = ""
        if strategy is None:
            self._begun_outside = rest
        else:
            self._begun[strategy] = rest
        for line in lines:
            if line.strip():
                self._log.log(self._level, "%s", line)
        return len(text)


def log_what_is_printed() -> None:
    """Have it so from now on; once the process's log is set up."""
    sys.stdout = PrintedLines("stdout", logging.INFO, sys.stdout)
    sys.stderr = PrintedLines("stderr", logging.WARNING, sys.stderr)
