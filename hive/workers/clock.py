"""The clock of a worker in pure Python, the twin of clock.pyx: one heap of due ticks for all its strategies.

When a strategy is due, what it is told, what is missed and who goes first are described there.
"""

import heapq
import logging
import time as system_time
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

ORDERS = ("round_robin", "priority_based")


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


class ScheduledTick:
    """One strategy's place in the clock; made by MultiStrategyClock.add()."""

    __slots__ = (
        *("context", "target", "interval_ns", "phase_ns", "due_ns", "consecutive_errors", "paused"),
        *("_counters", "_number", "_run", "_scheduled", "_sequence", "_tick"),
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
        order: "round_robin" or "priority_based", among the due.
        budget_ns: advance() returns after this much, though more may be due.
        max_errors: so many failed ticks in a row pause a strategy.
        on_pause: called as on_pause(context, message) when the clock has paused one.
        running: an object with set(int): told index + 1 of the strategy before its tick, 0 after it.
        time: returns monotonic nanoseconds; None reads the system's clock.
    """

    callbacks: CallbackCounter
    on_pause: Callable[[Any, str], None] | None
    budget_ns: int
    max_errors: int
    by_priority: bool

    def __init__(
        self,
        callbacks: CallbackCounter,
        *,
        order: str = "round_robin",
        budget_ns: int = 5_000_000,
        max_errors: int = 10,
        on_pause=None,
        running=None,
        time=None,
    ) -> None:
        if not isinstance(callbacks, CallbackCounter):
            raise TypeError(f"callbacks must be a CallbackCounter, was {callbacks!r}")
        if order not in ORDERS:
            raise ValueError(f"order must be one of {', '.join(ORDERS)}, was {order}")
        if max_errors < 1:
            raise ValueError(f"max_errors must be at least 1, was {max_errors}")
        self.callbacks = callbacks
        self.by_priority = order == "priority_based"
        self.budget_ns = budget_ns
        self.max_errors = max_errors
        self.on_pause = on_pause
        self._running = running
        self._now = time or system_time.monotonic_ns
        self._entries = {}
        self._heap = []  # (due_ns, sequence, entry); nodes of an entry's earlier sequences are dropped in _top()
        self._next_sequence = 1
        self._wall_offset_ns = 0

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
        entry = ScheduledTick()
        entry.context = context
        entry.target = target
        entry.interval_ns = interval_ns
        entry.phase_ns = phase_ns
        entry.due_ns = 0
        entry.consecutive_errors = 0
        entry.paused = False
        entry._run = context.pycontext.run
        entry._tick = target.tick
        entry._counters = context.counters
        entry._number = -1
        self._entries[context] = entry
        self._schedule_first(entry)
        return entry

    def remove(self, context) -> None:
        """Tick this strategy no more; one that is not here is left alone. May be called from its own tick."""
        entry = self._entries.pop(context, None)
        if entry is not None:
            entry._scheduled = False

    def pause(self, context) -> None:
        """Stop ticking a strategy until resume(); raises KeyError when it is not here."""
        entry = self._entries[context]
        entry.paused = True
        entry._scheduled = False

    def resume(self, context) -> None:
        """Tick a paused strategy again from its next instant on; raises KeyError when it is not here."""
        entry = self._entries[context]
        if entry.paused:
            entry.paused = False
            entry.consecutive_errors = 0
            self._schedule_first(entry)

    def entry(self, context) -> ScheduledTick | None:
        """Return the ScheduledTick of a strategy, None when it is not here."""
        return self._entries.get(context)

    def __len__(self) -> int:
        return len(self._entries)

    def next_due_ns(self) -> int | None:
        """Return the monotonic instant at which advance() has something to do next, None when nothing is scheduled."""
        entry = self._top()
        return None if entry is None else entry.due_ns

    def advance(self, now_ns: int) -> list:
        """Run what is due at `now_ns`, and return the contexts that were ticked, in order.

        At least one tick is run when any is due; after `budget_ns` the rest is left for the next call. What a tick
        raises, SystemExit and KeyboardInterrupt included, is logged and counted, and never gets out of here.
        """
        fired = []
        start_ns = now_ns
        until_ns = now_ns + self.budget_ns
        if self.by_priority:
            for entry in self._take_by_priority(now_ns):
                if not entry._scheduled:
                    continue
                if start_ns >= until_ns and fired:
                    self._push(entry)
                    continue
                fired.append(entry.context)
                start_ns = self._fire(entry, start_ns)
            return fired
        while True:
            entry = self._top()
            if entry is None or entry.due_ns > now_ns or (start_ns >= until_ns and fired):
                return fired
            heapq.heappop(self._heap)
            fired.append(entry.context)
            start_ns = self._fire(entry, start_ns)

    def _fire(self, entry: ScheduledTick, start_ns: int) -> int:
        """Run one tick and schedule the next; return when it ended."""
        interval = entry.interval_ns
        counters = entry._counters
        lateness = start_ns - entry.due_ns
        missed = lateness // interval if lateness > 0 else 0
        due = entry.due_ns + missed * interval
        number = (due + self._wall_offset_ns - entry.phase_ns + interval // 2) // interval
        if number <= entry._number:
            number = entry._number + 1
        entry._number = number
        self.callbacks.value += 1
        if self._running is not None:
            self._running.set(entry.context.index + 1)
        try:
            entry._run(entry._tick, _seconds(number * interval))
            entry.consecutive_errors = 0
        except BaseException as error:  # noqa: BLE001 - a strategy's SystemExit must not end its neighbours
            self._fail(entry, error)
        if self._running is not None:
            self._running.set(0)
        end_ns = self._now()
        counters.ticks.inc()
        counters.tick_lateness_ns.record(max(0, lateness))
        counters.tick_duration_ns.record(end_ns - start_ns)
        if end_ns - start_ns > interval:
            counters.overruns.inc()
        due += interval
        if due <= end_ns:
            passed = (end_ns - due) // interval + 1
            missed += passed
            due += passed * interval
        if missed:
            counters.missed_ticks.inc(missed)
        correction = _off_grid(due + self._wall_offset_ns - entry.phase_ns, interval)
        entry.due_ns = due - max(-(interval // 8), min(interval // 8, correction))
        if entry._scheduled:
            entry._sequence = self._next_sequence
            self._next_sequence += 1
            self._push(entry)
        return end_ns

    def _fail(self, entry: ScheduledTick, error: BaseException) -> None:
        at_once = not isinstance(error, Exception)
        entry.consecutive_errors += 1
        entry._counters.errors.inc()
        log.error("strategy %s: tick raised %s", entry.context.id, type(error).__name__, exc_info=error)
        if not entry._scheduled or not (at_once or entry.consecutive_errors >= self.max_errors):
            return
        entry.paused = True
        entry._scheduled = False
        if at_once:
            message = f"paused: a tick raised {type(error).__name__}"
        else:
            message = f"paused: {entry.consecutive_errors} ticks in a row failed, the last with {error!r}"
        log.error("strategy %s: %s", entry.context.id, message)
        if self.on_pause is not None:
            self.on_pause(entry.context, message)

    def _schedule_first(self, entry: ScheduledTick) -> None:
        wall = self._now() + self._wall_offset_ns - entry.phase_ns
        number = wall // entry.interval_ns + 1
        entry.due_ns = number * entry.interval_ns + entry.phase_ns - self._wall_offset_ns
        entry._scheduled = True
        entry._sequence = self._next_sequence
        self._next_sequence += 1
        self._push(entry)

    def _take_by_priority(self, now_ns: int) -> list[ScheduledTick]:
        """Take all that is due off the heap, in the order in which it should run."""
        due = []
        while (entry := self._top()) is not None and entry.due_ns <= now_ns:
            heapq.heappop(self._heap)
            late = (now_ns - entry.due_ns) // entry.interval_ns
            due.append((-late, -entry.context.priority, entry.due_ns, entry._sequence, entry))
        due.sort(key=lambda item: item[:4])
        return [item[4] for item in due]

    def _top(self) -> ScheduledTick | None:
        """Return who is due first; drops nodes of entries that were removed, paused or scheduled anew."""
        while self._heap:
            _, sequence, entry = self._heap[0]
            if entry._scheduled and entry._sequence == sequence:
                return entry
            heapq.heappop(self._heap)
        return None

    def _push(self, entry: ScheduledTick) -> None:
        heapq.heappush(self._heap, (entry.due_ns, entry._sequence, entry))  # no two have the same sequence
