"""Starvation, as a figure, in pure Python: the twin of starvation.pyx, which says what is measured and how."""

from dataclasses import dataclass
from heapq import heappop, heappush
from math import ceil, inf

ROUNDING = 1e-9
LONGEST_NS = 1 << 62  # 146 years


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


class _Flow:
    """One strategy: what waits, its turn in the fluid, and since when it waits."""

    __slots__ = (
        "bound_ns",
        "counted",
        "depth",
        "events",
        "held_until_ns",
        "lag",
        "mark",
        "over_ns",
        "since_ns",
        "start",
        "starved_ns",
        "waiting",
        "weight",
    )

    def __init__(self) -> None:
        self.weight = 1.0
        self.depth = 0
        self.waiting = 0.0  # cost of what waits
        self.start = -inf  # S
        self.lag = 0.0  # V - S while held
        self.counted = False  # whether PHI contains its weight
        self.held_until_ns: int | None = None
        self.since_ns = 0  # in open time; while held: for how long it had waited
        self.mark = 0.0  # X then; while held: how much X had grown since
        self.bound_ns: int | None = None  # B, when its turn was due
        self.over_ns = 0  # of this wait, what is counted as starved
        self.starved_ns = 0
        self.events = 0


class StarvationMonitor:
    """Measures starvation among the strategies of one venue account.

    Args:
        limit: new orders that the venue takes per window, > 0
        window_ns: its length, >= 1
    """

    def __init__(self, limit: float, window_ns: int) -> None:
        _check(limit, window_ns)
        self._limit = limit
        self._window_ns = window_ns
        self._flows: dict[str, _Flow] = {}
        self._waiting: dict[str, _Flow] = {}
        self._held: dict[str, _Flow] = {}
        self._leaving: list[tuple[float, int, _Flow]] = []  # some not any more: they wait again
        self._numbers = 0
        self._fluid = 0.0  # V
        self._weights = 0.0  # PHI
        self._competing = 0
        self._progress = 0.0  # X
        self._open_ns = 0  # open time: how long the venue has been open
        self._now_ns: int | None = None
        self._closed = False
        self._closed_ns = 0

    # ---- What happens to orders

    def pushed(self, flow: str, now_ns: int, cost: float = 1.0) -> None:
        """Take it that an order waits from now on."""
        one = self._at(flow, now_ns)
        one.depth += 1
        one.waiting += cost
        if one.depth == 1:
            one.start = max(one.start, self._fluid)
            self._waiting[flow] = one
            if one.held_until_ns is None:
                self._count(one, True)
                self._begin(one)
            else:
                one.lag, one.since_ns, one.mark = self._fluid - one.start, 0, 0.0
                self._count(one, False)

    def served(self, flow: str, now_ns: int, cost: float = 1.0) -> None:
        """Take it that an order has left for the venue; one that was taken out and put back has not."""
        one = self._at(flow, now_ns)
        self._release(flow, one)
        self._judge(one)
        self._pour(cost)
        one.start += cost / one.weight
        self._begin(one)
        self._less(flow, one, cost)

    def removed(self, flow: str, now_ns: int, cost: float = 1.0) -> None:
        """Take it that an order does not wait any more because its strategy, or an operator, took it back."""
        one = self._at(flow, now_ns)
        self._judge(one)
        self._less(flow, one, cost)

    def dropped(self, flow: str, now_ns: int, cost: float = 1.0) -> None:
        """Take it that a strategy's oldest order was given up because of its age."""
        one = self._at(flow, now_ns)
        self._judge(one)
        due = one.start + (cost / one.weight) + self._order() < self._fluid
        if self._eligible(one) and (due or self._turns(one) >= 1 - ROUNDING):  # or would have, had anything left
            one.events += 1
        self._less(flow, one, cost)

    def overflowed(self, flow: str, now_ns: int) -> None:
        """Take it that an order was refused because its strategy's queue is full."""
        one = self._at(flow, now_ns)
        if self._eligible(one) and (self._fluid - one.start - self._order()) * one.weight > one.waiting:
            one.events += 1

    # ---- What changes

    def held(self, flow: str, until_ns: int, now_ns: int, shared: bool = False) -> None:
        """Take it that a strategy's next order may not leave before `until_ns`, though others' may.

        Args:
            until_ns: not after `now_ns` when it may leave again
            shared: by a limit that others spend too; else by its own quota or backoff
        """
        one = self._at(flow, now_ns)
        if until_ns <= now_ns:
            self._release(flow, one)
            return
        if one.held_until_ns is None:
            self._judge(one)
            one.lag = self._fluid - one.start if one.depth else 0.0
            one.since_ns = self._open_ns - one.since_ns
            one.mark = self._progress - one.mark
            if one.depth:
                self._count(one, False)
            self._held[flow] = one
        one.held_until_ns = until_ns
        if not shared:
            one.since_ns, one.mark, one.lag = 0, 0.0, min(one.lag, 0.0)
            one.bound_ns, one.over_ns = None, 0

    def set_limit(self, limit: float, window_ns: int, now_ns: int) -> None:
        """Change what the venue takes."""
        _check(limit, window_ns)
        self._pass(now_ns)
        self._limit = limit
        self._window_ns = window_ns

    def set_weight(self, flow: str, weight: float, now_ns: int) -> None:
        """Change a strategy's weight from now on; it is 1 until then."""
        if not 0 < weight < inf:
            raise ValueError(f"weight must be > 0 and finite, was {weight}")
        one = self._at(flow, now_ns)
        counted = one.counted
        self._count(one, False)
        one.weight = weight
        self._count(one, counted)

    def close(self, now_ns: int) -> None:
        """Take it that the venue takes no orders from anybody now."""
        self._pass(now_ns)
        self._closed = True

    def open(self, now_ns: int) -> None:
        """Take it that the venue takes orders again."""
        self._pass(now_ns)
        self._closed = False

    def tick(self, now_ns: int) -> None:
        """Bring the figures up to date."""
        self._pass(now_ns)
        for flow in [flow for flow, one in self._held.items() if one.held_until_ns <= now_ns]:
            self._release(flow, self._held[flow])
        first = min((one.start for one in self._waiting.values() if one.held_until_ns is None), default=-inf)
        if first > self._fluid:  # all are ahead: the next turn begins now
            self._fluid = first
            self._pour(0.0)
        for one in self._waiting.values():
            self._judge(one)

    # ---- What is shown

    def figures(self, flow: str) -> Starvation:
        """Return the figures of a strategy, as of the last tick or event."""
        one = self._flows.get(flow) or _Flow()
        held = one.held_until_ns is not None
        lag = one.lag if held else self._fluid - one.start
        wait = (one.since_ns if held else self._open_ns - one.since_ns) if one.depth else 0
        deficit = min(max(0.0, lag * one.weight), one.waiting) if one.depth else 0.0
        others = self._weights - (one.weight if one.counted else 0.0)
        bound_ns = _whole_windows((others + one.weight) / (one.weight * self._limit) - ROUNDING, self._window_ns)
        return Starvation(one.starved_ns, one.events, deficit, wait, bound_ns)

    def flows(self) -> list[str]:
        """Return every strategy that was seen."""
        return list(self._flows)

    @property
    def closed_ns(self) -> int:
        """Return for how long the venue was closed, up to the last tick or event."""
        return self._closed_ns

    # ---- Waits

    def _begin(self, one: _Flow) -> None:
        one.since_ns = self._open_ns
        one.mark = self._progress
        one.bound_ns = None
        one.over_ns = 0

    def _judge(self, one: _Flow) -> None:
        """Count what of a strategy's wait is beyond its bound."""
        if not one.depth or one.held_until_ns is not None:
            return
        if one.start > self._fluid + ROUNDING * abs(self._fluid):
            self._begin(one)  # ahead
            return
        turns = self._turns(one)
        if turns < 1 - ROUNDING:
            return
        waited = self._open_ns - one.since_ns
        if one.bound_ns is None:
            since_due = (turns - 1) * self._weights * self._window_ns / (one.weight * self._limit)
            one.bound_ns = _whole_windows(max(1.0, (waited - since_due) / self._window_ns - 1e-6), self._window_ns)
        over = waited - one.bound_ns
        if over > one.over_ns:
            if not one.over_ns:
                one.events += 1
            one.starved_ns += over - one.over_ns
            one.over_ns = over

    def _turns(self, one: _Flow) -> float:
        return (self._progress - one.mark) * one.weight

    def _eligible(self, one: _Flow) -> bool:
        return bool(one.depth) and one.held_until_ns is None and not self._closed

    def _release(self, flow: str, one: _Flow) -> None:
        if one.held_until_ns is None:
            return
        one.held_until_ns = None
        del self._held[flow]
        one.since_ns = self._open_ns - one.since_ns
        one.mark = self._progress - one.mark
        if one.depth:
            one.start = self._fluid - one.lag
            self._count(one, True)

    def _less(self, flow: str, one: _Flow, cost: float) -> None:
        one.depth -= 1
        one.waiting = max(0.0, one.waiting - cost) if one.depth else 0.0
        if one.depth:
            return
        del self._waiting[flow]
        if one.held_until_ns is not None:
            one.start = self._fluid - one.lag
        if one.start > self._fluid:
            self._count(one, True)
            self._numbers += 1
            heappush(self._leaving, (one.start, self._numbers, one))
        else:
            self._count(one, False)
            one.start = -inf
        self._restart()

    # ---- The fluid

    def _at(self, flow: str, now_ns: int) -> _Flow:
        self._pass(now_ns)
        one = self._flows.get(flow)
        if one is None:
            one = self._flows[flow] = _Flow()
        if one.held_until_ns is not None and one.held_until_ns <= now_ns:
            self._release(flow, one)
        return one

    def _pass(self, now_ns: int) -> None:
        """Let the time until now pass."""
        passed = 0 if self._now_ns is None else now_ns - self._now_ns
        self._now_ns = now_ns
        if self._closed:
            self._closed_ns += passed
            return
        self._open_ns += passed
        if self._competing:
            self._progress += passed * self._limit / (self._weights * self._window_ns)

    def _pour(self, cost: float) -> None:
        """Let V grow by an order that leaves, while those whose orders left early cease to compete."""
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
            one.start = -inf
        if self._competing:
            self._fluid += cost / self._weights

    def _restart(self) -> None:
        """Let V begin at 0 again when nobody competes, so that it stays exact."""
        if not self._competing:
            self._fluid = 0.0
            self._leaving.clear()

    def _order(self) -> float:
        """Return by how much one order moves V: what leaves is whole."""
        return 1 / self._weights if self._competing else 0.0

    def _count(self, one: _Flow, counted: bool) -> None:
        if counted != one.counted:
            one.counted = counted
            self._competing += 1 if counted else -1
            self._weights += one.weight if counted else -one.weight
            if not self._competing:
                self._weights = 0.0


def _whole_windows(windows: float, window_ns: int) -> int:
    """Return so many windows, rounded up, in ns: at most LONGEST_NS."""
    return min(ceil(windows) * window_ns, LONGEST_NS)


def _check(limit: float, window_ns: int) -> None:
    if not limit > 0:
        raise ValueError(f"limit must be > 0, was {limit}")
    if window_ns < 1:
        raise ValueError(f"window_ns must be >= 1, was {window_ns}")
