"""Whose code runs on the loop; the twin of running.pyx in pure Python.

What the word says and when it is written, and what counts as whose time, is described there.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic_ns, thread_time_ns

from hive.shm.counters import Counter
from hive.workers.busy import BusyLog, CallbackMeter
from hive.workers.context import CURRENT, StrategyContext


class Running:
    """Notes whose callback runs.

    Args:
        word: the counter `running_strategy`.
        busy: is told when callbacks of strategies ran; None makes one.
        now_ns: returns monotonic nanoseconds, `cpu_ns` the CPU time of the thread; None reads the system's clocks.
    """

    __slots__ = ("_busy", "_cpu_ns", "_meter", "_now_ns", "_since_cpu_ns", "_since_ns", "_strategy", "_word")

    def __init__(
        self,
        word: Counter,
        busy: BusyLog | None = None,
        *,
        now_ns: Callable[[], int] | None = None,
        cpu_ns: Callable[[], int] | None = None,
    ) -> None:
        self._word = word
        self._busy = BusyLog() if busy is None else busy
        self._now_ns = now_ns or monotonic_ns
        self._cpu_ns = cpu_ns or thread_time_ns
        self._strategy: StrategyContext | None = None
        self._meter: CallbackMeter | None = None
        self._since_ns = 0
        self._since_cpu_ns = 0

    def switch(self, strategy: StrategyContext | None) -> None:
        """Note whose code runs from now on; None: nobody's."""
        if strategy is self._strategy:
            return
        now_ns, cpu_ns = self._now_ns(), self._cpu_ns()
        if self._meter is not None:
            self._meter.add(now_ns - self._since_ns, cpu_ns - self._since_cpu_ns)
            self._busy.add(self._since_ns, now_ns)
        self._strategy = strategy
        self._meter = None if strategy is None else strategy.callbacks
        self._since_ns, self._since_cpu_ns = now_ns, cpu_ns
        self._word.set(0 if self._meter is None else self._meter.mark)


class ReadyQueue(deque[asyncio.Handle]):
    """The ready queue of an asyncio loop, which notes whose callback is taken to be run.

    Args:
        running: is told.
    """

    def __init__(self, running: Running) -> None:
        super().__init__()
        self.running = running

    def popleft(self) -> asyncio.Handle:
        """Take the next callback; the loop runs it at once."""
        handle = super().popleft()
        self.running.switch(handle._context.get(CURRENT))  # a Handle shows its context to nobody
        return handle
