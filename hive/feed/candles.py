"""One candle series' way from history and stream to shared memory: continuity, closing, state.

    GET klines, newest page first --+
                                    +--> join --> CandleWriter, one candle after the other
    kline events, held meanwhile ---+                  ^
    kline events ------- the newest candle again, or the one that follows it

Every event tells all of its candle, so a lost one does no harm while the candle goes on; what must not be missed is how
a candle ended. An event that opens a candle whose predecessor was not seen to close is a gap: events are held, and the
missing candles are asked for, unless the events that were on their way close the gap by themselves. What is older than
what is known is dropped.

The state as readers see it, the first that holds:

    EMPTY       until the history joined
    STALE       nothing arrives
    RESYNCING   candles are missing, until history has closed the gap
    STALE       what arrives may be old (lagging)
    LIVE        it follows the venue without a gap
"""

import random
import time
from collections.abc import Callable, Sequence
from enum import Enum
from itertools import pairwise

from msgspec.structs import replace

from hive.feed.errors import MalformedMessage
from hive.feed.metrics import VenueMetrics
from hive.feed.pacing import backoff_s
from hive.feed.venue import CandleEvent
from hive.shm.book import EMPTY, LIVE, RESYNCING, STALE
from hive.shm.candles import CandleWriter

LARGEST_PAGE = 1_000  # candles in one answer
GAP_PATIENCE_NS = 300_000_000  # how long the event that closes a gap may be late before history is asked for
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "M": 2_592_000_000}


def interval_ms(interval: str) -> int:
    """Return the length of a candle in ms, for months that of 30 days; ValueError for what is no interval."""
    count, unit = interval[:-1], interval[-1:]
    if unit not in _UNIT_MS or not (count.isascii() and count.isdigit()) or not 1 <= int(count) <= 999:
        raise ValueError(f"an interval must be a count and one of {', '.join(_UNIT_MS)}, was {interval!r}")
    return int(count) * _UNIT_MS[unit]


class Phase(Enum):
    """What becomes of events."""

    DOWN = "nothing arrives"
    HOLDING = "events are held until history joined"
    LIVE = "events are published"


