"""Buckets: how much of a limit is left, on a clock that the caller brings.

AlignedWindow is a venue's fixed window (Binance: the count starts again at every multiple of the window, days in
UTC). A request that leaves near an edge may be counted in either window, so within `guard_ns` of an edge it must fit
in both and is charged to both: with the venue's clock and the way there off by less than the guard, a venue that
counts up to `limit` never refuses what was granted here (tests/gate/test_bucket.py holds it against a venue that
counts wherever it hurts most).

The venue's own counts settle the estimate. A response says how many the venue had counted when it handled that
request; requests of ours that it may have handled later are those without a response yet and those whose response
came since the request was charged. The count and both together are an upper bound, whatever order responses come in;
when that is lower than the estimate (a filled order is refunded), the estimate follows it down. The count and what was
charged since that request are a lower one, which the estimate follows up. A count that exceeds our own charges shows
that somebody else uses the same limit; that is the drift, and until it is settled nothing of ours without a response is
taken to be in the count.

A window of which nothing is known (`doubt`) counts as spent but for one request at a time, until a count is read.

TokenBucket is a plain rate with a burst. The kinds that need no C are in allowance.py.
"""

from libc.math cimport ceil, exp

ANSWER_NS = 10_000_000
"""When it is worth asking again for what waits for an answer of the venue."""

cdef long long _ANSWER_NS = ANSWER_NS
cdef long long _MASK = (1 << 31) - 1  # a mark holds two sums, of charges and of answers, modulo this


