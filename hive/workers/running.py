"""Whose code runs on the loop: one word for who looks on from outside, and the time that strategies' callbacks take.

The word is the counter `running_strategy`: the strategy's index + 1, 0 for code of no strategy. It is written before
any code of the strategy runs, so whoever finds the process dead or hanging knows in whose code: before events, tasks
and timers by the ready queue of the loop, before ticks by the clock. Threads are not seen: what they do counts as
nobody's, or as that of who runs on the loop meanwhile.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic_ns

from hive.shm.counters import Counter
from hive.workers.busy import BusyLog
from hive.workers.context import CURRENT, StrategyContext


class Running:
    """Notes whose callback runs.

    Args:
        word: the counter `running_strategy`.
        now_ns: monotonic.
        busy: is told when callbacks of strategies ran; None: nobody is.
    """

    __slots__ = ("_busy", "_now_ns", "_since_ns", "_strategy", "_word")

    def __init__(
        self, word: Counter, now_ns: Callable[[], int] = monotonic_ns, busy: BusyLog | None = None
    ) -> None:
        self._busy = busy
        self._word = word
        self._now_ns = now_ns
        self._strategy: StrategyContext | None = None
        self._since_ns = 0

    def switch(self, strategy: StrategyContext | None) -> None:
        """Note whose code runs from now on."""
        before = self._strategy
        if strategy is before:
            return
        now_ns = self._now_ns()
        if before is not None:
            before.callbacks_ns += now_ns - self._since_ns
            before.callback_cpu.end(now_ns - self._since_ns)
            if self._busy is not None:
                self._busy.add(self._since_ns, now_ns)
        if strategy is not None:
            strategy.callback_cpu.begin()
        self._strategy = strategy
        self._since_ns = now_ns
        self._word.set(0 if strategy is None else strategy.index + 1)


class ReadyQueue(deque[asyncio.Handle]):
    """The ready queue of an asyncio loop, which notes whose callback is taken to be run."""

    def __init__(self, running: Running) -> None:
        super().__init__()
        self._switch = running.switch
        self._take = super().popleft

    def popleft(self) -> asyncio.Handle:
        """Take the next callback; the loop runs it at once."""
        handle = self._take()
        self._switch(handle._context.get(CURRENT))  # a Handle shows its context to nobody
        return handle
