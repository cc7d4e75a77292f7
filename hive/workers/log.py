"""Logging of a worker: one file per process, and the running strategy's id in every line."""

import logging
import sys
from typing import TextIO

from hive.workers.context import CURRENT

FORMAT = "%(asctime)s.%(msecs)03d %(levelname)-7s %(process)d %(strategy)s %(name)s: %(message)s"


class StrategyFilter(logging.Filter):
    """Adds `strategy` to a record: the id of whose context it was logged in, "-" outside of all."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let everything pass."""
        if not hasattr(record, "strategy"):
            context = CURRENT.get(None)
            record.strategy = "-" if context is None else context.id
        return True


def set_up_logging(path: str | None, level: str = "INFO") -> TextIO:
    """Send everything that any library logs to the file `path` (appended; None: stderr), and nowhere else.

    Returns the open stream.
    """
    handler = logging.StreamHandler(sys.stderr) if path is None else logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter(FORMAT, "%Y-%m-%d %H:%M:%S"))
    handler.addFilter(StrategyFilter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level.upper())
    return handler.stream


def flush_logs() -> None:
    """Hand every line to the kernel."""
    for handler in logging.getLogger().handlers:
        handler.flush()
