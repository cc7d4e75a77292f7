"""Snapshot requests of one venue: a few at a time, the longest due first, inside the request budget.

A venue that answers 5xx, or not at all, is asked for all books together with the back-off of one.
"""

import asyncio
import random
import time
from collections.abc import Callable

from hive.feed.errors import MalformedMessage, VenueRefused
from hive.feed.instruments import Instrument
from hive.feed.metrics import VenueMetrics
from hive.feed.pacing import backoff_s
from hive.feed.rest import RestClient
from hive.feed.venue import Venue

AT_A_TIME = 4


class SnapshotQueue:
    """Fetches the snapshots that instruments have due. run() does the work; ask() may be called at any time."""

    def __init__(
        self,
        venue: Venue,
        rest: RestClient,
        metrics: VenueMetrics,
        clock: Callable[[], int] = time.monotonic_ns,
        read_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._venue = venue
        self._rest = rest
        self._metrics = metrics
        self._clock = clock
        self._read_ns = read_ns
        self._pending: dict[Instrument, None] = {}
        self._rng = random.Random()
        self._failures = 0  # of the venue, in a row
        self._not_before_ns = 0
        self._changed = asyncio.Event()

    def ask(self, instrument: Instrument) -> None:
        """Fetch a snapshot for `instrument` when its sync says that one is due."""
        if instrument.sync.snapshot_due_ns is not None:
            self._pending[instrument] = None
            self._changed.set()

    async def run(self) -> None:
        """Fetch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_A_TIME):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            self._changed.clear()
            instrument = self._next()
            if instrument is None:
                await self._changed.wait()
                continue
            wait_ns = max(instrument.sync.snapshot_due_ns, self._not_before_ns) - self._clock()
            if wait_ns > 0:
                try:
                    async with asyncio.timeout(wait_ns / 1e9):
                        await self._changed.wait()
                except TimeoutError:
                    pass
                continue
            del self._pending[instrument]
            await self._fetch(instrument)
            self.ask(instrument)

    def _next(self) -> Instrument | None:
        """Return the instrument whose snapshot is due first; what needs none any more is forgotten."""
        for instrument in [one for one in self._pending if one.sync.snapshot_due_ns is None]:
            del self._pending[instrument]
        return min(self._pending, key=lambda one: one.sync.snapshot_due_ns, default=None)

    async def _fetch(self, instrument: Instrument) -> None:
        limit = instrument.snapshot_limit
        request = self._venue.snapshot_request(instrument.symbol, limit)
        await self._rest.admit(request)
        if instrument.sync.snapshot_due_ns is None:
            return  # disconnected, or served, while the budget was waited for
        ticket = instrument.sync.request(self._clock())
        try:
            snapshot = self._venue.snapshot(await self._rest.fetch(request), limit)
        except VenueRefused as refusal:
            if refusal.status == 0 or refusal.status >= 500:
                self._failed()
            instrument.sync.snapshot_failed(ticket, self._clock())
        except MalformedMessage:
            self._metrics.malformed.inc()
            instrument.sync.snapshot_failed(ticket, self._clock())
        else:
            self._failures = 0
            instrument.on_snapshot(ticket, snapshot, self._read_ns())

    def _failed(self) -> None:
        now_ns = self._clock()
        if now_ns >= self._not_before_ns:  # those that were under way together failed together
            self._failures += 1
            self._not_before_ns = now_ns + int(backoff_s(self._failures, self._rng) * 1e9)
