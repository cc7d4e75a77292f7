"""Audits of live books: each is compared, from time to time, with a fresh snapshot of the venue.

    keep the diffs that are applied -> fetch a snapshot -> wait until the book has reached its id
    -> snapshot + the diffs after it == the book, level by level, as far as both are known without a hole

One book at a time, the one that waited longest first, evenly over `interval_s`; but never for more than a SHARE of the
venue's request weight, so with hundreds of books a round may take longer than the interval. A difference is counted,
told, and ends in a resync of that book.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from enum import Enum, auto

from hive.feed.errors import MalformedMessage, VenueRefused
from hive.feed.instruments import Instrument
from hive.feed.metrics import VenueMetrics
from hive.feed.rest import RestClient
from hive.feed.venue import DepthSnapshot, Request, Venue
from hive.shm.book import HALTED, LIVE

SHARE = 0.1  # of the weight of a minute
TRIES = 3  # a snapshot may come from a machine that lags behind
REACHED_WITHIN_S = 5.0
LOOK_S = 0.02
IDLE_S = 1.0


class Outcome(Enum):
    """How an attempt ended."""

    EQUAL = auto()
    DIFFERENT = auto()
    RETRY = auto()  # the snapshot is older than what was kept
    GIVEN_UP = auto()  # the book was lost meanwhile, or the venue did not answer


class Auditor:
    """Audits what `instruments()` returns; `tell` is given (level, text) when a book was wrong."""

    def __init__(
        self,
        venue: Venue,
        rest: RestClient,
        metrics: VenueMetrics,
        instruments: Callable[[], Collection[Instrument]],
        interval_s: float,
        tell: Callable[[str, str], None],
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._venue = venue
        self._rest = rest
        self._metrics = metrics
        self._instruments = instruments
        self._interval_s = interval_s
        self._tell = tell
        self._clock = clock

    async def run(self) -> None:
        """Audit until cancelled; at once done when the interval is 0."""
        while self._interval_s > 0:
            instrument = self._next()
            await asyncio.sleep(IDLE_S if instrument is None else self._pause_s(instrument))
            if instrument is not None and auditable(instrument):
                await self.audit(instrument)

    async def audit(self, instrument: Instrument) -> Outcome:
        """Audit one book now. Counts, tells and resyncs when it differs."""
        instrument.audited_ns = self._clock()
        outcome = Outcome.GIVEN_UP
        for _ in range(TRIES):
            outcome = await self._try(instrument)
            if outcome is not Outcome.RETRY:
                break
        instrument.applied = None
        if outcome in (Outcome.EQUAL, Outcome.DIFFERENT):
            self._metrics.audits.inc()
        return outcome

    def _next(self) -> Instrument | None:
        """Return the book whose last audit is longest ago."""
        return min(filter(auditable, self._instruments()), key=lambda one: one.audited_ns, default=None)

    def _pause_s(self, instrument: Instrument) -> float:
        """Return the time between two audits."""
        weight = self._request(instrument).weight
        affordable_s = 60.0 * weight / (SHARE * self._venue.request_weight_per_minute)
        return max(self._interval_s / max(1, len(self._instruments())), affordable_s)

    def _request(self, instrument: Instrument) -> Request:
        return self._venue.snapshot_request(instrument.symbol, instrument.snapshot_limit)

    async def _try(self, instrument: Instrument) -> Outcome:
        limit = instrument.snapshot_limit
        request = self._request(instrument)
        await self._rest.admit(request)
        if not auditable(instrument):
            return Outcome.GIVEN_UP
        begun_id = instrument.begin_audit()
        try:
            snapshot = self._venue.snapshot(await self._rest.fetch(request), limit)
        except VenueRefused:
            return Outcome.GIVEN_UP
        except MalformedMessage:
            self._metrics.malformed.inc()
            return Outcome.GIVEN_UP
        reached = await self._reached(instrument, snapshot.last_id)
        if instrument.applied is None:
            return Outcome.GIVEN_UP
        if snapshot.last_id < begun_id:
            return Outcome.RETRY
        return self._compare(instrument, snapshot, reached)

    async def _reached(self, instrument: Instrument, update_id: int) -> bool:
        """Wait until the book has reached an update id; False when it did not, or was lost."""
        deadline_ns = self._clock() + int(REACHED_WITHIN_S * 1e9)
        while instrument.applied is not None and instrument.sync.last_id < update_id:
            if self._clock() >= deadline_ns:
                return False
            await asyncio.sleep(LOOK_S)
        return instrument.applied is not None

    def _compare(self, instrument: Instrument, snapshot: DepthSnapshot, reached: bool) -> Outcome:
        """Compare the book with the snapshot brought to the same update; one that was not reached is a book behind."""
        later = [diff for diff in instrument.applied if diff.last_id > snapshot.last_id]
        try:
            wrong = instrument.differences(snapshot.bids, snapshot.asks, snapshot.limit, later)
        except MalformedMessage:
            self._metrics.malformed.inc()
            return Outcome.GIVEN_UP
        if not wrong:
            return Outcome.EQUAL
        self._metrics.audit_differences.inc(wrong)
        behind = "" if reached else f"; it stands at {instrument.sync.last_id}, {REACHED_WITHIN_S:g} s later"
        self._tell("warning", f"audit of {instrument.pair} at {snapshot.last_id}: {wrong} levels differ{behind}")
        instrument.resync()
        return Outcome.DIFFERENT


def auditable(instrument: Instrument) -> bool:
    """Return whether a book claims to be right, so that it can be wrong."""
    return instrument.state in (LIVE, HALTED) and not instrument.sync.refreshing
