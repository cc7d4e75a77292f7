"""The feed's part of a venue's request weight: aligned one-minute windows.

The venue counts per IP address, and the gate spends from the same count, so the feed stops at its share: what it has
spent itself, or what the venue says was spent by everybody, whichever is more, stays below `share` of the limit.
Times are wall-clock nanoseconds, because the venue's windows are aligned to the minute.
"""

MINUTE_NS = 60_000_000_000
SHARE = 0.66


class WeightBudget:
    """Grants request weight; a pure function of the calls made to it."""

    __slots__ = ("_ceiling", "_closed_until_ns", "_used", "_window")

    def __init__(self, limit_per_minute: int, share: float = SHARE) -> None:
        if limit_per_minute < 1 or not 0.0 < share <= 1.0:
            raise ValueError(f"limit must be >= 1 and share in (0, 1], were {limit_per_minute} and {share}")
        self._ceiling = max(1, int(limit_per_minute * share))
        self._window = -1
        self._used = 0
        self._closed_until_ns = 0

    def reserve(self, weight: int, wall_ns: int) -> int:
        """Take `weight` and return 0, or take nothing and return how many ns to wait before asking again.

        A request heavier than the whole share passes alone, at the start of a window.
        """
        self._turn(wall_ns)
        if wall_ns < self._closed_until_ns:
            return self._closed_until_ns - wall_ns
        if self._used and self._used + weight > self._ceiling:
            return (self._window + 1) * MINUTE_NS - wall_ns
        self._used += weight
        return 0

    def settle(self, used_weight: int, wall_ns: int) -> None:
        """Take over the venue's own count of this minute, when it is higher."""
        self._turn(wall_ns)
        self._used = max(self._used, used_weight)

    def close(self, seconds: float, wall_ns: int) -> None:
        """Grant nothing for `seconds`: the venue said so."""
        self._closed_until_ns = max(self._closed_until_ns, wall_ns + int(seconds * 1_000_000_000))

    def _turn(self, wall_ns: int) -> None:
        window = wall_ns // MINUTE_NS
        if window != self._window:
            self._window = window
            self._used = 0
