"""Reads a journal while the gate writes it, from where the last reader was; it never writes to the gate's files.

    ...81920.journal  read to its last record  ->  ...163840.journal  its snapshot too  ->  ... what is there so far

A file that is followed by another is complete, so what is not right in it is damage, and is passed over; in the newest
file it is where the writer is. A new file begins with a copy of everything that is needed still, and some of that may
stand nowhere else: so records come again, and who takes them must know what it has (`recorder_orders`).
"""

import os
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from hive.gate import journal_position
from hive.gate.journal_file import file_path, list_files
from hive.gate.journal_format import (
    BODY_AT,
    HEADER_BYTES,
    KIND_AT,
    RECORD_BYTES,
    SCAN,
    SERIAL,
    Kind,
    read_header,
)
from hive.gate.journal_position import Position

_CHUNK = 2048  # records
_ID_AT, _ID_BYTES = 30, 36  # in a record
_OF_NO_ORDER = (Kind.NOTE, Kind.DONE, Kind.UNWANTED)
_WHOLE_ORDERS = (Kind.SENT, Kind.ADOPTED)


@dataclass(slots=True)
class _Open:
    path: Path
    fd: int
    first_serial: int
    created_wall_ns: int
    index: int = 0


class JournalTail:
    """One reader of one account's journal.

    Args:
        folder: of the journal; it need not be there yet
        venue: its name

    Attributes:
        missing: how many records were gone, or not right, before they could be read
    """

    def __init__(self, folder: Path, venue: str) -> None:
        self.venue = venue
        self.missing = 0
        self._folder = folder
        self._file: _Open | None = None
        self._next_serial = 0  # 0: not known
        self._saved: Position | None = None
        self._resume()

    @property
    def position(self) -> Position | None:
        """Return the next record to read, None when nothing is there yet."""
        file = self._file
        return None if file is None else Position(file.first_serial, file.created_wall_ns, file.index)

    def read(self, limit: int) -> list[bytes]:
        """Return the tails of further records that tell of orders, about `limit` at most; [] when there are none yet.

        Raises:
            JournalError: a file is another version's.
            OSError: a file cannot be read.
        """
        tails: list[bytes] = []
        while len(tails) < limit:
            if self._file is None and not self._open_first():
                break
            following = self._following()  # before the last look: what is written to a file comes before its successor
            found, read = self._records()
            tails += found
            if read:
                continue
            if following is None:
                break
            if not self._pass_damage():
                self._open(following)
        return tails

    def save(self) -> None:
        """Note on the disk that everything which was read need not be read again; OSError when that cannot be done."""
        position = self.position
        if position != self._saved and position is not None and self._folder.is_dir():
            journal_position.save(self._folder, position)
            self._saved = position

    def find(self, client_order_id: str) -> bytes | None:
        """Return the latest tail that tells of a whole order, from whatever files there are."""
        name = client_order_id.encode().ljust(_ID_BYTES, b"\0")
        for path in reversed(self._files()):
            data = path.read_bytes()
            first_serial = int(path.name[:20])
            place = data.rfind(name)
            while place >= 0:
                index, offset = divmod(place - _ID_AT - HEADER_BYTES, RECORD_BYTES)
                start = place - _ID_AT
                if offset == 0 and index >= 0 and _is_right(data, start, first_serial + index):
                    tail = data[start + SERIAL.size : start + RECORD_BYTES]
                    if tail[KIND_AT] in _WHOLE_ORDERS:
                        return tail
                place = data.rfind(name, 0, place)
        return None

    def close(self) -> None:
        """Close the file; repeating is harmless."""
        if self._file is not None:
            os.close(self._file.fd)
            self._file = None

    def _resume(self) -> None:
        position = journal_position.load(self._folder)
        path = None if position is None else file_path(self._folder, position.first_serial)
        if path is None or not path.exists():
            if position is not None and self._files():
                self._next_serial = position.first_serial + position.index
            return
        self._open(path)
        if self._file.created_wall_ns == position.created_wall_ns:
            self._file.index = position.index
            self._next_serial = position.first_serial + position.index
        else:
            self.close()
            self._next_serial = 0

    def _open_first(self) -> bool:
        files = self._files()
        if files:
            self._open(files[0])
        return bool(files)

    def _open(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.close()
        header = read_header(os.pread(fd, HEADER_BYTES, 0), str(path))
        first_serial = int(path.name[:20])
        if self._next_serial and first_serial > self._next_serial:
            self.missing += first_serial - self._next_serial
        self._file = _Open(path, fd, first_serial, 0 if header is None else header.created_wall_ns)
        self._next_serial = first_serial

    def _following(self) -> Path | None:
        """Return the file to read after this one, None when this is the newest."""
        file = self._file
        files = self._files()
        try:
            removed = os.stat(file.path).st_ino != os.fstat(file.fd).st_ino
        except FileNotFoundError:
            removed = True
        if removed:
            return files[0] if files else None  # a journal that was begun anew, or a reader far behind
        return next((path for path in files if path > file.path), None)

    def _files(self) -> list[Path]:
        return list_files(self._folder) if self._folder.is_dir() else []

    def _records(self) -> tuple[list[bytes], int]:
        """Return further tails, and how many records were read for that: up to the first that is not right."""
        file = self._file
        data = os.pread(file.fd, _CHUNK * RECORD_BYTES, HEADER_BYTES + file.index * RECORD_BYTES)
        tails = []
        read = 0
        for start in range(0, len(data) - RECORD_BYTES + 1, RECORD_BYTES):
            if not _is_right(data, start, file.first_serial + file.index + read):
                break
            read += 1
            if data[start + SERIAL.size + KIND_AT] not in _OF_NO_ORDER:
                tails.append(data[start + SERIAL.size : start + RECORD_BYTES])
        file.index += read
        self._next_serial = file.first_serial + file.index
        return tails, read

    def _pass_damage(self) -> bool:
        """Go to the next record that is right; returns whether there is one."""
        file = self._file
        index = file.index
        while data := os.pread(file.fd, _CHUNK * RECORD_BYTES, HEADER_BYTES + index * RECORD_BYTES):
            for start in range(0, len(data) - RECORD_BYTES + 1, RECORD_BYTES):
                if _is_right(data, start, file.first_serial + index):
                    self.missing += index - file.index
                    file.index = index
                    return True
                index += 1
            if len(data) < RECORD_BYTES:
                break
        return False


def _is_right(data: bytes, start: int, serial: int) -> bool:
    found, crc, *_ = SCAN.unpack_from(data, start)
    return found == serial and crc == crc32(data[start + BODY_AT : start + RECORD_BYTES])
