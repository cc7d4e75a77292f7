"""Starts and stops the strategies of a worker through its host."""

import asyncio
import gc
import logging
from collections.abc import Callable

from hive.workers.context import CURRENT, StrategyContext
from hive.workers.host import Host, StrategySpec
from hive.workers.orders import OrderRouter
from hive.workers.scheduler import State, StrategyScheduler

PACE_S = 0.01  # between two starts: what a start does at once must not add up to a missing heartbeat
TOGETHER_WITHIN_S = 5  # the first tick waits so long for all to be made: making one takes the loop 30 to 100 ms
CLEAN_UP_WITHIN_S = 10  # after a start that failed
LAST_STEPS_WITHIN_S = 0.5  # for tasks that were cancelled

log = logging.getLogger(__name__)


class Strategies:
    """All strategies of a worker. What the host raises for one of them stays with that one.

    `on_end(id)` is called when a strategy has failed, and the others go on.
    """

    def __init__(
        self,
        host: Host,
        members: list[tuple[StrategySpec, StrategyContext]],
        *,
        scheduler: StrategyScheduler,
        orders: OrderRouter,
        on_end: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._host = host
        self._on_end = on_end
        self._members = members
        self._scheduler = scheduler
        self._orders = orders
        self._starting: dict[StrategyContext, asyncio.Task[None]] = {}
        self._unmade = {context for _, context in members}
        self._all_made = asyncio.Event()
        self._may_tick = asyncio.Event()

    async def start(self) -> None:
        """Make all, a little apart, then tick them; returns when each runs or has failed.

        Nobody is ticked while others are being made, unless that takes longer than TOGETHER_WITHIN_S.
        """
        if not self._members:
            return
        for spec, context in self._members:
            self._scheduler.set_state(context, State.STARTING)
            self._orders.register(context)
            self._starting[context] = context.create_task(self._start(spec, context), name=f"start {spec.id}")
            await asyncio.sleep(PACE_S)
        try:
            async with asyncio.timeout(TOGETHER_WITHIN_S):
                await self._all_made.wait()
        except TimeoutError:
            log.warning("%d strategies are not made yet: the others go ahead", len(self._unmade))
        gc.collect()
        gc.freeze()  # what lives now lives until the end: later collections need not look at it
        self._may_tick.set()
        await asyncio.wait(self._starting.values())

    async def stop(self, within_s: float) -> list[str]:
        """Stop all at the same time; returns the ids of those that had not ended after `within_s`."""
        tasks = {
            context.create_task(self._stop(context), name=f"stop {context.id}"): context for context in self._live()
        }
        pending: set[asyncio.Task[None]] = set()
        if tasks:
            _, pending = await asyncio.wait(tasks, timeout=within_s)
        late = []
        for task in pending:
            context = tasks[task]
            late.append(context.id)
            task.cancel()
            self._scheduler.remove(context)
            self._orders.cancel_all(context)
            self._scheduler.set_state(context, State.STOPPED, f"did not end within {within_s} s")
        for _, context in self._members:
            if self._scheduler.state(context) is None:
                self._scheduler.set_state(context, State.STOPPED, "it was never started")
        await self._end_tasks({context for _, context in self._members})
        return sorted(late)

    def _live(self) -> list[StrategyContext]:
        ended = (State.FAILED, State.STOPPED, None)
        return [context for _, context in self._members if self._scheduler.state(context) not in ended]

    async def _start(self, spec: StrategySpec, context: StrategyContext) -> None:
        try:
            try:
                target = await self._host.start(spec, context)
            finally:
                self._unmade.discard(context)
                if not self._unmade:
                    self._all_made.set()
            await self._may_tick.wait()
            self._orders.started(context)
            interval_ns = None if spec.tick_interval_ms is None else spec.tick_interval_ms * 1_000_000
            self._scheduler.add(context, target, interval_ns=interval_ns)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # one strategy's SystemExit must not end its neighbours
            context.counters.errors.inc()
            log.exception("strategy %s: did not start", spec.id)
            self._scheduler.set_state(context, State.FAILED, f"{type(error).__name__}: {error}")
            await self._clean_up(context)

    async def _clean_up(self, context: StrategyContext) -> None:
        try:
            async with asyncio.timeout(CLEAN_UP_WITHIN_S):
                await self._host.stop(context)
        except asyncio.CancelledError:
            raise
        except BaseException:
            log.exception("strategy %s: its clean-up failed", context.id)
        await self._end_tasks({context})
        self._orders.unregister(context)
        self._on_end(context.id)

    async def _stop(self, context: StrategyContext) -> None:
        start = self._starting.get(context)
        if start is not None and not start.done():
            start.cancel()
            await asyncio.wait({start})
        message = ""
        try:
            await self._host.stop(context)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            context.counters.errors.inc()
            log.exception("strategy %s: its stop failed", context.id)
            message = f"{type(error).__name__}: {error}"
        self._scheduler.remove(context)
        self._scheduler.set_state(context, State.STOPPED, message)

    @staticmethod
    async def _end_tasks(contexts: set[StrategyContext]) -> None:
        """Cancel what the strategies left running, the caller excepted."""
        own = asyncio.current_task()
        left = {task for task in asyncio.all_tasks() if task is not own and task.get_context().get(CURRENT) in contexts}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=LAST_STEPS_WITHIN_S)
