"""What an order log says about fairness: waits, starved time, and what other schedulers would have made of it. Pure.

A wait begins when its order was to be placed, and ends when the exchange read it, or when it left the queue unsent.
Times are ns; windows are the venue's, aligned to multiples of their length on its own clock.
"""

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wait:
    """One order's time in the queue; `sent` says whether it went to the venue."""

    strategy: str
    arrived_ns: int
    left_ns: int
    sent: bool

    @property
    def ns(self) -> int:
        """How long it waited."""
        return self.left_ns - self.arrived_ns


@dataclass(frozen=True, slots=True)
class Limit:
    """So many orders in a window; `offset_ns` is the venue's clock minus that of the log."""

    orders: int
    window_ns: int
    offset_ns: int

    def window(self, at_ns: int) -> int:
        """Return the number of the window in which a moment lies."""
        return (at_ns + self.offset_ns) // self.window_ns

    def start_ns(self, window: int) -> int:
        """Return when a window begins, by the log's clock."""
        return window * self.window_ns - self.offset_ns

    def bound_ns(self, active: int) -> int:
        """Return the longest fair wait of a head of queue when so many strategies of equal weight have orders."""
        return math.ceil(active / self.orders) * self.window_ns


def beyond_ns(waits: Iterable[Wait], bound_ns: int) -> dict[str, list[int]]:
    """Return for each strategy by how much each of its waits for the venue was longer than the bound.

    A strategy waits while it has orders in the queue, from when the last of its orders went to the venue: behind those
    it waited for itself. That an order is withdrawn or dropped does not renew the wait of the others.
    """
    by_strategy: dict[str, list[tuple[int, int, bool]]] = defaultdict(list)
    for wait in waits:
        by_strategy[wait.strategy] += [(wait.arrived_ns, 1, False), (wait.left_ns, -1, wait.sent)]
    found: dict[str, list[int]] = {}
    for strategy, events in by_strategy.items():
        own = found[strategy] = []
        depth = since_ns = 0
        for at_ns, step, sent in sorted(events, key=lambda event: (event[0], -event[1])):
            if depth and (sent or depth + step == 0):
                own += [at_ns - since_ns - bound_ns] if at_ns - since_ns > bound_ns else []
            if sent or not depth:
                since_ns = at_ns
            depth += step
    return found


def full_windows(limit: Limit, from_ns: int, until_ns: int) -> range:
    """Return the numbers of the windows that lie within a stretch of time."""
    first = limit.window(from_ns) + (limit.start_ns(limit.window(from_ns)) != from_ns)
    return range(first, limit.window(until_ns))


def budget_used(accepted_ns: Iterable[int], windows: range, limit: Limit) -> float:
    """Return which part of what the windows allowed was accepted."""
    accepted = sum(limit.window(at_ns) in windows for at_ns in accepted_ns)
    return accepted / (limit.orders * len(windows))


def replay(
    arrivals: Sequence[tuple[str, int]],
    queue_of: Callable[[str], str],
    limit: Limit,
    max_age_ns: int,
) -> list[Wait]:
    """Return the waits that a simpler scheduler gives to the same arrivals (strategy, ns).

    Each queue has `limit.orders` a window for itself and is first come, first served: one queue of all is FIFO, one for
    each strategy, with its part of the limit, is static shares. What waits longer than `max_age_ns` is dropped.
    """
    queues: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for strategy, arrived_ns in arrivals:
        queues[queue_of(strategy)].append((arrived_ns, strategy))
    return [wait for queue in queues.values() for wait in _served(sorted(queue), limit, max_age_ns)]


def _served(arrivals: list[tuple[int, str]], limit: Limit, max_age_ns: int) -> Iterable[Wait]:
    """Serve one queue: at once while the window has room, else at the start of a later one."""
    waiting = deque(arrivals)
    now_ns, window, left = 0, -1, 0
    while waiting:
        arrived_ns, strategy = waiting[0]
        now_ns = max(now_ns, arrived_ns)
        if limit.window(now_ns) > window:
            window, left = limit.window(now_ns), limit.orders
        if now_ns - arrived_ns > max_age_ns:
            waiting.popleft()
            yield Wait(strategy, arrived_ns, arrived_ns + max_age_ns, False)
        elif left:
            waiting.popleft()
            left -= 1
            yield Wait(strategy, arrived_ns, now_ns, True)
        else:
            now_ns = limit.start_ns(window + 1)
