"""The counters of one venue account, and which of them a reply moves."""

from hive.shm.counters import Counters
from hive.shm.messages import Reply, ReplyKind
from hive.shm.stale_figures import StaleFigures

COUNTERS_CAPACITY = 256
HISTOGRAMS = 32

NAMES = (
    "user_connections",
    "user_reconnects",
    "orders_sent",
    "orders_acked",
    "orders_rejected",
    "orders_refused_stale",
    "orders_unknown",
    "orders_filled",
    "orders_cancelled",
    "orders_expired",
    "unknown_now",
    "open_orders",
    "fills",
    "cancels_sent",
    "cancels_failed",
    "http_429",
    "duplicates_dropped",
    "queue_depth",
    "weight_used",
    "weight_limit",
    "request_weight",
    "orders_10s_used",
    "clock_offset_ms",
)
_BY_REPLY = {
    ReplyKind.ACKED: "orders_acked",
    ReplyKind.REJECTED: "orders_rejected",
    ReplyKind.UNKNOWN: "orders_unknown",
    ReplyKind.FILLED: "orders_filled",
    ReplyKind.CANCELLED: "orders_cancelled",
    ReplyKind.EXPIRED: "orders_expired",
    ReplyKind.FILL: "fills",
    ReplyKind.CANCEL_FAILED: "cancels_failed",
}


class AccountFigures:
    """One account's counters and histograms.

    Args:
        counters: the gate's segment
        venue: the label
    """

    def __init__(self, counters: Counters, venue: str) -> None:
        self._by_name = {name: counters.counter(name, venue=venue) for name in NAMES}
        self._by_reply = {kind: self._by_name[name] for kind, name in _BY_REPLY.items()}
        self.order_latency = counters.histogram("order_latency_ns", venue=venue)
        self.order_wait = counters.histogram("order_wait_ns", venue=venue)  # for rates and limits, within the latency
        self.stale = StaleFigures(
            counters.counter("stale_intervals", venue=venue), counters.counter("stale_ms", venue=venue)
        )
        self.ack_latency = counters.histogram("ack_latency_ns", venue=venue)

    def count(self, name: str) -> None:
        """Add one to a counter."""
        self._by_name[name].inc()

    def set(self, name: str, value: int) -> None:
        """Set a gauge."""
        self._by_name[name].set(value)

    def count_reply(self, reply: Reply) -> None:
        """Count what a strategy is told for the first time."""
        counter = self._by_reply.get(reply.kind)
        if counter is not None:
            counter.inc()
