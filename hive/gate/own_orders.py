"""An account's own orders by price: which one of another strategy would an order trade with.

    pair, side -> heap of all orders, and heap of those that may still take: not post-only, not known to rest

Only strategies are kept apart: one may cross itself, as in a stock instance. Market orders are not entered, they never
rest. Everything else that has not ended is, whether it rests, is on its way, or waits.

An order meets the best one of another strategy, on the other side, by its type:

    limit       one that crosses its price: whoever comes second takes
    market      one at the live book's best price or better that may rest there; none without a live book
    post-only   one that crosses its price and may still take. It never takes itself, the venue refuses it instead,
                so that nothing else could trade with it

What this does not see: a market order that is larger than the best level goes on to orders behind it, which may be
another strategy's; a book is as old as its last update. And a limit order is refused for what it crosses even where the
book would fill it before it comes so far.

O(log n) to enter an order. A look stops at the first one of another strategy, after those of its own that cross too.
What was removed is dropped when it comes up as the best, or with all others once it is the half.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable
from decimal import Decimal

from hive.gate.exact import TouchOf, limit_price, taken_price
from hive.gate.order import Order, State
from hive.shm.messages import OrderType, Side

SLACK = 32  # removed orders that one side of a pair may hold however few live
_MAY_TAKE = frozenset({State.PENDING, State.SENT, State.UNKNOWN})
_OTHER = {Side.BUY: Side.SELL, Side.SELL: Side.BUY}


class Place:
    """An order among its side's; `order` is None once it has been removed."""

    __slots__ = ("order", "side", "tag")

    def __init__(self, side: "_Side", order: Order) -> None:
        self.side = side
        self.tag = order.tag
        self.order: Order | None = order


_Heap = list[tuple[Decimal, int, Place]]


class OwnOrders:
    """The orders of one account that have not ended."""

    def __init__(self) -> None:
        self._sides: dict[tuple[str, Side], _Side] = {}

    def add(self, order: Order) -> Place | None:
        """Enter an order; returns what removes it, None for a market order, which is not entered."""
        price = limit_price(order)
        if price is None:
            return None
        side = self._sides.get((order.pair, order.side))
        if side is None:
            side = self._sides[order.pair, order.side] = _Side()
        return side.add(order, price if order.side is Side.SELL else price.copy_negate())

    def remove(self, place: Place) -> None:
        """Drop an order, once."""
        place.order = None
        place.side.removed(place.tag)

    def met_by(self, order: Order, touch_of: TouchOf) -> Order | None:
        """Return the order of another strategy that would trade with `order`, None when none would."""
        side = self._sides.get((order.pair, _OTHER[order.side]))
        if side is None or not side.has_others(order.tag):
            return None
        price = limit_price(order) or taken_price(order, touch_of)
        if price is None:
            return None
        bound = price if order.side is Side.BUY else price.copy_negate()
        if order.order_type is OrderType.LIMIT_MAKER:
            return side.best_taker(bound, order.tag)
        if order.order_type is OrderType.MARKET:
            return side.best(bound, order.tag, _may_rest)
        return side.best(bound, order.tag, _lives)


class _Side:
    """One side of a pair: the best has the smallest key, and of equal ones came first."""

    __slots__ = ("_all", "_live", "_numbers", "_of_tag", "_removed", "_takers")

    def __init__(self) -> None:
        self._all: _Heap = []
        self._takers: _Heap = []
        self._numbers = itertools.count()
        self._of_tag: Counter[str] = Counter()
        self._live = 0
        self._removed = 0

    def __len__(self) -> int:
        return len(self._all) + len(self._takers)

    def add(self, order: Order, key: Decimal) -> Place:
        place = Place(self, order)
        entry = (key, next(self._numbers), place)
        heapq.heappush(self._all, entry)
        if order.order_type is not OrderType.LIMIT_MAKER and order.state in _MAY_TAKE:
            heapq.heappush(self._takers, entry)
        self._of_tag[order.tag] += 1
        self._live += 1
        return place

    def removed(self, tag: str) -> None:
        self._of_tag[tag] -= 1
        self._live -= 1
        self._removed += 1
        if 2 * self._removed > len(self._all) + SLACK:
            self._all = [entry for entry in self._all if entry[2].order is not None]
            self._takers = [entry for entry in self._takers if _may_take(entry[2].order)]
            heapq.heapify(self._all)
            heapq.heapify(self._takers)
            self._of_tag = +self._of_tag
            self._removed = 0

    def has_others(self, tag: str) -> bool:
        return self._live > self._of_tag.get(tag, 0)

    def best(self, bound: Decimal, tag: str, meets: Callable[[Order | None], bool]) -> Order | None:
        heap = self._all
        while heap and heap[0][2].order is None:
            heapq.heappop(heap)
            self._removed -= 1
        return _first(heap, bound, tag, meets)

    def best_taker(self, bound: Decimal, tag: str) -> Order | None:
        heap = self._takers
        while heap and not _may_take(heap[0][2].order):
            heapq.heappop(heap)  # removed, or it has come to rest since: nothing makes it a taker again
        return _first(heap, bound, tag, _may_take)


def _first(heap: _Heap, bound: Decimal, tag: str, meets: Callable[[Order | None], bool]) -> Order | None:
    """Return the best order up to `bound` that is not of `tag` and that `meets` accepts; nothing is popped.

    Below what is found, or is beyond the bound, a heap has nothing better: only own orders are passed through.
    """
    found, places = None, [0]
    while places:
        at = places.pop()
        if at >= len(heap) or heap[at][0] > bound:
            continue
        order = heap[at][2].order
        if meets(order) and order.tag != tag:
            found, bound = order, heap[at][0]
        else:
            places += (2 * at + 2, 2 * at + 1)
    return found


def _lives(order: Order | None) -> bool:
    return order is not None


def _may_take(order: Order | None) -> bool:
    return order is not None and order.state in _MAY_TAKE


def _may_rest(order: Order | None) -> bool:
    return order is not None and order.state is not State.PENDING
