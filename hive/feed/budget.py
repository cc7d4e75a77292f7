"""The feed's part of a venue's request weight: its share of the budget that the gate owns.

Before the gate's budget is known (a feed that starts, or runs without a gate), weight is drawn from a private one of
the same share. What was spent there in this minute is brought along.
"""

from hive.shm.budget import Budget
from hive.shm.segment import Segment

SHARE = 0.4


class WeightBudget:
    """Grants request weight; times are this host's wall clock, see hive/shm/budget.py for the rules."""

    def __init__(self, limit_per_minute: int, share: float = SHARE) -> None:
        self._budget = Budget.private(limit_per_minute, share)
        self._segment: Segment | None = None

    def use(self, name: str, wall_ns: int) -> None:
        """Draw from the gate's budget in the segment `name` from now on. Raises ShmError; then nothing changes."""
        if self._segment is not None and self._segment.name == name:
            return
        segment = Segment.open(name, kind="budget", writable=True)
        budget = Budget.open(segment)
        before, self._segment = self._segment, segment
        budget.bring(self._budget, wall_ns + budget.offset_ns)
        self._budget = budget
        if before is not None:
            before.close()

    def reserve(self, weight: int, wall_ns: int) -> int:
        """Take `weight` and return 0, or take nothing and return how many ns to wait before asking again."""
        return self._budget.reserve(weight, wall_ns + self._budget.offset_ns)

    def settle(self, used_weight: int, wall_ns: int, asked_ns: int | None = None) -> None:
        """Take over the venue's own count of this minute; -1: it did not say. `asked_ns`: when the request left."""
        offset_ns = self._budget.offset_ns
        self._budget.settle(used_weight, wall_ns + offset_ns, None if asked_ns is None else asked_ns + offset_ns)

    def close(self, seconds: float, wall_ns: int) -> None:
        """Grant nothing for `seconds`, nor let the gate: the venue said so."""
        self._budget.close(seconds, wall_ns + self._budget.offset_ns)
