"""Starvation, as a figure: who waited longer for the venue than a fair split of its limit explains.

    monitor = StarvationMonitor(limit, window_ns)       # new orders that the venue takes per window
    pushed(flow) -> served(flow) | removed(flow) | dropped(flow)         for each order
    held(flow, until_ns); close() / open(); set_limit(); set_weight()    when it changes
    tick(now_ns)                                                         4 times a second
    figures(flow)                                                        -> seconds, events, deficit, wait

It watches any order of sending, not only a fair one, and costs O(log flows) per order, O(waiting flows) per tick.

What is measured. A strategy's wait w is the time for which it has had new orders that may go, without one of them
leaving. It is starved while w > B, with B = ceil(PHI / (phi * L)) * W: L orders per window W are split over the weights
PHI of those who compete, of which its own is phi. An order is not waiting
  - while its strategy is held, by its own quota or backoff (w begins anew: that was so since its last order left) or
    by a limit that it shares with others, like a pair's (w stands still and goes on afterwards);
  - while the venue is closed (all waits stand still; counted apart);
  - while its strategy is ahead: the order before it left early, before its turn in the fair split was over.
PHI changes while a strategy waits. So a clock X runs with L / (PHI * W): the turn of a strategy is due when X has
grown by 1 / phi since it began to wait, and B is that time in whole windows: the formula, while PHI is constant.

Who competes, and who is ahead, is told by the fluid that a fair split is (generalized processor sharing): V grows by
cost / PHI for each order that leaves; a strategy whose turn begins at S is owed phi * (V - S), the deficit. One whose
orders left early competes until V has passed what it took, though nothing of it waits.

A drop counts as an event of its own, if the strategy was within its fair share: an order that grew too old counts when
the fluid would have sent it, one that found its queue full when the fluid would have emptied that queue. What a
strategy asks beyond its share may be dropped without one.

Time is monotonic and a parameter, and must not go back.
"""

from dataclasses import dataclass
from heapq import heappop, heappush

from libc.math cimport INFINITY, ceil
from libc.stdint cimport int64_t

cdef double ROUNDING = 1e-9
cdef int64_t LONGEST_NS = <int64_t>1 << 62


@dataclass(frozen=True, slots=True)
class Starvation:
    """The figures of one strategy.

    Args:
        starved_ns: time with w > B, in total
        events: how often that began, and drops within the fair share
        deficit: orders that the fair split owes it now, 0 when it is ahead or nothing waits
        wait_ns: w
        bound_ns: B, as it is now
    """

    starved_ns: int
    events: int
    deficit: float
    wait_ns: int
    bound_ns: int


cdef class _Flow:
    """One strategy: what waits, its turn in the fluid, and since when it waits."""

    cdef double weight
    cdef int64_t depth
    cdef double waiting  # cost of what waits
    cdef double start  # S
    cdef double lag  # V - S while held
    cdef bint counted  # whether PHI contains its weight
    cdef bint held
    cdef int64_t held_until_ns
    cdef int64_t since_ns  # in open time; while held: for how long it had waited
    cdef double mark  # X then; while held: how much X had grown since
    cdef int64_t bound_ns  # B, when its turn was due; -1 before
    cdef int64_t over_ns  # of this wait, what is counted as starved
    cdef int64_t starved_ns
    cdef int64_t events

    def __cinit__(self):
        self.weight = 1.0
        self.start = -INFINITY
        self.bound_ns = -1


