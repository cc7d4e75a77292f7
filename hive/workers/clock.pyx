"""The clock of a worker: one heap of due ticks for all its strategies, in C arrays, and without a loop of its own.

A strategy with interval I and phase P is due at the wall instants n*I + P; its tick number is n, and what it is told is
n*I: the due time without its phase, a multiple of the interval, strictly increasing. The heap itself is kept in
monotonic time. `set_anchor()` ties the two clocks; a due instant that has moved off its place on the wall clock (slewed
or stepped) is walked back by at most I/8 per tick, so a step of the wall clock neither replays nor skips ticks.

Late ticks are never made up for: an instant that passes while a later one is due, or while the strategy still runs, is
missed. Missed ticks are counted, and lateness is counted from the first instant that was waited for, so a loop that was
blocked shows as late however many ticks were skipped.

Among the due, round_robin runs who has waited longest. By priority, who is a whole interval late goes first (more
intervals first), then the higher priority, then who has waited longest: so nobody is passed over for ever.
"""

import logging

from libc.stdlib cimport free, realloc

from hive.shm.atomics cimport monotonic_clock_ns

log = logging.getLogger(__name__)

ORDERS = ("round_robin", "priority_based")


cdef class CallbackCounter:
    """The callback generation: `value` grows before every callback in which a strategy may look at a book anew.

    That is after every wake-up of the selector, before every tick, and before every event of an inbox. Whoever pins
    something for one callback keeps the value he pinned it at.
    """

    cpdef void bump(self) noexcept:
        """Begin a new callback."""
        self.value += 1


cdef class ScheduledTick:
    """One strategy's place in the clock; made by MultiStrategyClock.add()."""


cdef inline bint before(const Due *a, const Due *b) noexcept nogil:
    return a.due_ns < b.due_ns or (a.due_ns == b.due_ns and a.sequence < b.sequence)


cdef inline int64_t floor_div(int64_t a, int64_t b) noexcept nogil:
    """Return a / b rounded down, for b > 0; C rounds towards 0."""
    cdef int64_t q = a // b
    return q - 1 if a - q * b < 0 else q


cdef inline int64_t off_grid(int64_t wall_ns, int64_t interval_ns) noexcept nogil:
    """Return how far `wall_ns` lies after the nearest multiple of the interval (negative: before)."""
    cdef int64_t rest = wall_ns - floor_div(wall_ns, interval_ns) * interval_ns
    return rest - interval_ns if 2 * rest >= interval_ns else rest


