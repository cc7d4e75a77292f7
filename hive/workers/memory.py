"""Who made a worker grow; what its own memory is, own_memory.pyx says.

A jump between two looks is put down to the strategy whose code was on the loop for longest since the jump before it (or
in the last TOOK_EVERY looks), if that was at least twice as long as any other's, and long enough to have touched so
much (the kernel fills a megabyte in 60 us or more). What comes slowly or by threads is nobody's. What is given back is
subtracted in the same way. Above the limit, who made at least half of the growth since the strategies were made is
named.
"""

from collections.abc import Callable, Hashable, Mapping

from hive.workers.own_memory import JUMP

MB = 1 << 20
TOUCH_NS_PER_MB = 60_000
TOOK_EVERY = 2  # looks; asking who took what of the loop costs ten times what a look costs


class MemoryGuard[Who: Hashable]:
    """Watches a worker's memory.

    Args:
        took_ns: returns for how long each strategy's code was on the loop so far, by any key.
        limit_bytes: of the worker's own memory; None: no limit, and nothing is looked at.
        read: returns the bytes now.
    """

    def __init__(
        self,
        took_ns: Callable[[], Mapping[Who, int]],
        limit_bytes: int | None,
        read: Callable[[], int],
    ) -> None:
        if limit_bytes is not None and limit_bytes <= 0:
            raise ValueError(f"limit_bytes must be positive, was {limit_bytes}")
        self._took_ns = took_ns
        self._limit = limit_bytes
        self._read = read
        self._before: Mapping[Who, int] = {}
        self._last = 0
        self._looks = 0
        self._base: int | None = None
        self._told_at = 0
        self._grown: dict[Who | None, int] = {}

    def begin(self) -> None:
        """Count growth from now on: the strategies are made."""
        if self._limit is not None:
            self._last = self._base = self._read()
            self._before = self._took_ns()
            self._grown.clear()

    def look(self) -> tuple[Who | None, int, int] | None:
        """Return (who, bytes that it made, bytes in all) when there are more than the limit, else None.

        Who is None when it was none in particular. It is told again when another quarter of the limit has come.
        """
        if self._limit is None or self._base is None:
            return None
        now = self._read()
        change, self._last = now - self._last, now
        self._looks += 1
        whose = None
        if abs(change) >= JUMP or self._looks % TOOK_EVERY == 0:
            took = self._took_ns()
            whose = self._whose(took, abs(change))
            self._before = took
        if change:
            self._grown[whose] = max(0, self._grown.get(whose, 0) + change)
        if now <= self._limit:
            self._told_at = 0
            return None
        if now <= self._told_at:
            return None
        self._told_at = now + self._limit // 4
        culprit = max(self._grown, key=self._grown.__getitem__, default=None)
        made = self._grown.get(culprit, 0)
        return (culprit, made, now) if culprit is not None and 2 * made >= now - self._base else (None, 0, now)

    def _whose(self, took: Mapping[Who, int], change: int) -> Who | None:
        if change < JUMP:
            return None
        spent = {key: ns - self._before.get(key, 0) for key, ns in took.items()}
        first, second = sorted((0, 0, *spent.values()))[-1:-3:-1]
        if first < 2 * second or first < change / MB * TOUCH_NS_PER_MB:
            return None
        return max(spent, key=spent.__getitem__)
