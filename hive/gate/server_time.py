"""The venue's clock, kept as an offset from the monotonic clock.

The monotonic clock is the base, so that a step of this host's wall clock changes nothing. One sample is the venue's
time and the monotonic times around it; the venue's reading is taken to be from the middle. A round takes several and
keeps the median, which one slow answer cannot move.
"""

import statistics
import time
from collections.abc import Callable

HALF_MS_NS = 500_000  # the venue cuts its time to whole milliseconds: half of one is lost on average


class ServerClock:
    """Knows the venue's wall time.

    Args:
        now_ns: the monotonic clock
    """

    def __init__(self, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._now_ns = now_ns
        self._offset_ns = time.time_ns() - now_ns()

    def venue_ns(self) -> int:
        """Return the venue's wall time in ns; this host's own until the first round."""
        return self._now_ns() + self._offset_ns

    def timestamp_ms(self) -> int:
        """Return the venue's wall time in ms, for a request."""
        return self.venue_ns() // 1_000_000

    def set_round(self, samples: list[tuple[int, int, int]]) -> None:
        """Take a round of samples.

        Args:
            samples: (monotonic ns before, venue's time in ms, monotonic ns after), at least one
        """
        self._offset_ns = int(
            statistics.median(ms * 1_000_000 + HALF_MS_NS - (before + after) // 2 for before, ms, after in samples)
        )

    def ahead_of_host_ms(self) -> int:
        """Return how far the venue's wall clock is ahead of this host's, in ms."""
        return (self.venue_ns() - time.time_ns()) // 1_000_000
