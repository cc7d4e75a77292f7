"""The clock of a worker: one heap of due ticks for all its strategies, in C arrays, and without a loop of its own.

A strategy with interval I and phase P is due at the wall instants n*I + P; its tick number is n, and what it is told is
n*I: the due time without its phase, a multiple of the interval, strictly increasing. The heap itself is kept in
monotonic time. `set_anchor()` ties the two clocks; a due instant that has moved off its place on the wall clock (slewed
or stepped) is walked back by at most I/8 per tick, so a step of the wall clock neither replays nor skips ticks.

Late ticks are never made up for: an instant that passes while a later one is due, or while the strategy still runs, is
missed. Missed ticks are counted, and lateness is counted from the first instant that was waited for, so a loop that was
blocked shows as late however many ticks were skipped.

`nudge()` asks for one tick more, between two of the timer's. It is told the time of the timer's last tick plus what has
passed since it was due, less than the time of the next; the timer's own ticks stay where they are.

Among the due, a tick never interrupts another, and goes first

    round_robin     who has been due for longest
    priority_based  whose due instant, less 1 ms for each point of priority, is earliest: a point is worth one
                    millisecond of waiting, so priorities age. Whoever is due waits at most for
                    sum over the others j of (1 + ceil(max(0, P_j - P) * 1 ms / I_j)) * (longest tick of j)
    fair            who would have consumed least after it, if it takes as long as the last one did: each tick costs its
                    duration divided by the strategy's share 2 ** (priority / 10). An account starts from the present
                    virtual time, the latest start of an account that was served, whenever it lies before it: time that
                    was not used is no credit. Whoever is due waits at most for the running tick and
                    sum over the others j of 2 * (share_j / share) * (its own last tick) + 2 * (longest tick of j)

(Fair is start-time fair queueing, P. Goyal, H. M. Vin, H. Cheng, SIGCOMM 1996, with the finish tags deciding, so that a
heavy strategy goes after the light ones that it would delay. The bounds are for the timers' ticks.)
"""

import logging
from types import MethodType

from cpython.contextvars cimport PyContext_Enter, PyContext_Exit
from cpython.object cimport PyObject

from hive.shm.atomics cimport monotonic_clock_ns
from hive.shm.counters cimport Counter, Histogram, add_to, bucket_index, record_in
from hive.workers.busy cimport BusyLog, CpuMeter
from hive.workers.tick_heap cimport Due, TickHeap

from hive.workers.interrupt import TickInterrupted

cdef extern from "Python.h":
    PyObject *list_item "PyList_GET_ITEM"(object items, Py_ssize_t at)

cdef extern from *:
    void prefetch "__builtin_prefetch"(const void *at) noexcept nogil

log = logging.getLogger(__name__)

ORDERS = ("round_robin", "priority_based", "fair")
PRIORITY_NS = 1_000_000  # what a point of priority is worth
SHARE_DOUBLES = 10  # points of priority that double a fair share
cdef enum:
    ROUND_ROBIN = 0
    PRIORITY_BASED = 1
    FAIR = 2
    HOT_BYTES = 232  # of a ScheduledTick: what a tick of the timer needs of it
    STEP_NS = 1000  # between two told times; a float64 of the wall clock's seconds has a quarter of it


cdef class CallbackCounter:
    """The callback generation: `value` grows before every callback in which a strategy may look at a book anew.

    That is after every wake-up of the selector, before every tick, and before every event of an inbox. Whoever pins
    something for one callback keeps the value he pinned it at.
    """

    cpdef void bump(self) noexcept:
        """Begin a new callback."""
        self.value += 1


cdef class ScheduledTick(CpuMeter):
    """One strategy's place in the clock, and the meter of its ticks; made by MultiStrategyClock.add().

    `due_ns` is when the timer's next tick is due, `ended_ns` when the last tick ended (both monotonic).
    """


cdef inline int64_t floor_div(int64_t a, int64_t b) noexcept nogil:
    """Return a / b rounded down, for b > 0; C rounds towards 0."""
    cdef int64_t q = a // b
    return q - 1 if a - q * b < 0 else q


