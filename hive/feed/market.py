"""One venue's market data: demand in, rules, connections and snapshots, books and trades out.

    want(who, wants) -> Demand -> exchange rules -> Following -> StreamPool -> on_event -> books and trades
                        the last one left, and linger_s passed -> unsubscribed, removed from the book table

An instrument is subscribed once however many want it.
"""

import asyncio
import logging
import re
import ssl as tls
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import aiohttp

from hive.feed.audit import Auditor
from hive.feed.binance import BinanceSpot
from hive.feed.budget import WeightBudget
from hive.feed.connection import MarketConnection
from hive.feed.demand import Wish
from hive.feed.errors import MalformedMessage, VenueRefused
from hive.feed.following import Following
from hive.feed.instruments import Instrument
from hive.feed.lag import Beat
from hive.feed.metrics import VenueMetrics
from hive.feed.pacing import ConnectPace
from hive.feed.pool import StreamPool
from hive.feed.pulse import Patience
from hive.feed.recorder import Tap
from hive.feed.rest import KEEP_ALIVE_S, RestClient
from hive.feed.rules import RulesWatch, read_rules
from hive.feed.settings import VenueConfig
from hive.feed.snapshots import SnapshotQueue
from hive.feed.socket import MarketSocket, connect
from hive.feed.venue import CandleEvent, Diff, TradeEvent, Venue
from hive.feed.wishes import CandleFeed, WishServer
from hive.shm.book import BookTable
from hive.shm.broadcast import BroadcastWriter, TopWriter
from hive.shm.errors import ShmError

VENUES: dict[str, Callable[[str], Venue]] = {"binance": BinanceSpot}
REREAD_AFTER_S = 15.0  # at the soonest
DOUBT_S = 0.5  # how long a diff is waited for that proves that nothing was lost
DOUBTS_EVERY_S = 10.0  # how often snapshots are asked for because of unreadable messages
SYMBOL_WITHIN = 4_096  # bytes of an unreadable message that are searched for names
_NAME = re.compile(rb'"([^"\\]{1,24})"')

log = logging.getLogger(__name__)


