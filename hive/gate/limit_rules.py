"""What a venue's limits are made of: operations, what each costs, and how a venue counts. Values only.

    Rule("ORDERS", Scope.ACCOUNT, Aligned(100, 10 * SECOND_NS), {Operation.PLACE: Cost(each=1)})
     what the venue    who shares it    how it counts              what a request costs
     calls it

The venues' own rules are in venue_limits.py, the buckets that a kind of counting makes in bucket.pyx and allowance.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from hive.gate.allowance import CancelAllowance, DecayingCounter, EarnedAllowance, OpenOrders, RollingWindow
from hive.gate.bucket import AlignedWindow, TokenBucket

SECOND_NS = 1_000_000_000


class Operation(IntEnum):
    """What is asked of a venue."""

    PLACE = 0
    CANCEL = 1
    AMEND = 2
    ORDER_STATUS = 3
    TRADES = 4
    OPEN_ORDERS = 5
    ACCOUNT = 6
    TIME = 7
    RULES = 8
    ORDER_COUNTS = 9
    CONNECT = 10


class Scope(StrEnum):
    """Who shares a limit: all programs at an IP address, an account, an API key, or an account's orders of one pair."""

    IP = "ip"
    ACCOUNT = "account"
    KEY = "key"
    PAIR = "pair"


class LimitKind(StrEnum):
    """What a rule of Binance counts: weight, new orders, or requests."""

    WEIGHT = "REQUEST_WEIGHT"
    ORDERS = "ORDERS"
    REQUESTS = "RAW_REQUESTS"


@dataclass(frozen=True, slots=True)
class LimitRule:
    """One limit as exchangeInfo states it.

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
    """What a response says is used of a limit: `kind` is the rule's name; `window_ns` is 0 when the name is enough."""

    kind: str
    window_ns: int
    count: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What a request costs: request + each * orders + orders // per + orders * (the first of `ages` that is above).

    Args:
        request: for the request itself
        each: for each order that it carries
        per: one more for so many orders; 0: none
        ages: (age in ns, cost): for each order that is cancelled or amended before that age, youngest first
        batch: each of a batch of several costs this instead of `each`; None: the same
    """

    request: float = 0
    each: float = 0
    per: int = 0
    ages: tuple[tuple[int, float], ...] = ()
    batch: float | None = None

    def of(self, orders: int = 1, age_ns: int = 0) -> float:
        """Return the cost of a request that carries `orders` orders of that age."""
        each = self.each if self.batch is None or orders == 1 else self.batch
        cost = self.request + each * orders
        if self.per:
            cost += orders // self.per
        for below_ns, more in self.ages:
            if age_ns < below_ns:
                return cost + more * orders
        return cost


@dataclass(frozen=True, slots=True)
class Aligned:
    """A window that begins at multiples of its length, on the venue's clock."""

    limit: int
    window_ns: int

    def make(self, guard_ns: int, pair: str) -> AlignedWindow:
        """Return its bucket."""
        return AlignedWindow(self.limit, self.window_ns, min(guard_ns, (self.window_ns - 1) // 2))


@dataclass(frozen=True, slots=True)
class Rolling:
    """At most `limit` in any span of `window_ns`."""

    limit: float
    window_ns: int

    def make(self, guard_ns: int, pair: str) -> RollingWindow:
        """Return its bucket."""
        return RollingWindow(self.limit, self.window_ns, min(guard_ns, self.window_ns // 10))


@dataclass(frozen=True, slots=True)
class Tokens:
    """A rate per second with a burst."""

    rate: float
    burst: float

    def make(self, guard_ns: int, pair: str) -> TokenBucket:
        """Return its bucket."""
        return TokenBucket(self.rate, self.burst)


@dataclass(frozen=True, slots=True)
class Decaying:
    """A counter that loses `per_second`, in steps of `step_s`."""

    limit: float
    per_second: float
    step_s: float = 1.0

    def make(self, guard_ns: int, pair: str) -> DecayingCounter:
        """Return its bucket."""
        return DecayingCounter(self.limit, self.per_second, self.step_s)


@dataclass(frozen=True, slots=True)
class Earned:
    """A limit that trading raises; above it, one request each `spare_ns`."""

    initial: float
    spare_ns: int

    def make(self, guard_ns: int, pair: str) -> EarnedAllowance:
        """Return its bucket."""
        return EarnedAllowance(self.initial, self.spare_ns)


@dataclass(frozen=True, slots=True)
class WiderForCancels:
    """The count of the Earned rule called `rule`, with a limit of min(its + extra, its * times)."""

    rule: str
    extra: float
    times: float

    def make(self, actions: EarnedAllowance) -> CancelAllowance:
        """Return the bucket over that of `rule`."""
        return CancelAllowance(actions, self.extra, self.times)


@dataclass(frozen=True, slots=True)
class OpenCap:
    """At most `limit` open orders, or what `by_pair` says of a pair."""

    limit: int
    by_pair: Mapping[str, int] = field(default_factory=dict)

    def make(self, guard_ns: int, pair: str) -> OpenOrders:
        """Return its bucket."""
        return OpenOrders(self.by_pair.get(pair, self.limit))


Counting = Aligned | Rolling | Tokens | Decaying | Earned | WiderForCancels | OpenCap
Bucket = (
    AlignedWindow | RollingWindow | TokenBucket | DecayingCounter | EarnedAllowance | CancelAllowance | OpenOrders
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One limit of a venue.

    Args:
        name: what the venue calls it
        scope: who shares it
        counting: how it is counted
        costs: what the operations that touch it cost; what is not in here does not
        reserve: how much of it new orders leave to cancels and questions
    """

    name: str
    scope: Scope
    counting: Counting
    costs: Mapping[Operation, Cost]
    reserve: float = 0
