"""Notices a callback that holds the loop while it holds it, and interrupts it when it does not give the loop back.

    beat ... beat ... [callback holds the loop]  limit_s: noticed, where it stands   interrupt_after_s: TickInterrupted

The loop's heartbeat winds up an interval timer. When the heartbeat stays away, the timer's signal interrupts whatever
Python code is running, inside that code's context: so it is known whose it is and where it stands, without a thread.
The signal handler only notes that (it may have interrupted the logging itself); it is logged after the next heartbeat.

While the same strategy still runs after `interrupt_after_s`, the handler raises TickInterrupted in its frame, where
interrupt.py allows it, and again at every later look until the loop beats: a strategy may swallow some. Only time in
which it could run counts: waiting for a CPU is subtracted, and a gap between two looks, as after a stop of the process,
counts as two looks at most. Code that stays in C, or swallows all, keeps the heartbeat away, and the supervisor kills
the process; the counter `running_strategy` (running.py) names the culprit.
"""

import logging
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic_ns
from types import FrameType

from hive.workers.context import CURRENT, StrategyContext
from hive.workers.interrupt import TickInterrupted, callback_of
from hive.workers.schedstat import RunDelay

STACK_LINES = 12
LOOK_S = 0.02  # between two looks at a callback that was noticed
LOOK_MOST_NS = 2 * int(LOOK_S * 1e9)

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Hold:
    """One strategy's (None: nobody's) hold of the loop, from its notice on.

    `since_ns`: when the loop had beaten last.
    `in_tick`: whether the last interruption was in a tick, and not in an event, task or timer.
    """

    strategy: StrategyContext | None
    stack: traceback.StackSummary
    since_ns: int
    looked_ns: int
    waited_ns: int
    ran_ns: int = 0  # or slept: all of the time that counts
    interruptions: int = 0
    in_tick: bool = False


class Watchdog:
    """One per process, on its main thread; uses SIGALRM and the real-time interval timer.

    Args:
        limit_s: how long a callback may run before it is noticed.
        interrupt_after_s: how long before it is interrupted; None: never.
        delay: of the main thread.
        may_interrupt: whether a strategy may be interrupted at all now; one that is being made may not.
        on_interrupted: called as on_interrupted(strategy, in_tick) by the tell() after it.
        on_hold: called in the signal handler: tell() is to be called once the loop has beaten.
        beaten_ns: returns when the loop beat last (monotonic), when something else than beat() winds up the timer.
    """

    def __init__(
        self,
        *,
        delay: RunDelay,
        limit_s: float = 0.25,
        interrupt_after_s: float | None = None,
        may_interrupt: Callable[[StrategyContext], bool] = lambda _: True,
        on_interrupted: Callable[[StrategyContext, bool], None] = lambda *_: None,
        on_hold: Callable[[], None] = lambda: None,
        beaten_ns: Callable[[], int] | None = None,
    ) -> None:
        if limit_s <= 0:
            raise ValueError(f"limit_s must be positive, was {limit_s}")
        if interrupt_after_s is not None and interrupt_after_s <= 0:
            raise ValueError(f"interrupt_after_s must be positive, was {interrupt_after_s}")
        self._limit_s = limit_s
        self._interrupt_after_s = interrupt_after_s
        self._may_interrupt = may_interrupt
        self._on_interrupted = on_interrupted
        self._on_hold = on_hold
        self._beaten_ns = beaten_ns or self._own_beat_ns
        self._beat_ns = monotonic_ns()
        self._holds: list[Hold] = []
        self._delay = delay

    def start(self) -> None:
        """Begin to watch."""
        signal.signal(signal.SIGALRM, self._on_alarm)
        signal.siginterrupt(signal.SIGALRM, True)  # else a callback that blocks in recv() could not be interrupted
        self.beat()

    def stop(self) -> None:
        """Watch no longer."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def beat(self) -> None:
        """Say that the loop runs, and tell what held it since the last beat."""
        signal.setitimer(signal.ITIMER_REAL, self._limit_s, LOOK_S)
        self._beat_ns = monotonic_ns()
        self.tell()

    def tell(self) -> None:
        """Tell what held the loop before its last beat."""
        holds, self._holds = self._holds, []
        for hold in holds:
            self._tell(hold, (self._beaten_ns() - hold.since_ns) / 1e6)

    def _own_beat_ns(self) -> int:
        return self._beat_ns

    def _tell(self, hold: Hold, held_ms: float) -> None:
        strategy = hold.strategy
        whose = "code of no strategy" if strategy is None else f"strategy {strategy.id}"
        where = "".join(hold.stack.format()).rstrip()
        interrupted = f", and was interrupted {hold.interruptions} times" if hold.interruptions else ""
        log.warning("%s blocked the loop for %.0f ms%s; noticed at\n%s", whose, held_ms, interrupted, where)
        if strategy is None:
            return
        strategy.counters.slow_callbacks.inc()
        if hold.interruptions:
            self._on_interrupted(strategy, hold.in_tick)

    def _on_alarm(self, signum: int, frame: FrameType | None) -> None:
        strategy = CURRENT.get(None)
        hold = self._holds[-1] if self._holds else None
        since_ns = self._beaten_ns()
        if hold is None or hold.strategy is not strategy or hold.since_ns != since_ns:
            if monotonic_ns() - since_ns < self._limit_s * 5e8:
                return  # the loop has beaten since the timer ran out: on a busy host the signal comes late
            frames = traceback.walk_stack(frame)
            stack = traceback.StackSummary.extract(frames, limit=STACK_LINES, lookup_lines=False)
            stack.reverse()
            self._holds.append(Hold(strategy, stack, since_ns, monotonic_ns(), self._delay.ns()))
            self._on_hold()
            return
        if strategy is None or not self._is_over(hold) or not self._may_interrupt(strategy):
            return
        callback = callback_of(frame)
        if not callback.may_interrupt:
            return  # at another look it may be
        hold.in_tick = callback.handle is not None and callback.handle._context.get(CURRENT) is None
        hold.interruptions += 1
        held_ms = (monotonic_ns() - since_ns) / 1e6
        raise TickInterrupted(
            f"strategy {strategy.id} must give the loop back within {self._interrupt_after_s * 1e3:.0f} ms, "
            f"held it for {held_ms:.0f} ms"
        )

    def _is_over(self, hold: Hold) -> bool:
        now_ns, waited_ns = monotonic_ns(), self._delay.ns()
        passed_ns = now_ns - hold.looked_ns - (waited_ns - hold.waited_ns)
        hold.ran_ns += min(max(passed_ns, 0), LOOK_MOST_NS)  # at most: the process may have been stopped in between
        hold.looked_ns, hold.waited_ns = now_ns, waited_ns
        if self._interrupt_after_s is None:
            return False
        return hold.ran_ns >= max(self._interrupt_after_s - self._limit_s, LOOK_S) * 1e9
