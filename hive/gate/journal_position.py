"""How far a journal has been read by the recorder: a small file beside the journal's folder.

    FOLDER.position.json    {"first_serial": of the file being read, "created_wall_ns": from its header,
                             "index": of the next record}

Everything before it is on the disk in the strategies' databases. The gate keeps the files from there on
(`journal_file`), and the next recorder begins there. A journal that was begun anew has the same names for other files:
the time of creation tells them apart.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

SUFFIX = ".position.json"


@dataclass(frozen=True, slots=True)
class Position:
    """The next record to read, by its number in the file of that first serial."""

    first_serial: int
    created_wall_ns: int
    index: int


def path_of(folder: Path) -> Path:
    """Return where the position of a journal is noted: not in its folder, which a gate may remove with all in it."""
    return folder.with_name(folder.name + SUFFIX)


def load(folder: Path) -> Position | None:
    """Return where the reader of a journal is, None when that is not known."""
    try:
        return Position(**{name: int(value) for name, value in json.loads(path_of(folder).read_bytes()).items()})
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def save(folder: Path, position: Position) -> None:
    """Put the position on the disk; OSError when that cannot be done, and the earlier one stays."""
    write_whole(path_of(folder), json.dumps(asdict(position)).encode())


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file by one with this content, which is on the disk then; OSError leaves the earlier one."""
    temporary = path.with_name(f"{path.name}.new")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fdatasync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
