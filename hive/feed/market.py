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
from typing import Any, Protocol

import aiohttp

from hive.feed.audit import Auditor
from hive.feed.binance import BinanceSpot
from hive.feed.budget import WeightBudget
from hive.feed.connection import MarketConnection
from hive.feed.demand import CANDLES, Demand, Wish, known_kind
from hive.feed.errors import MalformedMessage, VenueRefused
from hive.feed.following import Following
from hive.feed.instruments import Instrument
from hive.feed.lag import Beat
from hive.feed.metrics import VenueMetrics
from hive.feed.pacing import ConnectPace
from hive.feed.pool import PoolFull, StreamPool
from hive.feed.pulse import Patience
from hive.feed.recorder import Tap
from hive.feed.rest import RestClient
from hive.feed.rules import RulesWatch, read_rules
from hive.feed.settings import VenueConfig
from hive.feed.snapshots import SnapshotQueue
from hive.feed.socket import MarketSocket, connect
from hive.feed.venue import CandleEvent, Diff, TradeEvent, Venue
from hive.shm.book import BookTable
from hive.shm.broadcast import BroadcastWriter, TopWriter
from hive.shm.errors import NotRepresentable, ShmError, TableFull
from hive.shm.instruments import InstrumentRules

VENUES: dict[str, Callable[[str], Venue]] = {"binance": BinanceSpot}
RULES_RETRY_S = (0.5, 15.0)
UNLISTED_FOR_S = 60.0  # that a pair is not listed is believed for so long
DOUBT_S = 0.5  # how long a diff is waited for that proves that nothing was lost
DOUBTS_EVERY_S = 10.0  # how often snapshots are asked for because of unreadable messages
SYMBOL_WITHIN = 4_096  # bytes of an unreadable message that are searched for names
_NAME = re.compile(rb'"([^"\\]{1,24})"')

log = logging.getLogger(__name__)


