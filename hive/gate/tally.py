"""Sums over numbered fills that go on exactly after a restart.

    fill 1   fill 2   fill 3   fill 4   fill 5          the ledger numbers an account's fills as it takes them
                 note "PREFIX/KEY" -> "SUM|3"           a sum, and the last fill that may be in it
    note "PREFIX" -> "1"                                the last fill before the sums began

After a restart the notes are read, and then every fill that the journal still has is added once more, in any order:
one whose number is not above its key's note is in the note already, and one that is not above the beginning never
counted. This is exact as long as
- a fill keeps its number, and stands in the journal before any note that counts it (the journal loses only its end);
- the notes of a beginning are written before the first fill after it;
- the journal keeps a fill until the sums that it moved have been noted.
"""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from hive.gate.exact import ZERO, add
from hive.gate.order import Order
from hive.gate.venue import COUNTED

Key = tuple[str, ...]

TALLIED = frozenset({"position", "capital", "profit"})
"""First words of the names of notes that end with a fill's number."""


class Tally:
    """Exact sums by key.

    Args:
        prefix: of its notes' names, one or more words with "/" between
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._start = 0
        self._last = 0
        self._sums: dict[Key, Decimal] = {}
        self._noted: dict[Key, int] = {}
        self._news: dict[str, str] = {}
        self._changed: set[Key] = set()

    def begin(self, start: int) -> None:
        """Begin now: the fills up to the number `start` are before it."""
        self._start = start
        self._last = max(self._last, start)
        self._news[self._prefix] = str(start)

    def sum(self, key: Key) -> Decimal:
        """Return a key's sum, 0 when nothing moved it."""
        return self._sums.get(key, ZERO)

    def items(self) -> Iterator[tuple[Key, Decimal]]:
        """Iterate over keys and sums; they may change meanwhile."""
        return iter(list(self._sums.items()))

    def add(self, key: Key, amount: Decimal, serial: int) -> bool:
        """Add what a fill moved, unless that is in the sum or before its beginning; returns whether it was added.

        Args:
            serial: the fill's number in its account, from 1 on, or COUNTED
        """
        if serial == COUNTED:
            return False
        if serial < 1:
            raise ValueError(f"a fill's serial must be >= 1, was {serial}")
        self._last = max(self._last, serial)
        if serial <= self._noted.get(key, self._start):
            return False
        self._sums[key] = add(self._sums.get(key, ZERO), amount)
        self._changed.add(key)
        return True

    def put(self, key: Key, value: Decimal) -> None:
        """Set a sum to what it is with all fills so far; after a restart not before the journal's have been added."""
        self._sums[key] = value
        self._noted[key] = self._last
        self._changed.add(key)

    def snapshot(self) -> dict[str, str]:
        """Return the notes that changed since the last call; after a restart as with `put`."""
        notes = self._news
        for key in self._changed:
            notes["/".join((self._prefix, *key))] = f"{self._sums[key]}|{self._last}"
        self._news = {}
        self._changed.clear()
        return notes

    def names(self) -> list[str]:
        """Return the names of all its notes."""
        return [self._prefix, *("/".join((self._prefix, *key)) for key in self._sums)]

    def restore(self, notes: Mapping[str, str]) -> bool:
        """Take its own notes; returns False, and takes nothing, when it had not begun."""
        if self._prefix not in notes:
            return False
        self._start = self._last = int(notes[self._prefix])
        words = f"{self._prefix}/"
        for name, value in notes.items():
            if name.startswith(words):
                key = tuple(name[len(words) :].split("/"))
                total, _, serial = value.rpartition("|")
                self._sums[key] = Decimal(total)
                self._noted[key] = int(serial)
                self._last = max(self._last, int(serial))
        return True


def last_serial(orders: Iterable[Order], notes: Mapping[str, str]) -> int:
    """Return the highest fill number in what a journal gave back, 0 for none; the next fill's is one more."""
    highest = max((trade.serial for order in orders for trade in order.trades.values()), default=0)
    highest = max(0, highest)  # of what was COUNTED no number is known
    for name, value in notes.items():
        if name.split("/", 1)[0] in TALLIED:
            highest = max(highest, int(value.rpartition("|")[2]))
    return highest