cdef inline int64_t off_grid(int64_t wall_ns, int64_t interval_ns) noexcept nogil:
    """Return how far `wall_ns` lies after the nearest multiple of the interval (negative: before)."""
    cdef int64_t rest = wall_ns - floor_div(wall_ns, interval_ns) * interval_ns
    return rest - interval_ns if 2 * rest >= interval_ns else rest


cdef inline void prefetch_bytes(const char *at, int size) noexcept nogil:
    cdef int offset
    for offset in range(0, size, 64):
        prefetch(at + offset)
    prefetch(at + size - 1)


cdef inline double seconds(int64_t wall_ns) noexcept nogil:
    return <double>(wall_ns // 1000000000) + <double>(wall_ns % 1000000000) / 1e9


cdef class MultiStrategyClock:
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

    def __init__(
        self,
        CallbackCounter callbacks not None,
        *,
        str order="round_robin",
        int64_t budget_ns=5_000_000,
        int max_errors=10,
        on_pause=None,
        Counter running=None,
        BusyLog busy=None,
        time=None,
    ):
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
        self._order = ORDERS.index(order)
        self._running = running
        self._time = time
        self._dues = TickHeap()
        self._ready = TickHeap()  # of those that are due, but for round_robin, whose order is that of the dues
        self._entries = {}
        self._slots = []

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
        counters = context.counters
        entry = ScheduledTick(counters.strategy_cpu_ns)
        entry.context = context
        entry.target = target
        entry.interval_ns = interval_ns
        entry.phase_ns = phase_ns
        entry._pycontext = context.pycontext
        tick = target.tick
        entry._bound = type(tick) is MethodType and tick.__self__ is target  # a method object is one miss more
        entry._tick = tick.__func__ if entry._bound else tick
        entry._mark = context.index + 1
        entry._ahead_ns = context.priority * PRIORITY_NS
        entry._share = 2.0 ** (context.priority / SHARE_DOUBLES)
        entry._number = -1
        entry._counters = counters  # keeps what the pointers point to
        entry._ticks = (<Counter?>counters.ticks)._value
        entry._lateness = (<Histogram?>counters.tick_lateness_ns)._cell
        entry._by_hive = (<Histogram?>counters.tick_lateness_by_hive_ns)._cell
        entry._duration = (<Histogram?>counters.tick_duration_ns)._cell
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
        entry._extra = 0

    def resume(self, context):
        """Tick a paused strategy again from its next instant on; raises KeyError when it is not here."""
        cdef ScheduledTick entry = self._entries[context]
        if entry.paused:
            entry.paused = False
            entry.consecutive_errors = 0
            self._schedule_first(entry)

    def nudge(self, context, int64_t at_ns):
        """Tick a strategy once more, at `at_ns` (monotonic) or soon after it.

        Nudges before that tick are one, and any other tick stands for it. There is none when the timer's next tick is
        due by then, before the timer's first one, and of a strategy that is paused or not here.
        """
        cdef ScheduledTick entry = self._entries.get(context)
        if entry is None or not entry._scheduled or entry._base_ns < 0 or at_ns >= entry.due_ns:
            return
        if entry._extra and entry._extra_ns <= at_ns:
            return
        self._last_sequence += 1
        entry._extra = self._last_sequence
        entry._extra_ns = at_ns
        self._dues.push(at_ns, entry._extra, entry._slot)

    def entry(self, context):
        """Return the ScheduledTick of a strategy, None when it is not here."""
        return self._entries.get(context)

    def __len__(self):
        return len(self._entries)

    def next_due_ns(self):
        """Return the monotonic instant at which advance() has something to do next, None when nothing is scheduled."""
        cdef ScheduledTick entry = self._top(self._ready)
        if entry is not None:
            return entry._extra_ns if self._ready.first.sequence == entry._extra else entry.due_ns
        return None if self._top(self._dues) is None else self._dues.first.key

    def advance(self, int64_t now_ns):
        """Run what is due at `now_ns`, and return the contexts that were ticked, in order.

        At least one tick is run when any is due; after `budget_ns` the rest is left for the next call. What a tick
        raises, SystemExit and KeyboardInterrupt included, is logged and counted, and never gets out of here.
        """
        cdef ScheduledTick entry
        cdef uint64_t sequence
        cdef list fired = []
        cdef int64_t start_ns = now_ns
        cdef int64_t until_ns = now_ns + self.budget_ns
        cdef TickHeap heap = self._dues if self._order == ROUND_ROBIN else self._ready
        while True:
            if self._order != ROUND_ROBIN:
                self._admit(start_ns)  # who becomes due while others run has its place among them
            entry = self._top(heap)
            if entry is None or (self._order == ROUND_ROBIN and heap.first.key > now_ns):
                return fired
            if start_ns >= until_ns and fired:
                return fired
            sequence = heap.first.sequence
            heap.pop()
            if not self._is_idle(entry, sequence, start_ns):
                fired.append(entry.context)
                self._virtual_ns = max(self._virtual_ns, entry._start_ns)
                start_ns = self._fire(entry, sequence, start_ns, heap)

    cdef int64_t _now(self) except -1:
        if self._time is None:
            return monotonic_clock_ns()
        return self._time()

    cdef ScheduledTick _top(self, TickHeap heap):
        """Return whose node is first; drops nodes of entries that were removed, paused or scheduled anew."""
        cdef ScheduledTick entry
        cdef uint64_t sequence
        while heap.first != NULL:
            entry = self._slots[heap.first.slot]
            sequence = heap.first.sequence
            if entry is not None and entry._scheduled and (sequence == entry._sequence or sequence == entry._extra):
                return entry
            heap.pop()
        return None

    cdef int _admit(self, int64_t now_ns) except -1:
        """Give all that is due its place among the ready."""
        cdef ScheduledTick entry
        cdef int64_t key
        while True:
            entry = self._top(self._dues)
            if entry is None or self._dues.first.key > now_ns:
                return 0
            if self._order == FAIR:
                entry._start_ns = max(self._virtual_ns, entry._finish_ns)
                key = entry._start_ns + entry._cost_ns
            else:
                key = self._dues.first.key - entry._ahead_ns
            self._ready.push(key, self._dues.first.sequence, entry._slot)
            self._dues.pop()

    cdef int _schedule(self, ScheduledTick entry) except -1:
        self._last_sequence += 1
        entry._sequence = self._last_sequence
        return self._dues.push(entry.due_ns, entry._sequence, entry._slot)

    cdef int _schedule_first(self, ScheduledTick entry) except -1:
        cdef int64_t wall = self._now() + self._wall_offset_ns - entry.phase_ns
        cdef int64_t number = floor_div(wall, entry.interval_ns) + 1
        entry.due_ns = number * entry.interval_ns + entry.phase_ns - self._wall_offset_ns
        entry._scheduled = True
        entry._base_ns = -1
        return self._schedule(entry)

    cdef bint _is_idle(self, ScheduledTick entry, uint64_t sequence, int64_t start_ns) noexcept:
        """Return whether a nudge has become needless: the timer's tick is due, or no time is left before it."""
        cdef int64_t end_ns
        if sequence != entry._extra:
            return False
        end_ns = (entry._number + 1) * entry.interval_ns
        if entry.due_ns <= start_ns or end_ns - entry._told_ns < 2 * STEP_NS:
            entry._extra = 0
            return True
        return False

    cdef int64_t _fire(self, ScheduledTick entry, uint64_t sequence, int64_t start_ns, TickHeap heap) except -1:
        """Run one tick and schedule the next; return when it ended."""
        cdef int64_t interval = entry.interval_ns
        cdef bint extra = sequence == entry._extra
        cdef int64_t due = entry._extra_ns if extra else entry.due_ns
        cdef int64_t lateness = start_ns - due if start_ns > due else 0
        cdef int64_t by_hive = lateness
        cdef int64_t missed = 0
        cdef int64_t number, told, end_ns, took
        if lateness:
            by_hive -= min(lateness, self.busy.c_since(due))
        entry._extra = 0
        if extra:
            told = entry._number * interval + start_ns - entry._base_ns
            told = min(max(told, entry._told_ns + STEP_NS), (entry._number + 1) * interval - STEP_NS)
        else:
            missed = lateness // interval
            due += missed * interval
            number = floor_div(due + self._wall_offset_ns - entry.phase_ns + interval // 2, interval)
            entry._number = number if number > entry._number else entry._number + 1
            entry._base_ns = due
            told = entry._number * interval
        entry._told_ns = told
        self.callbacks.value += 1
        if self._running is not None:
            self._running.c_set(entry._mark)
        self._fetch_next(heap, lateness)
        entry.c_begin()
        try:
            PyContext_Enter(entry._pycontext)
            try:
                if entry._bound:
                    entry._tick(entry.target, seconds(told))
                else:
                    entry._tick(seconds(told))
            finally:
                PyContext_Exit(entry._pycontext)
            entry.consecutive_errors = 0
        except BaseException as error:  # a strategy's SystemExit must not end its neighbours
            self._fail(entry, error)
        end_ns = self._now()
        took = end_ns - start_ns
        self._duration_bucket = bucket_index(took if took > 0 else 0)
        self._by_hive_bucket = bucket_index(by_hive)
        entry.c_end(took)
        if self._running is not None:
            self._running.c_set(0)
        self.busy.c_add(start_ns, end_ns)
        entry.ended_ns = end_ns
        if self._order == FAIR:
            entry._cost_ns = <int64_t>(<double>took / entry._share)
            entry._finish_ns = entry._start_ns + entry._cost_ns
        add_to(entry._ticks, 1)
        record_in(entry._lateness, lateness)
        record_in(entry._by_hive, by_hive)
        record_in(entry._duration, took)
        if took > interval:
            entry._counters.overruns.inc()
        if extra:
            entry._counters.book_ticks.inc()
        else:
            self._follow(entry, due + interval, missed, end_ns)
        return end_ns

    cdef void _fetch_next(self, TickHeap heap, int64_t lateness) noexcept:
        """Have the CPU fetch, while this tick runs, what the next one needs, and who comes after that.

        Of thousands of strategies the caches hold none. The next one's figures are where this one's are, because it is
        likely to be as late and to take as long as the one before.
        """
        cdef PyObject *item
        cdef ScheduledTick entry
        cdef Due *second = heap.second()
        if second != NULL:
            prefetch_bytes(<char *>list_item(self._slots, second.slot), HOT_BYTES)
        if heap.first == NULL:
            return
        item = list_item(self._slots, heap.first.slot)
        if <object>item is None:
            return
        entry = <ScheduledTick>item
        prefetch(<void *>entry._pycontext)
        prefetch(<void *>entry._tick)
        prefetch(<void *>entry.target)
        prefetch(<void *>entry.context)
        prefetch(entry._ticks)
        prefetch(entry._total)
        prefetch(entry._lateness)
        prefetch(entry._by_hive)
        prefetch(entry._duration)
        prefetch(&entry._lateness.buckets[bucket_index(lateness)])
        prefetch(&entry._by_hive.buckets[self._by_hive_bucket])
        prefetch(&entry._duration.buckets[self._duration_bucket])

    cdef int _follow(self, ScheduledTick entry, int64_t due_ns, int64_t missed, int64_t end_ns) except -1:
        """Schedule the timer's tick after the one that was due an interval before `due_ns`."""
        cdef int64_t interval = entry.interval_ns
        cdef int64_t passed, correction
        if due_ns <= end_ns:
            passed = (end_ns - due_ns) // interval + 1
            missed += passed
            due_ns += passed * interval
        if missed:
            entry._counters.missed_ticks.inc(missed)
        correction = off_grid(due_ns + self._wall_offset_ns - entry.phase_ns, interval)
        entry.due_ns = due_ns - max(-(interval // 8), min(interval // 8, correction))
        return self._schedule(entry) if entry._scheduled else 0

    cdef int _fail(self, ScheduledTick entry, object error) except -1:
        cdef bint at_once = not isinstance(error, (Exception, TickInterrupted))
        entry.consecutive_errors += 1
        entry._counters.errors.inc()
        of_strategy = {"strategy": entry.context.id}  # this runs outside of its context
        log.error(
            "strategy %s: tick raised %s", entry.context.id, type(error).__name__, exc_info=error, extra=of_strategy
        )
        if not entry._scheduled or not (at_once or entry.consecutive_errors >= self.max_errors):
            return 0
        entry.paused = True
        entry._scheduled = False
        if at_once:
            message = f"paused: a tick raised {type(error).__name__}"
        else:
            message = f"paused: {entry.consecutive_errors} ticks in a row failed, the last with {error!r}"
        log.error("strategy %s: %s", entry.context.id, message, extra=of_strategy)
        if self.on_pause is not None:
            self.on_pause(entry.context, message)
        return 0
