"""Which places of a books segment are taken: a writer's private account of the arena. Pure.

A place is room for one book: its header and `cells` versions of `room` levels per side. It is cut from the arena once
and keeps its offset and its room for ever, so that a reader who still holds a place after it was given to another
instrument finds cells where it expects them, and version numbers in them that its own is not. That is why places are
reused and never split or joined.
"""

from collections import deque

from hive.shm.layout import BOOK_HEADER, BOOK_VERSION, LINE, round_up

PAIR_OF_LINES = 2 * LINE  # what a prefetcher pulls: no two cells, and no header and cell, share one
MOST_LEVELS = 5000


def cells_for(versions: int) -> int:
    """Return how many cells a book of so many versions gets: the next power of two."""
    return 1 << (versions - 1).bit_length()


def version_bytes(room: int) -> int:
    """Return the bytes of a cell for `room` levels per side."""
    return round_up(BOOK_VERSION.size + 4 * 8 * room, PAIR_OF_LINES)


def place_bytes(room: int, cells: int) -> int:
    """Return the bytes of a book's place."""
    return BOOK_HEADER.size + cells * version_bytes(room)


class Arena:
    """Hands out places between `offset` and `end`; `least` is the smallest room that one is cut with."""

    def __init__(self, offset: int, end: int, cells: int, least: int) -> None:
        self._next = offset
        self._end = end
        self._cells = cells
        self._least = least
        self._free: dict[int, deque[int]] = {}

    def take(self, depth: int) -> tuple[int, int] | None:
        """Return (offset, room) of a place for `depth` levels, None when there is none.

        One of just the right room that was used before comes first (the one that is free for longest), then a new one,
        then the next larger of those used before.
        """
        room = max(depth, self._least)
        if self._free.get(room):
            return self._free[room].popleft(), room
        size = place_bytes(room, self._cells)
        if size <= self._end - self._next:
            offset = self._next
            self._next += size
            return offset, room
        larger = min((other for other, places in self._free.items() if other > room and places), default=None)
        return None if larger is None else (self._free[larger].popleft(), larger)

    def give_back(self, offset: int, room: int) -> None:
        """Take a place back that take() returned."""
        self._free.setdefault(room, deque()).append(offset)
