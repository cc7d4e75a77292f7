"""One file of a journal while it is written: allocated in full before its first byte, each record at its own place.

    NAME.tmp, allocated -> header and snapshot -> renamed -> records ... -> cut to what was written, closed

A write that failed, or did only a part, counts as not done; doing it again puts the same bytes into the same place.
What was allocated can be written on a full disk; on file systems that copy on write even that may fail, and is then an
OSError like any other.
"""

import errno
import os
import re
from contextlib import suppress
from pathlib import Path

from hive.gate import journal_position
from hive.gate.journal_format import HEADER_BYTES, RECORD_BYTES, Header
from hive.gate.journal_pack import records

KEEP_FILES = 256
UNREAD_BYTES = 1 << 30  # of older files that the recorder has not read, when less is to be kept

_NAME = re.compile(r"\d{20}\.journal")


class JournalFile:
    """A file that is written.

    Args:
        path: of the temporary file, which must not exist
        size: bytes to allocate

    Raises:
        OSError: there is no room, or the folder cannot be written to; nothing is left.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self.in_folder = False  # its name is known to survive a loss of power
        self._size = 0
        self._fits = 0  # records
        self._count = 0
        self._first_serial = 0
        try:
            self._allocate(size)
        except OSError:
            self.discard()
            raise

    @property
    def room(self) -> int:
        """Return how many more records fit."""
        return self._fits - self._count

    @property
    def next_serial(self) -> int:
        """Return the serial that the next record gets."""
        return self._first_serial + self._count

    @property
    def end(self) -> int:
        """Return how many bytes are written."""
        return HEADER_BYTES + self._count * RECORD_BYTES

    def begin(self, header: Header, snapshot: list[bytes], size: int, path: Path) -> None:
        """Write the header and the snapshot (see `append`), grow to `size`, and take the final name.

        Raises:
            OSError: it could not be done; discard the file.
        """
        self._allocate(size)
        self._first_serial = header.first_serial
        self._write(header.pack(), 0)
        self.append(snapshot)
        os.rename(self.path, path)
        self.path = path

    def append(self, tails: list[bytes]) -> None:
        """Write records, which must fit; OSError when not all of them could be written.

        Args:
            tails: each item is one, or several in a row
        """
        count = self._count
        data = records(self._first_serial + count, tails)
        self._write(data, HEADER_BYTES + count * RECORD_BYTES)
        self._count = count + len(data) // RECORD_BYTES

    def sync(self) -> None:
        """Wait until everything is on the disk."""
        os.fdatasync(self.fd)

    def cut(self) -> None:
        """Give back what was allocated and not used."""
        os.ftruncate(self.fd, self.end)

    def close(self) -> None:
        """Close it; repeating is harmless."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def discard(self) -> None:
        """Close and remove it."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _allocate(self, size: int) -> None:
        if size <= self._size:
            return
        room = os.fstatvfs(self.fd)
        if room.f_blocks and size - self._size > room.f_bavail * room.f_frsize:  # trying would take all there is
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        os.posix_fallocate(self.fd, 0, size)
        self._size = size
        self._fits = (size - HEADER_BYTES) // RECORD_BYTES

    def _write(self, data: bytes, place: int) -> None:
        written = os.pwrite(self.fd, data, place)
        if written != len(data):
            raise OSError(errno.ENOSPC, f"only {written} of {len(data)} bytes could be written", str(self.path))


def file_path(folder: Path, first_serial: int) -> Path:
    """Return the path of the file that begins with a serial."""
    return folder / f"{first_serial:020d}.journal"


def list_files(folder: Path) -> list[Path]:
    """Return a folder's files, oldest first."""
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def settle(
    file: JournalFile, retired: list[JournalFile], ends: list[tuple[Path, int]], sync: bool, keep_bytes: int
) -> None:
    """Sync a file, and if it is new its name; only then let go of older ones.

    Args:
        retired: files that it follows; they are closed
        ends: others, and where each ends
        keep_bytes: of older files

    Raises:
        OSError: nobody knows what of the file is on the disk.
    """
    try:
        if sync:
            file.sync()
        if not file.in_folder:
            if sync:
                _sync_folder(file.path.parent)
            file.in_folder = True
            with suppress(OSError):  # that costs room and nothing else
                _tidy(file.path, retired, ends, keep_bytes)
    finally:
        for old in retired:
            old.close()


def _tidy(newest: Path, retired: list[JournalFile], ends: list[tuple[Path, int]], keep_bytes: int) -> None:
    """Cut older files to what was written, and remove the oldest; the one before the newest always stays.

    What the recorder has not read stays too, while it is not more than UNREAD_BYTES.
    """
    for old in retired:
        old.cut()
    for path, end in ends:
        if path != newest and path.stat().st_size > end:
            os.truncate(path, end)
    reader = journal_position.load(newest.parent)
    unread = newest if reader is None else file_path(newest.parent, reader.first_serial)
    older_bytes = 0
    for count, path in enumerate(reversed([path for path in list_files(newest.parent) if path < newest])):
        older_bytes += path.stat().st_size
        if path >= unread and older_bytes <= UNREAD_BYTES:
            continue
        if count and (older_bytes > keep_bytes or count >= KEEP_FILES):
            path.unlink()


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