cdef class AlignedWindow:
    """A fixed window aligned to multiples of its length.

    `usable` (at most `limit`) and `held` belong to who steers the window, see throttle.py: what is granted for now,
    and whether nothing is.

    Args:
        limit: most that one window takes, >= 1
        window_ns: its length, >= 1
        guard_ns: distance from an edge within which a request is charged to both sides, < window_ns / 2
    """

    cdef readonly long long limit
    cdef readonly long long window_ns
    cdef readonly long long guard_ns
    cdef readonly long long drift   # what the venue's last count had beyond our own charges
    cdef public long long usable
    cdef public bint held
    cdef long long _index
    cdef long long _spent[3]        # charged to the previous, the current and the next window
    cdef long long _unanswered[2]   # what of the current and the next window's charge had no response yet
    cdef long long _known[2]        # our own part of the current and the next window
    cdef long long _charged         # cost of all charges so far, over all windows
    cdef long long _answered        # cost of all responses so far, over all windows
    cdef long long _doubted         # index of the window of which nothing is known
    cdef long long _drift_index     # the window in which the drift was seen
    cdef long long _counted_ns      # when the last count came
    cdef long long _owed            # given back by the venue, not taken back yet
    cdef long long _owed_ns

    def __cinit__(self, long long limit, long long window_ns, long long guard_ns=0):
        if limit < 1:
            raise ValueError(f"limit must be >= 1, was {limit}")
        if window_ns < 1:
            raise ValueError(f"window_ns must be >= 1, was {window_ns}")
        if guard_ns < 0 or 2 * guard_ns >= window_ns:
            raise ValueError(f"guard_ns must be >= 0 and below half of window_ns {window_ns}, was {guard_ns}")
        self.limit = limit
        self.usable = limit
        self.window_ns = window_ns
        self.guard_ns = guard_ns
        self._index = -1
        self._doubted = -1
        self._drift_index = -1
        self._counted_ns = -1

    cdef void _roll(self, long long now_ns) noexcept:
        cdef long long index = now_ns // self.window_ns
        if index == self._index:
            if self._owed and now_ns - self._owed_ns >= self.guard_ns:
                self._spent[1] = max(self._unanswered[0], self._spent[1] - self._owed)
                self._owed = 0
            return
        if index == self._index - 1:
            return  # a clock that was set back stays in the window that it had reached
        if index == self._index + 1:
            self._spent[0] = self._spent[1]
            self._spent[1] = self._spent[2]
            self._unanswered[0] = self._unanswered[1]
            self._known[0] = self._known[1]
        elif index > self._index:
            self._spent[0] = 0
            self._spent[1] = 0
            self._unanswered[0] = 0
            self._known[0] = 0
        else:  # set back by more: what was spent counts for this window, and nobody waits for the clock to catch up
            self._spent[0] = self._spent[1]
        self._spent[2] = 0
        self._unanswered[1] = 0
        self._known[1] = 0
        self._owed = 0
        self._index = index

    cdef bint _near_start(self, long long at_ns) noexcept:
        return at_ns % self.window_ns < self.guard_ns

    cdef bint _near_end(self, long long at_ns) noexcept:
        return at_ns % self.window_ns >= self.window_ns - self.guard_ns

    cpdef bint fits(self, long long cost, long long now_ns) noexcept:
        """Return whether `cost` can be charged at `now_ns` (the venue's wall time)."""
        self._roll(now_ns)
        if self.held or cost > self.limit:
            return False
        if self._doubted == self._index and self._unanswered[0]:
            return False  # the one on its way brings the count
        if cost > self.usable:
            cost = self.usable  # dearer than what is usable for now: it goes alone
        if self._spent[1] + cost > self.usable:
            return False
        if self._near_start(now_ns) and self._spent[0] + cost > self.usable:
            return False
        return not self._near_end(now_ns) or self._spent[2] + cost <= self.usable

    cpdef long long charge(self, long long cost, long long now_ns) noexcept:
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

    cpdef void refund(self, long long cost, long long charged_ns, long long now_ns) noexcept:
        """Take a charge back: its request was not sent, or the venue did not count it."""
        self._roll(now_ns)
        self._charged -= cost
        cdef long long index = charged_ns // self.window_ns
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

    cpdef void credit(self, long long cost, long long at_ns, long long now_ns) noexcept:
        """Take it that the venue gave `cost` back at `at_ns`, as Binance does when an order is first filled.

        It can be spent again when `guard_ns` have passed without a count: a count that came later holds it already.
        """
        self._roll(now_ns)
        self._known[0] = max(0, self._known[0] - cost)
        if at_ns > self._counted_ns and at_ns // self.window_ns == self._index:
            self._owed += cost
            self._owed_ns = max(self._owed_ns, at_ns)

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
        cdef long long since = (self._answered - mark) & _MASK
        cdef long long later = (self._charged - (mark >> 31)) & _MASK
        if later > _MASK // 2:
            later = 0  # more was taken back than was charged since
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
        self._counted_ns = now_ns
        self._owed = 0
        if of_this_window:
            if self._doubted == index:  # what an earlier life had sent is no drift
                self._doubted = -1
                self._known[0] = max(self._known[0], count)
            self.drift = max(0, count - self._known[0])
            self._drift_index = index
        if of_this_window and count + since + self._unanswered[0] < self._spent[1]:
            self._spent[1] = count + since + self._unanswered[0]
        elif count > self._known[0]:
            self._spent[1] = max(self._spent[1], count + self._unanswered[0])
        else:
            self._spent[1] = max(self._spent[1], count + later)

    cpdef void doubt(self, long long now_ns) noexcept:
        """Count the window of `now_ns` as spent until a count of it is read."""
        self._roll(now_ns)
        self._doubted = self._index

    cpdef bint doubtful(self, long long now_ns) noexcept:
        """Return whether the window of `now_ns` only counts as spent."""
        self._roll(now_ns)
        return self._doubted == self._index

    cpdef void assume(self, long long count, long long now_ns) noexcept:
        """Take it that `count` is used of the window of `now_ns`, when that is more than was known."""
        self._roll(now_ns)
        if self._doubted == self._index:
            self._doubted = -1
        self._spent[1] = max(self._spent[1], count + self._unanswered[0])
        self._known[0] = max(self._known[0], count + self._unanswered[0])

    cpdef long long wait_ns(self, long long cost, long long now_ns) noexcept:
        """Return when to try `cost` again, in ns from now; 0 when it fits, -1 when it never can."""
        if cost > self.limit:
            return -1
        if self.fits(cost, now_ns):
            return 0
        cdef long long into = now_ns - self._index * self.window_ns
        if self._doubted == self._index:
            return min(_ANSWER_NS, self.window_ns - into)
        if self._spent[1] + min(cost, self.usable) <= self.usable and 0 <= into < self.guard_ns:
            return self.guard_ns - into  # the previous window is full, this one is not
        if self._owed:
            return max(1, min(self._owed_ns + self.guard_ns - now_ns, self.window_ns - into))
        return self.window_ns - into

    cpdef long long used(self, long long now_ns) noexcept:
        """Return what is charged to the window of `now_ns`."""
        self._roll(now_ns)
        return self.limit if self._doubted == self._index else self._spent[1]

    cpdef long long counted(self, long long at_ns, long long now_ns) noexcept:
        """Return how much the venue has let pass, by all that is known, in the window of `at_ns`."""
        self._roll(now_ns)
        if at_ns // self.window_ns < self._index:
            return self._spent[0]
        return self._spent[1] - self._unanswered[0]

    cpdef long long drifting(self, long long now_ns) noexcept:
        """Return the drift that was seen in the window of `now_ns`, 0 when none was."""
        self._roll(now_ns)
        return self.drift if self._drift_index == self._index else 0


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

    @property
    def limit(self):
        """Most tokens that can be saved."""
        return self.burst

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

    cpdef long long charge(self, double cost, long long now_ns) noexcept:
        """Take `cost` tokens as `take` does, with the mark that every bucket returns: 0."""
        self.take(cost, now_ns)
        return 0

    cpdef void refund(self, double cost, long long charged_ns, long long now_ns) noexcept:
        """Put back what was taken at `charged_ns`."""
        self._fill(now_ns)
        self._tokens = min(self.burst, self._tokens + cost)

    cpdef double used(self, long long now_ns) noexcept:
        """Return how many tokens are missing."""
        self._fill(now_ns)
        return self.burst - self._tokens

    cpdef long long wait_ns(self, double cost, long long now_ns) noexcept:
        """Return how long until `cost` tokens are there, 0 when they are; cost must be <= burst."""
        if self.has(cost, now_ns):
            return 0
        return <long long>ceil((cost - self._tokens) / self.rate * 1e9)


cdef class RateMeter:
    """A rate per second that decays: what was added t ns ago counts with exp(-t / tau_ns). It limits nothing.

    Args:
        tau_ns: > 0
    """

    cdef double _tau_ns
    cdef double _rate
    cdef long long _at_ns

    def __cinit__(self, double tau_ns):
        if not tau_ns > 0:
            raise ValueError(f"tau_ns must be > 0, was {tau_ns}")
        self._tau_ns = tau_ns

    cpdef void add(self, double amount, long long now_ns) noexcept:
        """Count an amount at `now_ns` (monotonic)."""
        self._rate = self.per_second(now_ns) + amount * (1e9 / self._tau_ns)
        self._at_ns = now_ns

    cpdef double per_second(self, long long now_ns) noexcept:
        """Return the rate at `now_ns`."""
        cdef long long passed_ns = now_ns - self._at_ns
        return self._rate * exp(-passed_ns / self._tau_ns) if passed_ns > 0 else self._rate
