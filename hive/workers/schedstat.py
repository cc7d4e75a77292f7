"""How long the kernel let this thread wait for a CPU although it was ready to run."""

import os
import threading


class RunDelay:
    """Reads the calling thread's share of /proc/self/task/TID/schedstat; stays 0 where the kernel does not count."""

    def __init__(self) -> None:
        try:
            path = f"/proc/self/task/{threading.get_native_id()}/schedstat"
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._fd = -1

    def ns(self) -> int:
        """Return the nanoseconds so far."""
        return 0 if self._fd < 0 else int(os.pread(self._fd, 64, 0).split()[1])

    def close(self) -> None:
        """Give the file back; ns() is 0 from now on."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