cdef inline double seconds(int64_t wall_ns) noexcept nogil:
    return <double>(wall_ns // 1000000000) + <double>(wall_ns % 1000000000) / 1e9


cdef class MultiStrategyClock:
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

    def __cinit__(self):
        self._heap = NULL
        self._used = 0
        self._room = 0
        self._next_sequence = 1

    def __init__(
        self,
        CallbackCounter callbacks not None,
        *,
        str order="round_robin",
        int64_t budget_ns=5_000_000,
        int max_errors=10,
        on_pause=None,
        running=None,
        time=None,
    ):
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
        self._time = time
        self._entries = {}
        self._slots = []

    def __dealloc__(self):
        free(self._heap)

    def set_anchor(self, int64_t monotonic_ns, int64_t wall_ns):
        """Tie the clocks: these two were read at the same moment."""
        self._wall_offset_ns = wall_ns - monotonic_ns

    def add(self, context, target, int64_t interval_ns, int64_t phase_ns):
        """Tick `target` inside `context` from its next instant on, and return its ScheduledTick.

        Raises ValueError when the interval is not positive, the phase is not in [0, interval), or the context is here.
        """
        cdef ScheduledTick entry
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
        entry._run = context.pycontext.run
        entry._tick = target.tick
        entry._counters = context.counters
        entry._number = -1
        if None in self._slots:
            entry._slot = self._slots.index(None)
            self._slots[entry._slot] = entry
        else:
            entry._slot = len(self._slots)
            self._slots.append(entry)
        self._entries[context] = entry
        self._schedule_first(entry)
        return entry

    def remove(self, context):
        """Tick this strategy no more; one that is not here is left alone. May be called from its own tick."""
        cdef ScheduledTick entry = self._entries.pop(context, None)
        if entry is not None:
            entry._scheduled = False
            self._slots[entry._slot] = None

    def pause(self, context):
        """Stop ticking a strategy until resume(); raises KeyError when it is not here."""
        cdef ScheduledTick entry = self._entries[context]
        entry.paused = True
        entry._scheduled = False

    def resume(self, context):
        """Tick a paused strategy again from its next instant on; raises KeyError when it is not here."""
        cdef ScheduledTick entry = self._entries[context]
        if entry.paused:
            entry.paused = False
            entry.consecutive_errors = 0
            self._schedule_first(entry)

    def entry(self, context):
        """Return the ScheduledTick of a strategy, None when it is not here."""
        return self._entries.get(context)

    def __len__(self):
        return len(self._entries)

    def next_due_ns(self):
        """Return the monotonic instant at which advance() has something to do next, None when nothing is scheduled."""
        cdef ScheduledTick entry = self._top()
        return None if entry is None else entry.due_ns

    def advance(self, int64_t now_ns):
        """Run what is due at `now_ns`, and return the contexts that were ticked, in order.

        At least one tick is run when any is due; after `budget_ns` the rest is left for the next call. What a tick
        raises, SystemExit and KeyboardInterrupt included, is logged and counted, and never gets out of here.
        """
        cdef ScheduledTick entry
        cdef list fired = []
        cdef int64_t start_ns = now_ns
        cdef int64_t until_ns = now_ns + self.budget_ns
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
            self._pop()
            fired.append(entry.context)
            start_ns = self._fire(entry, start_ns)

    cdef int64_t _now(self) except -1:
        if self._time is None:
            return monotonic_clock_ns()
        return self._time()

    cdef int64_t _fire(self, ScheduledTick entry, int64_t start_ns) except -1:
        """Run one tick and schedule the next; return when it ended."""
        cdef int64_t interval = entry.interval_ns
        cdef int64_t lateness = start_ns - entry.due_ns
        cdef int64_t missed = lateness // interval if lateness > 0 else 0
        cdef int64_t due = entry.due_ns + missed * interval
        cdef int64_t number = floor_div(due + self._wall_offset_ns - entry.phase_ns + interval // 2, interval)
        cdef int64_t end_ns, passed, correction
        cdef object counters = entry._counters
        if number <= entry._number:
            number = entry._number + 1
        entry._number = number
        self.callbacks.value += 1
        if self._running is not None:
            self._running.set(entry.context.index + 1)
        try:
            entry._run(entry._tick, seconds(number * interval))
            entry.consecutive_errors = 0
        except BaseException as error:  # a strategy's SystemExit must not end its neighbours
            self._fail(entry, error)
        if self._running is not None:
            self._running.set(0)
        end_ns = self._now()
        counters.ticks.inc()
        counters.tick_lateness_ns.record(lateness if lateness > 0 else 0)
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
        correction = off_grid(due + self._wall_offset_ns - entry.phase_ns, interval)
        entry.due_ns = due - max(-interval // 8, min(interval // 8, correction))
        if entry._scheduled:
            entry._sequence = self._next_sequence
            self._next_sequence += 1
            self._push(entry)
        return end_ns

    cdef int _fail(self, ScheduledTick entry, object error) except -1:
        cdef bint at_once = not isinstance(error, Exception)
        entry.consecutive_errors += 1
        entry._counters.errors.inc()
        log.error("strategy %s: tick raised %s", entry.context.id, type(error).__name__, exc_info=error)
        if not entry._scheduled or not (at_once or entry.consecutive_errors >= self.max_errors):
            return 0
        entry.paused = True
        entry._scheduled = False
        if at_once:
            message = f"paused: a tick raised {type(error).__name__}"
        else:
            message = f"paused: {entry.consecutive_errors} ticks in a row failed, the last with {error!r}"
        log.error("strategy %s: %s", entry.context.id, message)
        if self.on_pause is not None:
            self.on_pause(entry.context, message)
        return 0

    cdef int _schedule_first(self, ScheduledTick entry) except -1:
        cdef int64_t wall = self._now() + self._wall_offset_ns - entry.phase_ns
        cdef int64_t number = floor_div(wall, entry.interval_ns) + 1
        entry.due_ns = number * entry.interval_ns + entry.phase_ns - self._wall_offset_ns
        entry._scheduled = True
        entry._sequence = self._next_sequence
        self._next_sequence += 1
        return self._push(entry)

    cdef list _take_by_priority(self, int64_t now_ns):
        """Take all that is due off the heap, in the order in which it should run."""
        cdef ScheduledTick entry
        cdef list due = []
        while True:
            entry = self._top()
            if entry is None or entry.due_ns > now_ns:
                break
            self._pop()
            late = (now_ns - entry.due_ns) // entry.interval_ns
            due.append((-late, -entry.context.priority, entry.due_ns, entry._sequence, entry))
        due.sort()
        return [item[4] for item in due]

    cdef ScheduledTick _top(self):
        """Return who is due first; drops nodes of entries that were removed, paused or scheduled anew."""
        cdef ScheduledTick entry
        while self._used:
            entry = self._slots[self._heap[0].slot]
            if entry is not None and entry._scheduled and entry._sequence == self._heap[0].sequence:
                return entry
            self._pop()
        return None

    cdef int _push(self, ScheduledTick entry) except -1:
        cdef Due node
        cdef Py_ssize_t at, parent, room
        cdef void *grown
        if self._used == self._room:
            room = max(16, 2 * self._room)
            grown = realloc(self._heap, room * sizeof(Due))
            if grown == NULL:
                raise MemoryError()
            self._heap = <Due *>grown
            self._room = room
        node.due_ns = entry.due_ns
        node.sequence = entry._sequence
        node.slot = entry._slot
        at = self._used
        self._used += 1
        while at > 0:
            parent = (at - 1) // 2
            if not before(&node, &self._heap[parent]):
                break
            self._heap[at] = self._heap[parent]
            at = parent
        self._heap[at] = node
        return 0

    cdef void _pop(self) noexcept:
        cdef Due last
        cdef Py_ssize_t at = 0
        cdef Py_ssize_t child
        self._used -= 1
        last = self._heap[self._used]
        while True:
            child = 2 * at + 1
            if child >= self._used:
                break
            if child + 1 < self._used and before(&self._heap[child + 1], &self._heap[child]):
                child += 1
            if not before(&self._heap[child], &last):
                break
            self._heap[at] = self._heap[child]
            at = child
        self._heap[at] = last
