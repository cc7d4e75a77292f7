"""Makes what is followed of a venue what is wanted of it.

    want(who, wants) -> Demand -> rules of what is new -> Following, candles
                        the last one left, and linger_s passed -> unfollowed
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from hive.feed.demand import CANDLES, Demand, Wish, known_kind
from hive.feed.errors import MalformedMessage, VenueRefused
from hive.feed.following import Following
from hive.feed.pool import PoolFull, StreamPool
from hive.feed.rest import RestClient
from hive.feed.rules import read_rules
from hive.feed.settings import VenueConfig
from hive.feed.venue import CandleEvent, Venue
from hive.shm.errors import NotRepresentable, TableFull
from hive.shm.instruments import InstrumentRules

RETRY_S = (0.5, 15.0)
UNLISTED_FOR_S = 60.0  # that a pair is not listed is believed for so long

log = logging.getLogger(__name__)


class CandleFeed(Protocol):
    """Who serves candles (candles.py)."""

    def start(self, rest: RestClient, pool: StreamPool, group: asyncio.TaskGroup) -> None:
        """Begin: requests by `rest`, streams by `pool`, tasks in `group`."""

    def follow(self, rules: InstrumentRules, interval: str) -> None:
        """Serve candles of `interval`: somebody wants them now, and nobody did before."""

    def unfollow(self, pair: str, interval: str) -> None:
        """Stop serving: nobody has wanted them for linger_s."""

    def asked(self, pair: str, interval: str) -> None:
        """Tell again what was told of a series: somebody wants it who may not have heard."""

    def on_candle(self, event: CandleEvent, read_ns: int) -> None:
        """A candle arrived."""


class WishServer:
    """Follows what is wanted while serve() runs.

    Args:
        tell: is given (level, text) for the operator; send: an object for the supervisor.
    """

    def __init__(
        self,
        config: VenueConfig,
        venue: Venue,
        following: Following,
        tell: Callable[[str, str], None],
        send: Callable[[dict], None],
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._name = config.name
        self._venue = venue
        self._following = following
        self._tell = tell
        self._send = send
        self._clock = clock
        self._rest: RestClient | None = None
        self._candles: CandleFeed | None = None
        self._candles_of: dict[str, set[str]] = {}  # pair -> kinds
        self._demand = Demand(int(config.linger_s * 1e9))
        self._changed = asyncio.Event()
        self._unlisted: dict[str, int] = {}  # pair -> until when that is believed
        self._failures = 0

    def want(self, who: str, wants: Iterable[Wish]) -> None:
        """Replace the whole wish list of `who`."""
        wishes = []
        for pair, kind in wants:
            if known_kind(kind):
                wishes.append((pair, kind))
            else:
                self._tell("error", f"{who} wants {kind!r} of {pair}: no such kind")
        now_ns = self._clock()
        new = self._demand.update(who, wishes, now_ns)
        for pair in sorted({pair for pair, _ in new if self._unlisted.get(pair, 0) > now_ns}):
            self._refuse(pair, f"{self._name} does not list {pair}")
        for pair, kind in new if self._candles is not None else ():
            if kind.startswith(CANDLES):
                self._candles.asked(pair, kind.removeprefix(CANDLES))
        self._changed.set()

    async def serve(self, rest: RestClient, candles: CandleFeed | None) -> None:
        """Follow what is wanted, as that changes, until cancelled; without `candles` their series are refused."""
        self._rest = rest
        self._candles = candles
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
                rules = await read_rules(self._venue, self._rest, [self._venue.symbol(pair) for pair in fresh])
                self._failures = 0
            except (VenueRefused, MalformedMessage) as error:
                self._tell("warning", f"no exchange rules yet: {error}")
                first_s, longest_s = RETRY_S
                retry_s = min(first_s * 2.0 ** min(self._failures, 16), longest_s)
                self._failures += 1
        for pair, kinds in wanted.items():
            if pair not in fresh:
                self._set_kinds(pair, kinds)
            elif retry_s is None:
                self._follow(pair, kinds, rules.get(self._venue.symbol(pair)))
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
            self._refuse(pair, f"{self._name} does not list {pair}")
            return
        self._unlisted.pop(pair, None)
        market = _market_kinds(kinds)
        try:
            if pair in self._following:
                self._following.set_kinds(pair, market)
            elif market:
                self._following.follow(rules, market)
        except (TableFull, NotRepresentable, PoolFull) as error:
            self._refuse(pair, f"{self._name}: {pair}: {error}")
            return
        self._set_candles(pair, kinds, rules)

    def _set_kinds(self, pair: str, kinds: set[str]) -> None:
        try:
            if pair in self._following:
                self._following.set_kinds(pair, _market_kinds(kinds))
        except PoolFull as error:
            self._tell("error", f"{pair}: {error}")

    def _set_candles(self, pair: str, kinds: set[str], rules: InstrumentRules | None) -> None:
        """Follow and unfollow candle series of a pair; without rules only the latter."""
        followed = self._candles_of.setdefault(pair, set())
        wanted = {kind for kind in kinds if kind.startswith(CANDLES)}
        for kind in sorted(followed - wanted):
            followed.discard(kind)
            if self._candles is not None:
                self._candles.unfollow(pair, kind.removeprefix(CANDLES))
        for kind in sorted(wanted - followed) if rules is not None else ():
            followed.add(kind)
            interval = kind.removeprefix(CANDLES)
            if self._candles is not None:
                self._candles.follow(rules, interval)
            else:
                series = {"venue": self._name, "pair": pair, "interval": interval, "segment": ""}
                self._send({"type": "series", **series, "reason": "this feed serves no candles"})
        if not followed:
            del self._candles_of[pair]

    def _refuse(self, pair: str, reason: str) -> None:
        """Tell that a pair cannot be followed; who wants it again hears it again."""
        self._demand.refuse(pair)
        self._send({"type": "unknown", "venue": self._name, "pair": pair, "reason": reason})
        log.error(reason)


def _market_kinds(kinds: set[str]) -> set[str]:
    return {kind for kind in kinds if not kind.startswith(CANDLES)}
