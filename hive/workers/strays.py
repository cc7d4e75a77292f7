"""Replies about orders that this worker's router does not hold: those of an earlier life, and fills that come late.

The gate tells a strategy's new life what happened to its orders meanwhile. Until that strategy runs, its replies wait
here: by then it has its orders back, as far as it kept records of them. A fill is handed over once, however often told.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable

from hive.shm.messages import Reply, ReplyKind
from hive.workers.context import StrategyContext

FILLS_KEPT = 4096

log = logging.getLogger(__name__)


class Strays:
    """All strategies' stray replies. `deliver(context, reply)` runs inside the context, in the inbox's order."""

    def __init__(self, deliver: Callable[[StrategyContext, Reply], None]) -> None:
        self._deliver = deliver
        self._waiting: dict[str, list[Reply]] = {}  # by tag of a strategy that does not run yet
        self._fills: OrderedDict[tuple[str, int], None] = OrderedDict()

    def expect(self, tags: Iterable[str]) -> None:
        """Keep these strategies' replies until each has `started`."""
        self._waiting.update((tag, []) for tag in tags)

    def started(self, context: StrategyContext) -> None:
        """Hand over what was kept for a strategy."""
        for reply in self._waiting.pop(context.tag, ()):
            self._hand_over(context, reply)

    def failed(self, context: StrategyContext) -> None:
        """Name what was kept for a strategy that did not start; the gate tells its next life again."""
        for reply in self._waiting.pop(context.tag, ()):
            log.warning("strategy %s did not start: %s of %s", context.id, reply.kind.name, reply.client_order_id)

    def take(self, tag: str, context: StrategyContext | None, reply: Reply) -> None:
        """Hand a reply over, now or when its strategy runs; `context` is None when there is no such strategy here."""
        if tag in self._waiting:
            self._waiting[tag].append(reply)
        elif context is None:
            log.warning("reply %s of order %s belongs to no strategy here", reply.kind.name, reply.client_order_id)
        else:
            self._hand_over(context, reply)

    def heard(self, client_order_id: str, trade_ids: Iterable[int]) -> None:
        """Note which fills of an order its strategy knows: they may be told again when the order is over."""
        for trade_id in trade_ids:
            self._fills[client_order_id, trade_id] = None
            if len(self._fills) > FILLS_KEPT:
                self._fills.popitem(last=False)

    def _hand_over(self, context: StrategyContext, reply: Reply) -> None:
        if reply.kind is ReplyKind.FILL:
            if (reply.client_order_id, reply.trade_id) in self._fills:
                return
            self.heard(reply.client_order_id, (reply.trade_id,))
            context.counters.fills.inc()
        context.post(self._deliver, context, reply)
