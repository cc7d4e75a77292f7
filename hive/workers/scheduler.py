"""StrategyScheduler: drives a worker's clock from its event loop, and keeps each strategy's state.

One loop timer stands for the whole clock. When more is due than the clock's budget allows, the rest runs after one pass
of the loop, so replies and sockets are served in between.

The loop's time is monotonic, which neither a wall clock that is set nor a machine that was suspended moves. That the
wall clock has jumped is seen before the next tick: from then on ticks are told the new time.
"""

import asyncio
import contextvars
from collections.abc import Callable
from enum import StrEnum
from time import CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime_ns, monotonic_ns, time_ns
from typing import Protocol

from hive.workers.book_watch import BookWatch, Versions
from hive.workers.clock import MultiStrategyClock
from hive.workers.context import StrategyContext
from hive.workers.phases import pulse_phase_ns

ANCHOR_NS = 1_000_000_000
JUMP_NS = 2_000_000  # of the wall clock, or of a process that lost its CPU between two readings, which does no harm


class TickTarget(Protocol):
    """What the clock calls."""

    def tick(self, wall_timestamp: float) -> None:
        """Run one tick; `wall_timestamp` is in seconds, a multiple of the tick interval, strictly increasing."""


class State(StrEnum):
    """What a strategy is doing."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    FAILED = "failed"


def read_anchor() -> tuple[int, int]:
    """Return (monotonic, wall) nanoseconds of the same moment: the closest pair of three readings."""
    best = None
    for _ in range(3):
        before = clock_gettime_ns(CLOCK_MONOTONIC)
        wall = clock_gettime_ns(CLOCK_REALTIME)
        after = clock_gettime_ns(CLOCK_MONOTONIC)
        if best is None or after - before < best[0]:
            best = (after - before, (before + after) // 2, wall)
    return best[1], best[2]


class StrategyScheduler:
    """Ticks strategies on the running loop.

    `report(context, state, message)` is called at every change of a strategy's state, `on_failing(context)` after the
    clock has paused one for its errors. `books` tells the versions of books, for strategies that follow theirs;
    `worker_offset_ns` is that of the worker's pulses (phases.py); `read_clocks` returns (monotonic, wall) nanoseconds
    of one moment.
    """

    def __init__(
        self,
        clock: MultiStrategyClock,
        *,
        loop: asyncio.AbstractEventLoop,
        interval_ns: int,
        report: Callable[[StrategyContext, State, str], None],
        on_failing: Callable[[StrategyContext], None] | None = None,
        books: Versions | None = None,
        worker_offset_ns: int = 0,
        read_clocks: Callable[[], tuple[int, int]] = read_anchor,
        wall_ns: Callable[[], int] = time_ns,
    ) -> None:
        self.clock = clock
        self.interval_ns = interval_ns
        self._loop = loop
        self._report = report
        self._on_failing = on_failing
        self._states: dict[StrategyContext, State] = {}
        self._watch = None if books is None else BookWatch(clock, books, loop=loop, nudged=self._arm_when_started)
        self._worker_offset_ns = worker_offset_ns
        self._read_clocks = read_clocks
        self._wall_ns = wall_ns
        self._wall_offset_ns = 0
        self._anchored_ns = 0
        self._started = False
        self._added = 0
        self._phases: dict[StrategyContext, tuple[int, int]] = {}  # (interval, phase)
        self._outside = contextvars.Context()  # timers run in no strategy's context, whoever caused them
        self._timer: asyncio.Handle | None = None
        clock.on_pause = self._paused_by_clock

    def start(self) -> None:
        """Begin to tick; strategies may be added before and after."""
        self._anchor()
        self._started = True
        self._arm()

    def stop(self) -> None:
        """Tick nobody any more."""
        self._started = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._watch is not None:
            self._watch.stop()

    def state(self, context: StrategyContext) -> State | None:
        """Return what the strategy is doing, None when it was never heard of."""
        return self._states.get(context)

    def set_state(self, context: StrategyContext, state: State, message: str = "") -> None:
        """Note a change of state and report it."""
        if self._states.get(context) is not state or message:
            self._states[context] = context.state = state
            self._report(context, state, message)

    def add(
        self,
        context: StrategyContext,
        target: TickTarget,
        *,
        interval_ns: int | None = None,
        book_spacing_ns: int | None = None,
    ) -> None:
        """Tick `target` from now on, at a phase of its own (phases.py).

        Args:
            interval_ns: the worker's when None.
            book_spacing_ns: also when a book of the strategy has changed, this long after its last tick; None: not.
        """
        interval = self.interval_ns if interval_ns is None else interval_ns
        taken = [phase for other, phase in self._phases.values() if other == interval]
        phase = pulse_phase_ns(self._added, interval, taken, self._worker_offset_ns)
        self._follow_wall_clock(monotonic_ns())
        self.clock.add(context, target, interval, phase)
        self._phases[context] = (interval, phase)
        self._added += 1
        if book_spacing_ns is not None and self._watch is not None:
            self._watch.follow(context, book_spacing_ns)
        self.set_state(context, State.RUNNING)
        self._arm_when_started()

    def pause(self, context: StrategyContext, reason: str) -> None:
        """Stop ticking a strategy; its tasks and replies go on."""
        if self.clock.entry(context) is not None:
            self.clock.pause(context)
        self.set_state(context, State.PAUSED, reason)

    def resume(self, context: StrategyContext) -> None:
        """Tick a paused strategy again; raises KeyError when it is not in the clock."""
        self._follow_wall_clock(monotonic_ns())
        self.clock.resume(context)
        self.set_state(context, State.RUNNING)
        self._arm_when_started()

    def remove(self, context: StrategyContext) -> None:
        """Never tick this strategy again; its state stays as it is."""
        self.clock.remove(context)
        self._phases.pop(context, None)
        if self._watch is not None:
            self._watch.forget(context)

    def _paused_by_clock(self, context: StrategyContext, message: str) -> None:
        self.set_state(context, State.PAUSED, message)
        if self._on_failing is not None:
            self._on_failing(context)

    def _follow_wall_clock(self, now_ns: int) -> None:
        jumped = abs(self._wall_ns() - now_ns - self._wall_offset_ns) > JUMP_NS
        if jumped or now_ns - self._anchored_ns >= ANCHOR_NS:
            self._anchor()

    def _anchor(self) -> None:
        monotonic, wall = self._read_clocks()
        self._wall_offset_ns = wall - monotonic
        self._anchored_ns = monotonic
        self.clock.set_anchor(monotonic, wall)

    def _arm_when_started(self) -> None:
        if self._started:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due_ns = self.clock.next_due_ns()
        if due_ns is None:
            return
        if due_ns <= monotonic_ns():
            self._timer = self._loop.call_soon(self._fire, context=self._outside)
        else:
            self._timer = self._loop.call_at(due_ns / 1e9, self._fire, context=self._outside)

    def _fire(self) -> None:
        self._timer = None
        now_ns = monotonic_ns()
        self._follow_wall_clock(now_ns)
        self.clock.advance(now_ns)
        if self._started:
            self._arm()
