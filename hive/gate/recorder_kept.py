"""Rows of processes that died before their rows were committed: taken from their files, which are removed afterwards.

A file is read when its process is dead, and never before: while it lives it hands its rows over itself. Rows of it that
were committed, or that came over the socket too, are known by their numbers and not written again.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hive.shm.row_log import abandoned, read_rows

FOLDER = "rows"  # in that of the databases

log = logging.getLogger("recorder")


class KeptRows:
    """The files of all workers of a fleet, of earlier runs too.

    Args:
        data: the folder of the databases
        take: is given a row's message and what to call when it is committed
    """

    def __init__(self, data: Path, take: Callable[[dict[str, Any], Callable[[], None]], None]) -> None:
        self._folder = data / FOLDER
        self._take = take
        self._files: dict[Path, _File] = {}

    def collect(self) -> None:
        """Take the rows of processes that have died since the last time; OSError: some cannot be read now."""
        for path, fd in abandoned(self._folder):
            try:
                rows = read_rows(fd)
            except OSError:
                os.close(fd)
                raise
            if rows:
                log.info("%d rows of a process that is gone", len(rows))
            file = self._files[path] = _File(path, fd, len(rows), self._files)
            for row in rows:
                self._take(row, file.written)
            file.remove_if_written()

    def close(self) -> None:
        """Leave what is not committed to the next recorder; repeating is harmless."""
        for file in self._files.values():
            os.close(file.fd)
        self._files.clear()


class _File:
    def __init__(self, path: Path, fd: int, waiting: int, files: dict[Path, "_File"]) -> None:
        self.fd = fd
        self._path = path
        self._waiting = waiting
        self._files = files

    def written(self) -> None:
        self._waiting -= 1
        self.remove_if_written()

    def remove_if_written(self) -> None:
        if self._waiting == 0 and self._files.pop(self._path, None) is not None:
            self._path.unlink(missing_ok=True)
            os.close(self.fd)
