"""Tells the supervisor which executors live in a worker: they end with it, and then nobody could say what they held.

    strategy ── context.executors() ──▶ ExecutorWatch ── "executors", when they have changed ──▶ supervisor

They are told within about a second, and with the beat after a fill. The message is in the channel before the next
callback runs, so it reaches the supervisor even when the process dies in that.
"""

import logging
from collections.abc import Callable
from typing import Any
from weakref import ref

from hive.workers.context import StrategyContext

EVERY = 2  # looks between two at a strategy that has had no fill

log = logging.getLogger(__name__)


class ExecutorWatch:
    """Looks at the strategies of a worker.

    Args:
        send: sends a message to the supervisor.
    """

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self._send = send
        self._seen: list[_Seen] = []
        self._looks = 0

    def take_in(self, strategy: StrategyContext) -> None:
        """Look at one more strategy, for as long as others know it."""
        self._seen.append(_Seen(strategy, len(self._seen) % EVERY))  # in turns: all at once would make ticks late

    def look(self) -> bool:
        """Tell what has changed; twice a second and after a fill, outside of every strategy's context.

        Returns:
            Whether to look again soon: a fill may not have reached its executor yet.
        """
        self._looks += 1
        turn = self._looks % EVERY
        due = [seen for seen in self._seen if seen.turn == turn or seen.count.value != seen.fills]
        for seen in due:
            strategy = seen.strategy()
            if strategy is None:
                self._seen.remove(seen)
            else:
                self._look_at(strategy, seen)
        return any(seen.count.value != seen.fills for seen in due)

    def _look_at(self, strategy: StrategyContext, seen: "_Seen") -> None:
        if not strategy.pending:
            seen.fills = seen.count.value
        if strategy.executors is not None or seen.told:
            self._tell(strategy, seen)

    def _tell(self, strategy: StrategyContext, seen: "_Seen") -> None:
        try:
            executors = [] if strategy.executors is None else strategy.run(strategy.executors)
        except Exception:  # code of a strategy's own executors; it must not stop the others'
            if not seen.failed:
                log.exception("strategy %s: what its executors hold cannot be told", strategy.id)
            seen.failed = True
            return
        if executors != seen.told:
            seen.told = executors
            self._send({"type": "executors", "id": strategy.id, "executors": executors})


class _Seen:
    """What was last seen of a strategy. It is looked at each time, and the strategy itself only when due."""

    __slots__ = ("count", "failed", "fills", "strategy", "told", "turn")

    def __init__(self, strategy: StrategyContext, turn: int) -> None:
        self.strategy = ref(strategy)
        self.count = strategy.counters.fills
        self.turn = turn
        self.fills = 0
        self.told: list[dict[str, Any]] = []
        self.failed = False
