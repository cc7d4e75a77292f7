"""The candle series that strategies of a worker use: counted, so that one is wanted of the feed while anybody uses it.

    use(...) -> the worker's wants -> feed -> {"type": "series", ...} -> attach(...) -> reader(...)
"""

import logging
from collections.abc import Callable

from hive.shm.candles import CandleReader
from hive.shm.errors import ShmError
from hive.shm.segment import Segment

type Key = tuple[int, str, str]  # venue, pair, interval

log = logging.getLogger(__name__)


class CandleBoard:
    """All candle series of a worker. `changed(venue)` is called when wants(venue) has changed."""

    def __init__(self, changed: Callable[[int], None]) -> None:
        self._changed = changed
        self._uses: dict[Key, int] = {}
        self._segments: dict[Key, str] = {}
        self._refusals: dict[Key, str] = {}
        self._readers: dict[Key, CandleReader] = {}

    def use(self, venue: int, pair: str, interval: str) -> None:
        """Want a series from now on; to be followed by one leave()."""
        key = venue, pair, interval
        self._uses[key] = self._uses.get(key, 0) + 1
        if self._uses[key] == 1:
            self._changed(venue)

    def leave(self, venue: int, pair: str, interval: str) -> None:
        """Take one use() back."""
        key = venue, pair, interval
        left = self._uses.get(key, 0) - 1
        if left > 0:
            self._uses[key] = left
        elif left == 0:
            del self._uses[key]
            self._readers.pop(key, None)
            self._refusals.pop(key, None)
            self._changed(venue)

    def wants(self, venue: int) -> list[tuple[str, str]]:
        """Return what is wanted of a venue as (pair, kind), kind as "candles:1m", in order."""
        return sorted((pair, f"candles:{interval}") for one, pair, interval in self._uses if one == venue)

    def attach(self, venue: int, pair: str, interval: str, segment: str, reason: str = "") -> None:
        """Read a series from this segment from now on; "" says that the feed cannot serve it, and why."""
        key = venue, pair, interval
        self._readers.pop(key, None)
        if segment:
            self._segments[key] = segment
            self._refusals.pop(key, None)
        else:
            self._segments.pop(key, None)
            self._refusals[key] = reason or "the feed does not serve it"

    def reader(self, venue: int, pair: str, interval: str) -> CandleReader | None:
        """Return the reader of a series, None while the feed has not told where it is."""
        key = venue, pair, interval
        reader = self._readers.get(key)
        if reader is None and key in self._segments:
            try:
                reader = self._readers[key] = CandleReader(Segment.open(self._segments[key], kind="candles"))
            except ShmError as error:
                log.warning("candles of %s %s: %s", pair, interval, error)
                del self._segments[key]  # of a feed that is gone; the next one tells again
        return reader

    def refusal(self, venue: int, pair: str, interval: str) -> str:
        """Return why a series cannot be served, "" when that was not said."""
        return self._refusals.get((venue, pair, interval), "")
