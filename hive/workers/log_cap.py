"""Keeps a process's log under a size while it is written: a file that has become too large makes room for a new one.

    NAME.log ── larger than max_bytes ──▶ NAME.log.1 ──▶ NAME.log.2 ──▶ removed, when `keep` files are there

The descriptor stays the same, so whoever writes to it past the logging (faulthandler) writes to the new file.
"""

import os
from contextlib import suppress
from pathlib import Path


class LogCap:
    """The size of one open log file.

    Args:
        fd: opened for appending.
        path: of the file.
        max_bytes: after which a new one is begun.
        keep: files, the newest included.
    """

    def __init__(self, fd: int, path: Path, max_bytes: int, keep: int) -> None:
        if max_bytes < 1 or keep < 1:
            raise ValueError(f"max_bytes and keep must be >= 1, were {max_bytes} and {keep}")
        self._fd = fd
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._size = os.fstat(fd).st_size

    def wrote(self, count: int) -> None:
        """Note that so many bytes were written; begins a new file when there are too many."""
        self._size += count
        if self._size > self._max_bytes:
            self._size = 0
            with suppress(OSError):  # a full disk: the file grows on until the next time
                self._begin_another()

    def _begin_another(self) -> None:
        for number in range(self._keep - 1, 0, -1):
            newer = self._path if number == 1 else self._numbered(number - 1)
            with suppress(FileNotFoundError):
                newer.replace(self._numbered(number))
        if self._keep == 1:
            self._path.unlink(missing_ok=True)
        fresh = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            os.dup2(fresh, self._fd, inheritable=False)
        finally:
            os.close(fresh)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
