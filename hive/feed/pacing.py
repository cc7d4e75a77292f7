"""When a venue may be connected to: a back-off per connection, and one pace for all connections of the venue.

    failure 1, 2, 3, ...   0.1, 0.2, 0.4, ... 30 s, up to half of it left to chance
    the whole venue        no more than ATTEMPTS openings in WINDOW_NS, none before a Retry-After is over

So a venue in maintenance, which refuses or drops every connection, is asked about twice a minute per connection, and
one that says 429 or 418 is left alone for as long as it says. Pure: time and chance are parameters.
"""

import random
from collections import deque

FIRST_BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 30.0
ATTEMPTS = 100  # a third of what Binance allows an address in 5 minutes
WINDOW_NS = 300_000_000_000


def backoff_s(failures: int, rng: random.Random) -> float:
    """Return how long to wait after `failures` >= 1 failures in a row: doubling, up to half of it left to chance."""
    return min(FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 16), LONGEST_BACKOFF_S) * rng.uniform(0.5, 1.0)


class ConnectPace:
    """What all connections of one venue together may open; times are monotonic."""

    def __init__(self, attempts: int = ATTEMPTS, window_ns: int = WINDOW_NS) -> None:
        self._window_ns = window_ns
        self._opened: deque[int] = deque(maxlen=attempts)
        self._closed_until_ns = 0

    def reserve(self, now_ns: int) -> int:
        """Count an opening and return 0, or count nothing and return how many ns to wait."""
        if now_ns < self._closed_until_ns:
            return self._closed_until_ns - now_ns
        if len(self._opened) == self._opened.maxlen and now_ns - self._opened[0] < self._window_ns:
            return self._opened[0] + self._window_ns - now_ns
        self._opened.append(now_ns)
        return 0

    def close(self, seconds: float, now_ns: int) -> None:
        """Open nothing for `seconds`: the venue said so."""
        self._closed_until_ns = max(self._closed_until_ns, now_ns + int(seconds * 1e9))