class VenueFeed:
    """Follows what is wanted of one venue while run() runs.

    Args:
        tell: sends an object to the supervisor.
        tops: where the kind "tops" goes; None: nowhere.
        woke_ns: says when the loop woke up for what it reads now.
        read_ns: says when the data that a task has just been given was read.
        candles: serves the kinds "candles:...", if not None.
        tap: is given all that the venue sends, if not None.
        open_socket: opens a market connection, as hive.feed.socket.connect() does.
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
        tops: TopWriter | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        woke_ns: Callable[[], int] = time.monotonic_ns,
        read_ns: Callable[[], int] = time.monotonic_ns,
        candles: CandleFeed | None = None,
        tap: Tap | None = None,
        open_socket: Callable[..., Awaitable[MarketSocket]] = connect,
    ) -> None:
        self.config = config
        self.venue = VENUES[config.kind](config.rest_url)
        self.candles = candles
        self._metrics = metrics
        self._tell = tell
        self._clock = clock
        self._woke_ns = woke_ns
        self._read_ns = read_ns
        self._tap = tap
        self._open_socket = open_socket
        self._budget = WeightBudget(self.venue.request_weight_per_minute, config.feed_share)
        self._rest: RestClient | None = None
        self._snapshots: SnapshotQueue | None = None
        self._ws_url = config.ws_url
        self._pace = ConnectPace()
        self._ssl = tls.create_default_context(cafile=config.ca_file) if config.ca_file else None
        self._pool = self._make_pool()
        self._following = Following(
            config, self.venue, table, trades, tops, metrics, depth, self._pool, self._want_snapshot, clock
        )
        self._books = self._following.books
        self._tapes = self._following.tapes
        self._shortcut = self.venue.shortcut(self._books, self._tapes)
        self._rules = RulesWatch(self._following, metrics, self.tell)
        self._wishes = WishServer(config, self.venue, self._following, self.tell, tell, clock)
        self._reread = asyncio.Event()
        self._in_doubt = asyncio.Event()

    def wall_ns(self) -> int:
        """Return the wall clock of what arrives now."""
        return time.time_ns()

    # --- what the supervisor says

    def want(self, who: str, wants: Iterable[Wish]) -> None:
        """Replace the whole wish list of `who`: (pair, kind) as ("BTC-USDT", "book")."""
        self._wishes.want(who, wants)

    def reread_rules(self) -> None:
        """Read the rules again soon: the venue refused an order by one that was not known."""
        self._reread.set()

    def use_budget(self, segment: str) -> None:
        """Take request weight from the gate's budget from now on."""
        try:
            self._budget.use(segment, time.time_ns())
        except ShmError as error:
            self.tell("warning", f"the gate's request budget cannot be used: {error}")

    def refresh(self) -> None:
        """Read the rules and every book again, for a recording that has a hole."""
        self.reread_rules()
        for instrument in self._books.values():
            instrument.sync.refresh(self._clock())
            self._want_snapshot(instrument)

    def late(self, beat: Beat) -> None:
        """Let no book pass for live after the loop came late, until its connection has proven that it is."""
        if beat is Beat.SUSPENDED:
            self._pool.reset("the machine was suspended")
            self.tell("warning", "the machine was suspended: every connection is opened anew")
        else:
            self._pool.prove()
        self._metrics.lag_events.inc()

    def disconnect(self) -> None:
        """Show readers that nothing arrives any more."""
        self._pool.silence()

    async def run(self) -> None:
        """Serve until cancelled."""
        connector = aiohttp.TCPConnector(
            ssl=self._ssl if self._ssl is not None else True, keepalive_timeout=KEEP_ALIVE_S
        )
        async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
            rest = RestClient(
                session,
                self._budget,
                self._metrics,
                self.venue.weight_header,
                on_banned=self._pace_closed,
                tap=self._tap,
            )
            self._rest = rest
            self._snapshots = SnapshotQueue(self.venue, rest, self._metrics, self._clock, self._read_ns)
            every_s = self.config.audit_interval_s
            auditor = Auditor(self.venue, rest, self._metrics, self._books.values, every_s, self.tell, self._clock)
            self._pool.start(group)
            if self.candles is not None:
                self.candles.start(rest, self._pool, group)
            tasks = (self._snapshots.run(), auditor.run(), self._watch_rules(), self._disprove(), self._renew())
            for task in tasks:
                group.create_task(task)
            await self._wishes.serve(rest, self.candles)

    # --- what the pool says

    def on_event(self, event: Any, read_ns: int) -> None:
        """Hand a message to its instrument; one that nobody wants is ignored."""
        kind = type(event)
        if kind is Diff:
            instrument = self._books.get(event.symbol)
            if instrument is not None:
                instrument.on_diff(event, read_ns)
        elif kind is TradeEvent:
            tape = self._tapes.get(event.symbol)
            if tape is not None:
                tape.on_trade(event, read_ns)
        elif kind is CandleEvent and self.candles is not None:
            self.candles.on_candle(event, read_ns)

    def on_malformed(self, raw: bytes) -> bool:
        """Resync the books that an unreadable message names; False when it names none that is followed."""
        named = {name.decode("ascii", "replace") for name in _NAME.findall(raw, 0, SYMBOL_WITHIN)}
        found = [self._books[name] for name in named & self._books.keys()]
        for instrument in found:
            instrument.resync()
        if not found:
            self._in_doubt.set()
        return bool(found)

    def follows(self, event: Any) -> bool:
        """Return whether an event leaves no gap before it."""
        instrument = self._books.get(event.symbol) if type(event) is Diff else None
        return instrument is None or instrument.follows(event)

    def on_banned(self, seconds: float) -> None:
        """Send no requests either: the venue refuses this address."""
        self._budget.close(seconds, time.time_ns())

    def tell(self, level: str, text: str) -> None:
        """Log something and tell the operator."""
        text = f"{self.config.name}: {text}"
        log.log({"error": logging.ERROR, "warning": logging.WARNING}.get(level, logging.INFO), text)
        self._tell({"type": "event", "level": level, "text": text})

    # --- upkeep

    async def _watch_rules(self) -> None:
        """Read the rules again and again: instruments are halted, and filters change."""
        while True:
            try:
                async with asyncio.timeout(self.config.rules_interval_s):
                    await self._reread.wait()
            except TimeoutError:
                pass
            self._reread.clear()
            symbols = [one.rules.symbol for one in self._following]
            if not symbols:
                continue
            try:
                self._rules.update(await read_rules(self.venue, self._rest, symbols), symbols)
            except (VenueRefused, MalformedMessage) as error:
                self.tell("warning", f"exchange rules not read again: {error}")
            await asyncio.sleep(min(self.config.rules_interval_s, REREAD_AFTER_S))

    async def _disprove(self) -> None:
        """Ask for snapshots of books that an unreadable message may have left without a diff."""
        while True:
            await self._in_doubt.wait()
            self._in_doubt.clear()
            await asyncio.sleep(DOUBT_S)
            for instrument in list(self._books.values()):
                instrument.verify()
            await asyncio.sleep(DOUBTS_EVERY_S)

    async def _renew(self) -> None:
        """Keep the venue's stream open where it asks for that."""
        while self.venue.renewal_s is not None:
            await asyncio.sleep(self.venue.renewal_s)
            try:
                url = self.venue.renewed(await self._rest.get(self.venue.renewal_request()))
            except (VenueRefused, MalformedMessage) as error:
                self.tell("warning", f"the market stream was not renewed: {error}")
                continue
            if url is not None:
                self._ws_url = url
                self._pool.rotate()

    def _make_pool(self) -> StreamPool:
        config = self.config
        rotate_after_ns = int(config.rotate_after_s * 1e9)
        rotated = self._metrics.rotations.inc
        return StreamPool(self._connection, self, config.max_connections, rotate_after_ns, self._clock, rotated)

    def _connection(self, pool: StreamPool) -> MarketConnection:
        config = self.config
        patience = Patience(
            silence_s=config.silence_s,
            ping_interval_s=config.ping_interval_s,
            pong_within_s=config.pong_within_s,
            lost_after_s=config.lost_after_s,
        )
        return MarketConnection(
            self.venue,
            self._ws_url,
            pool,
            self._metrics,
            patience,
            streams=config.streams_per_connection,
            pace=self._pace,
            clock=self._clock,
            woke_ns=self._woke_ns,
            shortcut=self._shortcut,
            tap=None if self._tap is None else self._tap.connection(),
            ssl=self._ssl,
            open_socket=self._open_socket,
        )

    def _want_snapshot(self, instrument: Instrument) -> None:
        if self._snapshots is not None:
            self._snapshots.ask(instrument)

    def _pace_closed(self, seconds: float) -> None:
        self._pace.close(seconds, self._clock())
