"""How the loop of a worker waits, and beats meanwhile; the twin of beats.pyx in pure Python.

What a beat is, and when wait() returns, is described there.
"""

import select
import signal
from collections.abc import Iterable
from time import monotonic_ns

from hive.shm.atomics import boottime_ns
from hive.shm.book import BookReader
from hive.shm.counters import Counters, Histogram
from hive.workers.own_memory import OwnMemory

QUIET, READABLE, LOOK = 0, 1, 2
MEMORY_NS = 100_000_000


class Beats:
    """The beats of one loop, on its process's main thread.

    `last_ns` is when it beat last (monotonic), `count` how often it has. `look_ns` after a look the next one is due, to
    half a beat.

    Args:
        counters: whose heartbeat it is.
        lag: counts how late each beat is.
        every_ns: between two beats.
        look_ns: between two looks, while nothing is to be told.
        limit_s: the alarm of the real-time interval timer comes when it did not beat for so long; 0: no alarm.
        again_s: and again after that.
        memory: is read ten times a second, and looked at when it has jumped; None: nothing is.
    """

    __slots__ = (
        *("_again_s", "_asked", "_counters", "_due_ns", "_every_ns", "_lag", "_limit_s", "_looked_ns", "_memory"),
        *("_read_ns", "_states", "count", "last_ns", "look_ns"),
    )

    def __init__(
        self,
        counters: Counters,
        lag: Histogram,
        *,
        every_ns: int,
        look_ns: int = 0,
        limit_s: float = 0.0,
        again_s: float = 0.0,
        memory: OwnMemory | None = None,
    ) -> None:
        if every_ns < 1:
            raise ValueError(f"every_ns must be at least 1, was {every_ns}")
        self.last_ns = 0
        self.count = 0
        self._counters = counters
        self._lag = lag
        self._every_ns = every_ns
        self.look_ns = look_ns
        self._limit_s = limit_s
        self._again_s = again_s
        self._memory = memory
        self._asked = False
        self._states: list[tuple[BookReader, int]] = []
        self._due_ns = self._looked_ns = self._read_ns = monotonic_ns()

    def ask(self) -> None:
        """Have wait() return LOOK with the next beat; may be called in a signal handler."""
        self._asked = True

    def watch(self, readers: Iterable[BookReader]) -> None:
        """Have wait() return LOOK when one of these books has another state than now, or their feed is silent."""
        now_boot_ns = boottime_ns()
        self._states = [(reader, reader.state_at(now_boot_ns)) for reader in readers]

    def wait(self, fd: int, timeout: float | None) -> int:
        """Wait until `fd` is readable, for `timeout` seconds at most (None: without end).

        Returns:
            READABLE (also when there was nothing to wait for), LOOK, or QUIET when the time is over.
        """
        now_ns = monotonic_ns()
        if now_ns >= self._due_ns - self._every_ns // 2 and self._beat(now_ns):
            return LOOK
        if timeout is not None and timeout <= 0:
            return READABLE
        end_ns = None if timeout is None else now_ns + int(timeout * 1e9) + 1
        while True:
            until_ns = self._due_ns if end_ns is None else min(self._due_ns, end_ns)
            readable = select.select((fd,), (), (), max(0, until_ns - now_ns) / 1e9)[0]
            now_ns = monotonic_ns()
            if now_ns >= self._due_ns - self._every_ns // 2 and self._beat(now_ns):
                return LOOK
            if readable:
                return READABLE
            if end_ns is not None and now_ns >= end_ns:
                return QUIET

    def _beat(self, now_ns: int) -> bool:
        self._lag.record(now_ns - self._due_ns)
        self._due_ns = now_ns + self._every_ns
        self.last_ns = now_ns
        self.count += 1
        self._counters.beat(now_ns)
        if self._limit_s > 0:
            signal.setitimer(signal.ITIMER_REAL, self._limit_s, self._again_s)
        if not (self._asked or self._is_look_due(now_ns) or self._changed() or self._has_jumped(now_ns)):
            return False
        self._asked = False
        self._looked_ns = now_ns
        return True

    def _is_look_due(self, now_ns: int) -> bool:
        return now_ns - self._looked_ns >= self.look_ns - self._every_ns // 2

    def _has_jumped(self, now_ns: int) -> bool:
        if self._memory is None or now_ns - self._read_ns < MEMORY_NS - self._every_ns // 2:
            return False
        self._read_ns = now_ns
        return self._memory.has_jumped()

    def _changed(self) -> bool:
        if not self._states:
            return False
        now_boot_ns = boottime_ns()
        return any(
            2 * (now_boot_ns - reader.heartbeat_boot_ns) > reader.silent_after_ns
            or reader.state_at(now_boot_ns) != state
            for reader, state in self._states
        )
