"""Whose code runs on the loop: one word for who looks on from outside, and the time that strategies' callbacks take.

The word is the counter `running_strategy`: the strategy's index + 1, 0 for code of no strategy. It is written before
any code of the strategy runs, so whoever finds the process dead or hanging knows in whose code: before events, tasks
and timers by the ready queue of the loop, before ticks by the clock. Threads are not seen: what they do counts as
nobody's, or as that of who runs on the loop meanwhile.

Where one strategy's callback ends another's begins, or nobody's: one reading of each clock is the end and the beginning.
"""

from collections import deque

from libc.stdint cimport int64_t

from hive.shm.atomics cimport monotonic_clock_ns
from hive.shm.counters cimport Counter, add_to
from hive.workers.busy cimport BusyLog, CallbackMeter, thread_cpu_ns

from hive.workers.context import CURRENT

cdef object current = CURRENT
cdef object take = deque.popleft


cdef class Running:
    """Notes whose callback runs.

    Args:
        word: the counter `running_strategy`.
        busy: is told when callbacks of strategies ran; None makes one.
        now_ns: returns monotonic nanoseconds, `cpu_ns` the CPU time of the thread; None reads the system's clocks.
    """

    def __init__(self, Counter word not None, BusyLog busy=None, *, now_ns=None, cpu_ns=None):
        self._word = word
        self._busy = BusyLog() if busy is None else busy
        self._now_ns = now_ns
        self._cpu_ns = cpu_ns

    def switch(self, strategy) -> None:
        """Note whose code runs from now on; None: nobody's."""
        self.c_switch(strategy)

    cdef int c_switch(self, object strategy) except -1:
        cdef int64_t now_ns, cpu_ns
        if strategy is self._strategy:
            return 0
        now_ns = monotonic_clock_ns() if self._now_ns is None else self._now_ns()
        cpu_ns = thread_cpu_ns() if self._cpu_ns is None else self._cpu_ns()
        if self._meter is not None:
            self._meter.took_ns += now_ns - self._since_ns
            add_to(self._meter._total, cpu_ns - self._since_cpu_ns)
            self._busy.c_add(self._since_ns, now_ns)
        self._strategy = strategy
        self._meter = None if strategy is None else strategy.callbacks
        self._since_ns = now_ns
        self._since_cpu_ns = cpu_ns
        self._word.c_set(0 if self._meter is None else self._meter._mark)
        return 0


class ReadyQueue(deque):
    """The ready queue of an asyncio loop, which notes whose callback is taken to be run.

    Args:
        running: is told.
    """

    def __init__(self, running: Running) -> None:
        super().__init__()
        self.running = running

    def popleft(self):
        """Take the next callback; the loop runs it at once."""
        cdef object handle = take(self)
        (<Running>self.running).c_switch(handle._context.get(current))  # a Handle shows its context to nobody
        return handle
