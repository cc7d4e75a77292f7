"""Buckets beyond fixed windows and token buckets: how other venues count.

    RollingWindow     at most so many in any span of that length (OKX, Bybit)
    DecayingCounter   a count that falls all the time (Kraken)
    EarnedAllowance   a count that only rises, and a limit that trading raises (Hyperliquid)
    OpenOrders        how many orders may be open (Binance, Kraken)

All take the monotonic clock from the caller, and offer what bucket.pyx's do: `wait_ns(cost, now_ns)` is 0 when the cost
fits, `charge` takes it whether it fits or not, `refund` takes a charge back, `used` tells.
"""

from collections import deque

OPEN_WAIT_NS = 100_000_000
"""When to ask again for an order that waits for another one's end: nobody knows when that will be."""


class RollingWindow:
    """At most `limit` in any `window_ns`.

    Args:
        limit: most in any window, >= 1
        window_ns: its length, >= 1
        guard_ns: how much longer a charge counts here, because the way to the venue is not always equally long
    """

    def __init__(self, limit: float, window_ns: int, guard_ns: int = 0) -> None:
        if not limit >= 1:
            raise ValueError(f"limit must be >= 1, was {limit}")
        if window_ns < 1:
            raise ValueError(f"window_ns must be >= 1, was {window_ns}")
        if guard_ns < 0:
            raise ValueError(f"guard_ns must be >= 0, was {guard_ns}")
        self.limit = limit
        self.window_ns = window_ns
        self._span_ns = window_ns + guard_ns
        self._charges: deque[list] = deque()  # [time, cost], one for each time: as long as a window holds charges
        self._used = 0

    def _expire(self, now_ns: int) -> None:
        charges = self._charges
        while charges and charges[0][0] + self._span_ns <= now_ns:
            self._used -= charges.popleft()[1]

    def wait_ns(self, cost: float, now_ns: int) -> int:
        """Return when to try `cost` again, in ns from now; 0 when it fits, -1 when it never can."""
        if cost > self.limit:
            return -1
        self._expire(now_ns)
        excess = self._used + cost - self.limit
        if excess <= 0:
            return 0
        for at_ns, charged in self._charges:
            excess -= charged
            if excess <= 0:
                return max(1, at_ns + self._span_ns - now_ns)
        raise AssertionError(f"{self._used} used of {self.limit}, and no charge that would end")

    def charge(self, cost: float, now_ns: int) -> int:
        """Charge `cost`, whether it fits or not; returns the mark that every bucket returns: 0."""
        self._expire(now_ns)
        if self._charges and self._charges[-1][0] >= now_ns:
            self._charges[-1][1] += cost
        else:
            self._charges.append([now_ns, cost])
        self._used += cost
        return 0

    def refund(self, cost: float, charged_ns: int, now_ns: int) -> None:
        """Take back what was charged at `charged_ns`."""
        for charge in reversed(self._charges):
            if charge[0] <= charged_ns:
                back = min(cost, charge[1])
                charge[1] -= back
                self._used -= back
                break
        self._expire(now_ns)

    def assume(self, count: float, now_ns: int) -> None:
        """Take it that `count` is used at `now_ns`, when that is more than was known."""
        missing = count - self.used(now_ns)
        if missing > 0:
            self.charge(missing, now_ns)

    def used(self, now_ns: int) -> float:
        """Return what is charged to the window that ends at `now_ns`."""
        self._expire(now_ns)
        return self._used


class DecayingCounter:
    """A count that falls by `per_second` and may not exceed `limit`.

    Args:
        limit: most that it may be, > per_second * step_s
        per_second: what it loses, > 0
        step_s: the venue lowers it in steps of so many seconds, so its count can be one step higher than this one;
            that much is never granted
    """

    def __init__(self, limit: float, per_second: float, step_s: float = 0.0) -> None:
        if not per_second > 0:
            raise ValueError(f"per_second must be > 0, was {per_second}")
        if step_s < 0:
            raise ValueError(f"step_s must be >= 0, was {step_s}")
        if not limit - per_second * step_s >= 1:
            raise ValueError(f"limit must be >= 1 above per_second * step_s {per_second * step_s:g}, was {limit}")
        self.limit = limit - per_second * step_s
        self.per_second = per_second
        self._count = 0.0
        self._since_ns = -1

    def wait_ns(self, cost: float, now_ns: int) -> int:
        """Return when to try `cost` again, in ns from now; 0 when it fits, -1 when it never can."""
        if cost > self.limit:
            return -1
        excess = self.used(now_ns) + cost - self.limit
        return 0 if excess <= 1e-9 else max(1, int(excess / self.per_second * 1e9) + 1)

    def charge(self, cost: float, now_ns: int) -> int:
        """Charge `cost`, whether it fits or not; returns the mark that every bucket returns: 0."""
        self._count = self.used(now_ns) + cost
        return 0

    def refund(self, cost: float, charged_ns: int, now_ns: int) -> None:
        """Take back what was charged at `charged_ns`."""
        self._count = max(0.0, self.used(now_ns) - cost)

    def assume(self, count: float, now_ns: int) -> None:
        """Take it that the venue's counter stands at `count`, when that is more than was known."""
        self._count = max(self.used(now_ns), count)

    def used(self, now_ns: int) -> float:
        """Return the count at `now_ns`."""
        if 0 <= self._since_ns < now_ns:
            self._count = max(0.0, self._count - (now_ns - self._since_ns) * 1e-9 * self.per_second)
        self._since_ns = max(self._since_ns, now_ns)
        return self._count


