"""All instruments of one venue: wishes in, rules, connections and snapshots, books and trades out.

    want(pairs) -> exchange rules -> book table -> a connection with room -> diffs and trades -> Instrument

An instrument is subscribed once however many want it, and all of them share one connection for as long as the venue
lets it carry their streams.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import aiohttp

from hive.feed.binance import BinanceSpot
from hive.feed.budget import WeightBudget
from hive.feed.connection import MarketConnection
from hive.feed.errors import BootError, MalformedMessage, VenueRefused
from hive.feed.instruments import Instrument
from hive.feed.metrics import VenueMetrics
from hive.feed.rest import RestClient
from hive.feed.snapshots import SnapshotQueue
from hive.feed.venue import Diff, TradeEvent, Venue
from hive.shm.book import BookTable
from hive.shm.broadcast import BroadcastWriter
from hive.shm.errors import NotRepresentable, TableFull
from hive.shm.instruments import InstrumentRules

VENUES: dict[str, Callable[[str], Venue]] = {"binance": BinanceSpot}
UNKNOWN_SYMBOL = -1121
RULES_RETRY_S = (0.5, 15.0)
DEFAULT_SILENCE_S = 10.0
DEFAULT_RULES_INTERVAL_S = 60.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VenueConfig:
    """One venue as the boot message names it.

    kind is its protocol. silence_s: how long a subscribed connection may bring nothing before it counts as lost.
    rules_interval_s: how often the exchange rules are read again; a halt is noticed so late at most.
    """

    index: int
    name: str
    kind: str
    rest_url: str
    ws_url: str
    max_connections: int = 1
    silence_s: float = DEFAULT_SILENCE_S
    rules_interval_s: float = DEFAULT_RULES_INTERVAL_S

    def __post_init__(self) -> None:
        if self.kind not in VENUES:
            raise BootError(f"venue {self.name}: kind must be one of {sorted(VENUES)}, was {self.kind!r}")
        if self.max_connections < 1:
            raise BootError(f"venue {self.name}: max_connections must be >= 1, was {self.max_connections}")
        if self.silence_s <= 0 or self.rules_interval_s <= 0:
            raise BootError(
                f"venue {self.name}: silence_s and rules_interval_s must be > 0, "
                f"were {self.silence_s} and {self.rules_interval_s}"
            )


class VenueFeed:
    """Follows what is wanted of one venue while run() runs.

    `tell` sends an object to the supervisor; `read_ns` says when the data that a task has just been given was read.
    """

    def __init__(
        self,
        config: VenueConfig,
        table: BookTable,
        trades: BroadcastWriter,
        metrics: VenueMetrics,
        depth: int,
        tell: Callable[[dict], None],
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        read_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.config = config
        self._venue = VENUES[config.kind](config.rest_url)
        self._table = table
        self._trades = trades
        self._metrics = metrics
        self._limits = self._venue.snapshot_limits(depth)
        self._tell = tell
        self._clock = clock
        self._read_ns = read_ns
        self._budget = WeightBudget(self._venue.request_weight_per_minute)
        self._wishes: asyncio.Queue[str] = asyncio.Queue()
        self._wanted: set[str] = set()
        self._by_symbol: dict[str, Instrument] = {}
        self._by_stream: dict[str, Instrument] = {}
        self._carried: dict[MarketConnection, list[Instrument]] = {}

    def want(self, pairs: Iterable[str]) -> None:
        """Follow `pairs` ("BTC-USDT") from now on; those that are followed already change nothing."""
        for pair in pairs:
            if pair not in self._wanted:
                self._wanted.add(pair)
                self._wishes.put_nowait(pair)

    def disconnect(self) -> None:
        """Show readers that nothing arrives any more."""
        for instrument in self._by_symbol.values():
            instrument.disconnected()

    async def run(self) -> None:
        """Serve until cancelled."""
        async with aiohttp.ClientSession(auto_decompress=True) as session, asyncio.TaskGroup() as group:
            rest = RestClient(session, self._budget, self._metrics, self._venue.weight_header)
            snapshots = SnapshotQueue(self._venue, rest, self._metrics, self._clock, self._read_ns)
            group.create_task(snapshots.run())
            group.create_task(self._watch_rules(rest))
            await self._serve_wishes(session, group, rest, snapshots)

    def on_up(self, connection: MarketConnection) -> None:
        """Start to buffer for every instrument of a connection that has just been opened."""
        log.info("%s: market connection open", self.config.name)
        for instrument in self._carried[connection]:
            instrument.connected()

    def on_down(self, connection: MarketConnection, reason: str) -> None:
        """Mark every book of a lost connection STALE."""
        for instrument in self._carried[connection]:
            instrument.disconnected()
        self._event("warning", f"{self.config.name}: market connection lost: {reason}")

    def on_subscribed(self, streams: Iterable[str]) -> None:
        """Ask for the snapshots of instruments whose diffs arrive from now on."""
        for stream in streams:
            instrument = self._by_stream.get(stream)
            if instrument is not None:
                instrument.subscribed()

    def on_event(self, event: Diff | TradeEvent, read_ns: int) -> None:
        """Hand a message to its instrument; one that nobody wants is ignored."""
        instrument = self._by_symbol.get(event.symbol)
        if instrument is None:
            return
        if type(event) is Diff:
            instrument.on_diff(event, read_ns)
        else:
            instrument.on_trade(event, read_ns)

    async def _serve_wishes(
        self, session: aiohttp.ClientSession, group: asyncio.TaskGroup, rest: RestClient, snapshots: SnapshotQueue
    ) -> None:
        while True:
            pairs = [await self._wishes.get()]
            while not self._wishes.empty():
                pairs.append(self._wishes.get_nowait())
            rules = await self._read_rules_until_answered(rest, [self._venue.symbol(pair) for pair in pairs])
            for pair in pairs:
                found = rules.get(self._venue.symbol(pair))
                if found is None or found.pair != pair:
                    self._refuse(pair, f"{self.config.name} does not list {pair}")
                    continue
                connection = self._connection_with_room(session, group)
                if connection is None:
                    self._refuse(pair, f"{self.config.name}: {self.config.max_connections} connection(s) are full")
                    continue
                self._follow(found, connection, snapshots)

    def _follow(self, rules: InstrumentRules, connection: MarketConnection, snapshots: SnapshotQueue) -> None:
        try:
            instrument = Instrument(
                rules, self._table, self._trades, self._limits, self._metrics, snapshots.ask, self._clock
            )
        except (TableFull, NotRepresentable) as error:
            self._refuse(rules.pair, f"{self.config.name}: {rules.pair}: {error}")
            return
        streams = self._venue.streams(rules.symbol)
        self._by_symbol[rules.symbol] = instrument
        self._by_stream[streams[0]] = instrument
        self._carried[connection].append(instrument)
        self._metrics.instruments.set(len(self._by_symbol))
        instrument.connected()  # diffs that come before the venue's answer are wanted too
        connection.subscribe(streams)

    def _connection_with_room(
        self, session: aiohttp.ClientSession, group: asyncio.TaskGroup
    ) -> MarketConnection | None:
        needed = len(self._venue.streams(""))
        for connection in self._carried:
            if connection.room >= needed:
                return connection
        if len(self._carried) == self.config.max_connections:
            return None
        connection = MarketConnection(
            self._venue,
            self.config.ws_url,
            session,
            self,
            self._metrics,
            self.config.silence_s,
            clock=self._clock,
            read_ns=self._read_ns,
        )
        self._carried[connection] = []
        group.create_task(connection.run())
        return connection

    async def _read_rules_until_answered(self, rest: RestClient, symbols: list[str]) -> dict[str, InstrumentRules]:
        wait_s, longest_s = RULES_RETRY_S
        while True:
            try:
                return await self._read_rules(rest, symbols)
            except (VenueRefused, MalformedMessage) as error:
                self._event("warning", f"{self.config.name}: no exchange rules yet: {error}")
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, longest_s)

    async def _read_rules(self, rest: RestClient, symbols: list[str]) -> dict[str, InstrumentRules]:
        """Read the rules of `symbols`; one unknown name makes the venue refuse, then all rules are read."""
        found: dict[str, InstrumentRules] = {}
        try:
            for request in self._venue.rules_requests(symbols):
                found.update(self._venue.rules(await rest.get(request)))
        except VenueRefused as refusal:
            if refusal.code != UNKNOWN_SYMBOL:
                raise
            found = self._venue.rules(await rest.get(self._venue.all_rules_request()))
        return found

    async def _watch_rules(self, rest: RestClient) -> None:
        """Read the rules again and again: instruments are halted, and filters change."""
        while True:
            await asyncio.sleep(self.config.rules_interval_s)
            if not self._by_symbol:
                continue
            try:
                rules = await self._read_rules(rest, list(self._by_symbol))
            except (VenueRefused, MalformedMessage) as error:
                log.warning("%s: rules not read again: %s", self.config.name, error)
                continue
            for symbol, instrument in self._by_symbol.items():
                if symbol in rules:
                    instrument.set_rules(rules[symbol])

    def _refuse(self, pair: str, reason: str) -> None:
        self._wanted.discard(pair)  # whoever wants it again hears it again
        self._tell({"type": "unknown", "venue": self.config.name, "pair": pair, "reason": reason})
        self._event("error", reason)

    def _event(self, level: str, text: str) -> None:
        log.log(logging.ERROR if level == "error" else logging.WARNING, text)
        self._tell({"type": "event", "level": level, "text": text})
