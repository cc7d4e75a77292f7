"""Log files of several processes as one: the last lines, then what comes, in the order of their times.

    worker0.log.1, worker0.log ──▶ LogFile.last(n), .more() ──▶ records ──▶ in_order(): by time

A record is a line that begins with a date and a time, and the lines after it without one (a traceback). Records of one
file stay in its order; those of several are put in order by their times, within what was read together.

A file may be rotated (renamed to NAME.1, NAME.1 to NAME.2, ...), replaced, cut or missing at any moment. It is followed
by its inode: what was written to a part before it was renamed is read before the part that came after it, and nothing
is read twice.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

BLOCK = 1 << 16
AT_ONCE = 8 << 20  # bytes of one part that are read in a row, before the other files have their turn

_TIME = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)[.,](\d{3})")
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), *range(127, 160))}  # all but tabs


@dataclass(frozen=True, slots=True)
class Record:
    """What was logged at once: its time ("" when the file begins without one), whose it is, its lines."""

    time: str
    name: str
    lines: tuple[str, ...]


class LogFile:
    """One log with its rotated parts.

    Args:
        path: of the newest part; it need not exist.
        name: whose it is.
        wanted: whether a record with this first line counts; None: all do.
    """

    def __init__(self, path: Path, name: str, wanted: Callable[[str], bool] | None = None) -> None:
        self.path = path
        self.name = name
        self._wanted = wanted
        self._parser = _Parser(name, wanted)
        self._file: BinaryIO | None = None

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def last(self, count: int) -> list[Record]:
        """Return the records with the last `count` lines, or more; more() goes on after them."""
        if self._file is None:
            self._file = _opened(self.path)
        if self._file is None:
            return []
        found, self._parser = self._tail(self._file, count)
        for older in self._older():
            if _lines_in(found) >= count:
                break
            if (file := _opened(older)) is not None:
                with file:
                    found = self._tail(file, count - _lines_in(found))[0] + found
        return found

    def more(self) -> list[Record]:
        """Return what was written since; [] when nothing was."""
        if self._file is None:
            self._file = _opened(self.path)
        found: list[Record] = []
        while self._file is not None:
            lines, at_end = _complete_lines(self._file)
            found += self._parser.feed(lines)
            if not at_end or (newer := self._newer()) is None:
                break
            found += self._parser.feed(self._file.read().splitlines())  # from before it was renamed
            self.close()
            self._file = newer
        return found

    def _older(self) -> Iterable[Path]:
        number = 1
        while (part := self._part(number)).exists():
            yield part
            number += 1

    def _part(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}") if number else self.path

    def _newer(self) -> BinaryIO | None:
        """Return the part that came after the open one, opened; None when there is none yet."""
        own = os.fstat(self._file.fileno())
        while True:
            parts = self._parts()
            inodes = [0 if part is None else part.st_ino for part in parts]
            if own.st_ino in inodes:
                at = inodes.index(own.st_ino) - 1
            else:  # removed, as the oldest or by hand
                later = [number for number, part in enumerate(parts) if part and part.st_mtime_ns >= own.st_mtime_ns]
                at = max(later, default=-1)
            file = _opened(self._part(at)) if at >= 0 else None
            if file is None or os.fstat(file.fileno()).st_ino == inodes[at]:
                return file
            file.close()  # renamed in between

    def _parts(self) -> list[os.stat_result | None]:
        """Return what the file system says of all parts, newest first; None for the newest while it is missing."""
        parts = [_status(self._part(0))]
        while (status := _status(self._part(len(parts)))) is not None:
            parts.append(status)
        return parts

    def _tail(self, file: BinaryIO, count: int) -> tuple[list[Record], "_Parser"]:
        """Return the last records of a file, which is left after its last complete line, and their parser."""
        end = file.seek(0, os.SEEK_END)
        wide = BLOCK
        while True:
            start = max(0, end - wide)
            file.seek(start)
            data = file.read(end - start)
            data = data[: data.rfind(b"\n") + 1]
            lines = data.splitlines()
            if start > 0:
                first = next((at for at, line in enumerate(lines) if at > 0 and _TIME.match(_text(line))), 1)
                lines = lines[first:]
            parser = _Parser(self.name, self._wanted)
            records = parser.feed(lines)
            if start == 0 or wide >= AT_ONCE or _lines_in(records) >= count:
                file.seek(start + len(data))
                return records, parser
            wide *= 4


class _Parser:
    """Makes records of lines; what follows without a time belongs to the record before it, in a later call too."""

    def __init__(self, name: str, wanted: Callable[[str], bool] | None) -> None:
        self._name = name
        self._wanted = wanted
        self._time = ""
        self._taken = wanted is None

    def feed(self, lines: Iterable[bytes]) -> list[Record]:
        found: list[tuple[str, list[str]]] = []
        begun = False
        for line in map(_text, lines):
            if match := _TIME.match(line):
                self._time = f"{match[1]}.{match[2]}"
                self._taken = self._wanted is None or self._wanted(line)
                begun = False
            if self._taken and begun:
                found[-1][1].append(line)
            elif self._taken:
                found.append((self._time, [line]))
                begun = True
        return [Record(time, self._name, tuple(texts)) for time, texts in found]


def in_order(files: Iterable[Sequence[Record]]) -> list[Record]:
    """Return the records of several files by time; those of one file stay in its order, whatever their times."""
    keyed: list[tuple[str, Record]] = []
    for records in files:
        latest = ""
        for record in records:
            latest = max(latest, record.time)
            keyed.append((latest, record))
    return [record for _, record in sorted(keyed, key=lambda one: one[0])]


def _complete_lines(file: BinaryIO) -> tuple[list[bytes], bool]:
    """Return the lines from here on that have an end, and whether that was all; a file that was cut begins anew."""
    here = file.tell()
    if os.fstat(file.fileno()).st_size < here:
        here = file.seek(0)
    data = file.read(AT_ONCE)
    end = data.rfind(b"\n") + 1
    if len(data) == AT_ONCE and end == 0:
        end = AT_ONCE  # a line without an end: in pieces rather than never
    file.seek(here + end)
    return data[:end].splitlines(), len(data) < AT_ONCE


def _lines_in(records: Iterable[Record]) -> int:
    return sum(len(record.lines) for record in records)


def _text(line: bytes) -> str:
    """Return a line as text that does nothing to a terminal."""
    return line.decode(errors="replace").translate(_CONTROLS)


def _opened(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None
