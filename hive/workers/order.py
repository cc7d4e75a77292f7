"""An order that is not over, as the router keeps it."""

import asyncio
from dataclasses import dataclass, field

from hive.shm.messages import Intent, Reply, ReplyKind
from hive.workers.context import StrategyContext


@dataclass(slots=True)
class Order:
    """`placing` is what place() returned until it is resolved; `unknown` whether its fate is not known now."""

    intent: Intent
    context: StrategyContext
    placing: asyncio.Future[Reply] | None
    exchange_order_id: str = ""
    unknown: bool = False
    cancels: list[asyncio.Future[Reply]] = field(default_factory=list)
    cancel_sent: bool = False
    cancel_ns: int = 0  # when the last cancel was sent
    must_end: bool = False  # its strategy cannot look after it any more
    trade_ids: set[int] = field(default_factory=set)

    def has_heard(self, reply: Reply) -> bool:
        """Tell whether the strategy knows this already: a new gate repeats what an old one has told."""
        if reply.kind is ReplyKind.FILL:  # a venue's first trade has the id 0
            return reply.trade_id in self.trade_ids
        if reply.kind is ReplyKind.ACKED:
            return not self.unknown
        return reply.kind is ReplyKind.UNKNOWN and self.unknown

    def count(self, reply: Reply) -> None:
        """Count a reply that the strategy is told."""
        counters = self.context.counters
        match reply.kind:
            case ReplyKind.ACKED:
                counters.orders_acked.inc()
            case ReplyKind.REJECTED:
                counters.orders_rejected.inc()
            case ReplyKind.UNKNOWN:
                counters.orders_unknown.inc()
            case ReplyKind.FILL:
                counters.fills.inc()
                self.trade_ids.add(reply.trade_id)
            case ReplyKind.FILLED:
                counters.orders_filled.inc()
            case ReplyKind.CANCELLED:
                counters.orders_cancelled.inc()
            case ReplyKind.EXPIRED:
                counters.orders_expired.inc()
