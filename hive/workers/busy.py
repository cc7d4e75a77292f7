"""When code of strategies ran in a worker, and what CPU time it took; the twin of busy.pyx in pure Python.

What the log keeps and what the meters measure is described there.
"""

from collections import deque
from time import CLOCK_THREAD_CPUTIME_ID, clock_gettime_ns

from hive.shm.counters import Counter

LONG_NS = 50_000
RUNS = 256


class BusyLog:
    """The stretches in which strategies' code ran; one per worker.

    `total_ns` is the length of all that were ever added.
    """

    __slots__ = ("_runs", "total_ns")

    def __init__(self) -> None:
        self.total_ns = 0
        self._runs: deque[tuple[int, int]] = deque(maxlen=RUNS)

    def add(self, begun_ns: int, ended_ns: int) -> None:
        """Note that a strategy's code ran from `begun_ns` to `ended_ns` (monotonic), not before what was added last."""
        self.total_ns += ended_ns - begun_ns
        if self._runs and self._runs[-1][1] == begun_ns:
            self._runs[-1] = (self._runs[-1][0], ended_ns)
        else:
            self._runs.append((begun_ns, ended_ns))

    def since(self, since_ns: int) -> int:
        """Return for how many ns strategies' code has run since `since_ns`."""
        busy = 0
        for begun, ended in reversed(self._runs):
            if ended <= since_ns:
                break
            busy += ended - max(begun, since_ns)
        return busy


class CallbackMeter:
    """What one strategy's callbacks took.

    `took_ns` is for how long they were on the loop.

    Args:
        counter: of nanoseconds; their CPU time is added to it.
        mark: what `running_strategy` is while one runs.
    """

    __slots__ = ("_counter", "mark", "took_ns")

    def __init__(self, counter: Counter, mark: int) -> None:
        self._counter = counter
        self.mark = mark
        self.took_ns = 0

    def add(self, took_ns: int, cpu_ns: int) -> None:
        """Count one that has ended."""
        self.took_ns += took_ns
        self._counter.inc(cpu_ns)


class CpuMeter:
    """Adds the CPU time of the ticks of one strategy to a counter.

    Args:
        counter: of nanoseconds.
    """

    __slots__ = ("_counter", "_cpu_ns", "_long")

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._cpu_ns = 0
        self._long = False

    def begin(self) -> None:
        """Say that a run begins."""
        if self._long:
            self._cpu_ns = clock_gettime_ns(CLOCK_THREAD_CPUTIME_ID)

    def end(self, took_ns: int) -> None:
        """Say that it has ended, and how long it took."""
        self._counter.inc(clock_gettime_ns(CLOCK_THREAD_CPUTIME_ID) - self._cpu_ns if self._long else took_ns)
        self._long = took_ns >= LONG_NS
