"""Buckets in pure Python, the twin of bucket.pyx: how much of a limit is left, on a clock that the caller brings.

How the windows, their guards and the venue's own counts go together is described there.
"""

from math import ceil


class AlignedWindow:
    """A fixed window aligned to multiples of its length.

    Args:
        limit: most that one window takes, >= 1
        window_ns: its length, >= 1
        guard_ns: distance from an edge within which a request is charged to both sides, < window_ns / 2
    """

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
        self._index = -1
        self._spent = [0, 0, 0]  # charged to the previous, the current and the next window
        self._unanswered = [0, 0]  # what of the current and the next window's charge had no response yet
        self._answered = 0  # cost of all responses so far, over all windows

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

    def _roll(self, now_ns: int) -> None:
        index = now_ns // self._window_ns
        if index <= self._index:
            return  # a clock that was set back stays in the window that it had reached
        if index == self._index + 1:
            self._spent = [self._spent[1], self._spent[2], 0]
            self._unanswered = [self._unanswered[1], 0]
        else:
            self._spent = [0, 0, 0]
            self._unanswered = [0, 0]
        self._index = index

    def _near_start(self, at_ns: int) -> bool:
        return at_ns % self._window_ns < self._guard_ns

    def _near_end(self, at_ns: int) -> bool:
        return at_ns % self._window_ns >= self._window_ns - self._guard_ns

    def fits(self, cost: int, now_ns: int) -> bool:
        """Return whether `cost` can be charged at `now_ns` (the venue's wall time)."""
        self._roll(now_ns)
        if self._spent[1] + cost > self._limit:
            return False
        if self._near_start(now_ns) and self._spent[0] + cost > self._limit:
            return False
        return not self._near_end(now_ns) or self._spent[2] + cost <= self._limit

    def charge(self, cost: int, now_ns: int) -> int:
        """Charge `cost` at `now_ns`, whether it fits or not; returns a mark for `settle`."""
        self._roll(now_ns)
        self._spent[1] += cost
        self._unanswered[0] += cost
        if self._near_start(now_ns):
            self._spent[0] += cost
        if self._near_end(now_ns):
            self._spent[2] += cost
            self._unanswered[1] += cost
        return self._answered

    def settle(self, mark: int, cost: int, charged_ns: int, count: int, now_ns: int) -> None:
        """Take the venue's count from the response to one charge.

        Args:
            mark: what `charge` returned
            cost, charged_ns: what it was given
            count: what the venue says is used of its window; -1 when the response does not say
            now_ns: when the response came
        """
        self._roll(now_ns)
        since = self._answered - mark
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
        if of_this_window and count + since + self._unanswered[0] < self._spent[1]:
            self._spent[1] = count + since + self._unanswered[0]
        elif count + self._unanswered[0] > self._spent[1]:
            self._spent[1] = count + self._unanswered[0]

    def assume(self, count: int, now_ns: int) -> None:
        """Take it that `count` is used of the window of `now_ns`, when that is more than was known."""
        self._roll(now_ns)
        self._spent[1] = max(self._spent[1], count + self._unanswered[0])

    def wait_ns(self, cost: int, now_ns: int) -> int:
        """Return when to try `cost` again, in ns from now; 0 when it fits, -1 when it never can."""
        if cost > self._limit:
            return -1
        if self.fits(cost, now_ns):
            return 0
        into = now_ns - self._index * self._window_ns
        if self._spent[1] + cost <= self._limit and into < self._guard_ns:
            return self._guard_ns - into  # the previous window is full, this one is not
        return self._window_ns - into

    def used(self, now_ns: int) -> int:
        """Return what is charged to the window of `now_ns`."""
        self._roll(now_ns)
        return self._spent[1]


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

    def wait_ns(self, cost: float, now_ns: int) -> int:
        """Return how long until `cost` tokens are there, 0 when they are; cost must be <= burst."""
        if self.has(cost, now_ns):
            return 0
        return ceil((cost - self._tokens) / self._rate * 1e9)
