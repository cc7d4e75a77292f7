"""Writes a worker's log in a thread of its own, so that a slow disk does not stop the loop.

    any thread: format, put the line into a queue        the thread: write() what has come, at most 100 times a second

Whoever logs formats his line, which freezes its arguments; the thread only joins and writes, without holding the
interpreter's lock. Lines keep their order. A killed process may lose those of the last 10 ms; `flush()` loses none.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from hive.workers.log_cap import LogCap

PAUSE_S = 0.01
LINES_MAX = 50_000  # that wait for a disk; what comes then is lost and counted
AT_ONCE = 1_000
NOBODY = "-"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the log, without its end, and the id of whose it is, "-" for nobody's."""

    strategy: str
    text: str


class LogWriter:
    """Appends to an open file; its thread begins with the first line, so make it and fork before.

    `of_strategy(id, text)` is called in the thread with each line of a strategy, when it is set; `cap` keeps the file
    from growing for ever (None: nothing does).
    """

    def __init__(self, fd: int, cap: LogCap | None = None) -> None:
        self.lost = 0
        self._cap = cap
        self.of_strategy: Callable[[str, str], None] | None = None
        self._fd = fd
        self._queue: SimpleQueue[Line | threading.Event] = SimpleQueue()
        self._begun = threading.Lock()

    def write(self, line: Line) -> None:
        """Have a line written, in order; when too many wait it is lost, and counted."""
        if self._begun.acquire(blocking=False):
            try:
                threading.Thread(target=self._run, name="hive-log", daemon=True).start()
            except RuntimeError:  # the host has no thread left: the next line tries again
                self._begun.release()
        if self._queue.qsize() >= LINES_MAX:
            self.lost += 1
        else:
            self._queue.put(line)

    def flush(self, within_s: float = 1.0) -> bool:
        """Wait until everything so far is written; returns whether it was, in time."""
        if not self._begun.locked():
            return True
        done = threading.Event()
        self._queue.put(done)
        return done.wait(within_s)

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))  # signals are the main thread's
        next_s = 0.0
        while True:
            waiting = [self._queue.get()]
            if (early_s := next_s - time.monotonic()) > 0:  # after a line, not after each writing: half the wake-ups
                time.sleep(early_s)
            try:
                while len(waiting) < AT_ONCE:
                    waiting.append(self._queue.get_nowait())
            except Empty:
                pass
            lines = [one for one in waiting if isinstance(one, Line)]
            self._write("".join(f"{line.text}\n" for line in lines).encode(errors="backslashreplace"))
            if self.of_strategy is not None:
                for line in lines:
                    if line.strategy != NOBODY:
                        self.of_strategy(line.strategy, line.text)
            for one in waiting:
                if isinstance(one, threading.Event):
                    one.set()
            next_s = time.monotonic() + PAUSE_S

    def _write(self, data: bytes) -> None:
        while data:
            try:
                written = os.write(self._fd, data)
                data = data[written:]
                if self._cap is not None:
                    self._cap.wrote(written)
            except OSError:  # a full disk: the fleet trades on
                self.lost += data.count(b"\n")
                return


class WriterHandler(logging.Handler):
    """Formats in the caller's thread and leaves the rest to a LogWriter."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self.writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        """Format one record and have it written."""
        try:
            self.writer.write(Line(getattr(record, "strategy", NOBODY), self.format(record)))
        except Exception:  # noqa: BLE001 - a message that does not fit its arguments
            self.handleError(record)

    def flush(self) -> None:
        """Wait for what was logged so far."""
        self.writer.flush()