cdef class StarvationMonitor:
    """Measures starvation among the strategies of one venue account.

    Args:
        limit: new orders that the venue takes per window, > 0
        window_ns: its length, >= 1
    """

    cdef double _limit
    cdef int64_t _window_ns
    cdef dict _flows
    cdef dict _waiting
    cdef dict _held
    cdef list _leaving  # (start, number, flow); some not any more: they wait again
    cdef int64_t _numbers
    cdef double _fluid  # V
    cdef double _weights  # PHI
    cdef int64_t _competing
    cdef double _progress  # X
    cdef int64_t _open_ns  # open time: how long the venue has been open
    cdef int64_t _now_ns
    cdef bint _began
    cdef bint _closed
    cdef int64_t _closed_ns

    def __init__(self, limit, window_ns):
        check(limit, window_ns)
        self._limit = limit
        self._window_ns = window_ns
        self._flows = {}
        self._waiting = {}
        self._held = {}
        self._leaving = []

    # ---- What happens to orders

    def pushed(self, str flow not None, int64_t now_ns, double cost=1.0):
        """Take it that an order waits from now on."""
        cdef _Flow one = self._at(flow, now_ns)
        one.depth += 1
        one.waiting += cost
        if one.depth == 1:
            one.start = max(one.start, self._fluid)
            self._waiting[flow] = one
            if not one.held:
                self._count(one, True)
                self._begin(one)
            else:
                one.lag, one.since_ns, one.mark = self._fluid - one.start, 0, 0.0
                self._count(one, False)

    def served(self, str flow not None, int64_t now_ns, double cost=1.0):
        """Take it that an order has left for the venue; one that was taken out and put back has not."""
        cdef _Flow one = self._at(flow, now_ns)
        self._release(flow, one)
        self._judge(one)
        self._pour(cost)
        one.start += cost / one.weight
        self._begin(one)
        self._less(flow, one, cost)

    def removed(self, str flow not None, int64_t now_ns, double cost=1.0):
        """Take it that an order does not wait any more because its strategy, or an operator, took it back."""
        cdef _Flow one = self._at(flow, now_ns)
        self._judge(one)
        self._less(flow, one, cost)

    def dropped(self, str flow not None, int64_t now_ns, double cost=1.0):
        """Take it that a strategy's oldest order was given up because of its age."""
        cdef _Flow one = self._at(flow, now_ns)
        cdef bint due
        self._judge(one)
        due = one.start + (cost / one.weight) + self._order() < self._fluid
        if self._eligible(one) and (due or self._turns(one) >= 1 - ROUNDING):  # or would have, had anything left
            one.events += 1
        self._less(flow, one, cost)

    def overflowed(self, str flow not None, int64_t now_ns):
        """Take it that an order was refused because its strategy's queue is full."""
        cdef _Flow one = self._at(flow, now_ns)
        if self._eligible(one) and (self._fluid - one.start - self._order()) * one.weight > one.waiting:
            one.events += 1

    # ---- What changes

    def held(self, str flow not None, int64_t until_ns, int64_t now_ns, bint shared=False):
        """Take it that a strategy's next order may not leave before `until_ns`, though others' may.

        Args:
            until_ns: not after `now_ns` when it may leave again
            shared: by a limit that others spend too; else by its own quota or backoff
        """
        cdef _Flow one = self._at(flow, now_ns)
        if until_ns <= now_ns:
            self._release(flow, one)
            return
        if not one.held:
            self._judge(one)
            one.lag = self._fluid - one.start if one.depth else 0.0
            one.since_ns = self._open_ns - one.since_ns
            one.mark = self._progress - one.mark
            if one.depth:
                self._count(one, False)
            self._held[flow] = one
            one.held = True
        one.held_until_ns = until_ns
        if not shared:
            one.since_ns, one.mark, one.lag = 0, 0.0, min(one.lag, 0.0)
            one.bound_ns, one.over_ns = -1, 0

    def set_limit(self, limit, window_ns, int64_t now_ns):
        """Change what the venue takes."""
        check(limit, window_ns)
        self._pass(now_ns)
        self._limit = limit
        self._window_ns = window_ns

    def set_weight(self, str flow not None, double weight, int64_t now_ns):
        """Change a strategy's weight from now on; it is 1 until then."""
        cdef _Flow one
        cdef bint counted
        if not 0 < weight < INFINITY:
            raise ValueError(f"weight must be > 0 and finite, was {weight}")
        one = self._at(flow, now_ns)
        counted = one.counted
        self._count(one, False)
        one.weight = weight
        self._count(one, counted)

    def close(self, int64_t now_ns):
        """Take it that the venue takes no orders from anybody now."""
        self._pass(now_ns)
        self._closed = True

    def open(self, int64_t now_ns):
        """Take it that the venue takes orders again."""
        self._pass(now_ns)
        self._closed = False

    def tick(self, int64_t now_ns):
        """Bring the figures up to date."""
        cdef _Flow one
        cdef double first = INFINITY
        self._pass(now_ns)
        for flow, one in list(self._held.items()):
            if one.held_until_ns <= now_ns:
                self._release(flow, one)
        for one in self._waiting.values():
            if not one.held:
                first = min(first, one.start)
        if self._fluid < first < INFINITY:  # all are ahead: the next turn begins now
            self._fluid = first
            self._pour(0.0)
        for one in self._waiting.values():
            self._judge(one)

    # ---- What is shown

    def figures(self, str flow not None):
        """Return the figures of a strategy, as of the last tick or event."""
        cdef _Flow one = self._flows.get(flow)
        cdef double lag, deficit, others
        cdef int64_t wait, bound
        if one is None:
            one = _Flow()
        lag = one.lag if one.held else self._fluid - one.start
        wait = (one.since_ns if one.held else self._open_ns - one.since_ns) if one.depth else 0
        deficit = min(max(0.0, lag * one.weight), one.waiting) if one.depth else 0.0
        others = self._weights - (one.weight if one.counted else 0.0)
        bound = whole_windows((others + one.weight) / (one.weight * self._limit) - ROUNDING, self._window_ns)
        return Starvation(one.starved_ns, one.events, deficit, wait, bound)

    def flows(self):
        """Return every strategy that was seen."""
        return list(self._flows)

    @property
    def closed_ns(self):
        """Return for how long the venue was closed, up to the last tick or event."""
        return self._closed_ns

    # ---- Waits

    cdef void _begin(self, _Flow one) noexcept:
        one.since_ns = self._open_ns
        one.mark = self._progress
        one.bound_ns = -1
        one.over_ns = 0

    cdef void _judge(self, _Flow one) noexcept:
        """Count what of a strategy's wait is beyond its bound."""
        cdef double turns, since_due
        cdef int64_t waited, over
        if not one.depth or one.held:
            return
        if one.start > self._fluid + ROUNDING * abs(self._fluid):
            self._begin(one)  # ahead
            return
        turns = self._turns(one)
        if turns < 1 - ROUNDING:
            return
        waited = self._open_ns - one.since_ns
        if one.bound_ns < 0:
            since_due = (turns - 1) * self._weights * self._window_ns / (one.weight * self._limit)
            one.bound_ns = whole_windows(max(1.0, (waited - since_due) / self._window_ns - 1e-6), self._window_ns)
        over = waited - one.bound_ns
        if over > one.over_ns:
            if not one.over_ns:
                one.events += 1
            one.starved_ns += over - one.over_ns
            one.over_ns = over

    cdef double _turns(self, _Flow one) noexcept:
        return (self._progress - one.mark) * one.weight

    cdef bint _eligible(self, _Flow one) noexcept:
        return one.depth and not one.held and not self._closed

    cdef int _release(self, str flow, _Flow one) except -1:
        if not one.held:
            return 0
        one.held = False
        del self._held[flow]
        one.since_ns = self._open_ns - one.since_ns
        one.mark = self._progress - one.mark
        if one.depth:
            one.start = self._fluid - one.lag
            self._count(one, True)
        return 0

    cdef int _less(self, str flow, _Flow one, double cost) except -1:
        one.depth -= 1
        one.waiting = max(0.0, one.waiting - cost) if one.depth else 0.0
        if one.depth:
            return 0
        del self._waiting[flow]
        if one.held:
            one.start = self._fluid - one.lag
        if one.start > self._fluid:
            self._count(one, True)
            self._numbers += 1
            heappush(self._leaving, (one.start, self._numbers, one))
        else:
            self._count(one, False)
            one.start = -INFINITY
        self._restart()
        return 0

    # ---- The fluid

    cdef _Flow _at(self, str flow, int64_t now_ns):
        cdef _Flow one
        self._pass(now_ns)
        one = self._flows.get(flow)
        if one is None:
            one = self._flows[flow] = _Flow()
        if one.held and one.held_until_ns <= now_ns:
            self._release(flow, one)
        return one

    cdef void _pass(self, int64_t now_ns) noexcept:
        """Let the time until now pass."""
        cdef int64_t passed = now_ns - self._now_ns if self._began else 0
        self._began = True
        self._now_ns = now_ns
        if self._closed:
            self._closed_ns += passed
            return
        self._open_ns += passed
        if self._competing:
            self._progress += passed * self._limit / (self._weights * self._window_ns)

    cdef int _pour(self, double cost) except -1:
        """Let V grow by an order that leaves, while those whose orders left early cease to compete."""
        cdef _Flow one
        cdef double start, needed
        while self._leaving:
            start, _, one = self._leaving[0]
            if one.depth or not one.counted or one.start != start:
                heappop(self._leaving)
                continue
            needed = max(0.0, (start - self._fluid) * self._weights)
            if needed > cost:
                break
            heappop(self._leaving)
            cost -= needed
            self._fluid = max(self._fluid, start)
            self._count(one, False)
            one.start = -INFINITY
        if self._competing:
            self._fluid += cost / self._weights
        return 0

    cdef int _restart(self) except -1:
        """Let V begin at 0 again when nobody competes, so that it stays exact."""
        if not self._competing:
            self._fluid = 0.0
            self._leaving.clear()
        return 0

    cdef double _order(self) noexcept:
        """Return by how much one order moves V: what leaves is whole."""
        return 1 / self._weights if self._competing else 0.0

    cdef void _count(self, _Flow one, bint counted) noexcept:
        if counted != one.counted:
            one.counted = counted
            self._competing += 1 if counted else -1
            self._weights += one.weight if counted else -one.weight
            if not self._competing:
                self._weights = 0.0


cdef int64_t whole_windows(double windows, int64_t window_ns) noexcept:
    """Return so many windows, rounded up, in ns: at most LONGEST_NS, which is 146 years."""
    cdef double long_ns = ceil(windows) * window_ns
    return <int64_t>ceil(windows) * window_ns if long_ns < LONGEST_NS else LONGEST_NS


cdef int check(limit, window_ns) except -1:
    if not limit > 0:
        raise ValueError(f"limit must be > 0, was {limit}")
    if window_ns < 1:
        raise ValueError(f"window_ns must be >= 1, was {window_ns}")
    return 0
