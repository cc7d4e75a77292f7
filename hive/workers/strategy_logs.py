"""One log file per strategy: what was logged inside its context, capped and rotated.

    ID.log ── larger than max_bytes ──▶ ID.log.1 ──▶ ID.log.2 ──▶ removed, when `keep` files are there

Whoever writes waits for the disk, so this belongs on the thread that writes the logs, never on the event loop. A disk
that is full is an alarm: lines are dropped and counted until there is room again, and then a line says how many.
"""

import contextlib
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

OPEN_MAX = 128  # files that are open at once
TRY_AGAIN_S = 1.0  # after a write that failed


@dataclass(slots=True)
class _File:
    fd: int
    size: int


class StrategyLogs:
    """The files of all strategies that log in this process.

    Args:
        folder: made when it is missing.
        max_bytes: a file is rotated before a line that would make it larger.
        keep: files per strategy, the newest included.
        alarm: told once when lines cannot be written, and once when they can again.
        now_s: monotonic.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int = 10 << 20,
        keep: int = 3,
        alarm: Callable[[str], None] = lambda text: None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_bytes < 1 or keep < 1:
            raise ValueError(f"max_bytes and keep must be >= 1, were {max_bytes} and {keep}")
        self.lost = 0  # lines that were not written
        self._folder = folder
        self.max_bytes = max_bytes
        self.keep = keep
        self.alarm = alarm
        self._now_s = now_s
        self._files: OrderedDict[str, _File] = OrderedDict()
        self._failing = ""
        self._lost_now = 0
        self._retry_s = 0.0

    def write(self, strategy: str, line: str) -> None:
        """Append a line to a strategy's file; lost, counted and told when that fails."""
        if self._failing and self._now_s() < self._retry_s:
            self._lose()
            return
        try:
            if self._failing:
                self._append(strategy, f"{self._lost_now} lines were lost here and in other files: {self._failing}")
            self._append(strategy, line)
        except OSError as error:
            self._fail(strategy, error)
            return
        if self._failing:
            self.alarm(f"logs of strategies are written again, {self._lost_now} lines were lost")
            self._failing, self._lost_now = "", 0

    def close(self) -> None:
        """Close every file."""
        for strategy in list(self._files):
            self._close(strategy)

    def _append(self, strategy: str, line: str) -> None:
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        file = self._files.get(strategy) or self._open(strategy)
        self._files.move_to_end(strategy)
        if file.size and file.size + len(data) > self.max_bytes:
            self._rotate(strategy)
            file = self._open(strategy)
        written = 0
        try:
            while written < len(data):
                written += os.write(file.fd, data[written:])
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(file.fd, file.size)  # no half lines
            raise
        file.size += written

    def _open(self, strategy: str) -> _File:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self._path(strategy), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        file = self._files[strategy] = _File(fd, os.fstat(fd).st_size)
        if len(self._files) > OPEN_MAX:
            self._close(next(iter(self._files)))
        return file

    def _rotate(self, strategy: str) -> None:
        self._close(strategy)
        path = self._path(strategy)
        for number in range(self.keep - 1, 0, -1):
            newer = path if number == 1 else path.with_name(f"{path.name}.{number - 1}")
            with contextlib.suppress(FileNotFoundError):
                newer.replace(path.with_name(f"{path.name}.{number}"))
        if self.keep == 1:
            path.unlink(missing_ok=True)

    def _close(self, strategy: str) -> None:
        file = self._files.pop(strategy, None)
        if file is not None:
            os.close(file.fd)

    def _path(self, strategy: str) -> Path:
        return self._folder / f"{strategy}.log"

    def _fail(self, strategy: str, error: OSError) -> None:
        self._close(strategy)
        self._retry_s = self._now_s() + TRY_AGAIN_S
        first = not self._failing
        self._failing = f"{error.strerror} ({self._folder})"
        self._lose()
        if first:
            self.alarm(f"logs of strategies cannot be written: {self._failing}")

    def _lose(self) -> None:
        self.lost += 1
        self._lost_now += 1
