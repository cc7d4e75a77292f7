"""The clock of a worker in pure Python, the twin of clock.pyx: one heap of due ticks for all its strategies.

When a strategy is due, what it is told, what is missed and who goes first are described there.
"""

import logging
import time as system_time
from collections.abc import Callable
from typing import Any

from hive.workers.busy import BusyLog, CpuMeter
from hive.workers.interrupt import TickInterrupted
from hive.workers.tick_heap import TickHeap

log = logging.getLogger(__name__)

ORDERS = ("round_robin", "priority_based", "fair")
PRIORITY_NS = 1_000_000  # what a point of priority is worth
SHARE_DOUBLES = 10  # points of priority that double a fair share
STEP_NS = 1000  # between two told times; a float64 of the wall clock's seconds has a quarter of it


class CallbackCounter:
    """The callback generation: `value` grows before every callback in which a strategy may look at a book anew.

    That is after every wake-up of the selector, before every tick, and before every event of an inbox. Whoever pins
    something for one callback keeps the value he pinned it at.
    """

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def bump(self) -> None:
        """Begin a new callback."""
        self.value += 1


class ScheduledTick(CpuMeter):
    """One strategy's place in the clock, and the meter of its ticks; made by MultiStrategyClock.add().

    `due_ns` is when the timer's next tick is due, `ended_ns` when the last tick ended (both monotonic).
    """

    __slots__ = (
        *("context", "target", "interval_ns", "phase_ns", "due_ns", "ended_ns", "consecutive_errors", "paused"),
        *("_ahead_ns", "_base_ns", "_cost_ns", "_counters", "_extra", "_extra_ns", "_finish_ns", "_mark", "_number"),
        *("_run", "_scheduled", "_sequence", "_share", "_slot", "_start_ns", "_tick", "_told_ns"),
    )


def _off_grid(wall_ns: int, interval_ns: int) -> int:
    """Return how far `wall_ns` lies after the nearest multiple of the interval (negative: before)."""
    rest = wall_ns % interval_ns
    return rest - interval_ns if 2 * rest >= interval_ns else rest


def _towards_zero(a: int, b: int) -> int:
    """Return a / b for b > 0 as C rounds it."""
    return a // b if a >= 0 else -(-a // b)


def _seconds(wall_ns: int) -> float:
    whole = _towards_zero(wall_ns, 1_000_000_000)
    return float(whole) + (wall_ns - whole * 1_000_000_000) / 1e9


