"""Who may place no new orders: halts by an operator or by the gate, in force until they are lifted.

    <state dir>/halts.json      0600; outlives the fleet, so that a restart trades no more than before

A halt's scope is the fleet, a venue, a strategy, or a strategy at a venue. One that is halted again keeps its time and
takes the new reason. A file that cannot be read halts the whole fleet: what it held is not known.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

OPERATOR, GATE = "operator", "gate"


@dataclass(frozen=True, slots=True)
class Halt:
    """One halt; None for every venue, or every strategy. `by` is "operator" or "gate"."""

    venue: str | None
    strategy: str | None
    reason: str
    by: str = OPERATOR
    wall_ns: int = 0

    def scope(self) -> dict[str, Any]:
        """Return what the gate must know of it."""
        return {"venue": self.venue, "strategy": self.strategy, "reason": self.reason}

    @property
    def whom(self) -> str:
        """Who is halted, in words."""
        return scope_text(self.venue, self.strategy)

    def __str__(self) -> str:
        return f"{self.whom} ({self.reason})" if self.reason else self.whom


class Halts:
    """The halts in force, kept in a file. `problem` says why the file is not as they are, "" when it is.

    Args:
        path: of the file; it need not exist.
        wall_ns: the host's wall clock.
    """

    def __init__(self, path: Path, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self._path = path
        self._wall_ns = wall_ns
        self.problem = ""
        self._halts: dict[tuple[str | None, str | None], Halt] = {}
        for halt in self._read():
            self._halts[halt.venue, halt.strategy] = halt

    def __iter__(self) -> Iterator[Halt]:
        return iter(list(self._halts.values()))

    def __len__(self) -> int:
        return len(self._halts)

    def add(self, venue: str | None, strategy: str | None, reason: str, by: str = OPERATOR) -> Halt:
        """Put a halt into force and keep it."""
        before = self._halts.get((venue, strategy))
        since = before.wall_ns if before else self._wall_ns()
        halt = self._halts[venue, strategy] = Halt(venue, strategy, reason, by, since)
        self._write()
        return halt

    def lift(self, venue: str | None, strategy: str | None) -> list[Halt]:
        """Lift the halt of exactly a venue, or of the fleet; of a strategy also those at single venues.

        Returns:
            What was lifted, [] when nothing of that scope was halted.
        """
        wide = venue is None and strategy is not None
        found = [key for key in self._halts if key == (venue, strategy) or (wide and key[1] == strategy)]
        lifted = [self._halts.pop(key) for key in found]
        if lifted:
            self._write()
        return lifted

    def to_json(self) -> list[dict[str, Any]]:
        """Return them as JSON can say it."""
        return [asdict(halt) for halt in self._halts.values()]

    def _read(self) -> list[Halt]:
        try:
            return [_halt(entry) for entry in json.loads(self._path.read_bytes())]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            return [Halt(None, None, f"{self._path} cannot be read: {error}", GATE, self._wall_ns())]

    def _write(self) -> None:
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "w") as file:
                json.dump(self.to_json(), file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            fresh.rename(self._path)
            self.problem = ""
        except OSError as error:
            self.problem = error.strerror or str(error)


def scope_text(venue: str | None, strategy: str | None) -> str:
    """Return a scope in words."""
    if strategy is not None:
        return f"strategy {strategy}" + (f" at {venue}" if venue is not None else "")
    return "the whole fleet" if venue is None else f"venue {venue}"


def _halt(entry: dict[str, Any]) -> Halt:
    scope = (_name(entry["venue"]), _name(entry["strategy"]))
    return Halt(*scope, str(entry["reason"]), str(entry["by"]), int(entry["wall_ns"]))


def _name(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"a venue or strategy must be a text, was {value!r}")
