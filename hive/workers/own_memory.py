"""How much memory of its own a process has; the twin of own_memory.pyx in pure Python."""

import os

JUMP = 4 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")


class OwnMemory:
    """The memory of the process that makes it; a fork reads its parent's."""

    __slots__ = ("_file", "_read")

    def __init__(self) -> None:
        self._file = -1
        self._file = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._read = 0

    def __del__(self) -> None:
        self.close()

    def read(self) -> int:
        """Return the bytes now; jumps count from here. Raises OSError when they cannot be read."""
        self._read = self._now()
        return self._read

    def has_jumped(self) -> bool:
        """Return whether it has grown or shrunk by JUMP bytes or more since read(), as far as it can be read."""
        try:
            return abs(self._now() - self._read) >= JUMP
        except OSError:
            return False

    def close(self) -> None:
        """Give the file back; repeating is harmless."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _now(self) -> int:
        _, resident, shared, *_ = os.pread(self._file, 128, 0).split()
        return (int(resident) - int(shared)) * PAGE
