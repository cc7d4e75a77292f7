"""The order book of one symbol: price levels in order, each a queue in order of arrival.

    bids.keys  ascending by  price, best last     asks.keys  ascending by -price, best last

Every change of a level takes one update id and marks the level's price as changed, so that the depth stream
can send absolute quantities of exactly what changed, with continuous ids.
"""
from __future__ import annotations

from bisect import bisect_left, insort

from hive.sim.orders import BUY, Order


class Level:
    """All resting orders at one price, oldest first, and their total remaining quantity."""

    __slots__ = ("orders", "price", "quantity")

    def __init__(self, price: int) -> None:
        self.price = price
        self.quantity = 0
        self.orders: dict[int, Order] = {}


class Side:
    """One side of a book; `sign` is 1 for bids and -1 for asks, so the best key is always the largest."""

    __slots__ = ("changed", "keys", "levels", "sign")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.keys: list[int] = []
        self.levels: dict[int, Level] = {}
        self.changed: set[int] = set()

    def best(self) -> Level | None:
        """Return the best level, or None when the side is empty."""
        return self.levels[self.keys[-1] * self.sign] if self.keys else None

    def best_price(self) -> int:
        """Return the best price, or 0 when the side is empty."""
        return self.keys[-1] * self.sign if self.keys else 0

    def top(self, depth: int) -> list[tuple[int, int]]:
        """Return up to `depth` (price, quantity) pairs, best first."""
        levels, sign = self.levels, self.sign
        return [(key * sign, levels[key * sign].quantity) for key in self.keys[: -depth - 1 : -1]]

    def take_changed(self) -> list[tuple[int, int]]:
        """Return (price, quantity now) of every level changed since the last call, best first; 0 is gone."""
        if not self.changed:
            return []
        prices = sorted(self.changed, reverse=self.sign > 0)
        self.changed.clear()
        levels = self.levels
        return [(price, levels[price].quantity if price in levels else 0) for price in prices]


class Book:
    """Both sides of a symbol's book and the id of the last change."""

    __slots__ = ("asks", "bids", "update_id")

    def __init__(self) -> None:
        self.bids = Side(1)
        self.asks = Side(-1)
        self.update_id = 0

    def side(self, name: str) -> Side:
        """Return the side where orders of `name` (BUY or SELL) rest."""
        return self.bids if name == BUY else self.asks

    def add(self, order: Order) -> None:
        """Queue an order behind all others of its price."""
        side = self.bids if order.side == BUY else self.asks
        price = order.price
        level = side.levels.get(price)
        if level is None:
            level = side.levels[price] = Level(price)
            insort(side.keys, price * side.sign)
        level.orders[order.order_id] = order
        level.quantity += order.remaining
        side.changed.add(price)
        self.update_id += 1

    def remove(self, order: Order) -> None:
        """Take a resting order with whatever remains of it out of the book. Raises KeyError when it is not there."""
        side = self.bids if order.side == BUY else self.asks
        level = side.levels[order.price]
        del level.orders[order.order_id]
        level.quantity -= order.remaining
        self._touch(side, level)

    def fill(self, order: Order, quantity: int) -> None:
        """Take `quantity` off a resting order, and the order out of the book when nothing remains."""
        side = self.bids if order.side == BUY else self.asks
        level = side.levels[order.price]
        level.quantity -= quantity
        if order.remaining == quantity:
            del level.orders[order.order_id]
        order.remaining -= quantity
        self._touch(side, level)

    def _touch(self, side: Side, level: Level) -> None:
        if not level.orders:
            del side.levels[level.price]
            key = level.price * side.sign
            if side.keys[-1] == key:
                side.keys.pop()
            else:
                del side.keys[bisect_left(side.keys, key)]
        side.changed.add(level.price)
        self.update_id += 1
