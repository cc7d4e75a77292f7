"""A venue that answers no orders gets no more of them, but one now and then, until it answers again.

Each order without an answer is one whose fate must be found out. After FAILURES in a row new orders wait; when the
pause is over one goes, and only its answer lets the others follow. Cancels and questions always pass.
"""

FAILURES = 3
FIRST_NS = 500_000_000
LONGEST_NS = 10_000_000_000
PROBE_NS = 10_000_000_000  # a probe whose outcome nobody told is given up then; above any request's timeout


class Breaker:
    """One venue's. Times are monotonic."""

    def __init__(self) -> None:
        self._failures = 0
        self._pause_ns = FIRST_NS
        self._until_ns = 0

    @property
    def open(self) -> bool:
        """Whether new orders are held back."""
        return self._failures >= FAILURES

    def wait_ns(self, now_ns: int) -> int:
        """Return how long new orders must wait, 0 when one may go now."""
        return max(0, self._until_ns - now_ns) if self.open else 0

    def sent(self, now_ns: int) -> None:
        """Note that an order was written; while open it is the only one until its outcome is told."""
        if self.open:
            self._until_ns = now_ns + PROBE_NS

    def failed(self, now_ns: int) -> bool:
        """Note an order without an answer; returns whether that opened it."""
        self._failures += 1
        if not self.open:
            return False
        self._until_ns = now_ns + self._pause_ns
        self._pause_ns = min(LONGEST_NS, 2 * self._pause_ns)
        return self._failures == FAILURES

    def answered(self) -> bool:
        """Note an answer, whatever it says; returns whether that closed it."""
        was_open = self.open
        self._failures, self._pause_ns = 0, FIRST_NS
        return was_open
