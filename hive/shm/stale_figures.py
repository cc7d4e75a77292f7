"""How often and how long the books of a venue were not current."""

from hive.shm.book import HALTED, LIVE
from hive.shm.counters import Counter

CURRENT = (LIVE, HALTED)  # a halted book is not traded on, but it is the venue's
MS_NS = 1_000_000


class StaleFigures:
    """Counts how often, and how long, books of one venue were not current after they had been; time is a parameter.

    Args:
        intervals, ms: the counters; None keeps the counts to itself.
    """

    def __init__(self, intervals: Counter | None = None, ms: Counter | None = None) -> None:
        self._intervals = intervals
        self._ms = ms
        self._since: dict[str, int] = {}  # pair -> since when it is not current, 0 while it is

    def note(self, pair: str, state: int, now_ns: int) -> None:
        """Take the state of a book as it is now."""
        since_ns = self._since.get(pair)
        if state in CURRENT:
            self._since[pair] = 0
            if since_ns and self._ms is not None:
                self._ms.inc((now_ns - since_ns) // MS_NS)
        elif since_ns == 0:
            self._since[pair] = now_ns
            if self._intervals is not None:
                self._intervals.inc()

    def forget(self, pair: str) -> None:
        """Count a pair no longer: nobody uses it."""
        self._since.pop(pair, None)
