"""Logging of a worker: one file per process, the running strategy's id in every line, and no more lines than it may."""

import logging
import sys
from pathlib import Path
from typing import TextIO

from hive.workers.context import CURRENT
from hive.workers.log_cap import LogCap
from hive.workers.log_quota import LineQuota
from hive.workers.log_writer import NOBODY, LogWriter, WriterHandler
from hive.workers.strategy_logs import StrategyLogs

TIMES_A_STRATEGYS = 10  # as large as the log of one strategy: it has the lines of all
FORMAT = "%(asctime)s.%(msecs)03d %(levelname)-7s %(process)d %(strategy)s %(name)s: %(message)s"


class StrategyFilter(logging.Filter):
    """Adds `strategy` to a record: the id of whose context it was logged in, "-" outside of all.

    Lets pass what `quota` admits of a strategy (None: everything).
    """

    def __init__(self, quota: LineQuota | None = None) -> None:
        super().__init__()
        self._quota = quota

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is to be written."""
        context = CURRENT.get(None)
        if not hasattr(record, "strategy"):
            record.strategy = NOBODY if context is None else context.id
        return context is None or self._quota is None or self._quota.admits(context)


def set_up_logging(path: str | None, level: str = "INFO") -> TextIO:
    """Send everything that any library logs to the file `path` (appended; None: stderr), and nowhere else.

    Returns the open stream.
    """
    handler = logging.StreamHandler(sys.stderr) if path is None else logging.FileHandler(path, encoding="utf-8")
    handler.addFilter(StrategyFilter())
    _install(handler, level)
    return handler.stream


def set_up_worker_logging(
    path: str | None, level: str = "INFO", quota: LineQuota | None = None, logs: StrategyLogs | None = None
) -> TextIO:
    """Do the same through a thread, so that no disk stops the loop; call it after the fork.

    Args:
        quota: of the lines of each strategy; what it does not admit is not written.
        logs: the files that strategies have of their own beside; None: none. By their size this one's is limited too.
    """
    stream = sys.stderr if path is None else open(path, "a", encoding="utf-8")  # noqa: SIM115 - open until the end
    capped = path is not None and logs is not None
    cap = LogCap(stream.fileno(), Path(path), TIMES_A_STRATEGYS * logs.max_bytes, logs.keep) if capped else None
    writer = LogWriter(stream.fileno(), cap)
    writer.of_strategy = None if logs is None else logs.write
    handler = WriterHandler(writer)
    handler.addFilter(StrategyFilter(quota))
    _install(handler, level)
    return stream


def _install(handler: logging.Handler, level: str) -> None:
    handler.setFormatter(logging.Formatter(FORMAT, "%Y-%m-%d %H:%M:%S"))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level.upper())


def flush_logs() -> None:
    """Hand every line to the kernel."""
    for handler in logging.getLogger().handlers:
        handler.flush()
