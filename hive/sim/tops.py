"""The exchange's memory of its own books, by which a reader's claim can be proved wrong: what was at update id N?

A client sees a book only as it was when a diff ended or a snapshot was taken, so these moments are kept, for the
symbols that were asked for: best prices, and a checksum over the best levels, as the client's float64 would have them.

    record   [seq, symbol, update_id, ns, published, bid, bid_qty, ask, ask_qty, bids, asks, checksum]

seq counts records; ns is the monotonic clock; published is 1 for a diff (from then on who has an older book is late),
0 for a snapshot. An empty side is 0, 0; bids and asks say how many levels the checksum covers: crc32 of the
little-endian float64 of price, quantity, price, quantity ... of the bids, best first, then of the asks.
"""
from __future__ import annotations

import struct
import time
from array import array
from collections.abc import Iterable
from typing import Any
from zlib import crc32

from hive.sim.book import Book, Side
from hive.sim.decimals import UNIT
from hive.sim.history import History

MOST_LEVELS = 1000


def checksum(bids: Iterable[tuple[float, float]], asks: Iterable[tuple[float, float]]) -> int:
    """Return the checksum of levels as a client has them, best first."""
    values = [value for side in (bids, asks) for level in side for value in level]
    return crc32(struct.pack(f"<{len(values)}d", *values))


class TopHistory:
    """The latest moments of the books that are watched; nothing is kept until watch() says so."""

    def __init__(self) -> None:
        self._levels = 0
        self._names: frozenset[str] = frozenset()
        self._history = History()

    def watch(self, names: Iterable[str], levels: int, keep: int) -> None:
        """Keep the latest `keep` moments (all symbols together) of these books; 0 ends it. Raises ValueError."""
        if not 1 <= levels <= MOST_LEVELS:
            raise ValueError(f"levels must be from 1 to {MOST_LEVELS}, was {levels}")
        self._history.keep(keep)
        self._names = frozenset(names) if keep else frozenset()
        self._levels = levels

    def note(self, name: str, book: Book, *, published: bool) -> None:
        """Remember a book as it is now."""
        if name not in self._names:
            return
        bids, asks = _flat(book.bids, self._levels), _flat(book.asks, self._levels)
        best = [*(bids[:2] or (0.0, 0.0)), *(asks[:2] or (0.0, 0.0))]
        total = crc32(asks.tobytes(), crc32(bids.tobytes()))  # array("d") is little-endian where this runs
        self._history.append(
            name, book.update_id, time.monotonic_ns(), int(published), *best, len(bids) // 2, len(asks) // 2, total
        )

    def since(self, seq: int) -> dict[str, Any]:
        """Return {"next": seq to ask for the next time, "missed": how many are forgotten, "records": [...]}."""
        return self._history.since(seq)

    def at(self, name: str, update_id: int) -> list[Any] | None:
        """Return the record of a book at an update id, None when it is not known (any more)."""
        records = reversed(self._history.records)
        return next((record for record in records if record[1] == name and record[2] == update_id), None)


def _flat(side: Side, levels: int) -> array:
    return array("d", [value / UNIT for level in side.top(levels) for value in level])
