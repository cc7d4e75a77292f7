"""Actions that controllers decide on: a paused strategy takes none.

    controller ── put ──▶ ActionQueue ──▶ StrategyV2Base.listen_to_executor_actions ──▶ executors

Controllers are loops of their own. One that has put actions waits until it is told of its executors, which the strategy
does when it has carried them out, and at each tick; so it goes on deciding however long no tick comes. A pause drops
what it puts: then it is idle until the first tick after the pause. Executors that are open run on.
"""

import asyncio
from typing import Any

from hummingbot.strategy.strategy_v2_base import StrategyV2Base

from hive.workers.context import StrategyContext
from hive.workers.scheduler import State


class ActionQueue(asyncio.Queue[Any]):
    """The queue of one strategy's controllers; `put` and `put_nowait` drop while the strategy is paused."""

    def __init__(self, context: StrategyContext) -> None:
        super().__init__()
        self._context = context

    def put_nowait(self, item: Any) -> None:
        """Take a list of actions, or drop it."""
        if self._context.state is not State.PAUSED:
            super().put_nowait(item)  # put() of an unbounded queue comes here, too


def use_action_queue(strategy: StrategyV2Base, context: StrategyContext) -> None:
    """Give a strategy that was just made its queue, before any of its tasks has had its first step."""
    strategy.actions_queue = ActionQueue(context)
    for controller in strategy.controllers.values():
        controller.actions_queue = strategy.actions_queue
