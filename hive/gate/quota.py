"""What a strategy may spend of its own, which class of request is next, and who backs off alone.

    StrategyQuota   what the fleet file gives a strategy
    Quotas          orders per second and request weight per minute of each strategy, orders per second of the fleet
    RejectBackoff   a strategy whose orders the venue keeps rejecting waits, longer each time; the others do not
    ClassPolicy     emergency, cancel, amend, new, query: in this order, but none of the last three is starved

Time is monotonic and a parameter. A flow is a strategy's queue, named by its tag.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from hive.gate.bucket import RateMeter, TokenBucket

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
RATE_NS = 10 * SECOND  # the time constant of the rates that are shown
LEVELS = 5  # priority levels are -LEVELS to LEVELS
FREE_REJECTS = 3
FIRST_BACKOFF_NS = SECOND // 10
MOST_BACKOFF_NS = 10 * SECOND
QUIET_NS = 30 * SECOND  # without a reject for so long, earlier ones are forgotten


class RequestClass(IntEnum):
    """The classes of requests, the most urgent first."""

    EMERGENCY = 0
    CANCEL = 1
    AMEND = 2
    NEW = 3
    QUERY = 4


@dataclass(frozen=True, slots=True)
class StrategyQuota:
    """What one strategy may use of the gate.

    Args:
        max_orders_per_second: new orders; None: as the fleet file says for every strategy
        max_api_weight_per_minute: request weight in any minute, None for no limit of its own
        priority_level: -5 to 5; each level doubles the weight
        weight: share of what is contended, > 0
    """

    max_orders_per_second: float | None = None
    max_api_weight_per_minute: int | None = None
    priority_level: int = 0
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.max_orders_per_second is not None and not self.max_orders_per_second > 0:
            raise ValueError(f"max_orders_per_second must be > 0, was {self.max_orders_per_second}")
        if self.max_api_weight_per_minute is not None and self.max_api_weight_per_minute < 1:
            raise ValueError(f"max_api_weight_per_minute must be >= 1, was {self.max_api_weight_per_minute}")
        if not -LEVELS <= self.priority_level <= LEVELS:
            raise ValueError(f"priority_level must be {-LEVELS} to {LEVELS}, was {self.priority_level}")
        if not 0.001 <= self.weight <= 1000:  # with the levels, what FairQueue.set_weight() takes
            raise ValueError(f"weight must be 0.001 to 1000, was {self.weight}")

    @property
    def share(self) -> float:
        """Return its weight in the queues: a priority scales it, it never bypasses others."""
        return self.weight * 2.0**self.priority_level


@dataclass(frozen=True, slots=True)
class Spent:
    """What one strategy spends now, over some ten seconds."""

    orders_per_second: float
    weight_per_minute: float


class Quotas:
    """The strategies' own rates and the fleet's, over all venues.

    Args:
        total: new orders per second of all strategies together, None for no limit
        each: new orders per second of a strategy that has no rate of its own, None for no limit
        quotas: by tag; a strategy that is not there has the default quota
    """

    def __init__(self, total: float | None, each: float | None, quotas: Mapping[str, StrategyQuota]) -> None:
        self._total = _rate(total)
        self._each = each
        self._flows: dict[str, _Own] = {}
        self._shares: dict[str, float] = {}
        for flow, quota in quotas.items():
            self._flows[flow] = self._own(quota)
            self._shares[flow] = quota.share

    def wait_ns(self, flow: str, orders: int, weight: int, now_ns: int) -> int:
        """Return how long until a strategy may send, by its own quota; 0 when it may.

        Args:
            orders: how many new orders the request places
            weight: its request weight
        """
        own = self._of(flow)
        wait = own.rate.wait_ns(min(orders, own.rate.burst), now_ns) if own.rate is not None and orders else 0
        return max(wait, own.minute.wait_ns(weight, now_ns)) if own.minute is not None and weight else wait

    def may_order(self, flow: str, weight: int, now_ns: int) -> bool:
        """Return whether neither a strategy's own quota nor the fleet's rate holds up a new order of that weight."""
        own = self._of(flow)
        if self._total is None and own.rate is None and own.minute is None:
            return True
        return not self.total_wait_ns(now_ns) and not self.wait_ns(flow, 1, weight, now_ns)

    @property
    def total_per_second(self) -> float | None:
        """Return the fleet's own limit on new orders, None when there is none."""
        return self._total.rate if self._total is not None else None

    def total_wait_ns(self, now_ns: int) -> int:
        """Return how long until any new order may leave; 0 when one may."""
        return self._total.wait_ns(1, now_ns) if self._total is not None else 0

    def take(self, flow: str, orders: int, weight: int, now_ns: int) -> None:
        """Pay for a request that leaves, whether it had to ask or not."""
        own = self._of(flow)
        if orders:
            own.orders.add(orders, now_ns)
            if own.rate is not None:
                own.rate.take(orders, now_ns)
            if self._total is not None:
                self._total.take(orders, now_ns)
        if weight:
            own.weight.add(weight, now_ns)
            if own.minute is not None:
                own.minute.take(weight, now_ns)

    def set_quota(self, flow: str, quota: StrategyQuota, now_ns: int) -> None:
        """Change a strategy's quota. A rate that is new begins without a burst; a minute's weight stays spent."""
        old = self._of(flow)
        new = self._own(quota)
        if new.rate is not None:
            if old.rate is not None and old.rate.rate == new.rate.rate:
                new.rate = old.rate
            else:
                new.rate.take(new.rate.burst, now_ns)
        if new.minute is not None and old.minute is not None:
            new.minute.take_over(old.minute)
        new.orders, new.weight = old.orders, old.weight
        self._flows[flow] = new
        self._shares[flow] = quota.share

    def shares(self) -> list[tuple[str, float]]:
        """Return (flow, weight in the queues) of every strategy that was given a quota."""
        return list(self._shares.items())

    def spent(self, flow: str, now_ns: int) -> Spent:
        """Return what a strategy spends."""
        own = self._of(flow)
        return Spent(own.orders.per_second(now_ns), 60 * own.weight.per_second(now_ns))

    def _own(self, quota: StrategyQuota) -> "_Own":
        rate = self._each if quota.max_orders_per_second is None else quota.max_orders_per_second
        return _Own(_rate(rate), quota.max_api_weight_per_minute)

    def _of(self, flow: str) -> "_Own":
        own = self._flows.get(flow)
        if own is None:
            own = self._flows[flow] = self._own(StrategyQuota())
        return own


