"""All candle series of one venue: one segment, one stream and one history each, however many want them.

    follow(rules, interval) -> segment candles.<venue>.<n>, stream, history -> complete: {"type": "series", ...}
    unfollow(pair, interval) -> REMOVED, stream and segment gone
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hive.feed.candles import CandleSeries, interval_ms
from hive.feed.errors import MalformedMessage, VenueRefused
from hive.feed.metrics import VenueMetrics
from hive.feed.pool import PoolFull, StreamPool
from hive.feed.rest import RestClient
from hive.feed.venue import CandleEvent, Venue
from hive.shm.book import REMOVED
from hive.shm.candles import CandleWriter, candles_size
from hive.shm.errors import ShmError
from hive.shm.instruments import InstrumentRules
from hive.shm.segment import Segment

AT_A_TIME = 2  # requests; a venue's budget is for its books first

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Followed:
    """A series that is served."""

    pair: str
    interval: str
    streams: tuple[str, ...]
    segment: Segment
    writer: CandleWriter
    series: CandleSeries


class CandleDesk:
    """Serves the kinds "candles:INTERVAL" of one venue.

    Args:
        name: the venue's.
        records: candles kept per series.
        create: makes a segment of (name, bytes, kind) that beats with the feed's others; remove: unlinks it.
        tell: sends an object to the supervisor.
        clock, wall_ns: monotonic and wall clock.
    """

    def __init__(
        self,
        name: str,
        venue: Venue,
        records: int,
        create: Callable[[str, int, str], Segment],
        remove: Callable[[Segment], None],
        tell: Callable[[dict[str, Any]], None],
        metrics: VenueMetrics,
        clock: Callable[[], int] = time.monotonic_ns,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._name = name
        self._venue = venue
        self._records = records
        self._create = create
        self._remove = remove
        self._tell = tell
        self._metrics = metrics
        self._clock = clock
        self._wall_ns = wall_ns
        self._rest: RestClient | None = None
        self._pool: StreamPool | None = None
        self._followed: dict[tuple[str, str], Followed] = {}  # by pair and interval
        self._by_event: dict[tuple[str, str], CandleSeries] = {}  # by symbol and interval
        self._numbers = 0
        self._told: dict[tuple[str, str], dict[str, Any]] = {}  # by pair and interval
        self._due: dict[CandleSeries, None] = {}
        self._changed = asyncio.Event()

    # --- what VenueFeed says (market.CandleFeed)

    def start(self, rest: RestClient, pool: StreamPool, group: asyncio.TaskGroup) -> None:
        """Begin: requests by `rest`, streams by `pool`, tasks in `group`."""
        self._rest = rest
        self._pool = pool
        for _ in range(AT_A_TIME):
            group.create_task(self._fetch_for_ever())

    def follow(self, rules: InstrumentRules, interval: str) -> None:
        """Serve a series from now on; who waits for it is told when it is complete, or that it cannot be served."""
        pair = rules.pair
        segment = None
        try:
            streams = tuple(self._venue.streams(rules.symbol, f"candles:{interval}"))
            length_ms = interval_ms(interval)
            segment = self._create(f"candles.{self._name}.{self._numbers}", candles_size(self._records), "candles")
            self._numbers += 1
            writer = CandleWriter(segment, pair, interval, length_ms, self._records)
            series = CandleSeries(
                rules.symbol, interval, self._records, writer, self._metrics, self._ask, self._joined,
                self._clock, self._wall_ns,
            )  # fmt: skip
            self._followed[pair, interval] = Followed(pair, interval, streams, segment, writer, series)
            self._by_event[rules.symbol, interval] = series
            self._pool.carry(streams, series)
        except (ValueError, ShmError, PoolFull) as error:
            self._followed.pop((pair, interval), None)
            self._by_event.pop((rules.symbol, interval), None)
            if segment is not None:
                self._remove(segment)
            self._refuse(pair, interval, str(error))
        self._metrics.candle_series.set(len(self._followed))

    def unfollow(self, pair: str, interval: str) -> None:
        """Serve a series no more."""
        self._told.pop((pair, interval), None)
        one = self._followed.pop((pair, interval), None)
        if one is None:
            return  # it could not be served
        del self._by_event[one.series.symbol, interval]
        self._due.pop(one.series, None)
        self._pool.drop(one.streams)
        one.series.disconnected()
        one.writer.set_state(REMOVED, self._clock())
        self._remove(one.segment)
        self._metrics.candle_series.set(len(self._followed))

    def asked(self, pair: str, interval: str) -> None:
        """Tell again what was told of a series: somebody wants it who may not have heard."""
        told = self._told.get((pair, interval))
        if told is not None:
            self._tell(told)

    def on_candle(self, event: CandleEvent, read_ns: int) -> None:
        """Hand an event to its series; one that nobody wants is ignored."""
        series = self._by_event.get((event.symbol, event.interval))
        if series is not None:
            series.on_event(event)

    # --- what a series says

    def _ask(self, series: CandleSeries) -> None:
        self._due[series] = None
        self._changed.set()

    def _joined(self, series: CandleSeries) -> None:
        self._due.pop(series, None)
        one = next(one for one in self._followed.values() if one.series is series)
        if (one.pair, one.interval) not in self._told:
            self._announce(one.pair, one.interval, one.segment.name)

    def _refuse(self, pair: str, interval: str, reason: str) -> None:
        log.error("candles of %s %s: %s", pair, interval, reason)
        self._announce(pair, interval, "", reason=reason)

    def _announce(self, pair: str, interval: str, segment: str, **more: str) -> None:
        told = {"type": "series", "venue": self._name, "pair": pair, "interval": interval, "segment": segment, **more}
        self._told[pair, interval] = told
        self._tell(told)

    # --- history

    async def _fetch_for_ever(self) -> None:
        """Ask for the history that is due, the longest due first."""
        while True:
            self._changed.clear()
            for series in [one for one in self._due if one.due_ns is None]:
                del self._due[series]
            series = min(self._due, key=lambda one: one.due_ns, default=None)
            wait_ns = None if series is None else series.due_ns - self._clock()
            if wait_ns is not None and wait_ns <= 0:
                del self._due[series]
                await self._fetch(series)
                continue
            try:
                async with asyncio.timeout(None if wait_ns is None else wait_ns / 1e9):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _fetch(self, series: CandleSeries) -> None:
        ticket, asked, end_ms = series.request()
        try:
            request = self._venue.klines_request(series.symbol, series.interval, asked, end_ms)
            series.on_history(ticket, asked, self._venue.klines(await self._rest.get(request)))
        except VenueRefused as refusal:
            log.warning("%s: no candles of %s %s yet: %s", self._name, series.symbol, series.interval, refusal)
            series.history_failed(ticket)
        except MalformedMessage as error:
            self._metrics.malformed.inc()
            log.warning("%s: candles of %s %s: %s", self._name, series.symbol, series.interval, error)
            series.history_failed(ticket)
