"""A worker's event loop, and what keeps one strategy's mistakes from ending it.

- its selector counts callbacks (selector.py), and its ready queue notes whose they are (running.py);
- timers of strategies wait for a pulse (phases.py) when they are half a second or more away;
- its default executor runs jobs in a copy of the context that handed them in, which asyncio's own does not, and has
  threads for each strategy: one whose jobs never end must not keep the others from theirs;
- what tasks and callbacks raise is logged with the strategy's id and counted;
- SystemExit and KeyboardInterrupt, which asyncio lets through, are caught outside and charged to their strategy.
"""

import asyncio
import contextvars
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from time import monotonic_ns, time_ns
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary

from hive.workers.clock import CallbackCounter
from hive.workers.context import CURRENT, StrategyContext
from hive.workers.phases import LONG_PULSE_NS
from hive.workers.running import ReadyQueue, Running
from hive.workers.selector import CountingSelector

EXECUTOR_THREADS = 8  # of each strategy, at most; made when they are needed
THREADS_NAME = "hive-executor"
FAR_S = 0.5  # a timer of a strategy that is so far away waits for a pulse
EARLY_NS = 10_000_000  # that has been, when its own instant comes so soon after it
BEHIND_NS = 30_000  # the ticks of a pulse, and soon enough to share their wake-up: the kernel lets timers wait 50 us

log = logging.getLogger(__name__)


class ContextExecutor(ThreadPoolExecutor):
    """Threads whose jobs see the context variables of the code that submitted them; each strategy has its own."""

    def __init__(self, max_workers: int) -> None:
        super().__init__(max_workers, THREADS_NAME)
        self._make = partial(ThreadPoolExecutor, max_workers, THREADS_NAME)
        self._own: WeakKeyDictionary[StrategyContext, ThreadPoolExecutor] = WeakKeyDictionary()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Schedule `fn(*args, **kwargs)` in a copy of the current context."""
        strategy = CURRENT.get(None)
        submit = super().submit
        if strategy is not None:
            submit = (self._own.get(strategy) or self._own.setdefault(strategy, self._make())).submit
        return submit(contextvars.copy_context().run, fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End all threads, once they have nothing to do."""
        for pool in list(self._own.values()):
            pool.shutdown(wait, cancel_futures=cancel_futures)
        super().shutdown(wait, cancel_futures=cancel_futures)


class WorkerLoop(asyncio.SelectorEventLoop):
    """An event loop that wakes up once for what strategies do once a second, instead of for each of them.

    Args:
        worker_offset_ns: of the worker's pulses.
    """

    def __init__(self, selector: CountingSelector, worker_offset_ns: int = 0) -> None:
        super().__init__(selector)
        self._worker_offset_ns = worker_offset_ns

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """Schedule a callback; one of a strategy up to 10 ms earlier or 40 ms later, when it is half a second away."""
        if when - self.time() >= FAR_S and (CURRENT.get(None) if context is None else context.get(CURRENT)) is not None:
            when = at_pulse_ns(round(when * 1e9), time_ns() - monotonic_ns() - self._worker_offset_ns) / 1e9
        return super().call_at(when, callback, *args, context=context)


def at_pulse_ns(at_ns: int, wall_offset_ns: int) -> int:
    """Return when a timer of a strategy is due that was to be due at `at_ns` (monotonic).

    Args:
        at_ns: when it was to be due.
        wall_offset_ns: the wall clock less the monotonic one, and less the offset of the worker's pulses.
    """
    past_ns = (at_ns + wall_offset_ns) % LONG_PULSE_NS
    return at_ns - past_ns + (0 if past_ns <= EARLY_NS else LONG_PULSE_NS) + BEHIND_NS


def new_loop(callbacks: CallbackCounter, worker_offset_ns: int = 0) -> WorkerLoop:
    """Return a loop as described above; the caller makes it current and closes it."""
    loop = WorkerLoop(CountingSelector(callbacks), worker_offset_ns)
    loop.set_default_executor(ContextExecutor(EXECUTOR_THREADS))
    loop.set_exception_handler(handle_exception)
    return loop


def note_callbacks(loop: asyncio.SelectorEventLoop, running: Running) -> None:
    """Have a loop of `new_loop` tell `running` whose callback it runs, from now on."""
    queue = ReadyQueue(running)
    queue.extend(loop._ready)  # asyncio has no public way to see callbacks begin
    loop._ready = queue
    loop._selector.before_wait = partial(running.switch, None)


def handle_exception(loop: asyncio.AbstractEventLoop, details: dict[str, Any]) -> None:
    """Log what nobody caught, with the strategy whose task or callback it was, and count it there."""
    strategy = _strategy_of(details)
    message = details.get("message", "an exception was not caught")
    if strategy is not None:
        strategy.counters.errors.inc()
        message = f"strategy {strategy.id}: {message}"
    error = details.get("exception")
    log.error(
        "%s %s", message, details.get("task") or details.get("future") or details.get("handle") or "", exc_info=error
    )


def run_until_done(
    loop: asyncio.AbstractEventLoop,
    task: asyncio.Task[int],
    on_escape: Callable[[StrategyContext | None, BaseException], None],
) -> int:
    """Run the loop until `task` is done, whatever strategies raise, and return the task's result.

    `on_escape(strategy, error)` is told of a SystemExit or KeyboardInterrupt that got out of a task or callback, with
    the strategy whose it was (None when that cannot be told). What the loop had still to run, it runs afterwards.
    """
    while True:
        try:
            return loop.run_until_complete(task)
        except (SystemExit, KeyboardInterrupt) as error:
            if task.done():
                raise
            on_escape(_strategy_in(error.__traceback__), error)


def _strategy_of(details: dict[str, Any]) -> StrategyContext | None:
    task = details.get("task") or details.get("future")
    if isinstance(task, asyncio.Task):
        return task.get_context().get(CURRENT)
    handle = details.get("handle")
    if isinstance(handle, asyncio.Handle):
        return handle._context.get(CURRENT)  # a Handle shows its context to nobody
    return None


def _strategy_in(traceback: TracebackType | None) -> StrategyContext | None:
    """Return the strategy of the callback that a traceback of the loop went through."""
    while traceback is not None:
        handle = traceback.tb_frame.f_locals.get("self")
        if isinstance(handle, asyncio.Handle):
            return handle._context.get(CURRENT)
        traceback = traceback.tb_next
    return None
