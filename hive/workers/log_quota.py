"""How many lines of log a strategy may have: a token bucket for each, and a count of what it did not admit."""

from collections.abc import Callable
from time import monotonic_ns
from weakref import WeakKeyDictionary

from hive.workers.context import StrategyContext

BURST_S = 5.0


class LineQuota:
    """Admits `per_s` lines a second of each strategy, and as many as come in BURST_S at once (None: all)."""

    def __init__(self, per_s: float | None, now_ns: Callable[[], int] = monotonic_ns) -> None:
        if per_s is not None and per_s <= 0:
            raise ValueError(f"per_s must be positive, was {per_s}")
        self.per_s = per_s
        self._now_ns = now_ns
        self._buckets: WeakKeyDictionary[StrategyContext, list[float]] = WeakKeyDictionary()  # [lines, since ns]
        self._dropped: dict[StrategyContext, int] = {}

    def admits(self, strategy: StrategyContext) -> bool:
        """Return whether one more line may be written now; may be called from any thread."""
        if self.per_s is None:
            return True
        now_ns = self._now_ns()
        room = self.per_s * BURST_S
        bucket = self._buckets.get(strategy)
        if bucket is None:
            bucket = self._buckets[strategy] = [room, now_ns]
        bucket[0] = min(room, bucket[0] + (now_ns - bucket[1]) * self.per_s / 1e9)
        bucket[1] = now_ns
        if bucket[0] < 1:
            self._dropped[strategy] = self._dropped.get(strategy, 0) + 1
            return False
        bucket[0] -= 1
        return True

    def dropped(self) -> dict[StrategyContext, int]:
        """Return how many lines were not admitted since the last call, by strategy."""
        dropped, self._dropped = self._dropped, {}
        return dropped