class CandleSeries:
    """The candles of one instrument and interval.

    Args:
        records: how many candles are wanted.
        want_history: called whenever `due_ns` says that a request is due.
        joined: called when the series has become complete, again after each gap.
        clock, wall_ns: monotonic and wall clock.
    """

    def __init__(
        self,
        symbol: str,
        interval: str,
        records: int,
        writer: CandleWriter,
        metrics: VenueMetrics,
        want_history: Callable[["CandleSeries"], None],
        joined: Callable[["CandleSeries"], None],
        clock: Callable[[], int] = time.monotonic_ns,
        wall_ns: Callable[[], int] = time.time_ns,
        rng: random.Random | None = None,
    ) -> None:
        self.symbol = symbol
        self.interval = interval
        self.due_ns: int | None = None
        self._length_ms = interval_ms(interval)
        self._records = records
        self._writer = writer
        self._metrics = metrics
        self._want_history = want_history
        self._on_joined = joined
        self._clock = clock
        self._wall_ns = wall_ns
        self._rng = rng or random.Random()
        self._phase = Phase.DOWN
        self._state = EMPTY
        self._lagging = False
        self._newest: CandleEvent | None = None  # as published
        self._held: dict[int, CandleEvent] = {}  # open_ms -> its newest event
        self._pages: list[CandleEvent] = []  # of the history being read, oldest first
        self._ticket = 0  # of the history being read; an answer to an older one is dropped
        self._failures = 0

    @property
    def state(self) -> int:
        """The state that readers see."""
        return self._state

    # --- the stream (pool.StreamSink)

    def connected(self) -> None:
        """The stream is being subscribed: what arrives from now on is held."""
        self._lagging = False
        self._begin(None)

    def subscribed(self) -> None:
        """The venue sends every event from now on: what was before is history."""
        if self._phase is Phase.HOLDING:
            self._ask(0)

    def disconnected(self) -> None:
        """Nothing arrives any more."""
        self._begin(None)
        self._phase = Phase.DOWN
        self._show()

    def lagging(self) -> None:
        """What arrives may be old."""
        self._lagging = True
        self._show()

    def proven(self) -> None:
        """What arrives is current again."""
        self._lagging = False
        self._show()

    def doubted(self) -> None:
        """A message may have been lost: the next one tells all of its candle, and shows a gap if there is one."""

    def on_event(self, event: CandleEvent) -> None:
        """Publish an event, hold it, or drop it as known."""
        if self._phase is Phase.LIVE:
            if self._is_older(event):
                self._metrics.duplicates.inc()
            elif self._follows(self._newest, event):
                self._publish(event)
            else:
                self._metrics.candle_gaps.inc()
                self._begin(event)
                self._ask(GAP_PATIENCE_NS)
        elif self._phase is Phase.HOLDING:
            self._hold(event)
            self._join_held()

    # --- history

    def request(self) -> tuple[int, int, int | None]:
        """Return (ticket, candles to ask for, the latest time in ms at which they open or None) of the request due."""
        self.due_ns = None
        end_ms = self._pages[0].open_ms - 1 if self._pages else None
        missing = self._wanted() - len(self._pages)
        if missing <= 0:  # the clocks disagree about how long the gap is
            missing = self._records - len(self._pages)
        return self._ticket, max(2, min(LARGEST_PAGE, missing)), end_ms

    def on_history(self, ticket: int, asked: int, rows: Sequence[CandleEvent]) -> None:
        """Take an answer, oldest candle first; ask for more, or join.

        Raises:
            MalformedMessage: it is not in order; history_failed() is to follow.
        """
        if ticket != self._ticket or self._phase is not Phase.HOLDING:
            return
        if any(later.open_ms <= earlier.close_ms for earlier, later in pairwise(rows)):
            raise MalformedMessage(f"candles of {self.symbol} {self.interval} must be in order")
        before_ms = self._pages[0].open_ms if self._pages else None
        older = [row for row in rows if before_ms is None or row.open_ms < before_ms]
        self._pages = older + self._pages
        if len(older) < asked or len(self._pages) >= self._records or self._reaches_back():
            self._join()
        else:
            self._ask(0)

    def history_failed(self, ticket: int) -> None:
        """Ask again later: the venue refused, or did not answer."""
        if ticket == self._ticket and self._phase is Phase.HOLDING:
            self._again()

    def _wanted(self) -> int:
        """Return how many candles the history must have: all, or those from the newest one that is known on."""
        if self._newest is None:
            return self._records
        now_ms = max(self._wall_ns() // 1_000_000, *self._held, self._newest.open_ms)
        return min(self._records, (now_ms - self._newest.open_ms) // self._length_ms + 2)

    def _reaches_back(self) -> bool:
        return self._newest is not None and bool(self._pages) and self._pages[0].open_ms <= self._newest.open_ms

    def _ask(self, after_ns: int) -> None:
        self.due_ns = self._clock() + after_ns
        self._want_history(self)

    def _again(self) -> None:
        self._failures += 1
        self._pages = []
        self._ask(int(backoff_s(self._failures, self._rng) * 1e9))

    # --- joining

    def _begin(self, event: CandleEvent | None) -> None:
        """Hold events, `event` first, until history has joined."""
        self._phase = Phase.HOLDING
        self._held = {} if event is None else {event.open_ms: event}
        self._pages = []
        self._ticket += 1
        self._failures = 0
        self.due_ns = None
        self._show()

    def _hold(self, event: CandleEvent) -> None:
        self._held[event.open_ms] = _better(self._held.get(event.open_ms), event)
        if len(self._held) > self._records:
            del self._held[min(self._held)]

    def _join_held(self) -> None:
        """Go on without history when the held events follow what is known."""
        if self._newest is None:
            return
        events = [self._held[open_ms] for open_ms in sorted(self._held) if open_ms >= self._newest.open_ms]
        last = self._newest
        for event in events:
            if not self._follows(last, event):
                return
            last = _better(last, event) if event.open_ms == last.open_ms else event
        if events:
            self._go_live(events)

    def _join(self) -> None:
        """Publish the history and the held events after it; a hole between them means asking again."""
        known = {row.open_ms: row for row in self._pages}
        newest_ms = self._pages[-1].open_ms if self._pages else None
        for open_ms in sorted(self._held):
            if newest_ms is None or open_ms <= newest_ms:
                known[open_ms] = _better(known.get(open_ms), self._held[open_ms])
        last = known.get(newest_ms)
        for open_ms in sorted(one for one in self._held if newest_ms is not None and one > newest_ms):
            if not self._follows(last, self._held[open_ms]):
                self._again()
                return
            last = known[open_ms] = self._held[open_ms]
        if not known:
            self._again()  # nothing was ever traded, or the venue is not ready
            return
        events = [known[open_ms] for open_ms in sorted(known)]
        if self._newest is not None and events[0].open_ms > self._newest.open_ms:
            self._newest = None  # more is missing than is kept
            self._writer.begin_again()
        after_ms = events[0].open_ms if self._newest is None else self._newest.open_ms
        self._go_live([event for event in events if event.open_ms >= after_ms][-self._records :])

    def _go_live(self, events: list[CandleEvent]) -> None:
        self._phase = Phase.LIVE
        for event in events[:-1]:
            self._publish(event if event.closed else replace(event, closed=True))
        if events:
            self._publish(events[-1])
        self._held = {}
        self._pages = []
        self._failures = 0
        self._ticket += 1
        self.due_ns = None
        self._show()
        self._on_joined(self)

    # --- publishing

    def _is_older(self, event: CandleEvent) -> bool:
        """Return whether an event is of a time before what is known."""
        newest = self._newest
        if event.open_ms != newest.open_ms:
            return event.open_ms < newest.open_ms
        return newest.closed or event.trades < newest.trades

    @staticmethod
    def _follows(known: CandleEvent | None, event: CandleEvent) -> bool:
        """Return whether no candle, and no end of one, is missing between what is known and an event."""
        if known is None:
            return False
        return event.open_ms == known.open_ms or (known.closed and event.open_ms == known.close_ms + 1)

    def _publish(self, event: CandleEvent) -> None:
        published = self._writer.update(
            event.open_ms, event.close_ms, event.open, event.high, event.low, event.close, event.volume,
            event.quote_volume, event.trades, event.taker_base, event.taker_quote, event.closed, self._clock(),
        )  # fmt: skip
        if published:
            self._newest = event
            self._metrics.candles.inc()

    def _show(self) -> None:
        if self._newest is None and self._state == EMPTY:
            return
        if self._phase is Phase.DOWN or (self._phase is Phase.LIVE and self._lagging):
            state = STALE
        else:
            state = LIVE if self._phase is Phase.LIVE else RESYNCING
        if state != self._state:
            self._state = state
            self._writer.set_state(state, self._clock())


def _better(one: CandleEvent | None, other: CandleEvent) -> CandleEvent:
    """Return the later one of two events of the same candle: the closed one, else the one with more trades."""
    if one is None:
        return other
    if one.closed != other.closed:
        return one if one.closed else other
    return one if one.trades > other.trades else other
