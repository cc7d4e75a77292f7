"""Puts on the disk what was written: a thread that syncs no later than an interval after a write, and wakes nobody.

    touch() ... touch()          touch()
    |-- interval_s --| sync      |-- interval_s --| sync

One sync is for all that was written before it began. The loop that writes neither waits for it nor hears of it, unless
it fails: at a few orders a second two wake-ups of a loop for each sync cost as much as an order does.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

from hive.gate.journal_file import JournalFile


class SyncThread:
    """Use it from one thread; its own is asleep while nothing was written.

    Args:
        interval_s: from a write to the sync that covers it
        file: returns the file that is written now, None when there is none
        failed: takes a file and why it could not be synced; called in the loop
    """

    def __init__(
        self,
        interval_s: float,
        file: Callable[[], JournalFile | None],
        failed: Callable[[JournalFile, OSError], None],
    ) -> None:
        self._interval_s = interval_s
        self._file = file
        self._failed = failed
        self._written = threading.Lock()  # free: something was written, and no sync has begun since
        self._written.acquire()
        self._ending = threading.Lock()  # free: it shall end
        self._ending.acquire()
        self._thread: threading.Thread | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin; what was written before is synced too. Repeating is harmless."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, args=(loop,), name="journal sync", daemon=True)
            self._thread.start()

    def touch(self) -> None:
        """Note that something was written."""
        if self._written.locked():  # the other thread never releases it
            self._written.release()

    def stop(self) -> None:
        """End; what was written last may not be synced. Repeating is harmless."""
        if self._thread is not None and self._ending.locked():
            self._ending.release()
            self.touch()
            self._thread.join()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            self._written.acquire()
            if self._ending.acquire(timeout=self._interval_s):
                return
            self._written.acquire(blocking=False)  # before the sync: what is written from here on is for the next one
            file = self._file()
            if file is None:
                continue
            try:
                file.sync()
            except OSError as error:
                with suppress(RuntimeError):  # the loop has ended, and nobody could do anything about it
                    loop.call_soon_threadsafe(self._failed, file, error)
