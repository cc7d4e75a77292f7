"""What the supervisor asks of a running worker: strategies that come, go, are paused and go on.

    add      -> expecting         its context and its place for replies are there; nothing of it runs yet
    go                            the gate takes its orders from here: now it is made and ticked, "strategy" tells how
    remove   -> removed           it has stopped, and whatever it was told has reached its records
    idle     -> idle              what it has in the market from here ("" for nothing), and how many orders it has made
    remove, submitted -> idle     it has stayed: it has something in the market, or has made another order meanwhile
    pause, resume                 "strategy" tells

A change of a strategy that cannot be made is told as `failed` (add) or as an event; it touches nobody else.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from hive.shm.errors import TableFull
from hive.workers.context import StrategyContext
from hive.workers.errors import BootError
from hive.workers.host import StrategySpec
from hive.workers.orders import OrderRouter
from hive.workers.scheduler import State
from hive.workers.strategies import Strategies

REMOVE_WITHIN_S = 10.0

log = logging.getLogger(__name__)


class StrategyChanges:
    """Carries out the supervisor's changes; called on the loop, outside of every strategy's context.

    Args:
        strategies: the worker's
        make_context: makes the context of a strategy's new life; TableFull when there is no room for its counters
        orders: the worker's router
        send: sends a message to the supervisor
    """

    def __init__(
        self,
        strategies: Strategies,
        make_context: Callable[[StrategySpec], StrategyContext],
        orders: OrderRouter,
        send: Callable[[dict[str, Any]], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._strategies = strategies
        self._make_context = make_context
        self._orders = orders
        self._send = send
        self._loop = loop
        self._removing: set[asyncio.Task[None]] = set()

    def take(self, message: Mapping[str, Any]) -> None:
        """Carry out one message; raises KeyError when it names a strategy that is not here."""
        match message["type"]:
            case "add":
                self._add(message["strategy"])
            case "go":
                self._strategies.admit(message["id"])
            case "pause":
                self._strategies.pause(message["id"], str(message.get("reason") or "paused"))
            case "resume":
                self._strategies.resume(message["id"])
            case "idle":
                self._send(self._idle(message))
            case "remove":
                task = self._loop.create_task(self._remove(message), name=f"remove {message['id']}")
                self._removing.add(task)
                task.add_done_callback(self._removing.discard)

    def _add(self, raw: Mapping[str, Any]) -> None:
        strategy = str(raw.get("id"))
        try:
            spec = StrategySpec.from_dict(raw)
            if strategy in self._strategies:
                raise BootError(f"strategy {strategy} is here already")
            context = self._make_context(spec)
        except (BootError, TableFull) as error:
            log.error("strategy %s cannot be added: %s", strategy, error)
            self._send({"type": "strategy", "id": strategy, "state": State.FAILED.value, "message": str(error)})
            return
        self._orders.expect([spec.tag])
        self._strategies.add(spec, context)
        self._send({"type": "expecting", "id": strategy})

    async def _remove(self, message: Mapping[str, Any]) -> None:
        strategy = message["id"]
        left, late = 0, False
        if "submitted" in message:
            idle = self._idle(message)
            if idle["exposed"] or idle["submitted"] != message["submitted"]:
                self._send(idle)
                return
            # From here on it makes no order, whatever its tasks do.
            self._orders.unregister(self._strategies.context(strategy))
        if strategy in self._strategies:
            keep = message.get("orders") == "keep"
            within_s = float(message.get("deadline_s", REMOVE_WITHIN_S))
            left, late = await self._strategies.remove(strategy, within_s, keep_orders=keep)
            self._orders.pump()  # its last intents reach the gate before anybody hears that it is gone
        answer = {"type": "removed", "id": strategy, "open_orders": left, "late": late}
        self._send({**answer, "change": message["change"]} if "change" in message else answer)

    def _idle(self, message: Mapping[str, Any]) -> dict[str, Any]:
        answer = {"type": "idle", "id": message["id"], "change": message["change"]}
        if message["id"] not in self._strategies:
            return {**answer, "exposed": "it is not here", "submitted": 0}
        context = self._strategies.context(message["id"])
        orders = len(self._orders.open_orders(context))
        executors = 0 if context.executors is None else len(context.run(context.executors))
        counts = {"orders": orders, "executors": executors}
        exposed = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        return {**answer, "exposed": exposed, "submitted": context.counters.orders_submitted.value}
