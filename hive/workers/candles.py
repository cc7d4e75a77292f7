"""The candle series that a worker's strategies use: wanted while somebody uses them, mapped once for all.

use(...) -> MarketData.want(...) -> feed -> {"type": "series", ...} -> MarketData.series(...) -> reader(...)
"""

import logging

from hive.shm.candles import CandleReader
from hive.shm.errors import ShmError
from hive.shm.segment import Segment
from hive.workers.market import MarketData

SILENT_AFTER_NS = 1_000_000_000  # candles change once a second: no need to doubt their feed as soon as books do

type Key = tuple[int, str, str]  # venue, pair, interval

log = logging.getLogger(__name__)


class CandleBoard:
    """All candle series of a worker."""

    def __init__(self, market: MarketData) -> None:
        self._market = market
        self._uses: dict[tuple[str, Key], int] = {}
        self._readers: dict[Key, tuple[str, CandleReader]] = {}

    def use(self, owner: str, venue: int, pair: str, interval: str) -> None:
        """Want a series on behalf of a strategy; to be followed by one leave(), or by the strategy's end."""
        use = owner, (venue, pair, interval)
        self._uses[use] = self._uses.get(use, 0) + 1
        if self._uses[use] == 1:
            self._market.want(owner, venue, [(pair, f"candles:{interval}")])

    def leave(self, owner: str, venue: int, pair: str, interval: str) -> None:
        """Take one use() back."""
        use = owner, (venue, pair, interval)
        left = self._uses.get(use, 0) - 1
        if left > 0:
            self._uses[use] = left
        elif left == 0:
            del self._uses[use]
            self._market.unwant(owner, venue, [(pair, f"candles:{interval}")])

    def reader(self, venue: int, pair: str, interval: str) -> CandleReader | None:
        """Return the reader of a series in the feed's current epoch, None while there is none."""
        key = venue, pair, interval
        name, _ = self._market.series(venue, pair, interval)
        known, reader = self._readers.get(key, (None, None))
        if name == known:
            return reader
        self._readers.pop(key, None)
        if name is None:
            return None
        try:
            reader = CandleReader(Segment.open(name, kind="candles"), SILENT_AFTER_NS)
        except ShmError as error:
            log.warning("candles of %s %s: %s", pair, interval, error)
            reader = None  # taken down a moment ago; the feed names another one
        self._readers[key] = name, reader
        return reader

    def refusal(self, venue: int, pair: str, interval: str) -> str:
        """Return why a series cannot be served, "" when that was not said."""
        return self._market.series(venue, pair, interval)[1]