class MultiStrategyClock:
    """Ticks many strategies, each inside its own context.

    Args:
        callbacks: bumped before every tick.
        order: "round_robin", "priority_based" or "fair", among the due.
        budget_ns: advance() returns after this much, though more may be due.
        max_errors: so many failed ticks in a row pause a strategy.
        on_pause: called as on_pause(context, message) when the clock has paused one.
        running: a counter: told index + 1 of the strategy before its tick, 0 after it.
        busy: is told when ticks ran; None makes one.
        time: returns monotonic nanoseconds; None reads the system's clock.
    """

    callbacks: CallbackCounter
    busy: BusyLog
    on_pause: Callable[[Any, str], None] | None
    order: str
    budget_ns: int
    max_errors: int

    def __init__(
        self,
        callbacks: CallbackCounter,
        *,
        order: str = "round_robin",
        budget_ns: int = 5_000_000,
        max_errors: int = 10,
        on_pause=None,
        running=None,
        busy=None,
        time=None,
    ) -> None:
        if not isinstance(callbacks, CallbackCounter):
            raise TypeError(f"callbacks must be a CallbackCounter, was {callbacks!r}")
        if order not in ORDERS:
            raise ValueError(f"order must be one of {', '.join(ORDERS)}, was {order}")
        if max_errors < 1:
            raise ValueError(f"max_errors must be at least 1, was {max_errors}")
        self.callbacks = callbacks
        self.busy = BusyLog() if busy is None else busy
        self.order = order
        self.budget_ns = budget_ns
        self.max_errors = max_errors
        self.on_pause = on_pause
        self._running = running
        self._now = time or system_time.monotonic_ns
        self._dues = TickHeap()
        self._ready = TickHeap()  # of those that are due, but for round_robin, whose order is that of the dues
        self._entries: dict[Any, ScheduledTick] = {}
        self._slots: list[ScheduledTick | None] = []
        self._last_sequence = 0
        self._wall_offset_ns = 0
        self._virtual_ns = 0

    def set_anchor(self, monotonic_ns: int, wall_ns: int) -> None:
        """Tie the clocks: these two were read at the same moment."""
        self._wall_offset_ns = wall_ns - monotonic_ns

    def add(self, context, target, interval_ns: int, phase_ns: int) -> ScheduledTick:
        """Tick `target` inside `context` from its next instant on, and return its ScheduledTick.

        Raises ValueError when the interval is not positive, the phase is not in [0, interval), or the context is here.
        """
        if interval_ns < 1:
            raise ValueError(f"interval_ns must be at least 1, was {interval_ns}")
        if not 0 <= phase_ns < interval_ns:
            raise ValueError(f"phase_ns must be in [0, {interval_ns}), was {phase_ns}")
        if context in self._entries:
            raise ValueError(f"strategy {context.id} is in the clock already")
        entry = ScheduledTick(context.counters.strategy_cpu_ns)
        entry.context = context
        entry.target = target
        entry.interval_ns = interval_ns
        entry.phase_ns = phase_ns
        entry.due_ns = entry.ended_ns = entry.consecutive_errors = 0
        entry.paused = False
        entry._run = context.pycontext.run
        entry._tick = target.tick
        entry._mark = context.index + 1
        entry._ahead_ns = context.priority * PRIORITY_NS
        entry._share = 2.0 ** (context.priority / SHARE_DOUBLES)
        entry._counters = context.counters
        entry._number = -1
        entry._told_ns = entry._extra = entry._extra_ns = 0
        entry._start_ns = entry._cost_ns = entry._finish_ns = 0
        if None in self._slots:
            entry._slot = self._slots.index(None)
            self._slots[entry._slot] = entry
        else:
            entry._slot = len(self._slots)
            self._slots.append(entry)
        self._entries[context] = entry
        self._schedule_first(entry)
        return entry

    def remove(self, context) -> None:
        """Tick this strategy no more; one that is not here is left alone. May be called from its own tick."""
        entry = self._entries.pop(context, None)
        if entry is not None:
            entry._scheduled = False
            self._slots[entry._slot] = None

    def pause(self, context) -> None:
        """Stop ticking a strategy until resume(); raises KeyError when it is not here."""
        entry = self._entries[context]
        entry.paused = True
        entry._scheduled = False
        entry._extra = 0

    def resume(self, context) -> None:
        """Tick a paused strategy again from its next instant on; raises KeyError when it is not here."""
        entry = self._entries[context]
        if entry.paused:
            entry.paused = False
            entry.consecutive_errors = 0
            self._schedule_first(entry)

    def nudge(self, context, at_ns: int) -> None:
        """Tick a strategy once more, at `at_ns` (monotonic) or soon after it.

        Nudges before that tick are one, and any other tick stands for it. There is none when the timer's next tick is
        due by then, before the timer's first one, and of a strategy that is paused or not here.
        """
        entry = self._entries.get(context)
        if entry is None or not entry._scheduled or entry._base_ns < 0 or at_ns >= entry.due_ns:
            return
        if entry._extra and entry._extra_ns <= at_ns:
            return
        self._last_sequence += 1
        entry._extra = self._last_sequence
        entry._extra_ns = at_ns
        self._dues.push(at_ns, entry._extra, entry._slot)

    def entry(self, context) -> ScheduledTick | None:
        """Return the ScheduledTick of a strategy, None when it is not here."""
        return self._entries.get(context)

    def __len__(self) -> int:
        return len(self._entries)

    def next_due_ns(self) -> int | None:
        """Return the monotonic instant at which advance() has something to do next, None when nothing is scheduled."""
        entry = self._top(self._ready)
        if entry is not None:
            return entry._extra_ns if self._ready.nodes[0][1] == entry._extra else entry.due_ns
        return None if self._top(self._dues) is None else self._dues.nodes[0][0]

    def advance(self, now_ns: int) -> list:
        """Run what is due at `now_ns`, and return the contexts that were ticked, in order.

        At least one tick is run when any is due; after `budget_ns` the rest is left for the next call. What a tick
        raises, SystemExit and KeyboardInterrupt included, is logged and counted, and never gets out of here.
        """
        fired = []
        start_ns = now_ns
        until_ns = now_ns + self.budget_ns
        in_turn = self.order == "round_robin"
        heap = self._dues if in_turn else self._ready
        while True:
            if not in_turn:
                self._admit(start_ns)  # who becomes due while others run has its place among them
            entry = self._top(heap)
            if entry is None or (in_turn and heap.nodes[0][0] > now_ns):
                return fired
            if start_ns >= until_ns and fired:
                return fired
            _, sequence, _ = heap.nodes[0]
            heap.pop()
            if not self._is_idle(entry, sequence, start_ns):
                fired.append(entry.context)
                self._virtual_ns = max(self._virtual_ns, entry._start_ns)
                start_ns = self._fire(entry, sequence, start_ns)

    def _top(self, heap: TickHeap) -> ScheduledTick | None:
        """Return whose node is first; drops nodes of entries that were removed, paused or scheduled anew."""
        while heap.nodes:
            _, sequence, slot = heap.nodes[0]
            entry = self._slots[slot]
            if entry is not None and entry._scheduled and sequence in (entry._sequence, entry._extra):
                return entry
            heap.pop()
        return None

    def _admit(self, now_ns: int) -> None:
        """Give all that is due its place among the ready."""
        while (entry := self._top(self._dues)) is not None and self._dues.nodes[0][0] <= now_ns:
            due, sequence, slot = self._dues.nodes[0]
            key = due - entry._ahead_ns
            if self.order == "fair":
                entry._start_ns = max(self._virtual_ns, entry._finish_ns)
                key = entry._start_ns + entry._cost_ns
            self._ready.push(key, sequence, slot)
            self._dues.pop()

    def _schedule(self, entry: ScheduledTick) -> None:
        self._last_sequence += 1
        entry._sequence = self._last_sequence
        self._dues.push(entry.due_ns, entry._sequence, entry._slot)

    def _schedule_first(self, entry: ScheduledTick) -> None:
        wall = self._now() + self._wall_offset_ns - entry.phase_ns
        number = wall // entry.interval_ns + 1
        entry.due_ns = number * entry.interval_ns + entry.phase_ns - self._wall_offset_ns
        entry._scheduled = True
        entry._base_ns = -1
        self._schedule(entry)

    def _is_idle(self, entry: ScheduledTick, sequence: int, start_ns: int) -> bool:
        """Return whether a nudge has become needless: the timer's tick is due, or no time is left before it."""
        if sequence != entry._extra:
            return False
        end_ns = (entry._number + 1) * entry.interval_ns
        if entry.due_ns <= start_ns or end_ns - entry._told_ns < 2 * STEP_NS:
            entry._extra = 0
            return True
        return False

    def _fire(self, entry: ScheduledTick, sequence: int, start_ns: int) -> int:
        """Run one tick and schedule the next; return when it ended."""
        interval = entry.interval_ns
        counters = entry._counters
        extra = sequence == entry._extra
        due = entry._extra_ns if extra else entry.due_ns
        lateness = max(0, start_ns - due)
        by_hive = lateness - min(lateness, self.busy.since(due)) if lateness else 0
        missed = 0
        entry._extra = 0
        if extra:
            told = entry._number * interval + start_ns - entry._base_ns
            told = min(max(told, entry._told_ns + STEP_NS), (entry._number + 1) * interval - STEP_NS)
        else:
            missed = lateness // interval
            due += missed * interval
            number = (due + self._wall_offset_ns - entry.phase_ns + interval // 2) // interval
            entry._number = max(number, entry._number + 1)
            entry._base_ns = due
            told = entry._number * interval
        entry._told_ns = told
        self.callbacks.value += 1
        if self._running is not None:
            self._running.set(entry._mark)
        entry.begin()
        try:
            entry._run(entry._tick, _seconds(told))
            entry.consecutive_errors = 0
        except BaseException as error:  # noqa: BLE001 - a strategy's SystemExit must not end its neighbours
            self._fail(entry, error)
        end_ns = self._now()
        took = end_ns - start_ns
        entry.end(took)
        if self._running is not None:
            self._running.set(0)
        self.busy.add(start_ns, end_ns)
        entry.ended_ns = end_ns
        if self.order == "fair":
            entry._cost_ns = int(took / entry._share)
            entry._finish_ns = entry._start_ns + entry._cost_ns
        counters.ticks.inc()
        counters.tick_lateness_ns.record(lateness)
        counters.tick_lateness_by_hive_ns.record(by_hive)
        counters.tick_duration_ns.record(took)
        if took > interval:
            counters.overruns.inc()
        if extra:
            counters.book_ticks.inc()
        else:
            self._follow(entry, due + interval, missed, end_ns)
        return end_ns

    def _follow(self, entry: ScheduledTick, due_ns: int, missed: int, end_ns: int) -> None:
        """Schedule the timer's tick after the one that was due an interval before `due_ns`."""
        interval = entry.interval_ns
        if due_ns <= end_ns:
            passed = (end_ns - due_ns) // interval + 1
            missed += passed
            due_ns += passed * interval
        if missed:
            entry._counters.missed_ticks.inc(missed)
        correction = _off_grid(due_ns + self._wall_offset_ns - entry.phase_ns, interval)
        entry.due_ns = due_ns - max(-(interval // 8), min(interval // 8, correction))
        if entry._scheduled:
            self._schedule(entry)

    def _fail(self, entry: ScheduledTick, error: BaseException) -> None:
        at_once = not isinstance(error, (Exception, TickInterrupted))
        entry.consecutive_errors += 1
        entry._counters.errors.inc()
        of_strategy = {"strategy": entry.context.id}  # this runs outside of its context
        log.error(
            "strategy %s: tick raised %s", entry.context.id, type(error).__name__, exc_info=error, extra=of_strategy
        )
        if not entry._scheduled or not (at_once or entry.consecutive_errors >= self.max_errors):
            return
        entry.paused = True
        entry._scheduled = False
        if at_once:
            message = f"paused: a tick raised {type(error).__name__}"
        else:
            message = f"paused: {entry.consecutive_errors} ticks in a row failed, the last with {error!r}"
        log.error("strategy %s: %s", entry.context.id, message, extra=of_strategy)
        if self.on_pause is not None:
            self.on_pause(entry.context, message)
