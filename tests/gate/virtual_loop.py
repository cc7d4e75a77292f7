"""An event loop on a fake clock: its timers come due when the clock is moved, and nothing ever waits."""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

from gate.fake_venue import FakeClock

TURNS_MAX = 100_000  # of one entry: more is a loop that feeds itself


class VirtualLoop(asyncio.AbstractEventLoop):
    """Runs tasks whose world is a `FakeClock`. Call everything through `enter`, and `run_due` after each move.

    Attributes:
        errors: what callbacks raised
    """

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[int, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count()
        self.errors: list[dict[str, Any]] = []

    @property
    def due_ns(self) -> int | None:
        """Return when the next timer is due, None when there is none."""
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def enter(self, call: Callable[..., object], *args: object) -> object:
        """Call something from within the loop, then run everything that is ready; returns what it returned."""
        asyncio._set_running_loop(self)
        try:
            result = call(*args)
            for _ in range(TURNS_MAX):
                if not self._ready:
                    return result
                handle = self._ready.popleft()
                if not handle.cancelled():
                    handle._run()
        finally:
            asyncio._set_running_loop(None)
        raise AssertionError(f"the loop must come to rest within {TURNS_MAX} turns")

    def run_due(self) -> None:
        """Run the timers that are due by now, and what follows from them."""
        while (due_ns := self.due_ns) is not None and due_ns <= self._clock.now:
            _, _, timer = heapq.heappop(self._timers)
            self.enter(timer._run)

    # --- what tasks and futures ask of a loop

    def time(self) -> float:
        return self._clock.now * 1e-9

    def is_running(self) -> bool:
        return True

    def get_debug(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future:
        return asyncio.Future(loop=self)

    def create_task(self, coro, *, name=None, context=None) -> asyncio.Task:
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def call_soon(self, callback, *args, context=None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(self, delay, callback, *args, context=None) -> asyncio.TimerHandle:
        return self._at(self._clock.now + round(delay * 1e9), callback, args, context)

    def call_at(self, when, callback, *args, context=None) -> asyncio.TimerHandle:
        return self._at(round(when * 1e9), callback, args, context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.errors.append(context)

    def _at(self, due_ns: int, callback, args, context) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(due_ns * 1e-9, callback, args, self, context)
        heapq.heappush(self._timers, (due_ns, next(self._numbers), timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass  # it is dropped when it comes up
