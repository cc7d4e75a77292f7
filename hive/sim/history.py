"""The latest records of something, numbered, so that a reader can ask for what came since."""
from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Any


class History:
    """Keeps the latest records; nothing is kept until `keep` says so."""

    def __init__(self) -> None:
        self.records: deque[list[Any]] = deque(maxlen=0)
        self._next = 0

    @property
    def is_on(self) -> bool:
        """Tell whether records are kept at all."""
        return self.records.maxlen != 0

    def keep(self, count: int) -> None:
        """Keep the latest `count` records from now on; 0 ends it. Raises ValueError when it is < 0."""
        if count < 0:
            raise ValueError(f"keep must be >= 0, was {count}")
        self.records = deque(self.records, maxlen=count)

    def append(self, *values: Any) -> None:
        """Add a record, which becomes [seq, *values]; seq counts records."""
        self.records.append([self._next, *values])
        self._next += 1

    def since(self, seq: int) -> dict[str, Any]:
        """Return {"next": seq to ask for the next time, "missed": how many are forgotten, "records": [...]}."""
        first = self._next - len(self.records)
        start = max(0, seq - first)
        return {
            "next": self._next, "missed": max(0, first - seq), "records": list(islice(self.records, start, None)),
        }
