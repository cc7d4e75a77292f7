"""Notices a callback that blocks the loop, while it blocks it.

The loop's heartbeat winds up an interval timer. When the heartbeat stays away, the timer's signal interrupts whatever
Python code is running, inside that code's context: so it is known whose it is and where it stands, without a thread.
The signal handler only notes that (it may have interrupted the logging itself); the next heartbeat logs it. The
strategy's index + 1 goes into the counter `running_strategy` at once, for the supervisor to name the culprit when it
has to kill the process. Code that stays in C, without ever returning to Python, is not interrupted; for that the clock
sets the same counter before each tick.
"""

import logging
import signal
import traceback
from dataclasses import dataclass
from time import monotonic_ns
from types import FrameType

from hive.shm.counters import Counter
from hive.workers.context import CURRENT, StrategyContext

STACK_LINES = 12

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Blocked:
    strategy: StrategyContext | None
    stack: traceback.StackSummary
    since_ns: int


class Watchdog:
    """One per process, on its main thread; uses SIGALRM and the real-time interval timer.

    `limit_s` is how long a callback may run before it is noticed.
    """

    def __init__(self, running: Counter, *, limit_s: float = 0.25) -> None:
        if limit_s <= 0:
            raise ValueError(f"limit_s must be positive, was {limit_s}")
        self._running = running
        self._limit_s = limit_s
        self._beat_ns = monotonic_ns()
        self._blocked: _Blocked | None = None

    def start(self) -> None:
        """Begin to watch."""
        signal.signal(signal.SIGALRM, self._on_alarm)
        signal.siginterrupt(signal.SIGALRM, False)  # C libraries need not know that their calls can be interrupted
        self.beat()

    def stop(self) -> None:
        """Watch no longer."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def beat(self) -> StrategyContext | None:
        """Say that the loop runs; returns whose callback had blocked it since the last beat, when one is known."""
        signal.setitimer(signal.ITIMER_REAL, self._limit_s)
        blocked, self._blocked = self._blocked, None
        self._beat_ns = monotonic_ns()
        if blocked is None:
            return None
        self._running.set(0)
        blocked_ms = (self._beat_ns - blocked.since_ns) / 1e6
        whose = "code of no strategy" if blocked.strategy is None else f"strategy {blocked.strategy.id}"
        where = "".join(blocked.stack.format()).rstrip()
        log.warning(
            "%s blocked the loop for %.0f ms; %.0f ms in it was at\n%s", whose, blocked_ms, self._limit_s * 1e3, where
        )
        if blocked.strategy is not None:
            blocked.strategy.counters.slow_callbacks.inc()
        return blocked.strategy

    def _on_alarm(self, signum: int, frame: FrameType | None) -> None:
        strategy = CURRENT.get(None)
        frames = traceback.walk_stack(frame)
        stack = traceback.StackSummary.extract(frames, limit=STACK_LINES, lookup_lines=False)
        stack.reverse()
        self._blocked = _Blocked(strategy, stack, self._beat_ns)
        self._running.set(0 if strategy is None else strategy.index + 1)
