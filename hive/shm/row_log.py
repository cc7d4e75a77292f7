"""Rows that a process has handed over and nobody has committed yet, in a file that outlives the process.

    NAME.rows    line, line, ..., line, NUL, and whatever stood there before
    line         crc32 of the text, 8 hexadecimal digits | blank | the text: one JSON object | newline

One process writes a file and holds its lock (flock) until it dies, whatever it dies of; whoever gets the lock owns the
file from then on. A line is in the system's memory when `add` returns, so nothing but the loss of power takes it. Room
is taken on the disk beforehand: a full disk costs nothing until that is used up, and lines that found no room are
written with the next. What was committed may still stand in the file: readers must know what they have.
"""

import fcntl
import json
import os
import secrets
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from zlib import crc32

SUFFIX = ".rows"
RESERVED_BYTES = 1 << 20
TRIES = 10
_CRC_DIGITS = 8
_END = b"\0"


class RowLog:
    """One process's file.

    Args:
        folder: where it is; made when it is missing
        reserved_bytes: how much of the disk it takes at once

    Attributes:
        fault: why lines are not in the file, "" when all are
    """

    def __init__(self, folder: Path, reserved_bytes: int = RESERVED_BYTES) -> None:
        self.fault = ""
        self._folder = folder
        self._reserved = reserved_bytes
        self._fd = -1
        self._path = folder
        self._size = 0
        self._late: deque[bytes] = deque()  # lines that are not in the file
        self._write()

    @property
    def is_long(self) -> bool:
        """Return whether the file takes more than what it took at once."""
        return self._size > self._reserved

    def add(self, row: Mapping[str, Any]) -> None:
        """Keep a row, or try so again with the next one (`fault`)."""
        self._late.append(_line(row))
        self._write()

    def clear(self) -> None:
        """Drop everything."""
        self._late.clear()
        self._size = 0
        self.fault = ""
        self._write()
        if self._fd >= 0:
            with suppress(OSError):  # then what was committed stands there still
                os.pwrite(self._fd, _END, 0)

    def keep(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Begin a new file with these rows alone; the earlier one stays when the new one cannot be written."""
        other = RowLog(self._folder, self._reserved)
        for row in rows:
            other.add(row)
        if other.fault:
            other._remove()
            return
        self._remove()
        self._fd, self._path, self._size, self.fault = other._fd, other._path, other._size, ""
        self._late.clear()

    def close(self) -> None:
        """Leave the file to others, or remove it when nothing is kept; repeating is harmless."""
        if self._size == 0:
            self._remove()
        elif self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self._size = 0

    def _write(self) -> None:
        try:
            if self._fd < 0:
                self._fd, self._path = _create(self._folder, self._reserved)
            while self._late:
                _write_whole(self._fd, self._late[0] + _END, self._size)
                self._size += len(self._late.popleft())
            self.fault = ""
        except OSError as error:
            self.fault = f"{self._folder}: {error.strerror}"

    def _remove(self) -> None:
        if self._fd >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1


def abandoned(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield the files whose processes are dead, oldest first, each with a descriptor that holds its lock.

    The caller owns both: it removes the file before it closes the descriptor, or only closes that. Raises OSError.
    """
    for path in _by_age(folder):
        try:
            fd = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # its process lives, or this one has it already
            os.close(fd)
        else:
            yield path, fd


def read_rows(fd: int) -> list[dict[str, Any]]:
    """Return the rows of a file in their order; a line that was not written to its end was never handed over."""
    data = os.pread(fd, os.fstat(fd).st_size, 0)
    rows = []
    start = 0
    while (end := data.find(b"\n", start)) >= 0:
        text = data[start + _CRC_DIGITS + 1 : end]
        if data[start : start + _CRC_DIGITS] != b"%08x" % crc32(text):
            break
        rows.append(json.loads(text))
        start = end + 1
    return rows


def _line(row: Mapping[str, Any]) -> bytes:
    text = json.dumps(row, separators=(",", ":")).encode()  # without newlines: JSON escapes them
    return b"%08x %s\n" % (crc32(text), text)


def _write_whole(fd: int, data: bytes, offset: int) -> None:
    while data:  # a disk takes less than all when it is nearly full
        written = os.pwrite(fd, data, offset)
        data = data[written:]
        offset += written


def _by_age(folder: Path) -> list[Path]:
    ages = []
    for path in folder.glob(f"*{SUFFIX}"):
        with suppress(FileNotFoundError):
            ages.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(ages)]


def _create(folder: Path, reserved_bytes: int) -> tuple[int, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(TRIES):
        path = folder / f"{secrets.token_hex(8)}{SUFFIX}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_nlink:  # nobody took it for abandoned before it was locked
                os.posix_fallocate(fd, 0, reserved_bytes)
                return fd, path
        except BlockingIOError:
            pass  # somebody looks at it and will remove it
        except OSError:
            path.unlink(missing_ok=True)
            os.close(fd)
            raise
        os.close(fd)
    raise OSError(0, f"no file could be locked in {TRIES} tries")
