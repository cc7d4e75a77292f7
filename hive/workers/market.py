"""The market as a worker sees it: the books and trades that the feed's current epoch publishes, per venue.

A feed that was restarted comes with new segments. `generation(venue)` changes then, and readers taken before go on
showing the old epoch's last books: whoever keeps a reader compares the generation before he trusts it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from hive.shm.book import LIVE, BookDirectory, BookReader
from hive.shm.broadcast import BroadcastReader
from hive.shm.instruments import InstrumentRules, Trade
from hive.shm.segment import Segment
from hive.workers.errors import BookMissing, UnknownInstrument
from hive.workers.wants import MARKET, Wants, Wish

TRADES_KEPT = 2048  # per pair; who comes later than that has missed some
LOOK_AGAIN_S = 0.02  # how often a waiting instruments() looks into the directory

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Trades:
    """The last trades of one pair and how many there have been."""

    kept: deque[Trade] = field(default_factory=lambda: deque(maxlen=TRADES_KEPT))
    seen: int = 0


@dataclass(slots=True)
class _Venue:
    generation: int = 0
    epoch: int = -1
    directory: BookDirectory | None = None
    tape: BroadcastReader | None = None
    readers: dict[str, BookReader] = field(default_factory=dict)
    pairs_by_slot: dict[int, str] = field(default_factory=dict)
    trades: dict[str, _Trades] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)  # pair -> why
    series: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)  # pair, interval -> segment, reason


class MarketData:
    """Books, trades and rules of every venue.

    `want(venue, wishes)` tells the feed all that this worker wants of a venue now, as (pair, kind); `stale_after_ms` is
    the age of the feed's heartbeat from which on none of its books is live.
    """

    def __init__(
        self, *, now_ns: Callable[[], int], want: Callable[[int, list[Wish]], None], stale_after_ms: float
    ) -> None:
        self._now_ns = now_ns
        self._tell_feed = want
        self._wants = Wants()
        self._stale_after_ns = int(stale_after_ms * 1e6)
        self._venues: dict[int, _Venue] = {}

    def attach(self, venue: int, epoch: int, books: str, trades: str) -> None:
        """Read from these segments from now on; raises ShmError when they cannot be mapped (the old ones stay)."""
        directory = BookDirectory(Segment.open(books, kind="books"))
        tape = BroadcastReader(Segment.open(trades, kind="trades"))
        state = self._venue(venue)
        state.directory = directory
        state.tape = tape
        state.epoch = epoch
        state.readers = {}
        state.pairs_by_slot = {}
        state.unknown = {}
        state.series = {}
        state.generation += 1

    def generation(self, venue: int) -> int:
        """Return how often a feed was attached to this venue; 0 means never."""
        return self._venue(venue).generation

    def epoch(self, venue: int) -> int:
        """Return the feed's epoch, -1 before the first."""
        return self._venue(venue).epoch

    def pairs(self, venue: int) -> list[str]:
        """Return the pairs that the feed's directory holds now."""
        directory = self._venue(venue).directory
        return [] if directory is None else list(directory.pairs())

    def reader(self, venue: int, pair: str) -> BookReader:
        """Return the reader of one book in the current epoch; raises BookMissing while the feed does not have it."""
        state = self._venue(venue)
        reader = state.readers.get(pair)
        if reader is None:
            slot = self._slot(venue, pair)
            reader = state.readers[pair] = state.directory.reader(slot)
        return reader

    def rules(self, venue: int, pair: str) -> InstrumentRules:
        """Return the trading rules of one instrument as they are now; raises BookMissing while there are none."""
        slot = self._slot(venue, pair)
        return self._venue(venue).directory.rules(slot)

    def is_live(self, venue: int, pair: str) -> bool:
        """Return whether orders may be based on this book: its state is LIVE and its feed's heartbeat is young."""
        state = self._venue(venue)
        reader = state.readers.get(pair)
        if reader is None:
            try:
                reader = self.reader(venue, pair)
            except BookMissing:
                return False
        return reader.state == LIVE and self._now_ns() - state.directory.heartbeat_ns <= self._stale_after_ns

    def trades_since(self, venue: int, pair: str, cursor: int | None) -> tuple[int, list[Trade]]:
        """Return (next cursor, the trades after `cursor`, oldest first).

        `cursor` None means from now on. A reader that falls more than 2048 trades behind misses the oldest. Cursors
        stay valid over a restart of the feed. Trades of a pair are kept from the first call for that pair on.
        """
        state = self._venue(venue)
        self._drain(state)
        trades = state.trades.get(pair)
        if trades is None:
            trades = state.trades[pair] = _Trades()
        if cursor is None or cursor >= trades.seen:
            return trades.seen, []
        fresh = min(trades.seen - cursor, len(trades.kept))
        return trades.seen, list(trades.kept)[len(trades.kept) - fresh :]

    def lapped(self, venue: int) -> int:
        """Return how many trades the feed overwrote before this worker read them, in the current epoch."""
        tape = self._venue(venue).tape
        return 0 if tape is None else tape.lapped

    def mark_unknown(self, venue: int, pair: str, reason: str = "") -> None:
        """Note that there will be no book of this pair: who waits for it is told; who asks again is new."""
        self._venue(venue).unknown[pair] = reason or "the venue does not list it"
        self._wants.forget(venue, pair)

    def mark_series(self, venue: int, pair: str, interval: str, segment: str, reason: str = "") -> None:
        """Note where a candle series is; segment "" and why when it cannot be served."""
        self._venue(venue).series[pair, interval] = (segment, reason)

    def series(self, venue: int, pair: str, interval: str) -> tuple[str | None, str]:
        """Return (segment of a candle series in the feed's current epoch, ""), or (None, why it cannot be served).

        (None, "") means that the feed has not said either yet. The kind "candles:INTERVAL" is to be wanted first. A
        series that nobody wanted for a while is taken down: its segment is missing then, until a new one is named.
        """
        segment, reason = self._venue(venue).series.get((pair, interval), ("", ""))
        return segment or None, reason

    def want(self, owner: str, venue: int, wishes: Iterable[Wish]) -> None:
        """Ask the feed for (pair, kind) on behalf of a strategy, until it releases them."""
        wishes = list(wishes)
        known = self._venue(venue)
        again = [known.unknown.pop(pair) for pair, _ in wishes if pair in known.unknown]
        for pair, kind in wishes:
            interval = kind.removeprefix("candles:")
            if known.series.get((pair, interval), ("", ""))[1]:
                del known.series[pair, interval]
        if self._wants.add(owner, venue, wishes) or again:
            self._tell_feed(venue, self._wants.of(venue))

    def unwant(self, owner: str, venue: int, wishes: Iterable[Wish]) -> None:
        """Take back some of what a strategy wanted."""
        if self._wants.remove(owner, venue, wishes):
            self._tell_feed(venue, self._wants.of(venue))

    def release(self, owner: str) -> None:
        """Take back all that a strategy wanted: it has ended."""
        for venue in self._wants.release(owner):
            self._tell_feed(venue, self._wants.of(venue))

    def tell_wants(self, venues: Iterable[int]) -> None:
        """Tell the feed all wishes again, so that it forgets those of an earlier life of this worker."""
        for venue in venues:
            self._tell_feed(venue, self._wants.of(venue))

    async def instruments(self, venue: int, pairs: list[str], owner: str = "") -> list[InstrumentRules]:
        """Want books and trades of `pairs`, wait until the directory has all, and return their rules in that order.

        Waits for ever while there is no feed. Raises UnknownInstrument when the venue lists no such pair.
        """
        state = self._venue(venue)
        self.want(owner, venue, [(pair, kind) for pair in pairs for kind in MARKET])
        while True:
            missing = [f"{pair}: {state.unknown[pair]}" for pair in pairs if pair in state.unknown]
            if missing:
                raise UnknownInstrument(f"venue {venue}: {'; '.join(missing)}")
            directory = state.directory
            if directory is not None and all(directory.find(pair) >= 0 for pair in pairs):
                return [self.rules(venue, pair) for pair in pairs]
            await asyncio.sleep(LOOK_AGAIN_S)

    def wanted(self) -> dict[int, list[Wish]]:
        """Return all that this worker wants, per venue."""
        return {venue: wishes for venue in self._wants.venues() if (wishes := self._wants.of(venue))}

    def _venue(self, venue: int) -> _Venue:
        state = self._venues.get(venue)
        if state is None:
            state = self._venues[venue] = _Venue()
        return state

    def _slot(self, venue: int, pair: str) -> int:
        directory = self._venue(venue).directory
        if directory is None:
            raise BookMissing(f"{pair}: venue {venue} has no feed")
        slot = directory.find(pair)
        if slot < 0:
            raise BookMissing(f"{pair}: the feed of venue {venue} does not publish it")
        return slot

    def _drain(self, state: _Venue) -> None:
        if state.tape is None:
            return
        while batch := state.tape.drain():
            for trade in batch:
                pair = state.pairs_by_slot.get(trade.slot)
                if pair is None:
                    pair = state.pairs_by_slot[trade.slot] = state.directory.rules(trade.slot).pair
                trades = state.trades.get(pair)
                if trades is not None:
                    trades.kept.append(trade)
                    trades.seen += 1
