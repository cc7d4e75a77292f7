"""Starts and stops the strategies of a worker through its host: all at boot and at the end, single ones in between.

    start()                           at boot: all, a little apart; the first ticks come when all are made
    add() -> admit()                  one more, made once it is admitted: by then the gate knows that it lives here
    remove()                          one less; its orders are cancelled, or left to its next life
    stop()                            at the end: all at the same time

The others are ticked on, whoever comes and goes.
"""

import asyncio
import gc
import logging
from collections.abc import Callable
from time import monotonic_ns

from hive.workers.context import CURRENT, StrategyContext
from hive.workers.host import Host, StrategySpec
from hive.workers.orders import OrderRouter
from hive.workers.scheduler import State, StrategyScheduler

PACE_S = 0.01  # between two starts: what a start does at once must not add up to a missing heartbeat
TOGETHER_WITHIN_S = 5  # the first tick waits so long for all to be made: making one takes the loop 30 to 100 ms
CLEAN_UP_WITHIN_S = 10  # after a start that failed
LAST_STEPS_WITHIN_S = 0.5  # for tasks that were cancelled
DRAINED_WITHIN_S = 1.0  # for events of a strategy that is leaving
PAUSED = "paused"  # in a strategy's spec: why it is not to be ticked at first

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
        self._at_boot = members
        self._members = {spec.id: (spec, context) for spec, context in members}
        self._admitted: dict[str, asyncio.Event] = {}
        self._pauses: dict[str, str] = {}  # why those that are not ticked yet are not to be ticked at first
        for spec, _ in members:
            self._note_pause(spec)
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
        if not self._at_boot:
            self._may_tick.set()
            return
        starting = []
        for spec, context in self._at_boot:
            if self._members.get(spec.id) == (spec, context):  # it may have been removed before its turn
                starting.append(self._begin(spec, context))
                await asyncio.sleep(PACE_S)
        try:
            async with asyncio.timeout(TOGETHER_WITHIN_S):
                await self._all_made.wait()
        except TimeoutError:
            log.warning("%d strategies are not made yet: the others go ahead", len(self._unmade))
        gc.collect()
        gc.freeze()  # what lives now lives until the end: later collections need not look at it
        self._at_boot = []
        self._may_tick.set()
        if starting:
            await asyncio.wait(starting)

    def __contains__(self, strategy: object) -> bool:
        return strategy in self._members

    def context(self, strategy: str) -> StrategyContext:
        """Return a strategy's context; raises KeyError when it is not here."""
        return self._members[strategy][1]

    def add(self, spec: StrategySpec, context: StrategyContext) -> None:
        """Take in one more strategy; it is made when it has been admitted. Its orders' fates are kept from now on."""
        self._members[spec.id] = (spec, context)
        self._note_pause(spec)
        self._admitted[spec.id] = asyncio.Event()
        self._begin(spec, context)

    def admit(self, strategy: str) -> None:
        """Let a strategy that was added be made; no effect on others."""
        if strategy in self._admitted:
            self._admitted[strategy].set()

    async def remove(self, strategy: str, within_s: float, *, keep_orders: bool) -> tuple[int, bool]:
        """Stop one strategy and forget it; what is told of its orders from then on is kept for its next life.

        Args:
            keep_orders: its open orders stay at the venue, but for those that its own stop ends.

        Returns:
            how many orders it had still, and whether it had not stopped by itself in time.
        """
        _, context = self._members[strategy]
        context.keeps_orders = keep_orders
        late = False
        if self._scheduler.state(context) not in (State.FAILED, State.STOPPED, None):
            stopping = context.create_task(self._stop(context), name=f"stop {strategy}")
            _, pending = await asyncio.wait({stopping}, timeout=within_s)
            late = bool(pending)
            if late:
                self._cut_off(stopping, context, within_s)
        await self._end_tasks({context})
        await self._drain(context)
        left = self._orders.release(context)
        self._on_end(strategy)
        self._note_made(context)
        self._starting.pop(context, None)
        self._admitted.pop(strategy, None)
        self._pauses.pop(strategy, None)
        self._members.pop(strategy, None)
        context.on_reply = context.host_data = context.executors = None
        return left, late

    def pause(self, strategy: str, reason: str) -> None:
        """Stop ticking a strategy; its tasks, its executors among them, and its replies go on.

        One that is being made is not ticked once it is.
        """
        _, context = self._members[strategy]
        state = self._scheduler.state(context)
        if state in (State.RUNNING, State.PAUSED):
            self._scheduler.pause(context, reason)
        elif state in (State.STARTING, None):
            self._pauses[strategy] = reason

    def resume(self, strategy: str) -> None:
        """Tick a paused strategy again; no effect on one that is not paused."""
        _, context = self._members[strategy]
        self._pauses.pop(strategy, None)
        if self._scheduler.state(context) is State.PAUSED:
            self._scheduler.resume(context)

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
            late.append(tasks[task].id)
            self._cut_off(task, tasks[task], within_s)
        for _, context in self._members.values():
            if self._scheduler.state(context) is None:
                self._scheduler.set_state(context, State.STOPPED, "it was never started")
        await self._end_tasks({context for _, context in self._members.values()})
        return sorted(late)

    def _note_pause(self, spec: StrategySpec) -> None:
        if PAUSED in spec.extra:
            self._pauses[spec.id] = str(spec.extra[PAUSED])

    def _begin(self, spec: StrategySpec, context: StrategyContext) -> asyncio.Task[None]:
        self._scheduler.set_state(context, State.STARTING)
        self._orders.register(context)
        task = self._starting[context] = context.create_task(self._start(spec, context), name=f"start {spec.id}")
        return task

    def _note_made(self, context: StrategyContext) -> None:
        self._unmade.discard(context)
        if not self._unmade:
            self._all_made.set()

    def _cut_off(self, stopping: asyncio.Task[None], context: StrategyContext, within_s: float) -> None:
        stopping.cancel()
        self._scheduler.remove(context)
        if not context.keeps_orders:
            self._orders.cancel_all(context)
        self._scheduler.set_state(context, State.STOPPED, f"did not end within {within_s:g} s")

    @staticmethod
    async def _drain(context: StrategyContext) -> None:
        """Let a strategy take in what it was told already: its records must not lack a fill that was delivered."""
        give_up_ns = monotonic_ns() + int(DRAINED_WITHIN_S * 1e9)
        while context.pending and monotonic_ns() < give_up_ns:
            await asyncio.sleep(0)

    def _live(self) -> list[StrategyContext]:
        ended = (State.FAILED, State.STOPPED, None)
        return [context for _, context in self._members.values() if self._scheduler.state(context) not in ended]

    async def _start(self, spec: StrategySpec, context: StrategyContext) -> None:
        try:
            if spec.id in self._admitted:
                await self._admitted[spec.id].wait()
            try:
                target = await self._host.start(spec, context)
            finally:
                self._note_made(context)
            await self._may_tick.wait()
            self._orders.started(context)
            interval_ns = None if spec.tick_interval_ms is None else spec.tick_interval_ms * 1_000_000
            spacing_ns = None if spec.tick_on_book_ms is None else spec.tick_on_book_ms * 1_000_000
            self._scheduler.add(context, target, interval_ns=interval_ns, book_spacing_ns=spacing_ns)
            reason = self._pauses.pop(spec.id, None)
            if reason is not None:
                self._scheduler.pause(context, reason)
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
