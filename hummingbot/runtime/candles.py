"""Candles as strategies get them from Hummingbot's `CandlesFactory`, read from the series that the feed keeps for all.

A feed of stock Hummingbot has a connection, a task and a deque of its own. This one has nothing but a place in shared
memory: `start()` wants the series, `stop()` wants it no more, and every read is a copy of the series as it is now. A
question for history wants the series for its own length, started or not, and waits until the feed has it complete.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic_ns

import numpy as np
import pandas as pd
from bidict import bidict
from hummingbot.core.network_base import NetworkBase
from hummingbot.core.network_iterator import NetworkStatus
from hummingbot.data_feed.candles_feed.candles_base import CandlesBase
from hummingbot.data_feed.candles_feed.data_types import HistoricalCandlesConfig
from hummingbot.logger import HummingbotLogger

from hive.shm.book import LIVE, RESYNCING, STALE
from hive.shm.candle_rows import rows
from hive.shm.candles import COLUMNS, CandleReader
from hive.workers.candles import CandleBoard

COMPLETE_WITHIN_NS = 10_000_000_000  # a series that nobody wanted before; its history is one request or a few
COMPLETE_POLL_S = 0.02
SERVED_ON_NS = 5_000_000_000  # a series that stopped being live is still shown for so long; it is not ready meanwhile
_NAMES = pd.Index(CandlesBase.columns)  # its data is read-only; made of a list, a frame takes four times as long


class SharedCandles(CandlesBase):
    """The candles of one pair and interval, with the surface of stock feeds; any number of them share one series.

    Args:
        owner: id of the strategy that uses them.
        connector_name: Hummingbot's name of the exchange; venue: its index in the fleet.
        board: the worker's candle series.
        max_records: how many candles a strategy wants; it gets no more than the fleet keeps (`feed.candles`).

    Raises:
        ValueError: there is no such interval, or max_records is not positive.
    """

    _logger: HummingbotLogger | None = None

    def __init__(
        self,
        owner: str,
        connector_name: str,
        venue: int,
        board: CandleBoard,
        trading_pair: str,
        interval: str,
        max_records: int,
    ):
        NetworkBase.__init__(self)  # not CandlesBase's: it makes a throttler and a web client
        if interval not in self.interval_to_seconds:
            known = ", ".join(self.interval_to_seconds)
            raise ValueError(f"candles of {trading_pair}: interval must be one of {known}, was {interval!r}")
        if max_records < 1:
            raise ValueError(f"candles of {trading_pair} {interval}: max_records must be >= 1, was {max_records}")
        self.interval = interval
        self.max_records = max_records
        self._owner = owner
        self._connector_name = connector_name
        self._venue = venue
        self._board = board
        self._trading_pair = trading_pair
        self._ex_trading_pair = self.get_exchange_trading_pair(trading_pair)
        self._connector = None
        self._questions = 0  # for history, that have not been answered yet
        self._said = ""

    @classmethod
    def logger(cls) -> HummingbotLogger:
        """Return the logger of all shared candles."""
        if cls._logger is None:
            cls._logger = logging.getLogger(__name__)
        return cls._logger

    @property
    def name(self) -> str:
        """Hummingbot's name of the feed: exchange and pair."""
        return f"{self._connector_name}_{self._trading_pair}"

    @property
    def intervals(self) -> bidict:
        """The intervals that candles can have; a venue may have fewer."""
        return bidict({name: name for name in self.interval_to_seconds})

    @property
    def rate_limits(self) -> list:
        """Empty: the feed asks for history, inside the fleet's budget."""
        return []

    @property
    def ready(self) -> bool:
        """Whether the series is live and has as many candles as are wanted (or as the fleet keeps)."""
        reader = self._reader()
        if reader is None:
            return False
        if self.max_records > reader.capacity:
            self._say_once(f"{self.max_records} are wanted, the fleet keeps {reader.capacity}: see feed.candles")
        return reader.state_at() == LIVE and reader.count >= min(self.max_records, reader.capacity)

    @property
    def candles_df(self) -> pd.DataFrame:
        """The newest candles, oldest first, the current one last, as a frame of the caller's own.

        Empty while there are none, and when the series has not been live for a while, as a stock feed is after its
        connection was lost.
        """
        return pd.DataFrame(self._rows(self.max_records), columns=_NAMES.copy())

    @property
    def _candles(self) -> deque:
        """What stock code writes downloaded candles into: dropped, the series has them already."""
        return deque(maxlen=0)

    def get_exchange_trading_pair(self, trading_pair: str) -> str:
        """Return the pair as most venues write it; the feed has the venue's own symbol."""
        return trading_pair.replace("-", "")

    def attach_connector(self, connector: object) -> None:
        """Take note of the exchange's connector; there is no throttler to share."""
        self._connector = connector

    def start(self) -> None:
        """Want the series."""
        if not self._started:
            self._started = True
            self._network_status = NetworkStatus.CONNECTED
            self._board.use(self._owner, self._venue, self._trading_pair, self.interval)

    def stop(self) -> None:
        """Want the series no more."""
        if self._started:
            self._started = False
            self._network_status = NetworkStatus.STOPPED
            self._board.leave(self._owner, self._venue, self._trading_pair, self.interval)

    async def start_network(self) -> None:
        """Do nothing: the feed has the connection."""

    async def stop_network(self) -> None:
        """Do nothing: the feed has the connection."""

    async def check_network(self) -> NetworkStatus:
        """Return CONNECTED: a lost feed makes the candles not ready."""
        return NetworkStatus.CONNECTED

    async def initialize_exchange_data(self) -> None:
        """Do nothing: the feed has the venue's symbols."""

    async def get_historical_candles(self, config: HistoricalCandlesConfig) -> pd.DataFrame:
        """Return the candles that opened within [start_time, end_time], in s; waits for a series that is new.

        Raises:
            ValueError: candles from before what the fleet keeps are asked for.
        """
        async with self._complete():
            return pd.DataFrame(self._between(config.start_time, config.end_time), columns=self.columns)

    async def fetch_candles(
        self, start_time: int | None = None, end_time: int | None = None, limit: int | None = None
    ) -> np.ndarray:
        """Return up to `limit` candles from start_time on, else up to end_time, as an array with upstream's columns.

        Waits for a series that is new.

        Raises:
            ValueError: no time is given, or it is before what the fleet keeps.
        """
        if start_time is None and end_time is None:
            raise ValueError("Either the start time or end time must be specified.")
        async with self._complete():
            if end_time is None:
                return self._between(start_time, float("inf"))[:limit]
            found = self._between(end_time if start_time is None else start_time, end_time)
            if start_time is None:
                found = self._rows(None)
                found = found[found[:, 0] <= end_time]
            return found if limit is None else found[-limit:]

    def load_candles_from_csv(self, data_path: str) -> None:
        """Refuse: the series belongs to all strategies of the fleet."""
        raise NotImplementedError(f"{self.name} {self.interval}: shared candles cannot be loaded from {data_path}")

    @asynccontextmanager
    async def _complete(self) -> AsyncIterator[None]:
        """Want the series for as long as a question takes, and begin when the feed has it complete or refuses it."""
        where = self._venue, self._trading_pair, self.interval
        self._questions += 1
        self._board.use(self._owner, *where)
        try:
            give_up_ns = monotonic_ns() + COMPLETE_WITHIN_NS
            while not len(self._rows(1)) and not self._board.refusal(*where) and monotonic_ns() < give_up_ns:
                await asyncio.sleep(COMPLETE_POLL_S)
            yield
        finally:
            self._questions -= 1
            self._board.leave(self._owner, *where)

    def _reader(self) -> CandleReader | None:
        where = self._venue, self._trading_pair, self.interval
        reader = self._board.reader(*where) if self._started or self._questions else None
        if reader is None and (reason := self._board.refusal(*where)):
            self._say_once(reason)
        return reader

    def _rows(self, most: int | None) -> np.ndarray:
        reader = self._reader()
        if reader is not None:
            state = reader.state_at()
            served_on = state in (STALE, RESYNCING) and monotonic_ns() - reader.state_ns < SERVED_ON_NS
            if state == LIVE or served_on:
                return rows(reader, most)
        return np.empty((0, COLUMNS))

    def _between(self, start_s: float, end_s: float) -> np.ndarray:
        kept = self._rows(None)
        if not len(kept) or start_s < kept[0, 0]:
            oldest = f"from {kept[0, 0]:.0f} on" if len(kept) else "none now"
            raise ValueError(
                f"{self.name} {self.interval}: candles from {start_s:.0f} on are asked for, "
                f"the fleet keeps {oldest}: see feed.candles"
            )
        return kept[(kept[:, 0] >= start_s) & (kept[:, 0] <= end_s)]

    def _say_once(self, problem: str) -> None:
        if problem != self._said:
            self._said = problem
            self.logger().error(f"Candles of {self.name} {self.interval}: {problem}")
