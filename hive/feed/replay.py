"""A venue played from a recording: the same parser, books, trades and candles, without connections and requests.

    recording -> UP, DOWN, SUBSCRIBED ... -> Links -> which connection an instrument is heard on
                 MESSAGE  -> venue.parse -> VenueFeed.on_event -> books and trades
                 ANSWER   -> rules, snapshots, histories of candles, in the place where they had come

Everything happens in the order of the file, and nothing waits for a clock but the pace, so one file brings the same
books in the same order at any speed. A snapshot is joined when its book needs one; what was asked for otherwise (an
audit) is passed over.

The recording begins to play `begin_after_s` after the first wish for anything; every instrument in it is followed then,
wanted or not. Candles are served to who wants them by then. At the end every book is STALE.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from hive.feed.demand import BOOK, CANDLES, TOPS, TRADES, Wish
from hive.feed.errors import BootError, MalformedMessage, VenueRefused
from hive.feed.instruments import Instrument
from hive.feed.lag import Beat
from hive.feed.links import Links
from hive.feed.market import VenueFeed
from hive.feed.recording import CANDLES as HISTORY
from hive.feed.recording import (
    RULES,
    SNAPSHOT,
    Kind,
    RecordedAnswer,
    Recording,
    RecordingError,
    target_of,
    unpack_answer,
)
from hive.feed.settings import VenueConfig
from hive.feed.sync import Phase
from hive.feed.venue import Answer, HttpAnswer, Notice, Request
from hive.shm.errors import NotRepresentable, TableFull
from hive.shm.instruments import InstrumentRules

BEGIN_AFTER_S = 1.0
AT_ONCE = 32  # records between two turns of the loop, when it is behind or in no hurry

log = logging.getLogger(__name__)


class ReplayRest:
    """Answers requests for the history of candles with what was answered in the recording."""

    def __init__(self) -> None:
        self._played: dict[str, HttpAnswer] = {}
        self._waiting: dict[str, list[asyncio.Future[HttpAnswer]]] = {}

    async def get(self, request: Request) -> HttpAnswer:
        """Return the last answer to the same question that was played; wait for the first one."""
        target = without_limit(target_of(request.url))
        if target in self._played:
            return self._played[target]
        future: asyncio.Future[HttpAnswer] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(target, []).append(future)
        return await future

    def play(self, found: RecordedAnswer) -> None:
        """Give an answer to all who wait for it, and to who asks later."""
        target = without_limit(found.target)
        self._played[target] = found.answer
        for future in self._waiting.pop(target, ()):
            if not future.done():
                future.set_result(found.answer)


def without_limit(target: str) -> str:
    """Return path and query without how much was asked for: a replay may keep more or less than the recorder did."""
    parts = urlsplit(target)
    return f"{parts.path}?{urlencode(sorted(one for one in parse_qsl(parts.query) if one[0] != 'limit'))}"


@dataclass(slots=True)
class Contents:
    """What a recording has, found before it is played."""

    pairs: set[str] = field(default_factory=set)
    seconds: float = 0.0


class ReplayFeed(VenueFeed):
    """Plays `config.file`; has the methods of VenueFeed that the process calls.

    Args:
        begin_after_s: how long others may still say what they want after the first one did.
        observer: called with (kind, ns since the recording began) after each record, if not None.

    Raises:
        BootError: the file cannot be played.
    """

    def __init__(
        self,
        config: VenueConfig,
        *arguments: Any,
        begin_after_s: float = BEGIN_AFTER_S,
        observer: Callable[[int, int], None] | None = None,
        **options: Any,
    ) -> None:
        try:
            self._recording = Recording(Path(config.file))
        except RecordingError as error:
            raise BootError(f"venue {config.name}: {error}") from None
        header = self._recording.header
        if header.kind != config.kind:
            raise BootError(f"venue {config.name}: {config.file} is of kind {header.kind}, not {config.kind}")
        self._links = Links(self.on_event, self._listen)
        super().__init__(replace(config, rest_url=header.rest_url, ws_url=header.ws_url), *arguments, **options)
        self._begin_after_s = begin_after_s
        self._observer = observer
        self._player = ReplayRest()
        self._wanted: dict[str, set[Wish]] = {}
        self._first_wish = asyncio.Event()
        self._contents: Contents | None = None
        self._listed: dict[str, InstrumentRules] = {}  # by the stream of its book
        self._snapshot_of: dict[str, tuple[Instrument, int]] = {}  # target -> whose book, of how many levels
        self._desired: set[Wish] = set()
        self._served: set[Wish] = set()
        self._position_ns = 0

    def wall_ns(self) -> int:
        """Return the wall clock of the recording."""
        return self._recording.header.started_wall_ns + self._position_ns

    # --- what the supervisor says

    def want(self, who: str, wants: Iterable[Wish]) -> None:
        """Take the whole wish list of `who`; pairs that the recording does not have are refused."""
        wishes = {(pair, kind) for pair, kind in wants}
        new = wishes - self._wanted.get(who, set())
        self._wanted[who] = wishes
        if wishes:
            self._first_wish.set()
        self._refuse_unknown({pair for pair, _ in new})
        self._desired = {wish for one in self._wanted.values() for wish in one if wish[1].startswith(CANDLES)}
        self._serve_candles()

    def reread_rules(self) -> None:
        """Nothing: the recording says when the rules were read."""

    def use_budget(self, segment: str) -> None:
        """Nothing: nobody is asked."""

    def refresh(self) -> None:
        """Nothing: nobody can be asked."""

    def late(self, beat: Beat) -> None:
        """Count it; what is played late was recorded whole."""
        self._metrics.lag_events.inc()

    def disconnect(self) -> None:
        """Show readers that nothing arrives any more."""
        self._links.close()

    # --- playing

    async def run(self) -> None:
        """Play the recording once, then wait until cancelled."""
        async with asyncio.TaskGroup() as group:
            if self.candles is not None:
                self.candles.start(self._player, self._links, group)
            try:
                self._contents = await asyncio.to_thread(self._look_through)
                self.tell(
                    "info",
                    f"{self.config.file}: {len(self._contents.pairs)} pairs, {self._contents.seconds:.1f} s, "
                    f"{f'{self.config.speed:g} times as fast' if self.config.speed else 'as fast as possible'}",
                )
                self._refuse_unknown({pair for wishes in self._wanted.values() for pair, _ in wishes})
                await self._first_wish.wait()
                await asyncio.sleep(self._begin_after_s)
                await self._play()
            except RecordingError as error:
                self.disconnect()
                self.tell("error", f"the replay ends here: {error}")
            await asyncio.Event().wait()

    async def _play(self) -> None:
        speed = self.config.speed
        began_ns = self._clock()
        first_ns = None
        count = 0
        for count, (kind, connection, ns, data) in enumerate(self._recording.parts(), 1):
            if first_ns is None:
                first_ns = ns
            ahead_s = ((ns - first_ns) / speed - (self._clock() - began_ns)) / 1e9 if speed else 0.0
            if ahead_s > 0:
                await asyncio.sleep(ahead_s)
            elif count % AT_ONCE == 0:
                await asyncio.sleep(0)
            self._position_ns = ns
            self._take(kind, connection, data)
            if self._observer is not None:
                self._observer(kind, ns)
        self.disconnect()
        torn = f"; it was torn, {lost} bytes at its end are lost" if (lost := self._recording.torn_bytes) else ""
        took_s = (self._clock() - began_ns) / 1e9
        self.tell("warning" if torn else "info", f"the replay is over: {count} records in {took_s:.1f} s{torn}")

    def _take(self, kind: int, connection: int, data: bytes) -> None:
        if kind == Kind.MESSAGE:
            self._on_message(connection, data)
        elif kind == Kind.ANSWER:
            self._on_answer(unpack_answer(data))
        elif kind == Kind.UP:
            self._links.up(connection)
            self._metrics.market_connections.set(self._links.count)
        elif kind == Kind.DOWN:
            self._links.down(connection)
            self._metrics.market_connections.set(self._links.count)
        elif kind == Kind.SUBSCRIBED:
            self._links.subscribed(connection, json.loads(data))
        elif kind == Kind.UNSUBSCRIBED:
            self._links.unsubscribed(connection, json.loads(data))
        elif kind == Kind.DROPPED:
            self.tell("warning", f"the recording misses records here: {data.decode()}")

    def _on_message(self, connection: int, raw: bytes) -> None:
        metrics = self._metrics
        metrics.messages.inc()
        metrics.bytes_received.inc(len(raw))
        try:
            event = self.venue.parse(raw)
        except MalformedMessage:
            metrics.malformed.inc()
            if not self.on_malformed(raw):
                self._links.doubted(connection)
            return
        if event is not None and type(event) is not Answer and type(event) is not Notice:
            self._links.event(connection, event, self._clock())

    def _on_answer(self, found: RecordedAnswer) -> None:
        self._metrics.bytes_received.inc(len(found.answer.body))
        if found.purpose == HISTORY:
            self._player.play(found)
        elif found.purpose == SNAPSHOT:
            self._on_snapshot(found)
        elif found.purpose == RULES:
            self._on_rules(found)

    def _on_snapshot(self, found: RecordedAnswer) -> None:
        instrument, limit = self._snapshot_of.get(found.target, (None, 0))
        if instrument is None or not (instrument.sync.phase is Phase.BUFFERING or instrument.sync.refreshing):
            return
        ticket = instrument.sync.request(self._clock())
        try:
            snapshot = self.venue.snapshot(found.answer, limit)
        except VenueRefused:
            instrument.sync.snapshot_failed(ticket, self._clock())
        except MalformedMessage:
            self._metrics.malformed.inc()
            instrument.sync.snapshot_failed(ticket, self._clock())
        else:
            instrument.on_snapshot(ticket, snapshot, self._clock())

    # --- instruments

    def _on_rules(self, found: RecordedAnswer) -> None:
        try:
            rules = self.venue.rules(found.answer)
        except VenueRefused:
            return
        except MalformedMessage:
            self._metrics.malformed.inc()
            return
        asked_for_all = found.target == target_of(self.venue.all_rules_request().url)
        followed = [one.rules.symbol for one in self._following]
        self._rules.update(rules, followed if asked_for_all else rules.keys())
        self._listed.update({self.venue.streams(symbol, BOOK)[0]: one for symbol, one in rules.items()})
        self._listen(self._links.streams)
        self._serve_candles()

    def _listen(self, streams: Iterable[str]) -> None:
        """Follow every instrument whose book is subscribed and whose rules are known."""
        for stream in list(streams):
            rules = self._listed.get(stream)
            if rules is not None and rules.pair not in self._following:
                self._follow_all(rules)

    def _follow_all(self, rules: InstrumentRules) -> None:
        try:
            self._following.follow(rules, {BOOK, TRADES, TOPS})
        except (TableFull, NotRepresentable) as error:
            del self._listed[self.venue.streams(rules.symbol, BOOK)[0]]  # once is enough
            self.tell("error", f"{rules.pair}: {error}")
            return
        instrument = self._books[rules.symbol]
        for limit in {*self.venue.snapshot_limits(1), *self.venue.snapshot_limits(instrument.depth)}:
            target = target_of(self.venue.snapshot_request(rules.symbol, limit).url)
            self._snapshot_of[target] = (instrument, limit)

    def _serve_candles(self) -> None:
        """Follow the candles that are wanted, of pairs whose rules are known."""
        by_pair = {rules.pair: rules for rules in self._listed.values()}
        for pair, kind in sorted(self._served - self._desired) if self.candles is not None else ():
            self.candles.unfollow(pair, kind.removeprefix(CANDLES))
            self._served.discard((pair, kind))
        for pair, kind in sorted(self._desired - self._served) if self.candles is not None else ():
            if pair in by_pair:
                self._served.add((pair, kind))
                self.candles.follow(by_pair[pair], kind.removeprefix(CANDLES))

    def _refuse_unknown(self, pairs: set[str]) -> None:
        for pair in sorted(pairs - self._contents.pairs) if self._contents is not None else ():
            reason = f"{self.config.name}: {self.config.file} has no {pair}"
            self._tell({"type": "unknown", "venue": self.config.name, "pair": pair, "reason": reason})

    def _make_pool(self) -> Links:
        return self._links

    def _look_through(self) -> Contents:
        """Read what instruments there are; in a thread."""
        recording = Recording(self._recording.path)
        found = Contents()
        listed: dict[str, str] = {}
        subscribed: set[str] = set()
        last_ns = 0
        for kind, _, ns, data in recording.parts(Kind.SUBSCRIBED, Kind.ANSWER, Kind.END):
            last_ns = max(last_ns, ns)
            if kind == Kind.SUBSCRIBED:
                subscribed.update(json.loads(data))
            elif kind == Kind.ANSWER and (answer := unpack_answer(data)).purpose == RULES:
                try:
                    rules = self.venue.rules(answer.answer)
                except (VenueRefused, MalformedMessage):
                    continue
                listed.update({self.venue.streams(symbol, BOOK)[0]: one.pair for symbol, one in rules.items()})
        found.pairs = {pair for stream, pair in listed.items() if stream in subscribed}
        found.seconds = last_ns / 1e9
        return found
