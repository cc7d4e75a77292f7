"""A venue's limits: one bucket for each rule that the venue lists, and the pauses that it asks for.

All buckets that a request touches grant, or none pays. New orders leave a reserve of the request weight to cancels
and questions, so that a venue full of new orders can still be asked and cleared. Times are the venue's wall time,
except for pauses, which are monotonic.

Request weight per minute is drawn from the venue's budget as well, which the feed shares: there the gate has a share
of its own, and the reserve is a part of that.
"""

from dataclasses import dataclass
from enum import StrEnum

from hive.gate.bucket import AlignedWindow
from hive.shm.budget import MINUTE_NS, Budget

RESERVE = 20  # new orders leave one part in this of every weight limit


class LimitKind(StrEnum):
    """What a rule counts: weight, new orders, or requests."""

    WEIGHT = "REQUEST_WEIGHT"
    ORDERS = "ORDERS"
    REQUESTS = "RAW_REQUESTS"


@dataclass(frozen=True, slots=True)
class LimitRule:
    """One limit as the venue states it.

    Args:
        kind: what is counted
        window_ns: length of its window
        limit: most in a window
    """

    kind: LimitKind
    window_ns: int
    limit: int


@dataclass(frozen=True, slots=True)
class LimitCount:
    """What the venue says is used of one limit (in a response)."""

    kind: LimitKind
    window_ns: int
    count: int


@dataclass(frozen=True, slots=True)
class Charge:
    """What a request was charged: hand it back to `settle` with the response."""

    weight: int
    orders: int
    venue_ns: int
    marks: tuple[int, ...]


class Limits:
    """The buckets of one venue account.

    Args:
        rules: the venue's rules
        guard_ns: how far the venue's clock and the way there may be off at a window's edge
        budget: of the venue's request weight; None leaves the buckets alone
    """

    def __init__(self, rules: list[LimitRule], guard_ns: int, budget: Budget | None = None) -> None:
        self._buckets = [
            (rule.kind, AlignedWindow(rule.limit, rule.window_ns, min(guard_ns, (rule.window_ns - 1) // 2)))
            for rule in rules
        ]
        self._budget = budget
        self._closed_until_ns = 0
        per_minute = [rule.limit for rule in rules if rule.kind is LimitKind.WEIGHT and rule.window_ns == MINUTE_NS]
        if budget is not None and per_minute:
            budget.set_limit(min(per_minute))

    def _cost(self, kind: LimitKind, weight: int, orders: int) -> int:
        if kind is LimitKind.WEIGHT:
            return weight
        return orders if kind is LimitKind.ORDERS else 1

    def wait_ns(self, weight: int, orders: int, venue_ns: int, now_ns: int) -> int:
        """Return when to try a request again, in ns from now; 0 when it may go now.

        Args:
            weight: its request weight
            orders: 1 for a new order, else 0
            venue_ns: the venue's wall time
            now_ns: monotonic
        """
        if now_ns < self._closed_until_ns:
            return self._closed_until_ns - now_ns
        wait = 0
        if self._budget is not None and weight:
            share = self._budget.share
            spared = share // RESERVE if orders else 0
            wait = self._budget.wait_ns(min(weight + spared, share), venue_ns)
        for kind, bucket in self._buckets:
            cost = self._cost(kind, weight, orders)
            if orders and kind is LimitKind.WEIGHT and self._budget is None:
                cost += bucket.limit // RESERVE
            if cost:  # what is dearer than the whole limit goes alone
                wait = max(wait, bucket.wait_ns(min(cost, bucket.limit), venue_ns))
        return wait

    def charge(self, weight: int, orders: int, venue_ns: int) -> Charge:
        """Charge a request that leaves now, to every bucket that it touches."""
        if self._budget is not None and weight:
            self._budget.charge(weight, venue_ns)
        marks = tuple(bucket.charge(self._cost(kind, weight, orders), venue_ns) for kind, bucket in self._buckets)
        return Charge(weight, orders, venue_ns, marks)

    def settle(self, charge: Charge, counts: list[LimitCount], venue_ns: int) -> None:
        """Take the counts of the response to a charged request; without a count its cost stays spent."""
        if self._budget is not None:
            self._budget.settle(_per_minute(counts), venue_ns, charge.venue_ns)
        if len(charge.marks) != len(self._buckets):
            return  # charged before the venue's rules were known
        for (kind, bucket), mark in zip(self._buckets, charge.marks, strict=True):
            count = next((c.count for c in counts if c.kind is kind and c.window_ns == bucket.window_ns), -1)
            cost = self._cost(kind, charge.weight, charge.orders)
            bucket.settle(mark, cost, charge.venue_ns, count, venue_ns)

    def assume(self, counts: list[LimitCount], venue_ns: int) -> None:
        """Take counts that no request of ours asked for, as at a start."""
        if self._budget is not None:
            self._budget.settle(_per_minute(counts), venue_ns)
        for kind, bucket in self._buckets:
            for count in counts:
                if count.kind is kind and count.window_ns == bucket.window_ns:
                    bucket.assume(count.count, venue_ns)

    def close(self, wait_s: float, now_ns: int) -> None:
        """Send nothing for `wait_s` seconds, as the venue asked."""
        self._closed_until_ns = max(self._closed_until_ns, now_ns + int(wait_s * 1e9))

    def close_address(self, wait_s: float, now_ns: int, venue_ns: int) -> None:
        """Send nothing for `wait_s` seconds, nor let the feed: the venue turns this IP address away."""
        self.close(wait_s, now_ns)
        if self._budget is not None:
            self._budget.close(wait_s, venue_ns)

    def closed_ns(self, now_ns: int) -> int:
        """Return how much longer the venue is closed, 0 when it is open."""
        return max(0, self._closed_until_ns - now_ns)

    def used(self, kind: LimitKind, venue_ns: int) -> tuple[int, int]:
        """Return (used, limit) of the shortest window of a kind; (0, 0) when the venue has none."""
        buckets = [bucket for k, bucket in self._buckets if k is kind]
        if not buckets:
            return 0, 0
        shortest = min(buckets, key=lambda bucket: bucket.window_ns)
        return shortest.used(venue_ns), shortest.limit


def _per_minute(counts: list[LimitCount]) -> int:
    """Return the venue's count of request weight in a minute, -1 when it does not say."""
    found = (one.count for one in counts if one.kind is LimitKind.WEIGHT and one.window_ns == MINUTE_NS)
    return next(found, -1)
