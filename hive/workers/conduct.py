"""What follows when a strategy harms those beside it: it is told in `hive status`, or it has to go.

    seen here                                                   it goes, or goes on and is told
    a tick interrupted (watchdog.py)                            goes with the third within a minute
    an event, task or timer interrupted                         goes: what it was in the midst of is half done
    took most of the loop for two seconds (shares.py)           goes, if others are there
    the worker's memory, and it made it grow (memory.py)        goes
    more lines of log than it may have (log_quota.py)           told; goes when it is a flood, if others are there
    more orders than may wait (orders.py)                       the same
    refused changes of the process (refusals.py)                told

To go is to be paused at once, with its orders and its tasks cancelled; then the supervisor is told `misbehaved`. It
moves the strategy alone into a quarantine worker, where the strategy starts anew; one that misbehaves even there is
stopped in the end. A strategy that is being made or stopped is not judged.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from time import monotonic_ns
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from hive.workers.context import CURRENT, StrategyContext
from hive.workers.log_quota import LineQuota
from hive.workers.memory import MB, MemoryGuard
from hive.workers.orders import OrderRouter
from hive.workers.own_memory import OwnMemory
from hive.workers.refusals import Refusals
from hive.workers.schedstat import RunDelay
from hive.workers.scheduler import State, StrategyScheduler
from hive.workers.shares import LoopShares

INTERRUPTIONS = 3
WITHIN_NS = 60_000_000_000
TELL_AGAIN_NS = 10_000_000_000  # between two messages of one kind about one strategy
SECOND_NS = 1_000_000_000
EARLY_NS = 50_000_000  # a look is at a beat, not when the second is over
LOG_FLOOD = 10_000  # lines that were dropped in a second
ORDER_FLOOD = 1_000  # orders that were refused in a second: each costs the loop as much as some ticks

log = logging.getLogger(__name__)


class Conduct:
    """Judges the strategies of a worker.

    Args:
        scheduler: pauses, and reports to the supervisor.
        orders: cancels.
        send: sends a message to the supervisor.
        loop: of the worker.
        delay: of the loop's thread.
        loop_share: the part of the loop that one strategy may take for long; None: all of it.
        memory: of the worker.
        memory_mb: its limit; None: none.
        lines: counts what was dropped.
        refusals: keeps what was refused.
    """

    def __init__(
        self,
        *,
        scheduler: StrategyScheduler,
        orders: OrderRouter,
        send: Callable[[dict[str, Any]], None],
        loop: asyncio.AbstractEventLoop,
        delay: RunDelay,
        loop_share: float | None,
        memory: OwnMemory,
        memory_mb: float | None,
        lines: LineQuota,
        refusals: Refusals,
        now_ns: Callable[[], int] = monotonic_ns,
    ) -> None:
        self._scheduler = scheduler
        self._orders = orders
        self._send = send
        self._loop = loop
        self._lines = lines
        self._refusals = refusals
        self._now_ns = now_ns
        self._members: WeakSet[StrategyContext] = WeakSet()
        self._gone: WeakSet[StrategyContext] = WeakSet()
        self._interrupted: WeakKeyDictionary[StrategyContext, deque[int]] = WeakKeyDictionary()
        self._told: WeakKeyDictionary[StrategyContext, dict[str, int]] = WeakKeyDictionary()
        self._waiting: WeakKeyDictionary[StrategyContext, int] = WeakKeyDictionary()
        self._shares = LoopShares(self._took_ns, delay, loop_share)
        self._memory = MemoryGuard(self._took_ns, None if memory_mb is None else round(memory_mb * MB), memory.read)
        self._second_ns = now_ns()

    def take_in(self, strategy: StrategyContext) -> None:
        """Judge one more strategy."""
        self._members.add(strategy)

    def begin(self) -> None:
        """Note that the strategies of the worker's start are made: memory counts from here."""
        self._memory.begin()

    def may_interrupt(self, strategy: StrategyContext) -> bool:
        """Return whether the strategy's code may be interrupted now; safe in a signal handler."""
        return self._scheduler.state(strategy) in (State.RUNNING, State.PAUSED)

    def interrupted(self, strategy: StrategyContext, in_tick: bool) -> None:
        """Judge a strategy whose code was interrupted, because it held the loop for too long."""
        now_ns = self._now_ns()
        recent = self._interrupted.setdefault(strategy, deque(maxlen=INTERRUPTIONS))
        recent.append(now_ns)
        if not in_tick:
            self.accuse(strategy, "held the loop", "an event or task of it held the loop and was interrupted")
        elif len(recent) == INTERRUPTIONS and now_ns - recent[0] <= WITHIN_NS:
            text = f"{INTERRUPTIONS} ticks within a minute held the loop and were interrupted"
            self.accuse(strategy, "held the loop", text)
        else:
            self._tell(strategy, "held the loop", "a tick held the loop and was interrupted", now_ns)

    def accuse(self, strategy: StrategyContext, what: str, reason: str) -> None:
        """Pause a strategy for good, and ask the supervisor to take it away.

        Args:
            what: it did, in a few words that are the same each time.
            reason: for the operator.
        """
        if strategy in self._gone or self._scheduler.state(strategy) not in (State.RUNNING, State.PAUSED):
            return
        self._gone.add(strategy)
        self._scheduler.pause(strategy, f"paused: {reason}")
        self._orders.cancel_all(strategy)
        for task in asyncio.all_tasks(self._loop):
            if task.get_context().get(CURRENT) is strategy:
                task.cancel()
        self._send(
            {"type": "misbehaved", "id": strategy.id, "what": what, "verdict": "quarantine", "reason": reason}
        )

    def look(self) -> None:
        """Look at everything; twice a second, and whenever something is to be told."""
        now_ns = self._now_ns()
        self._look_at_memory()
        for strategy, text in self._refusals.take():
            log.warning("strategy %s: %s", strategy.id, text)
            self._tell(strategy, "refused", text, now_ns)
        if now_ns - self._second_ns >= SECOND_NS - EARLY_NS:
            self._second_ns = now_ns
            self._look_at_logs(now_ns)
            self._look_at_orders(now_ns)
        greedy = self._shares.look(now_ns)
        if greedy is not None and self._has_others(greedy[0]):
            self.accuse(greedy[0], "took the loop", f"it took {greedy[1]:.0%} of its worker's time for 2 s")

    def _look_at_memory(self) -> None:
        found = self._memory.look()
        if found is None:
            return
        strategy, made, now = found
        if strategy is None:
            text = f"the worker has {now // MB} MB of its own, and no strategy in particular made it grow"
            self._send({"type": "event", "level": "warning", "text": text})
        else:
            self.accuse(strategy, "took memory", f"it made {made // MB} of its worker's {now // MB} MB of memory")

    def _look_at_logs(self, now_ns: int) -> None:
        for strategy, count in self._lines.dropped().items():
            text = f"{count} lines of its log were dropped in a second"
            if count >= LOG_FLOOD and self._has_others(strategy):
                self.accuse(strategy, "flooded the log", text)
            else:
                self._tell(strategy, "log", f"{text}: {self._lines.per_s:g} are kept", now_ns)

    def _look_at_orders(self, now_ns: int) -> None:
        for strategy in list(self._members):
            before = self._waiting.get(strategy, 0)
            count = self._waiting[strategy] = strategy.orders_over
            if count == before:
                continue
            text = f"{count - before} orders were refused: too many of it wait"
            if count - before >= ORDER_FLOOD and self._has_others(strategy):
                self.accuse(strategy, "flooded its orders", text)
            else:
                self._tell(strategy, "orders", text, now_ns)

    def _has_others(self, strategy: StrategyContext) -> bool:
        states = (State.RUNNING, State.STARTING)
        return any(one is not strategy and self._scheduler.state(one) in states for one in self._members)

    def _tell(self, strategy: StrategyContext, kind: str, text: str, now_ns: int) -> None:
        """Have `hive status` show why something of a strategy was cut, while it goes on."""
        told = self._told.setdefault(strategy, {})
        state = self._scheduler.state(strategy)
        if strategy not in self._gone and state in (State.STARTING, State.RUNNING) and (
            kind not in told or now_ns - told[kind] >= TELL_AGAIN_NS
        ):
            told[kind] = now_ns
            self._scheduler.set_state(strategy, state, text)

    def _took_ns(self) -> Mapping[StrategyContext, int]:
        return {one: one.callbacks.took_ns + one.counters.tick_duration_ns.total_ns for one in list(self._members)}
