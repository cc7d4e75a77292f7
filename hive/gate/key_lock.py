"""One fleet per API key: a file lock that lives as long as the gate.

Two gates on one key would each believe that they own the account's limits, and each would cancel what the other's
start-up finds. The kernel frees the lock when the process ends, however it ends.
"""

import contextlib
import fcntl
import hashlib
import os
import time
from pathlib import Path

from hive.gate.errors import BootError

PATIENCE_S = 1.0  # a gate that has just been killed may take a moment to go


class KeyLock:
    """Holds the lock of an API key.

    Args:
        folder: where every fleet of this user keeps its key locks
        api_key: of the account
        fleet: the fleet's name, for the message that another one gets

    Raises:
        BootError: another process holds it; the message names that process and its fleet.
    """

    def __init__(self, folder: Path, api_key: str, fleet: str) -> None:
        digest = hashlib.sha256(api_key.encode("ascii")).hexdigest()[:16]
        self.path = folder / f"key-{digest}.lock"
        self._fd = self._opened()
        deadline = time.monotonic() + PATIENCE_S
        while not self._try():
            if time.monotonic() > deadline:
                holder = os.pread(self._fd, 200, 0).decode(errors="replace").strip()
                os.close(self._fd)
                raise BootError(f"another fleet is using this API key ({holder or 'its process is not named'})")
            time.sleep(0.02)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"pid {os.getpid()}, fleet {fleet}\n".encode(), 0)

    def close(self) -> None:
        """Release the lock; repeating is harmless."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):  # the folder may be another user's than the gate's
                self.path.unlink()
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1

    def _opened(self) -> int:
        return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def _try(self) -> bool:
        """Take the lock; False when another holds it, or removed the file that it had held meanwhile."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if os.fstat(self._fd).st_nlink:
            return True
        os.close(self._fd)
        self._fd = self._opened()
        return False
