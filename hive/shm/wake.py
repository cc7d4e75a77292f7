"""Waking another process through a named FIFO: one byte, never blocking, harmless when nobody is there.

The receiver's descriptor goes into its event loop (loop.add_reader). It opens the FIFO for reading and writing, so that
it does not hang up when the last waker closes, which an epoll would report without end.
"""

import errno
import os
import stat
from pathlib import Path


class WakeReceiver:
    """The end that is woken; makes the FIFO (0600) and removes it.

    Args:
        path: of the FIFO; one left there by a dead process is replaced.

    Raises:
        FileExistsError: something else than a FIFO is there.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        try:
            os.mkfifo(self.path, 0o600)
        except FileExistsError:
            if not stat.S_ISFIFO(os.lstat(self.path).st_mode):
                raise
            self.path.unlink()
            os.mkfifo(self.path, 0o600)
        self._fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        """Return the descriptor to wait on; -1 after close()."""
        return self._fd

    def make_again(self) -> None:
        """Make the FIFO again, because its name was removed; fileno() is another one then.

        Who has the old one open wakes nobody any more.
        """
        fresh = WakeReceiver(self.path)
        os.close(self._fd)
        self._fd = fresh._fd

    def drain(self) -> bool:
        """Take all wake-ups so far; return whether there was one. Call it before looking for work, not after."""
        woken = False
        while True:
            try:
                data = os.read(self._fd, 65536)
            except BlockingIOError:
                return woken
            woken = True
            if len(data) < 65536:
                return True

    def close(self) -> None:
        """Close and remove the FIFO; repeating is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self.path.unlink(missing_ok=True)


class Waker:
    """The end that wakes.

    Args:
        path: of the receiver's FIFO, which need not exist yet.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
        self._fd = -1

    def wake(self) -> bool:
        """Wake the receiver; return whether one is there. Never blocks: a full FIFO is a receiver already woken."""
        for _ in range(2):
            if self._fd < 0 and not self._open():
                return False
            try:
                os.write(self._fd, b"\0")
                return True
            except BlockingIOError:
                return True
            except BrokenPipeError:
                self.close()  # the receiver went; perhaps another one came
        return False

    def close(self) -> None:
        """Close; repeating is harmless, and wake() opens again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> bool:
        try:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENXIO, errno.ENOENT):
                return False
            raise
        return True