class CandleFeed(Protocol):
    """Who serves candles (candles.py)."""

    def start(self, rest: RestClient, pool: StreamPool, group: asyncio.TaskGroup) -> None:
        """Begin: requests by `rest`, streams by `pool`, tasks in `group`."""

    def follow(self, rules: InstrumentRules, interval: str) -> None:
        """Serve candles of `interval`: somebody wants them now, and nobody did before."""

    def unfollow(self, pair: str, interval: str) -> None:
        """Stop serving: nobody has wanted them for linger_s."""

    def on_candle(self, event: CandleEvent, read_ns: int) -> None:
        """A candle arrived."""


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
        self._candles_of: dict[str, set[str]] = {}  # pair -> kinds
        self._rules = RulesWatch(self._following, metrics, self.tell)
        self._demand = Demand(int(config.linger_s * 1e9))
        self._changed = asyncio.Event()
        self._reread = asyncio.Event()
        self._in_doubt = asyncio.Event()
        self._unlisted: dict[str, int] = {}  # pair -> until when that is believed
        self._rules_failures = 0

    def wall_ns(self) -> int:
        """Return the wall clock of what arrives now."""
        return time.time_ns()

    # --- what the supervisor says

    def want(self, who: str, wants: Iterable[Wish]) -> None:
        """Replace the whole wish list of `who`: (pair, kind) as ("BTC-USDT", "book")."""
        wishes = []
        for pair, kind in wants:
            if known_kind(kind):
                wishes.append((pair, kind))
            else:
                self.tell("error", f"{who} wants {kind!r} of {pair}: no such kind")
        now_ns = self._clock()
        new = self._demand.update(who, wishes, now_ns)
        for pair in sorted({pair for pair, _ in new if self._unlisted.get(pair, 0) > now_ns}):
            self._refuse(pair, f"{self.config.name} does not list {pair}")
        self._changed.set()

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
        self._metrics.lag_events.inc()
        if beat is Beat.SUSPENDED:
            self.tell("warning", "the machine was suspended: every connection is opened anew")
            self._pool.reset("the machine was suspended")
        else:
            self._pool.prove()

    def disconnect(self) -> None:
        """Show readers that nothing arrives any more."""
        self._pool.silence()

    async def run(self) -> None:
        """Serve until cancelled."""
        connector = aiohttp.TCPConnector(ssl=self._ssl if self._ssl is not None else True)
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
            await self._serve_demand()

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

    # --- demand

    async def _serve_demand(self) -> None:
        """Follow what is wanted, as that changes."""
        while True:
            self._changed.clear()
            now_ns = self._clock()
            retry_s = await self._reconcile(self._demand.current(now_ns))
            waits = [] if retry_s is None else [retry_s]
            if self._demand.next_ns is not None:
                waits.append(max(0.0, (self._demand.next_ns - now_ns) / 1e9))
            try:
                async with asyncio.timeout(min(waits, default=None)):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def _reconcile(self, wanted: dict[str, set[str]]) -> float | None:
        """Make what is followed what is wanted; return after how many seconds to try again what failed."""
        for pair in list(self._candles_of):
            self._set_candles(pair, wanted.get(pair, set()), None)
        for one in self._following:
            kinds = _market_kinds(wanted.get(one.rules.pair, set()))
            if not kinds:
                self._following.unfollow(one.rules.pair)
        fresh = [pair for pair, kinds in wanted.items() if self._is_new(pair, kinds)]
        rules: dict[str, InstrumentRules] = {}
        retry_s = None
        if fresh:
            try:
                rules = await read_rules(self.venue, self._rest, [self.venue.symbol(pair) for pair in fresh])
                self._rules_failures = 0
            except (VenueRefused, MalformedMessage) as error:
                self.tell("warning", f"no exchange rules yet: {error}")
                first_s, longest_s = RULES_RETRY_S
                retry_s = min(first_s * 2.0 ** min(self._rules_failures, 16), longest_s)
                self._rules_failures += 1
        for pair, kinds in wanted.items():
            if pair not in fresh:
                self._set_kinds(pair, kinds)
            elif retry_s is None:
                self._follow(pair, kinds, rules.get(self.venue.symbol(pair)))
        return retry_s

    def _is_new(self, pair: str, kinds: set[str]) -> bool:
        """Return whether rules are needed before `kinds` of a pair can be followed."""
        candles = {kind for kind in kinds if kind.startswith(CANDLES)}
        return (bool(_market_kinds(kinds)) and pair not in self._following) or bool(
            candles - self._candles_of.get(pair, set())
        )

    def _follow(self, pair: str, kinds: set[str], rules: InstrumentRules | None) -> None:
        if rules is None or rules.pair != pair:
            self._unlisted[pair] = self._clock() + int(UNLISTED_FOR_S * 1e9)
            self._refuse(pair, f"{self.config.name} does not list {pair}")
            return
        self._unlisted.pop(pair, None)
        market = _market_kinds(kinds)
        try:
            if pair in self._following:
                self._following.set_kinds(pair, market)
            elif market:
                self._following.follow(rules, market)
        except (TableFull, NotRepresentable, PoolFull) as error:
            self._refuse(pair, f"{self.config.name}: {pair}: {error}")
            return
        self._set_candles(pair, kinds, rules)

    def _set_kinds(self, pair: str, kinds: set[str]) -> None:
        try:
            if pair in self._following:
                self._following.set_kinds(pair, _market_kinds(kinds))
        except PoolFull as error:
            self.tell("error", f"{pair}: {error}")

    def _set_candles(self, pair: str, kinds: set[str], rules: InstrumentRules | None) -> None:
        """Follow and unfollow candle series of a pair; without rules only the latter."""
        followed = self._candles_of.setdefault(pair, set())
        wanted = {kind for kind in kinds if kind.startswith(CANDLES)}
        for kind in sorted(followed - wanted):
            followed.discard(kind)
            if self.candles is not None:
                self.candles.unfollow(pair, kind.removeprefix(CANDLES))
        for kind in sorted(wanted - followed) if rules is not None else ():
            followed.add(kind)
            interval = kind.removeprefix(CANDLES)
            if self.candles is not None:
                self.candles.follow(rules, interval)
            else:
                series = {"venue": self.config.name, "pair": pair, "interval": interval, "segment": ""}
                self._tell({"type": "series", **series, "reason": "this feed serves no candles"})
        if not followed:
            del self._candles_of[pair]

    def _refuse(self, pair: str, reason: str) -> None:
        """Tell that a pair cannot be followed; who wants it again hears it again."""
        self._demand.refuse(pair)
        self._tell({"type": "unknown", "venue": self.config.name, "pair": pair, "reason": reason})
        log.error(reason)

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
            await asyncio.sleep(min(self.config.rules_interval_s, RULES_RETRY_S[1]))

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
            pace=self._pace,
            clock=self._clock,
            woke_ns=self._woke_ns,
            tap=None if self._tap is None else self._tap.connection(),
            ssl=self._ssl,
            open_socket=self._open_socket,
        )

    def _want_snapshot(self, instrument: Instrument) -> None:
        if self._snapshots is not None:
            self._snapshots.ask(instrument)

    def _pace_closed(self, seconds: float) -> None:
        self._pace.close(seconds, self._clock())


def _market_kinds(kinds: set[str]) -> set[str]:
    return {kind for kind in kinds if not kind.startswith(CANDLES)}
