"""New orders that wait for their turn: first come, first served, except that a strategy above its own rate waits
for itself alone.

One queue per strategy holds its orders in order of arrival; the next order is the oldest among the heads of those
whose rate allows one now. The rates are token buckets over all venues; time is monotonic.
"""

import math
from collections import deque
from collections.abc import Callable

from hive.gate.bucket import TokenBucket
from hive.gate.ledger import Order


class OrderRates:
    """How many orders a second may leave, over all venues: in total and for each strategy.

    Args:
        total: orders per second, None for no limit
        each: for a strategy's tag, orders per second or None
    """

    def __init__(self, total: float | None, each: Callable[[str], float | None]) -> None:
        self._total = _bucket(total)
        self._each = each
        self._own: dict[str, TokenBucket | None] = {}

    def total_wait_ns(self, now_ns: int) -> int:
        """Return how long until any order may leave."""
        return self._total.wait_ns(1, now_ns) if self._total is not None else 0

    def own_wait_ns(self, tag: str, now_ns: int) -> int:
        """Return how long until an order of one strategy may leave."""
        bucket = self._own_bucket(tag)
        return bucket.wait_ns(1, now_ns) if bucket is not None else 0

    def take(self, tag: str, now_ns: int) -> None:
        """Pay for one order."""
        for bucket in (self._total, self._own_bucket(tag)):
            if bucket is not None:
                bucket.take(1, now_ns)

    def _own_bucket(self, tag: str) -> TokenBucket | None:
        if tag not in self._own:
            self._own[tag] = _bucket(self._each(tag))
        return self._own[tag]


class OrderFifo:
    """The orders of one venue account that wait.

    Args:
        rates: shared by every venue's
    """

    def __init__(self, rates: OrderRates) -> None:
        self._rates = rates
        self._queues: dict[str, deque[tuple[int, Order]]] = {}
        self._arrivals = 0
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, order: Order) -> None:
        """Add an order behind the others."""
        self._arrivals += 1
        self._queues.setdefault(order.tag, deque()).append((self._arrivals, order))
        self._length += 1

    def push_back(self, order: Order) -> None:
        """Put an order that could not leave before all others again."""
        self._queues.setdefault(order.tag, deque()).appendleft((0, order))
        self._length += 1

    def head(self, now_ns: int) -> Order | None:
        """Return the order whose turn it is, None when there is none or the rates forbid."""
        if not self._length or self._rates.total_wait_ns(now_ns):
            return None
        ready = (queue[0] for tag, queue in self._queues.items() if not self._rates.own_wait_ns(tag, now_ns))
        first = min(ready, key=lambda entry: entry[0], default=None)
        return first[1] if first is not None else None

    def take(self, order: Order, now_ns: int) -> None:
        """Remove the head and pay its rates."""
        self.remove(order)
        self._rates.take(order.tag, now_ns)

    def remove(self, order: Order) -> None:
        """Remove an order from wherever it stands; no effect when it does not."""
        queue = self._queues.get(order.tag, deque())
        for position, (_, waiting) in enumerate(queue):
            if waiting is order:
                del queue[position]
                self._length -= 1
                break
        if not queue:
            self._queues.pop(order.tag, None)

    def wait_ns(self, now_ns: int) -> int | None:
        """Return how long until the rates let an order go, None when none waits."""
        if not self._length:
            return None
        own = min(self._rates.own_wait_ns(tag, now_ns) for tag in self._queues)
        return max(self._rates.total_wait_ns(now_ns), own)

    def waiting(self) -> list[Order]:
        """Return every order that waits."""
        return [order for queue in self._queues.values() for _, order in queue]


def _bucket(rate: float | None) -> TokenBucket | None:
    if rate is None or math.isinf(rate):
        return None
    return TokenBucket(rate, max(1.0, rate))