class RejectBackoff:
    """Holds back a strategy whose orders the venue keeps rejecting.

    The first FREE_REJECTS in a row cost nothing, the next one FIRST_BACKOFF_NS, each further one twice the one before
    up to MOST_BACKOFF_NS. What is rejected while a strategy is held back was sent before and does not count again.
    """

    def __init__(self) -> None:
        self._rejects: dict[str, tuple[int, int, int]] = {}  # how many, held until, when the last one came

    def rejected(self, flow: str, now_ns: int) -> None:
        """Take it that the venue rejected an order."""
        count, until_ns, last_ns = self._rejects.get(flow, (0, now_ns, now_ns))
        if now_ns - last_ns >= QUIET_NS:
            count = 0
        if now_ns >= until_ns:
            count += 1
            if count > FREE_REJECTS:
                doublings = min(count - FREE_REJECTS - 1, 10)
                until_ns = now_ns + min(MOST_BACKOFF_NS, FIRST_BACKOFF_NS << doublings)
        self._rejects[flow] = (count, until_ns, now_ns)

    def accepted(self, flow: str, now_ns: int) -> None:
        """Take it that the venue accepted an order: what was rejected before is forgotten."""
        self._rejects.pop(flow, None)

    def wait_ns(self, flow: str, now_ns: int) -> int:
        """Return how long a strategy is held back, 0 when it is not."""
        found = self._rejects.get(flow)
        return max(0, found[1] - now_ns) if found is not None else 0


class ClassPolicy:
    """Says which class sends next.

    The most urgent class that has something goes, but of any so many sends FLOORS gives one to a class for which
    something waits all the while: unbounded priority of cancels would stop new orders. The floors are kept by earliest
    deadline: a class goes when as many others are due as sends are left for it. Emergencies pass everything and
    count for nothing.
    """

    FLOORS = ((RequestClass.NEW, 4), (RequestClass.AMEND, 8), (RequestClass.QUERY, 16))

    def __init__(self) -> None:
        self._passed = [0] * len(RequestClass)
        self._lengths: Sequence[int] = self._passed

    def next(self, lengths: Sequence[int]) -> RequestClass | None:
        """Return the class whose request is to be sent next, None when there is none.

        Args:
            lengths: for each class, how many requests could go now: 0 for a class whose limits are empty
        """
        self._lengths = lengths
        first = next((rank for rank in RequestClass if lengths[rank]), None)
        if first is None or first is RequestClass.EMERGENCY:
            return first
        due = sorted((floor - self._passed[rank], rank) for rank, floor in self.FLOORS if lengths[rank])
        if any(left <= place for place, (left, _) in enumerate(due, 1)):
            return due[0][1]
        return first

    def alone(self) -> None:
        """Take it that a class has sent one while no other waited."""
        if any(self._passed):
            self._passed = [0] * len(self._passed)

    def sent(self, rank: RequestClass) -> None:
        """Take it that the class that next() returned has sent one."""
        if rank is RequestClass.EMERGENCY:
            return
        for one, _ in self.FLOORS:
            waits = one is not rank and self._lengths[one]
            self._passed[one] = self._passed[one] + 1 if waits else 0


class _Minute:
    """At most so much in any 60 s: amounts by the second in which they were taken."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken: deque[tuple[int, int]] = deque()  # (end of the second, amount), the oldest first
        self._sum = 0

    def wait_ns(self, cost: int, now_ns: int) -> int:
        self._expire(now_ns)
        excess = self._sum + min(cost, self._limit) - self._limit  # what is dearer than the limit goes alone
        for end_ns, amount in self._taken:
            if excess <= 0:
                break
            excess -= amount
            if excess <= 0:
                return end_ns + MINUTE - now_ns
        return 0

    def take(self, cost: int, now_ns: int) -> None:
        self._expire(now_ns)
        end_ns = (now_ns // SECOND + 1) * SECOND
        if self._taken and self._taken[-1][0] >= end_ns:
            self._taken[-1] = (self._taken[-1][0], self._taken[-1][1] + cost)
        else:
            self._taken.append((end_ns, cost))
        self._sum += cost

    def take_over(self, other: "_Minute") -> None:
        self._taken, self._sum = other._taken, other._sum

    def _expire(self, now_ns: int) -> None:
        while self._taken and self._taken[0][0] + MINUTE <= now_ns:
            self._sum -= self._taken.popleft()[1]


class _Own:
    """The buckets and meters of one strategy."""

    __slots__ = ("minute", "orders", "rate", "weight")

    def __init__(self, rate: TokenBucket | None, weight_per_minute: int | None) -> None:
        self.rate = rate
        self.minute = None if weight_per_minute is None else _Minute(weight_per_minute)
        self.orders = RateMeter(RATE_NS)
        self.weight = RateMeter(RATE_NS)


def _rate(per_second: float | None) -> TokenBucket | None:
    if per_second is None or math.isinf(per_second):
        return None
    return TokenBucket(per_second, max(1.0, per_second))
