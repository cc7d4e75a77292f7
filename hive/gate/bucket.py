"""Buckets in pure Python, the twin of bucket.pyx: how much of a limit is left, on a clock that the caller brings.

How the windows, their guards and the venue's own counts go together is described there.
"""

from math import ceil, exp

ANSWER_NS = 10_000_000
"""When it is worth asking again for what waits for an answer of the venue."""

_MASK = (1 << 31) - 1  # a mark holds two sums, of charges and of answers, modulo this


class AlignedWindow:
    """A fixed window aligned to multiples of its length.

    `usable` (at most `limit`) and `held` belong to who steers the window, see throttle.py: what is granted for now,
    and whether nothing is.

    Args:
        limit: most that one window takes, >= 1
        window_ns: its length, >= 1
        guard_ns: distance from an edge within which a request is charged to both sides, < window_ns / 2
    """

    usable = 0
    held = False

    def __init__(self, limit: int, window_ns: int, guard_ns: int = 0) -> None:
        if limit < 1:
            raise ValueError(f"limit must be >= 1, was {limit}")
        if window_ns < 1:
            raise ValueError(f"window_ns must be >= 1, was {window_ns}")
        if guard_ns < 0 or 2 * guard_ns >= window_ns:
            raise ValueError(f"guard_ns must be >= 0 and below half of window_ns {window_ns}, was {guard_ns}")
        self._limit = limit
        self._window_ns = window_ns
        self._guard_ns = guard_ns
        self.usable = limit
        self._index = -1
        self._spent = [0, 0, 0]  # charged to the previous, the current and the next window
        self._unanswered = [0, 0]  # what of the current and the next window's charge had no response yet
        self._known = [0, 0]  # our own part of the current and the next window
        self._charged = 0  # cost of all charges so far, over all windows
        self._answered = 0  # cost of all responses so far, over all windows
        self._doubted = -1  # index of the window of which nothing is known
        self._drift = 0  # what the venue's last count had beyond our own charges
        self._drift_index = -1  # the window in which the drift was seen
        self._counted_ns = -1  # when the last count came
        self._owed = 0  # given back by the venue, not taken back yet
        self._owed_ns = 0

    @property
    def limit(self) -> int:
        """Most that one window takes."""
        return self._limit

    @property
    def window_ns(self) -> int:
        """Its length."""
        return self._window_ns

    @property
    def guard_ns(self) -> int:
        """Distance from an edge within which a request is charged to both sides."""
        return self._guard_ns

    @property
    def drift(self) -> int:
        """What the venue's last count had beyond our own charges."""
        return self._drift

    def _roll(self, now_ns: int) -> None:
        index = now_ns // self._window_ns
        if index == self._index:
            if self._owed and now_ns - self._owed_ns >= self._guard_ns:
                self._spent[1] = max(self._unanswered[0], self._spent[1] - self._owed)
                self._owed = 0
            return
        if index == self._index - 1:
            return  # a clock that was set back stays in the window that it had reached
        if index == self._index + 1:
            self._spent = [self._spent[1], self._spent[2], 0]
            self._unanswered = [self._unanswered[1], 0]
            self._known = [self._known[1], 0]
        elif index > self._index:
            self._spent = [0, 0, 0]
            self._unanswered = [0, 0]
            self._known = [0, 0]
        else:  # set back by more: what was spent counts for this window, and nobody waits for the clock to catch up
            self._spent = [self._spent[1], self._spent[1], 0]
            self._unanswered[1] = 0
            self._known[1] = 0
        self._owed = 0
        self._index = index

    def _near_start(self, at_ns: int) -> bool:
        return at_ns % self._window_ns < self._guard_ns

    def _near_end(self, at_ns: int) -> bool:
        return at_ns % self._window_ns >= self._window_ns - self._guard_ns

    def fits(self, cost: int, now_ns: int) -> bool:
        """Return whether `cost` can be charged at `now_ns` (the venue's wall time)."""
        self._roll(now_ns)
        if self.held or cost > self._limit:
            return False
        if self._doubted == self._index and self._unanswered[0]:
            return False  # the one on its way brings the count
        cost = min(cost, self.usable)  # dearer than what is usable for now: it goes alone
        if self._spent[1] + cost > self.usable:
            return False
        if self._near_start(now_ns) and self._spent[0] + cost > self.usable:
            return False
        return not self._near_end(now_ns) or self._spent[2] + cost <= self.usable

    def charge(self, cost: int, now_ns: int) -> int:
        """Charge `cost` at `now_ns`, whether it fits or not; returns a mark for `settle`."""
        self._roll(now_ns)
        self._charged += cost
        self._spent[1] += cost
        self._unanswered[0] += cost
        self._known[0] += cost
        if self._near_start(now_ns):
            self._spent[0] += cost
        if self._near_end(now_ns):
            self._spent[2] += cost
            self._unanswered[1] += cost
            self._known[1] += cost
        return (self._charged & _MASK) << 31 | (self._answered & _MASK)

    def refund(self, cost: int, charged_ns: int, now_ns: int) -> None:
        """Take a charge back: its request was not sent, or the venue did not count it."""
        self._roll(now_ns)
        self._charged -= cost
        index = charged_ns // self._window_ns
        if index == self._index:
            self._spent[1] = max(0, self._spent[1] - cost)
            self._unanswered[0] = max(0, self._unanswered[0] - cost)
            self._known[0] = max(0, self._known[0] - cost)
            if self._near_start(charged_ns):
                self._spent[0] = max(0, self._spent[0] - cost)
            if self._near_end(charged_ns):
                self._spent[2] = max(0, self._spent[2] - cost)
                self._unanswered[1] = max(0, self._unanswered[1] - cost)
                self._known[1] = max(0, self._known[1] - cost)
        elif index == self._index - 1:
            self._spent[0] = max(0, self._spent[0] - cost)
            if self._near_end(charged_ns):
                self._spent[1] = max(0, self._spent[1] - cost)
                self._unanswered[0] = max(0, self._unanswered[0] - cost)
                self._known[0] = max(0, self._known[0] - cost)

    def credit(self, cost: int, at_ns: int, now_ns: int) -> None:
        """Take it that the venue gave `cost` back at `at_ns`, as Binance does when an order is first filled.

        It can be spent again when `guard_ns` have passed without a count: a count that came later holds it already.
        """
        self._roll(now_ns)
        self._known[0] = max(0, self._known[0] - cost)
        if at_ns > self._counted_ns and at_ns // self._window_ns == self._index:
            self._owed += cost
            self._owed_ns = max(self._owed_ns, at_ns)

    def settle(self, mark: int, cost: int, charged_ns: int, count: int, now_ns: int) -> None:
        """Take the venue's count from the response to one charge.

        Args:
            mark: what `charge` returned
            cost, charged_ns: what it was given
            count: what the venue says is used of its window; -1 when the response does not say
            now_ns: when the response came
        """
        self._roll(now_ns)
        since = (self._answered - mark) & _MASK
        later = (self._charged - (mark >> 31)) & _MASK
        if later > _MASK // 2:
            later = 0  # more was taken back than was charged since
        index = charged_ns // self._window_ns
        near_end = self._near_end(charged_ns)
        self._answered += cost
        if index == self._index - 1 and near_end:
            self._unanswered[0] = max(0, self._unanswered[0] - cost)
        if index != self._index:
            return  # its count is of a window that is over
        self._unanswered[0] = max(0, self._unanswered[0] - cost)
        if near_end:
            self._unanswered[1] = max(0, self._unanswered[1] - cost)
        if count < 0:
            return
        of_this_window = not near_end and not self._near_start(charged_ns)
        self._counted_ns = now_ns
        self._owed = 0
        if of_this_window:
            if self._doubted == index:  # what an earlier life had sent is no drift
                self._doubted = -1
                self._known[0] = max(self._known[0], count)
            self._drift = max(0, count - self._known[0])
            self._drift_index = index
        if of_this_window and count + since + self._unanswered[0] < self._spent[1]:
            self._spent[1] = count + since + self._unanswered[0]
        elif count > self._known[0]:
            self._spent[1] = max(self._spent[1], count + self._unanswered[0])
        else:
            self._spent[1] = max(self._spent[1], count + later)

    def doubt(self, now_ns: int) -> None:
        """Count the window of `now_ns` as spent until a count of it is read."""
        self._roll(now_ns)
        self._doubted = self._index

    def doubtful(self, now_ns: int) -> bool:
        """Return whether the window of `now_ns` only counts as spent."""
        self._roll(now_ns)
        return self._doubted == self._index

    def assume(self, count: int, now_ns: int) -> None:
        """Take it that `count` is used of the window of `now_ns`, when that is more than was known."""
        self._roll(now_ns)
        if self._doubted == self._index:
            self._doubted = -1
        self._spent[1] = max(self._spent[1], count + self._unanswered[0])
        self._known[0] = max(self._known[0], count + self._unanswered[0])

    def wait_ns(self, cost: int, now_ns: int) -> int:
        """Return when to try `cost` again, in ns from now; 0 when it fits, -1 when it never can."""
        if cost > self._limit:
            return -1
        if self.fits(cost, now_ns):
            return 0
        into = now_ns - self._index * self._window_ns
        if self._doubted == self._index:
            return min(ANSWER_NS, self._window_ns - into)
        if self._spent[1] + min(cost, self.usable) <= self.usable and 0 <= into < self._guard_ns:
            return self._guard_ns - into  # the previous window is full, this one is not
        if self._owed:
            return max(1, min(self._owed_ns + self._guard_ns - now_ns, self._window_ns - into))
        return self._window_ns - into

    def used(self, now_ns: int) -> int:
        """Return what is charged to the window of `now_ns`."""
        self._roll(now_ns)
        return self._limit if self._doubted == self._index else self._spent[1]

    def counted(self, at_ns: int, now_ns: int) -> int:
        """Return how much the venue has let pass, by all that is known, in the window of `at_ns`."""
        self._roll(now_ns)
        if at_ns // self._window_ns < self._index:
            return self._spent[0]
        return self._spent[1] - self._unanswered[0]

    def drifting(self, now_ns: int) -> int:
        """Return the drift that was seen in the window of `now_ns`, 0 when none was."""
        self._roll(now_ns)
        return self._drift if self._drift_index == self._index else 0


