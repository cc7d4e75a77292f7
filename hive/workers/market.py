"""The market as a worker sees it: the books and trades that the feed's current epoch publishes, per venue.

A feed that was restarted comes with new segments. `generation(venue)` changes then, and readers taken before go on
showing the old epoch's last books: whoever keeps a reader compares the generation before he trusts it. The same holds
when an instrument is removed and comes back.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from hive.shm.atomics import boottime_ns
from hive.shm.book import EMPTY, LIVE, REMOVED, WRITER_DEAD, BookDirectory, BookReader
from hive.shm.broadcast import BroadcastReader
from hive.shm.instruments import InstrumentRules, Trade
from hive.shm.layout import TRADE_RECORD
from hive.shm.liveness import SegmentWriter, Verdict
from hive.shm.segment import Segment
from hive.shm.stale_figures import StaleFigures
from hive.workers.errors import BookMissing, UnknownInstrument
from hive.workers.kept_trades import KeptTrades
from hive.workers.wants import MARKET, Wants, Wish

TRADES_KEPT = 2048  # per pair; who comes later than that has missed some
LOOK_AGAIN_S = 0.02  # how often a waiting instruments() looks into the directory

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Venue:
    generation: int = 0
    epoch: int = -1
    directory: BookDirectory | None = None
    writer: SegmentWriter | None = None
    tape: BroadcastReader | None = None
    readers: dict[str, BookReader] = field(default_factory=dict)
    used: dict[str, None] = field(default_factory=dict)  # pairs that somebody here reads
    pairs_by_slot: dict[tuple[int, int], str] = field(default_factory=dict)  # slot, generation of the instrument
    trades: dict[str, KeptTrades] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)  # pair -> why
    series: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)  # pair, interval -> segment, reason


class MarketData:
    """Books, trades and rules of every venue.

    `readers_made` is how many readers of books it has made: `watched` has others when it is another number.

    Args:
        want: tells the feed all that this worker wants of a venue now, as (pair, kind).
        stale_after_ms: age of the feed's heartbeat from which on none of its books is live, see hive.shm.liveness.
        boot_ns: CLOCK_BOOTTIME.
        figures: makes the counters of a venue.
        loop: notices a feed's end at once; without one its silence is noticed.
        name_of: a venue's name by its number, for people.
    """

    def __init__(
        self,
        *,
        want: Callable[[int, list[Wish]], None],
        stale_after_ms: float,
        boot_ns: Callable[[], int] = boottime_ns,
        figures: Callable[[int], StaleFigures] = lambda _: StaleFigures(),
        loop: asyncio.AbstractEventLoop | None = None,
        name_of: Callable[[int], str] = "venue {}".format,
    ) -> None:
        self._tell_feed = want
        self.name_of = name_of
        self._wants = Wants()
        self._stale_after_ns = int(stale_after_ms * 1e6)
        self._boot_ns = boot_ns
        self._make_figures = figures
        self._loop = loop
        self.readers_made = 0
        self._venues: dict[int, _Venue] = {}
        self._figures: dict[int, StaleFigures] = {}

    def attach(self, venue: int, epoch: int, books: str, trades: str) -> None:
        """Read from these segments from now on; raises ShmError when they cannot be mapped (the old ones stay)."""
        segment = Segment.open(books, kind="books")
        directory = BookDirectory(segment, self._stale_after_ns)
        tape = BroadcastReader(Segment.open(trades, kind="trades"))
        state = self._venue(venue)
        if state.writer is not None:
            state.writer.close()
        state.writer = SegmentWriter(segment, self._stale_after_ns)
        if self._loop is not None:
            state.writer.watch(self._loop)
        state.directory = directory
        state.tape = tape
        state.epoch = epoch
        state.readers = {}
        state.pairs_by_slot = {}
        state.unknown = {}
        state.series = {}
        state.generation += 1

    def close(self) -> None:
        """Watch no feed any longer."""
        for state in self._venues.values():
            if state.writer is not None:
                state.writer.close()

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

    def changes(self, venue: int) -> int:
        """Return a number that is another when an instrument came, went or got other rules, or the feed restarted."""
        state = self._venue(venue)
        return 0 if state.directory is None else state.generation << 40 | state.directory.changes

    def reader(self, venue: int, pair: str) -> BookReader:
        """Return the reader of one book in the current epoch; raises BookMissing while the feed does not have it."""
        state = self._venue(venue)
        state.used[pair] = None
        reader = state.readers.get(pair)
        if reader is None or reader.state == REMOVED:
            found = self._of(venue, pair, BookDirectory.reader_of)
            if reader is not None:
                state.generation += 1  # the instrument was removed and is back
            reader = state.readers[pair] = found
            self.readers_made += 1
        return reader

    def version(self, venue: int, pair: str) -> tuple[int, int]:
        """Return (generation, number of the newest version) of a book, another pair whenever the book has changed.

        Raises BookMissing while the feed does not have it.
        """
        reader = self.reader(venue, pair)
        return self.generation(venue), reader.version

    def rules(self, venue: int, pair: str) -> InstrumentRules:
        """Return the trading rules of one instrument as they are now; raises BookMissing while there are none."""
        return self._of(venue, pair, BookDirectory.rules_of)

    def state(self, venue: int, pair: str) -> int:
        """Return what a book is worth now: one of hive.shm.book's states, WRITER_DEAD when its feed is not at work.

        EMPTY while the feed does not have it, REMOVED when the feed has it no more.
        """
        state = self._venue(venue)
        return self._state(venue, pair, state.writer is not None and self._verdict(state) is Verdict.ALIVE)

    def is_live(self, venue: int, pair: str) -> bool:
        """Return whether orders may be based on this book: its state is LIVE and its feed is at work."""
        return self.state(venue, pair) == LIVE

    def look(self) -> bool:
        """Look at every book that is used and count those that are not current; call it when one has changed.

        Returns:
            whether all are live.
        """
        live = True
        for venue, state in self._venues.items():
            if state.writer is None:
                live = live and not state.used
                continue
            figures = self._figures.get(venue)
            if figures is None:
                figures = self._figures[venue] = self._make_figures(venue)
            now_ns = self._boot_ns()
            alive = state.writer.verdict(now_ns) is Verdict.ALIVE
            for pair in state.used:
                found = self._state(venue, pair, alive)
                figures.note(pair, found, now_ns)
                live = live and found == LIVE
        return live

    def watched(self) -> list[BookReader]:
        """Return the readers of all books that are used here and that the feeds have."""
        return [reader for state in self._venues.values() for reader in state.readers.values()]

    def _verdict(self, state: _Venue) -> Verdict:
        return state.writer.verdict(self._boot_ns())

    def _state(self, venue: int, pair: str, alive: bool) -> int:
        state = self._venue(venue)
        reader = state.readers.get(pair)
        stored = REMOVED if reader is None else reader.state
        if stored == REMOVED:
            try:
                stored = self.reader(venue, pair).state
            except BookMissing:
                return EMPTY if reader is None else REMOVED
        return stored if alive else WRITER_DEAD

    def trades_since(self, venue: int, pair: str, cursor: int | None) -> tuple[int, list[Trade]]:
        """Return (next cursor, the trades after `cursor`, oldest first).

        `cursor` None means from now on. A reader that falls more than 2048 trades behind misses the oldest. Cursors
        stay valid over a restart of the feed. Trades of a pair are kept from the first call for that pair on, until
        nobody here wants anything of it any more.
        """
        state = self._venue(venue)
        self._drain(state)
        trades = state.trades.get(pair)
        if trades is None:
            trades = state.trades[pair] = KeptTrades(TRADES_KEPT)
        if cursor is None or cursor >= trades.seen:
            return trades.seen, []
        return trades.seen, trades.since(cursor)

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
        state = self._venue(venue)
        segment, reason = state.series.get((pair, interval), ("", ""))
        return segment or None, reason or state.unknown.get(pair, "")

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
            self._want_less(venue)

    def release(self, owner: str) -> None:
        """Take back all that a strategy wanted: it has ended."""
        for venue in self._wants.release(owner):
            self._want_less(venue)

    def _want_less(self, venue: int) -> None:
        wishes = self._wants.of(venue)
        used = self._venue(venue).used
        for pair in used.keys() - {pair for pair, _ in wishes}:
            del used[pair]
            self._venue(venue).trades.pop(pair, None)
            if venue in self._figures:
                self._figures[venue].forget(pair)
        self._tell_feed(venue, wishes)

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
                raise UnknownInstrument(f"{self.name_of(venue)}: {'; '.join(missing)}")
            rules = [] if state.directory is None else [state.directory.rules_of(pair) for pair in pairs]
            if state.directory is not None and None not in rules:
                return rules
            await asyncio.sleep(LOOK_AGAIN_S)

    def wanted(self) -> dict[int, list[Wish]]:
        """Return all that this worker wants, per venue."""
        return {venue: wishes for venue in self._wants.venues() if (wishes := self._wants.of(venue))}

    def _venue(self, venue: int) -> _Venue:
        state = self._venues.get(venue)
        if state is None:
            state = self._venues[venue] = _Venue()
        return state

    def _of[T](self, venue: int, pair: str, look_up: Callable[[BookDirectory, str], T | None]) -> T:
        directory = self._venue(venue).directory
        if directory is None:
            raise BookMissing(f"{pair}: {self.name_of(venue)} has no feed")
        found = look_up(directory, pair)
        if found is None:
            raise BookMissing(f"{pair}: the feed of {self.name_of(venue)} does not publish it")
        return found

    def _drain(self, state: _Venue) -> None:
        if state.tape is None:
            return
        while batch := state.tape.drain_records():
            for record in batch:
                _, slot, *_, generation = TRADE_RECORD.struct.unpack(record)
                trades = state.trades.get(self._pair_of(state, slot, generation))
                if trades is not None:
                    trades.keep(record)

    @staticmethod
    def _pair_of(state: _Venue, slot: int, generation: int) -> str:
        """Return whose trade it is; "" when that instrument is not there any more."""
        key = (slot, generation)
        pair = state.pairs_by_slot.get(key)
        if pair is None:
            try:
                reader = state.directory.reader(slot)
            except IndexError:
                return ""
            gone = generation not in (0, reader.generation)
            pair = state.pairs_by_slot[key] = "" if gone else reader.pair
        return pair
