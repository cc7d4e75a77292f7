"""Buckets: how much of a limit is left, on a clock that the caller brings.

AlignedWindow is a venue's fixed window (Binance: the count starts again at every multiple of the window, days in
UTC). A request that leaves near an edge may be counted in either window, so within `guard_ns` of an edge it must fit
in both and is charged to both: with the venue's clock and the way there off by less than the guard, a venue that
counts up to `limit` never refuses what was granted here (tests/gate/test_bucket.py holds it against a venue that
counts wherever it hurts most).

The venue's own counts settle the estimate. A response says how many the venue had counted when it handled that
request; requests of ours that it may have handled later are those without a response yet and those whose response
came since the request was charged. The count and both together are an upper bound, whatever order responses come in;
when that is lower than the estimate (a filled order is refunded), the estimate follows it down. It follows a count
that is higher by itself up: somebody else uses the same limit.

TokenBucket is a plain rate with a burst.
"""

from libc.math cimport ceil


cdef class AlignedWindow:
    """A fixed window aligned to multiples of its length.

    Args:
        limit: most that one window takes, >= 1
        window_ns: its length, >= 1
        guard_ns: distance from an edge within which a request is charged to both sides, < window_ns / 2
    """

    cdef readonly long long limit
    cdef readonly long long window_ns
    cdef readonly long long guard_ns
    cdef long long _index
    cdef long long _spent[3]        # charged to the previous, the current and the next window
    cdef long long _unanswered[2]   # what of the current and the next window's charge had no response yet
    cdef long long _answered        # cost of all responses so far, over all windows

    def __cinit__(self, long long limit, long long window_ns, long long guard_ns=0):
        if limit < 1:
            raise ValueError(f"limit must be >= 1, was {limit}")
        if window_ns < 1:
            raise ValueError(f"window_ns must be >= 1, was {window_ns}")
        if guard_ns < 0 or 2 * guard_ns >= window_ns:
            raise ValueError(f"guard_ns must be >= 0 and below half of window_ns {window_ns}, was {guard_ns}")
        self.limit = limit
        self.window_ns = window_ns
        self.guard_ns = guard_ns
        self._index = -1

    cdef void _roll(self, long long now_ns) noexcept:
        cdef long long index = now_ns // self.window_ns
        if index <= self._index:
            return  # a clock that was set back stays in the window that it had reached
        if index == self._index + 1:
            self._spent[0] = self._spent[1]
            self._spent[1] = self._spent[2]
            self._unanswered[0] = self._unanswered[1]
        else:
            self._spent[0] = 0
            self._spent[1] = 0
            self._unanswered[0] = 0
        self._spent[2] = 0
        self._unanswered[1] = 0
        self._index = index

    cdef bint _near_start(self, long long at_ns) noexcept:
        return at_ns % self.window_ns < self.guard_ns

    cdef bint _near_end(self, long long at_ns) noexcept:
        return at_ns % self.window_ns >= self.window_ns - self.guard_ns

    cpdef bint fits(self, long long cost, long long now_ns) noexcept:
        """Return whether `cost` can be charged at `now_ns` (the venue's wall time)."""
        self._roll(now_ns)
        if self._spent[1] + cost > self.limit:
            return False
        if self._near_start(now_ns) and self._spent[0] + cost > self.limit:
            return False
        return not self._near_end(now_ns) or self._spent[2] + cost <= self.limit

    cpdef long long charge(self, long long cost, long long now_ns) noexcept:
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

    cpdef void settle(
        self, long long mark, long long cost, long long charged_ns, long long count, long long now_ns
    ) noexcept:
        """Take the venue's count from the response to one charge.

        Args:
            mark: what `charge` returned
            cost, charged_ns: what it was given
            count: what the venue says is used of its window; -1 when the response does not say
            now_ns: when the response came
        """
        self._roll(now_ns)
        cdef long long since = self._answered - mark
        cdef long long index = charged_ns // self.window_ns
        cdef bint near_end = self._near_end(charged_ns)
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
        cdef bint of_this_window = not near_end and not self._near_start(charged_ns)
        if of_this_window and count + since + self._unanswered[0] < self._spent[1]:
            self._spent[1] = count + since + self._unanswered[0]
        elif count + self._unanswered[0] > self._spent[1]:
            self._spent[1] = count + self._unanswered[0]

    cpdef void assume(self, long long count, long long now_ns) noexcept:
        """Take it that `count` is used of the window of `now_ns`, when that is more than was known."""
        self._roll(now_ns)
        self._spent[1] = max(self._spent[1], count + self._unanswered[0])

    cpdef long long wait_ns(self, long long cost, long long now_ns) noexcept:
        """Return when to try `cost` again, in ns from now; 0 when it fits, -1 when it never can."""
        if cost > self.limit:
            return -1
        if self.fits(cost, now_ns):
            return 0
        cdef long long into = now_ns - self._index * self.window_ns
        if self._spent[1] + cost <= self.limit and into < self.guard_ns:
            return self.guard_ns - into  # the previous window is full, this one is not
        return self.window_ns - into

    cpdef long long used(self, long long now_ns) noexcept:
        """Return what is charged to the window of `now_ns`."""
        self._roll(now_ns)
        return self._spent[1]


cdef class TokenBucket:
    """A rate with a burst.

    Args:
        rate: tokens per second, > 0
        burst: most tokens that can be saved, >= 1; it starts full
    """

    cdef readonly double rate
    cdef readonly double burst
    cdef double _tokens
    cdef long long _since_ns

    def __cinit__(self, double rate, double burst):
        if not rate > 0:
            raise ValueError(f"rate must be > 0 per second, was {rate}")
        if not burst >= 1:
            raise ValueError(f"burst must be >= 1, was {burst}")
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._since_ns = -1

    cdef void _fill(self, long long now_ns) noexcept:
        if self._since_ns >= 0 and now_ns > self._since_ns:
            self._tokens = min(self.burst, self._tokens + (now_ns - self._since_ns) * 1e-9 * self.rate)
        if now_ns > self._since_ns:
            self._since_ns = now_ns

    cpdef bint has(self, double cost, long long now_ns) noexcept:
        """Return whether `cost` tokens are there at `now_ns` (monotonic)."""
        self._fill(now_ns)
        return self._tokens >= cost - 1e-9  # a nanosecond of rounding must not cost another wait

    cpdef void take(self, double cost, long long now_ns) noexcept:
        """Take `cost` tokens; the caller asked `has` before."""
        self._fill(now_ns)
        self._tokens -= cost

    cpdef long long wait_ns(self, double cost, long long now_ns) noexcept:
        """Return how long until `cost` tokens are there, 0 when they are; cost must be <= burst."""
        if self.has(cost, now_ns):
            return 0
        return <long long>ceil((cost - self._tokens) / self.rate * 1e9)