class TokenBucket:
    """A rate with a burst.

    Args:
        rate: tokens per second, > 0
        burst: most tokens that can be saved, >= 1; it starts full
    """

    def __init__(self, rate: float, burst: float) -> None:
        if not rate > 0:
            raise ValueError(f"rate must be > 0 per second, was {float(rate)}")
        if not burst >= 1:
            raise ValueError(f"burst must be >= 1, was {float(burst)}")
        self._rate = float(rate)
        self._burst = float(burst)
        self._tokens = self._burst
        self._since_ns = -1

    @property
    def rate(self) -> float:
        """Tokens per second."""
        return self._rate

    @property
    def burst(self) -> float:
        """Most tokens that can be saved."""
        return self._burst

    @property
    def limit(self) -> float:
        """Most tokens that can be saved."""
        return self._burst

    def _fill(self, now_ns: int) -> None:
        if self._since_ns >= 0 and now_ns > self._since_ns:
            self._tokens = min(self._burst, self._tokens + (now_ns - self._since_ns) * 1e-9 * self._rate)
        if now_ns > self._since_ns:
            self._since_ns = now_ns

    def has(self, cost: float, now_ns: int) -> bool:
        """Return whether `cost` tokens are there at `now_ns` (monotonic)."""
        self._fill(now_ns)
        return self._tokens >= cost - 1e-9  # a nanosecond of rounding must not cost another wait

    def take(self, cost: float, now_ns: int) -> None:
        """Take `cost` tokens; the caller asked `has` before."""
        self._fill(now_ns)
        self._tokens -= cost

    def charge(self, cost: float, now_ns: int) -> int:
        """Take `cost` tokens as `take` does, with the mark that every bucket returns: 0."""
        self.take(cost, now_ns)
        return 0

    def refund(self, cost: float, charged_ns: int, now_ns: int) -> None:
        """Put back what was taken at `charged_ns`."""
        self._fill(now_ns)
        self._tokens = min(self._burst, self._tokens + cost)

    def used(self, now_ns: int) -> float:
        """Return how many tokens are missing."""
        self._fill(now_ns)
        return self._burst - self._tokens

    def wait_ns(self, cost: float, now_ns: int) -> int:
        """Return how long until `cost` tokens are there, 0 when they are; cost must be <= burst."""
        if self.has(cost, now_ns):
            return 0
        return ceil((cost - self._tokens) / self._rate * 1e9)


class RateMeter:
    """A rate per second that decays: what was added t ns ago counts with exp(-t / tau_ns). It limits nothing.

    Args:
        tau_ns: > 0
    """

    __slots__ = ("_at_ns", "_rate", "_tau_ns")

    def __init__(self, tau_ns: float) -> None:
        if not tau_ns > 0:
            raise ValueError(f"tau_ns must be > 0, was {tau_ns}")
        self._tau_ns = tau_ns
        self._rate = 0.0
        self._at_ns = 0

    def add(self, amount: float, now_ns: int) -> None:
        """Count an amount at `now_ns` (monotonic)."""
        self._rate = self.per_second(now_ns) + amount * (1e9 / self._tau_ns)
        self._at_ns = now_ns

    def per_second(self, now_ns: int) -> float:
        """Return the rate at `now_ns`."""
        passed_ns = now_ns - self._at_ns
        return self._rate * exp(-passed_ns / self._tau_ns) if passed_ns > 0 else self._rate
