"""One strategy's private state: its contextvars.Context, its inbox, its counters.

`CURRENT` names the strategy whose code is running. It has no default: code that asks for its strategy outside of
every context gets UnresolvedContext (from `current()`), and that is counted. Tasks inherit it from the task or tick
that creates them.

`Context.run` is not re-entrant, so nothing is ever delivered to a strategy synchronously: `post()` puts a call into
the inbox, which one `call_soon(context=...)` drains in order. The contexts start empty, not as copies, because a
copy would share mutable values such as decimal's current context between strategies.
"""

import asyncio
import contextvars
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from time import monotonic_ns
from typing import Any

from hive.shm.counters import Counter, Counters, Histogram
from hive.shm.messages import Reply
from hive.workers.busy import CallbackMeter
from hive.workers.clock import CallbackCounter
from hive.workers.errors import UnresolvedContext

DRAIN_BUDGET_NS = 5_000_000  # an inbox gives the loop back after this much
SETTLE_PASSES = 2  # loop passes between a resolved future and the next event of the same inbox

CURRENT: contextvars.ContextVar["StrategyContext"] = contextvars.ContextVar("hive_strategy")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StrategyCounters:
    """The counters of one strategy; all carry the label strategy=ID."""

    ticks: Counter  # all: the timer's and those because of a book
    strategy_cpu_ns: Counter  # of ticks, callbacks and tasks; beside `ticks`, because each tick changes both
    book_ticks: Counter
    missed_ticks: Counter
    overruns: Counter
    errors: Counter
    orders_submitted: Counter
    orders_refused: Counter
    orders_acked: Counter
    orders_rejected: Counter
    orders_cancelled: Counter
    orders_expired: Counter
    orders_filled: Counter
    orders_unknown: Counter
    fills: Counter
    events_delivered: Counter  # out of the inbox
    books_read: Counter  # versions, one at most for each book and callback
    mixed_books: Counter
    context_unresolved: Counter
    slow_callbacks: Counter
    halts: Counter
    tick_lateness_ns: Histogram
    tick_lateness_by_hive_ns: Histogram  # without the time in which code of strategies ran
    tick_duration_ns: Histogram

    @classmethod
    def of(cls, counters: Counters, strategy_id: str) -> "StrategyCounters":
        """Register and return the counters of one strategy."""
        made = {}
        for name, kind in cls.__annotations__.items():
            make = counters.histogram if kind is Histogram else counters.counter
            made[name] = make(name, strategy=strategy_id)
        return cls(**made)


class StrategyContext:
    """One strategy inside a worker.

    `config` is its configuration as the fleet names it, `state` what it is doing (hive.workers.scheduler.State, None
    before its start), `counters` are its metrics.

    The host may keep its own objects in `host_data`, and sets `on_reply` to be told of what happens to its orders, and
    `executors` to say what of the strategy lives in memory alone (executor_watch.py).
    """

    def __init__(
        self,
        id: str,
        tag: str,
        index: int,
        *,
        loop: asyncio.AbstractEventLoop,
        callbacks: CallbackCounter,
        counters: StrategyCounters,
        priority: int = 0,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.id = id
        self.tag = tag
        self.index = index
        self.priority = priority
        self.config: Mapping[str, Any] = {} if config is None else config
        self.state: str | None = None
        self.counters = counters
        self.books: set[tuple[int, str]] = set()  # (venue, pair) whose books this strategy uses
        self.on_reply: Callable[[Reply], None] | None = None
        self.host_data: Any = None
        self.executors: Callable[[], list[dict[str, Any]]] | None = None
        self.callbacks = CallbackMeter(counters.strategy_cpu_ns, index + 1)  # its events, tasks and timers
        self.orders_placing = 0  # whose fate nobody knows yet
        self.orders_over = 0  # refused because so many were
        self.keeps_orders = False  # its stop leaves its open orders at the venue, to its next life
        self.pycontext = contextvars.Context()
        self.pycontext.run(CURRENT.set, self)
        self._loop = loop
        self._callbacks = callbacks
        self._inbox: deque[tuple[Callable[..., object] | None, tuple[Any, ...]]] = deque()
        self._scheduled = False

    @property
    def strategy_id(self) -> str:
        """The strategy's id in the fleet."""
        return self.id

    def __repr__(self) -> str:
        return f"StrategyContext({self.id!r})"

    def run(self, fn: Callable[..., Any], *args: Any) -> Any:
        """Call `fn(*args)` inside the context now; raises RuntimeError when the context is already entered."""
        return self.pycontext.run(fn, *args)

    def create_task(self, coro: Coroutine[Any, Any, Any], *, name: str | None = None) -> asyncio.Task[Any]:
        """Return a task of this strategy, from wherever it is called."""
        return self._loop.create_task(coro, name=name, context=self.pycontext)

    def post(self, fn: Callable[..., object], *args: Any) -> None:
        """Have `fn(*args)` called inside the context, after everything posted before, and never from within this call.

        What `fn` raises is logged with the strategy's id and counted.
        """
        self._inbox.append((fn, args))
        self._schedule()

    def resolve(
        self, future: asyncio.Future[Any], result: Any, otherwise: Callable[[Any], object] | None = None
    ) -> None:
        """Give `future` its result in the inbox's order.

        The task that waits for it has run, and the tasks which that one started have had their first step, before the
        next posted call. When the future is done by then (its waiter was cancelled), `otherwise(result)` is called.
        """
        self._inbox.append((None, (future, result, otherwise)))
        self._schedule()

    @property
    def pending(self) -> int:
        """How many posted calls have not run yet."""
        return len(self._inbox)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._drain, context=self.pycontext)

    def _settle(self, passes: int) -> None:
        if passes > 1:
            self._loop.call_soon(self._settle, passes - 1, context=self.pycontext)
        else:
            self._loop.call_soon(self._drain, context=self.pycontext)

    def _drain(self) -> None:
        inbox = self._inbox
        started = monotonic_ns()
        while inbox:
            fn, args = inbox.popleft()
            if fn is None:
                future, result, fn = args
                if not future.done():
                    future.set_result(result)
                    self._settle(SETTLE_PASSES)
                    return
                if fn is None:
                    continue
                args = (result,)
            self._callbacks.bump()
            self.counters.events_delivered.inc()
            try:
                fn(*args)
            except BaseException:  # a strategy's SystemExit must not end its neighbours
                self.counters.errors.inc()
                log.exception("strategy %s: %s raised", self.id, getattr(fn, "__qualname__", fn))
            if inbox and monotonic_ns() - started > DRAIN_BUDGET_NS:
                self._loop.call_soon(self._drain, context=self.pycontext)
                return
        self._scheduled = False


_count_unresolved: Callable[[], None] | None = None


def count_unresolved(inc: Callable[[], None] | None) -> None:
    """Have `inc()` called at every lookup that finds no strategy."""
    global _count_unresolved
    _count_unresolved = inc


def current() -> StrategyContext:
    """Return the strategy whose code is running; raises UnresolvedContext, counted, outside of all contexts."""
    context = CURRENT.get(None)
    if context is None:
        if _count_unresolved is not None:
            _count_unresolved()
        raise UnresolvedContext("no strategy's context is entered here: which strategy is meant is not known")
    return context
