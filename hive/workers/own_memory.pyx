"""How much memory of its own a process has: what is resident and neither shared memory nor a file.

In C, because each worker reads it ten times a second; a reading is one system call on a file that stays open.
"""

import os

from libc.errno cimport errno
from libc.stdint cimport int64_t
from libc.stdlib cimport strtoll
from posix.unistd cimport close, pread

JUMP = 4 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")
cdef int64_t _JUMP = JUMP
cdef int64_t _PAGE = PAGE


cdef class OwnMemory:
    """The memory of the process that makes it; a fork reads its parent's."""

    def __cinit__(self):
        self._file = -1
        self._file = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)

    def __dealloc__(self):
        self._close()

    def read(self) -> int:
        """Return the bytes now; jumps count from here. Raises OSError when they cannot be read."""
        cdef int64_t now = self._now()
        if now < 0:
            raise OSError(errno, "statm cannot be read")
        self._read = now
        return now

    def has_jumped(self) -> bool:
        """Return whether it has grown or shrunk by JUMP bytes or more since read(), as far as it can be read."""
        return self.c_has_jumped()

    def close(self) -> None:
        """Give the file back; repeating is harmless."""
        self._close()

    cdef void _close(self) noexcept:
        if self._file >= 0:
            close(self._file)
            self._file = -1

    cdef int64_t _now(self) noexcept nogil:
        """Return the bytes now, -1 when they cannot be read."""
        cdef char text[128]
        cdef char *at = text
        cdef Py_ssize_t size = pread(self._file, text, sizeof(text) - 1, 0)
        cdef int64_t resident
        if size <= 0:
            return -1
        text[size] = 0
        strtoll(at, &at, 10)  # all that is mapped
        resident = strtoll(at, &at, 10)
        return (resident - strtoll(at, &at, 10)) * _PAGE

    cdef bint c_has_jumped(self) noexcept nogil:
        cdef int64_t now = self._now()
        return now >= 0 and (now - self._read >= _JUMP or self._read - now >= _JUMP)
