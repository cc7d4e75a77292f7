"""Who takes more of the loop than the strategies beside it can bear; time is a parameter.

Looked at in windows of a second. What a strategy took is the time that its code was on the loop, less its part of the
time in which the process waited for a CPU: on a crowded host everything takes longer, and that is nobody's fault. Who
took more than `most` of what was left of the window, two windows in a row, is named.
"""

from collections.abc import Callable, Hashable, Mapping

from hive.workers.schedstat import RunDelay

WINDOW_NS = 1_000_000_000
EARLY_NS = 50_000_000  # a look is at a beat, not when the window is over
IN_A_ROW = 2


class LoopShares[Who: Hashable]:
    """Looks at what was counted.

    Args:
        took_ns: returns for how long each strategy's code was on the loop so far, by any key.
        delay: of the loop's thread.
        most: the part of the loop that one strategy may take for long, in (0, 1]; None: all of it.
    """

    def __init__(self, took_ns: Callable[[], Mapping[Who, int]], delay: RunDelay, most: float | None) -> None:
        if most is not None and not 0 < most <= 1:
            raise ValueError(f"most must be in (0, 1], was {most}")
        self._took_ns = took_ns
        self._delay = delay
        self._most = most
        self._begun_ns = 0
        self._took: Mapping[Who, int] = {}
        self._waited_ns = 0
        self._suspect: Who | None = None
        self._windows = 0

    def look(self, now_ns: int) -> tuple[Who, float] | None:
        """Return (who, share) of who took too much for too long, None most of the time."""
        if self._most is None or now_ns - self._begun_ns < WINDOW_NS - EARLY_NS:
            return None
        window_ns, self._begun_ns = now_ns - self._begun_ns, now_ns
        took, waited_ns = self._took_ns(), self._delay.ns()
        spent = {one: ns - self._took.get(one, 0) for one, ns in took.items()}
        late_ns = waited_ns - self._waited_ns
        self._took, self._waited_ns = took, waited_ns
        who, share = greediest(spent, late_ns, window_ns)
        if share <= self._most:
            self._suspect, self._windows = None, 0
            return None
        self._windows = self._windows + 1 if who == self._suspect else 1
        self._suspect = who
        return (who, share) if self._windows >= IN_A_ROW else None


def greediest[Who](spent_ns: Mapping[Who, int], waited_ns: int, window_ns: int) -> tuple[Who | None, float]:
    """Return who took most of a window, and which part of what was left of it; (None, 0.0) for nobody.

    Args:
        spent_ns: time on the loop, by strategy.
        waited_ns: how long the process waited for a CPU.
        window_ns: the window's length.
    """
    busy_ns = sum(spent_ns.values())
    if busy_ns <= 0 or waited_ns >= window_ns:
        return None, 0.0
    who = max(spent_ns, key=spent_ns.__getitem__)
    ran = max(0.0, 1 - waited_ns / max(busy_ns, waited_ns))
    return who, spent_ns[who] * ran / (window_ns - waited_ns)
