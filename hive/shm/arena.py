"""Which places of a books segment are taken: a writer's private account of the arena. Pure.

A place is room for one book: its header and `cells` versions of `room` levels per side. It is cut from the arena once
and keeps its offset and its room for ever, so that a reader who still holds a place after it was given to another
instrument finds cells where it expects them, and version numbers in them that its own is not. That is why places are
reused and never split or joined.

No cell that fits into a page lies across two: cells of up to a page are a power of two and aligned to their size. A
store that straddles a page boundary waits for the lines on both sides, which readers have pulled: of 8 cells of 768
bytes in a row the one on the boundary held the writer for 120 ns instead of 40.
"""

from collections import deque
from collections.abc import Iterable

from hive.shm.layout import BOOK_HEADER, BOOK_VERSION, LINE, round_up

PAIR_OF_LINES = 2 * LINE  # what a prefetcher pulls: no two cells, and no header and cell, share one
PAGE = 4096
MOST_LEVELS = 5000


def cells_for(versions: int) -> int:
    """Return how many cells a book of so many versions gets: the next power of two."""
    return 1 << (versions - 1).bit_length()


def version_bytes(room: int) -> int:
    """Return the bytes of a cell for `room` levels per side."""
    size = BOOK_VERSION.size + 4 * 8 * room
    return 1 << (size - 1).bit_length() if size <= PAGE else round_up(size, PAIR_OF_LINES)


def place_bytes(room: int, cells: int) -> int:
    """Return the bytes of a book's place."""
    return BOOK_HEADER.size + cells * version_bytes(room)


def arena_offset(behind: int) -> int:
    """Return where an arena begins at or behind an offset: so that the first place's cells begin with a page."""
    return _aligned(behind, PAGE)


def arena_bytes(capacity: int, depth: int, cells: int, depths: Iterable[int]) -> int:
    """Return the bytes of an arena for `capacity` books of `depth` levels and, in any order, one each of `depths`.

    Deeper ones come on top: they are never cut from the places of the others, nor the others from theirs.
    """
    deeper = sum(_most_bytes(one, cells) for one in depths if one > depth)
    return capacity * _most_bytes(depth, cells) + deeper


def _most_bytes(room: int, cells: int) -> int:
    """Return the bytes of a book's place, and of what is left unused before it at most."""
    return place_bytes(room, cells) + _alignment(room)


def _alignment(room: int) -> int:
    size = version_bytes(room)
    return size if size <= PAGE else PAIR_OF_LINES


def _aligned(offset: int, alignment: int) -> int:
    """Return the first offset of a place, at or behind the given one, whose cells are aligned."""
    return round_up(offset + BOOK_HEADER.size, alignment) - BOOK_HEADER.size


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
        offset = _aligned(self._next, _alignment(room))
        if offset + place_bytes(room, self._cells) <= self._end:
            self._next = offset + place_bytes(room, self._cells)
            return offset, room
        larger = min((other for other, places in self._free.items() if other > room and places), default=None)
        return None if larger is None else (self._free[larger].popleft(), larger)

    def give_back(self, offset: int, room: int) -> None:
        """Take a place back that take() returned."""
        self._free.setdefault(room, deque()).append(offset)
