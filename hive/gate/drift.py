"""When somebody else uses an account's or an address's limit: another host, or a person, on the same key."""

PARTS = 20  # one part in this of a limit may be off
STAYS_NS = 60_000_000_000


class DriftWatch:
    """Tells once of each episode of drift in one limit.

    An episode begins with more drift than a part in PARTS of the limit, is told when that is seen again STAYS_NS later,
    and ends with a whole window without.

    Args:
        limit: most in a window
        window_ns: its length
    """

    def __init__(self, limit: int, window_ns: int) -> None:
        self._limit = limit
        self._window_ns = window_ns
        self._index = -1
        self._seen = False  # in this window
        self._since_ns = -1
        self._told = False

    def see(self, drift: int, venue_ns: int, now_ns: int) -> bool:
        """Return whether to raise the alarm.

        Args:
            drift: what the venue counts in this window beyond our own
            venue_ns: the venue's wall time
            now_ns: monotonic
        """
        index = venue_ns // self._window_ns
        if index != self._index:
            if not self._seen:
                self._since_ns = -1
                self._told = False
            self._index = index
            self._seen = False
        if drift * PARTS <= self._limit:
            return False
        self._seen = True
        if self._since_ns < 0:
            self._since_ns = now_ns
        if self._told or now_ns - self._since_ns < STAYS_NS:
            return False
        self._told = True
        return True
