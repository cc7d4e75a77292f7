"""The market as a worker sees it: the books and trades that the feed's current epoch publishes, per venue.

A feed that was restarted comes with new segments. `generation(venue)` changes then, and readers taken before go on
showing the old epoch's last books: whoever keeps a reader compares the generation before he trusts it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from hive.shm.book import LIVE, BookDirectory, BookReader
from hive.shm.broadcast import BroadcastReader
from hive.shm.instruments import InstrumentRules, Trade
from hive.shm.segment import Segment
from hive.workers.errors import BookMissing, UnknownInstrument

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
    wanted: set[str] = field(default_factory=set)


class MarketData:
    """Books, trades and rules of every venue.

    `want(venue, pairs)` asks the feed for instruments; `stale_after_ms` is the age of the feed's heartbeat from which
    on none of its books is live.
    """

    def __init__(
        self, *, now_ns: Callable[[], int], want: Callable[[int, list[str]], None], stale_after_ms: float
    ) -> None:
        self._now_ns = now_ns
        self._want = want
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
        """Note that there will be no book of this pair: who waits for it is told, until the next epoch of the feed."""
        self._venue(venue).unknown[pair] = reason or "the venue does not list it"

    async def instruments(self, venue: int, pairs: list[str]) -> list[InstrumentRules]:
        """Ask for `pairs`, wait until the directory has them all, and return their rules in that order.

        Waits for ever while there is no feed. Raises UnknownInstrument when the venue lists no such pair.
        """
        state = self._venue(venue)
        fresh = [pair for pair in pairs if pair not in state.wanted]
        if fresh:
            state.wanted.update(fresh)
            self._want(venue, fresh)
        while True:
            missing = [f"{pair}: {state.unknown[pair]}" for pair in pairs if pair in state.unknown]
            if missing:
                raise UnknownInstrument(f"venue {venue}: {'; '.join(missing)}")
            directory = state.directory
            if directory is not None and all(directory.find(pair) >= 0 for pair in pairs):
                return [self.rules(venue, pair) for pair in pairs]
            await asyncio.sleep(LOOK_AGAIN_S)

    def wanted(self) -> dict[int, list[str]]:
        """Return all pairs asked for so far, per venue."""
        return {venue: sorted(state.wanted) for venue, state in self._venues.items() if state.wanted}

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
