"""All known price levels of one instrument in pure Python, the twin of book.pyx, which describes sides and horizon."""

from array import array
from bisect import bisect_left
from collections.abc import Callable
from math import inf

from hive.feed.levels import read_levels
from hive.shm.book import BookWriter

MOST_LEVELS = 20_000  # of a side; what lies behind is dropped and the horizon moves in


class _Side:
    """Levels by ascending key, the best one last: a bid's price, an ask's negated price."""

    __slots__ = ("horizon", "keys", "qtys", "sign")

    def __init__(self, sign: float) -> None:
        self.sign = sign
        self.clear()

    def clear(self) -> None:
        self.keys: list[float] = []
        self.qtys: list[float] = []
        self.horizon = -inf  # no level is missing among the keys from here up

    def set(self, key: float, qty: float) -> None:
        """Give a level its quantity."""
        keys, qtys = self.keys, self.qtys
        at = bisect_left(keys, key)
        if at < len(keys) and keys[at] == key:
            if qty > 0.0:
                qtys[at] = qty
            else:
                del keys[at], qtys[at]
            return
        if qty <= 0.0:
            return
        if len(keys) == MOST_LEVELS:
            if at == 0:
                self.horizon = max(self.horizon, keys[0])
                return
            del keys[0], qtys[0]
            self.horizon = max(self.horizon, keys[0])
            at -= 1
        keys.insert(at, key)
        qtys.insert(at, qty)

    def update(self, levels: list[tuple[float, float]]) -> None:
        """Apply a diff's levels."""
        for price, qty in levels:
            self.set(self.sign * price, qty)

    def refill(self, levels: list[tuple[float, float]], limit: int) -> None:
        """Become a snapshot's levels."""
        self.clear()
        if len(levels) >= limit:
            self.horizon = min((self.sign * price for price, _ in levels), default=inf)
        for price, qty in reversed(levels):  # it lists the best first: backwards, every insertion is an append
            self.set(self.sign * price, qty)

    def complete(self) -> int:
        """Return how many levels, from the best one on, are known without a hole."""
        return len(self.keys) - bisect_left(self.keys, self.horizon)

    def best(self, depth: int) -> tuple[array, array]:
        """Return prices and quantities of up to `depth` levels without a hole, best first."""
        count = min(depth, self.complete())
        first = len(self.keys) - count
        prices = array("d", [self.sign * key for key in reversed(self.keys[first:])])
        return prices, array("d", self.qtys[first:][::-1])


class PriceLevelBook:
    """The price levels of one instrument. `depth` is how many of the best go to the readers."""

    depth: int
    n_bids: int  # levels that were handed out last
    n_asks: int

    def __init__(self, depth: int) -> None:
        if not 1 <= depth <= 5000:
            raise ValueError(f"depth must be 1..5000, was {depth}")
        self.depth = depth
        self.n_bids = self.n_asks = 0
        self._bids = _Side(1.0)
        self._asks = _Side(-1.0)

    def replace(self, bids, asks, limit: int) -> None:
        """Become a snapshot.

        bids, asks: undecoded JSON or lists of strings. limit: how many levels per side were asked for; a side of
        so many ends at its horizon, a shorter one is the whole side. Raises MalformedMessage and changes nothing.
        """
        new_bids, new_asks = read_levels(bids), read_levels(asks)
        self._bids.refill(new_bids, limit)
        self._asks.refill(new_asks, limit)

    def apply(self, bids, asks) -> None:
        """Apply a diff of absolute quantities, bids and asks as replace() takes them.

        Raises MalformedMessage and changes nothing.
        """
        new_bids, new_asks = read_levels(bids), read_levels(asks)
        self._bids.update(new_bids)
        self._asks.update(new_asks)

    def follow(
        self, writer: BookWriter, bids, asks, update_id: int, exchange_ns: int, recv_ns: int, clock: Callable[[], int]
    ) -> int:
        """Apply a diff and publish the book, in one call: the feed's hot path. `clock` gives now_ns of publish().

        Returns the time when that was done, or -1 when the book is crossed now: then nothing is. Raises
        MalformedMessage and changes nothing.
        """
        self.apply(bids, asks)
        if self.crossed:
            return -1
        self.publish(writer, update_id, exchange_ns, recv_ns, clock())
        return clock()

    def clear(self) -> None:
        """Forget every level."""
        self._bids.clear()
        self._asks.clear()

    @property
    def crossed(self) -> bool:
        """Whether the best bid is not below the best ask: no venue shows that, so a diff is missing."""
        if not self._bids.keys or not self._asks.keys:
            return False
        return self._bids.keys[-1] >= -self._asks.keys[-1]

    @property
    def short(self) -> bool:
        """Whether a side hands out fewer than `depth` levels because its horizon is too near."""
        return any(side.horizon != -inf and side.complete() < self.depth for side in (self._bids, self._asks))

    def publish(self, writer: BookWriter, update_id: int, exchange_ns: int, recv_ns: int, now_ns: int) -> None:
        """Hand the best `depth` levels per side to the readers as a new version."""
        writer.c_publish(update_id, exchange_ns, recv_ns, now_ns, *self._columns(min(self.depth, writer.depth)))

    def top(self) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        """Return (bids, asks), each [(price, quantity), ...] of up to `depth` levels, best first."""
        bid_px, bid_qty, ask_px, ask_qty = self._columns(self.depth)
        return list(zip(bid_px, bid_qty, strict=True)), list(zip(ask_px, ask_qty, strict=True))

    def levels(self) -> tuple[dict[float, float], dict[float, float]]:
        """Return (bids, asks), each {price: quantity} of every level that is known, behind the horizon too."""
        bids, asks = self._bids, self._asks
        return (
            dict(zip(bids.keys, bids.qtys, strict=True)),
            {-key: qty for key, qty in zip(asks.keys, asks.qtys, strict=True)},
        )

    def _columns(self, depth: int) -> tuple[array, array, array, array]:
        bid_px, bid_qty = self._bids.best(depth)
        ask_px, ask_qty = self._asks.best(depth)
        self.n_bids, self.n_asks = len(bid_px), len(ask_px)
        return bid_px, bid_qty, ask_px, ask_qty
