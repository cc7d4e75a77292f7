"""Puts on the disk what was written: a thread that syncs no later than an interval after a write, and wakes nobody.

    touch() ... touch()          touch()
    |-- interval_s --| sync      |-- interval_s --| sync

One sync is for all that was written before it began. The loop that writes neither waits for it nor hears of it, unless
it fails: at a few orders a second two wake-ups of a loop for each sync cost as much as an order does. Nor does a write
wake the thread, which might take the CPU from an order that is about to be sent: it sets a timer of the kernel's, and
that wakes the thread when the sync is due. Source: timerfd_create(2).
"""

import asyncio
import ctypes
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from hive.gate.journal_file import JournalFile

_LIBC = ctypes.PyDLL(None, use_errno=True)  # keeps the GIL: the calls return at once
_LIBC.timerfd_settime.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_CLOCK = time.CLOCK_MONOTONIC
_COUNT_BYTES = 8  # what a timer gives to read
_Setting = ctypes.c_long * 4  # repeated after, due after: s and ns of each


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
        self._interval_ns = max(1, round(interval_s * 1e9))  # 0 would stop the timer
        self._file = file
        self._failed = failed
        self._due = False  # something was written, and no sync has begun since; the thread alone takes it back
        self._ending = False
        self._thread: threading.Thread | None = None
        self._timer = -1

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin; what was written before is synced too. Repeating is harmless; OSError when no timer can be made."""
        if self._thread is None:
            self._timer = _LIBC.timerfd_create(_CLOCK, os.O_CLOEXEC)
            if self._timer < 0:
                error = ctypes.get_errno()
                raise OSError(error, f"timerfd_create: {os.strerror(error)}")
            thread = threading.Thread(target=self._run, args=(loop,), name="journal sync", daemon=True)
            thread.start()
            self._thread = thread
            if self._due:
                self._set_timer(self._interval_ns)

    def touch(self) -> None:
        """Note that something was written."""
        if not self._due:
            self._due = True
            if self._timer >= 0:
                self._set_timer(self._interval_ns)

    def stop(self) -> None:
        """End; what was written last may not be synced. Repeating is harmless."""
        if self._timer >= 0:
            self._ending = True
            self._set_timer(1)
            if self._thread is not None:
                self._thread.join()
            os.close(self._timer)
            self._timer = -1

    def _set_timer(self, after_ns: int) -> None:
        if _LIBC.timerfd_settime(self._timer, 0, _Setting(0, 0, *divmod(after_ns, 1_000_000_000)), None) != 0:
            error = ctypes.get_errno()
            raise OSError(error, f"timerfd_settime: {os.strerror(error)}")

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            os.read(self._timer, _COUNT_BYTES)
            if self._ending:
                return
            self._due = False  # before the sync: what is written from here on is for the next one
            file = self._file()
            if file is None:
                continue
            try:
                file.sync()
            except OSError as error:
                with suppress(RuntimeError):  # the loop has ended, and nobody could do anything about it
                    loop.call_soon_threadsafe(self._failed, file, error)