class EarnedAllowance:
    """A count that never falls, and a limit that what is traded raises.

    Args:
        initial: the limit before anything was traded, >= 1
        spare_ns: above the limit, one request passes each `spare_ns`
    """

    def __init__(self, initial: float, spare_ns: int) -> None:
        if not initial >= 1:
            raise ValueError(f"initial must be >= 1, was {initial}")
        if spare_ns < 1:
            raise ValueError(f"spare_ns must be >= 1, was {spare_ns}")
        self.limit = initial
        self.spare_ns = spare_ns
        self._used = 0.0
        self._last_ns = -spare_ns

    def wait_ns(self, cost: float, now_ns: int) -> int:
        """Return when to try `cost` again, in ns from now; 0 when it fits."""
        return self.wait_below_ns(self.limit, cost, now_ns)

    def wait_below_ns(self, limit: float, cost: float, now_ns: int) -> int:
        """Do as `wait_ns` does, with another limit for the same count."""
        if self._used + cost <= limit:
            return 0
        return max(0, self._last_ns + self.spare_ns - now_ns)

    def charge(self, cost: float, now_ns: int) -> int:
        """Charge `cost`, whether it fits or not; returns the mark that every bucket returns: 0."""
        self._used += cost
        self._last_ns = now_ns
        return 0

    def refund(self, cost: float, charged_ns: int, now_ns: int) -> None:
        """Take back what was charged at `charged_ns`."""
        self._used = max(0.0, self._used - cost)

    def earn(self, amount: float) -> None:
        """Raise the limit by what was traded."""
        self.limit += amount

    def assume(self, count: float, now_ns: int) -> None:
        """Take it that `count` is used, when that is more than was known."""
        self._used = max(self._used, count)

    def used(self, now_ns: int) -> float:
        """Return what is used, ever."""
        return self._used


class CancelAllowance:
    """A wider limit on the count of an EarnedAllowance: the smaller of `times` its limit and `extra` above it.

    Args:
        actions: whose count it is
        extra, times: how much wider
    """

    def __init__(self, actions: EarnedAllowance, extra: float, times: float) -> None:
        self._actions = actions
        self._extra = extra
        self._times = times

    @property
    def limit(self) -> float:
        """Most that all actions may have used when a cancel passes."""
        return min(self._actions.limit + self._extra, self._actions.limit * self._times)

    def wait_ns(self, cost: float, now_ns: int) -> int:
        """Return when to try `cost` again, in ns from now; 0 when it fits."""
        return self._actions.wait_below_ns(self.limit, cost, now_ns)

    def charge(self, cost: float, now_ns: int) -> int:
        """Charge `cost` to the count of all actions."""
        return self._actions.charge(cost, now_ns)

    def refund(self, cost: float, charged_ns: int, now_ns: int) -> None:
        """Take back what was charged at `charged_ns`."""
        self._actions.refund(cost, charged_ns, now_ns)

    def used(self, now_ns: int) -> float:
        """Return what all actions have used, ever."""
        return self._actions.used(now_ns)


class OpenOrders:
    """A cap on open orders; who knows what became of an order says `opened` and `ended`.

    An order is known by its id, because its end is told more than once: by an answer, by the stream, by a question.

    Args:
        limit: most that may be open, >= 1
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"limit must be >= 1, was {limit}")
        self.limit = limit
        self._open: dict[str, int] = {}  # by id: when it was last said to be open

    def wait_ns(self, cost: float, now_ns: int) -> int:
        """Return 0 when `cost` more orders may be open, else when to ask again."""
        return 0 if len(self._open) + cost <= self.limit else OPEN_WAIT_NS

    def charge(self, cost: float, now_ns: int) -> int:
        """Charge nothing: an order counts from `opened` on."""
        return 0

    def refund(self, cost: float, charged_ns: int, now_ns: int) -> None:
        """Take nothing back: an order counts until `ended`."""

    def opened(self, order_id: str, now_ns: int) -> None:
        """Count an order that is open, or may be."""
        self._open[order_id] = now_ns

    def ended(self, order_id: str) -> None:
        """Count an order no longer."""
        self._open.pop(order_id, None)

    def only(self, order_ids: set[str], asked_ns: int) -> None:
        """Take it that these were open at `asked_ns`, and no others; what was opened since is newer than that."""
        since = {order_id: at_ns for order_id, at_ns in self._open.items() if at_ns >= asked_ns}
        self._open = dict.fromkeys(order_ids, asked_ns) | since

    def used(self, now_ns: int) -> int:
        """Return how many are open."""
        return len(self._open)
