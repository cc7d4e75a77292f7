"""What is followed of a venue: each instrument's slot, book and trades, and the streams that feed them."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from hive.feed.demand import BOOK, TOPS, TRADES
from hive.feed.instruments import Instrument
from hive.feed.metrics import VenueMetrics
from hive.feed.pool import PoolFull, StreamPool
from hive.feed.settings import VenueConfig
from hive.feed.tape import TradeTape
from hive.feed.venue import Venue
from hive.shm.book import BookTable
from hive.shm.broadcast import BroadcastWriter, TopWriter
from hive.shm.instruments import InstrumentRules


@dataclass(slots=True)
class Followed:
    """An instrument with a slot, and the streams that it is subscribed to by kind."""

    rules: InstrumentRules
    instrument: Instrument
    tape: TradeTape
    streams: dict[str, tuple[str, ...]] = field(default_factory=dict)


class Following:
    """The instruments with a slot in the book table.

    `books` and `tapes` are by the venue's symbol and hold what is subscribed; `want_snapshot` is Instrument's.
    """

    def __init__(
        self,
        config: VenueConfig,
        venue: Venue,
        table: BookTable,
        trades: BroadcastWriter,
        tops: TopWriter | None,
        metrics: VenueMetrics,
        depth: int,
        pool: StreamPool,
        want_snapshot: Callable[[Instrument], None],
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._config = config
        self._venue = venue
        self._table = table
        self._trades = trades
        self._tops = tops
        self._metrics = metrics
        self._depth = depth
        self._pool = pool
        self._want_snapshot = want_snapshot
        self._clock = clock
        self._by_pair: dict[str, Followed] = {}
        self.books: dict[str, Instrument] = {}
        self.tapes: dict[str, TradeTape] = {}

    def __contains__(self, pair: str) -> bool:
        return pair in self._by_pair

    def __iter__(self) -> Iterator[Followed]:
        return iter(list(self._by_pair.values()))

    def __len__(self) -> int:
        return len(self._by_pair)

    def follow(self, rules: InstrumentRules, kinds: set[str]) -> None:
        """Give an instrument a slot and subscribe it.

        Raises TableFull, PoolFull or NotRepresentable; then nothing has changed.
        """
        depth = self._config.depths.get(rules.pair, self._depth)
        slot = self._table.add(rules, depth)
        writer = self._table.writer(slot)
        instrument = Instrument(
            rules,
            self._table,
            writer,
            self._venue.snapshot_limits(depth),
            self._metrics,
            self._want_snapshot,
            self._clock,
            checksum=self._venue.checksum,
            checksum_levels=self._venue.checksum_levels,
        )
        tape = TradeTape(writer, self._trades, self._metrics, self._clock)
        self._by_pair[rules.pair] = Followed(rules, instrument, tape)
        self._metrics.instruments.set(len(self))
        try:
            self.set_kinds(rules.pair, kinds)
        except PoolFull:
            self._remove(rules.pair)
            raise

    def set_kinds(self, pair: str, kinds: set[str]) -> None:
        """Subscribe and unsubscribe the streams of an instrument so that they bring `kinds`. Raises PoolFull."""
        one = self._by_pair[pair]
        one.instrument.tops = self._tops if TOPS in kinds else None
        wanted = ({BOOK} if kinds & {BOOK, TOPS} else set()) | (kinds & {TRADES})
        for kind in one.streams.keys() - wanted:
            self._unsubscribe(one, kind)
        for kind in sorted(wanted - one.streams.keys()):
            self._subscribe(one, kind)

    def unfollow(self, pair: str) -> None:
        """Unsubscribe an instrument and give its slot back."""
        self.set_kinds(pair, set())
        self._remove(pair)
        self._metrics.unsubscribed.inc()

    def _remove(self, pair: str) -> None:
        one = self._by_pair.pop(pair)
        for kind in list(one.streams):
            self._unsubscribe(one, kind)
        one.instrument.close()
        self._table.remove(one.instrument.slot)
        self._metrics.instruments.set(len(self))

    def _subscribe(self, one: Followed, kind: str) -> None:
        streams = tuple(self._venue.streams(one.rules.symbol, kind))
        if kind == BOOK:
            self.books[one.rules.symbol] = one.instrument
            sink = one.instrument
        else:
            self.tapes[one.rules.symbol] = one.tape
            sink = one.tape
        one.streams[kind] = streams
        try:
            self._pool.carry(streams, sink)
        except PoolFull:
            self._unsubscribe(one, kind)
            raise

    def _unsubscribe(self, one: Followed, kind: str) -> None:
        self._pool.drop(one.streams.pop(kind))
        if kind == BOOK:
            del self.books[one.rules.symbol]
            one.instrument.disconnected()
        else:
            del self.tapes[one.rules.symbol]
