"""The counters of one venue account: of all of it, by class, by reason, and by strategy."""

from collections.abc import Iterable, Mapping

from hive.gate.order import Order
from hive.gate.quota import RequestClass
from hive.shm.counters import Counters
from hive.shm.errors import TableFull
from hive.shm.messages import Reply, ReplyKind
from hive.shm.refusals import NAMES as REASONS
from hive.shm.refusals import Refusal
from hive.shm.stale_figures import StaleFigures

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
    "foreign_orders",
    "queue_depth",
    "weight_used",
    "weight_limit",
    "request_weight",
    "orders_used",
    "orders_limit",
    "effective_limit",
    "drift_weight",
    "drift_orders",
    "clock_offset_ms",
    "closed_ms_total",
    "journal_records",
    "journal_backlog",
    "journal_failing",
    "halted",
    "breaker_open",
)
STRATEGY_NAMES = (
    "strategy_queue",
    "strategy_sent",
    "strategy_rejected",
    "strategy_refused",
    "starved_ms_total",
    "starvation_events_total",
    "head_wait_ms",
    "service_deficit",
    "order_rate_milli",
    "weight_rate_milli",
    "halted_strategy",
    "backoff_ms",
)
HISTOGRAM_NAMES = ("order_latency_ns", "own_latency_ns", "order_wait_ns", "ack_latency_ns")
ADDED_LATER = 64  # strategies that may come to a running fleet and have counters; later ones trade without
STALE_NAMES = ("stale_intervals", "stale_ms")
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


def room(venues: int, strategies: int, assets: int = 0) -> tuple[int, int]:
    """Return how many counters and histograms together, and how many histograms, a gate needs.

    Args:
        assets: in which strategies have capital
    """
    histograms = venues * (len(HISTOGRAM_NAMES) + len(RequestClass))
    counters = venues * (assets + len(NAMES) + len(STALE_NAMES) + len(REASONS) + len(RequestClass))
    ever = strategies + ADDED_LATER
    return counters + histograms + venues * ever * len(STRATEGY_NAMES) + 8, histograms + 1


class StrategyFigures:
    """One strategy's counters on one account."""

    __slots__ = STRATEGY_NAMES

    def __init__(self, counters: Counters, venue: str, strategy: str) -> None:
        for name in STRATEGY_NAMES:
            setattr(self, name, counters.counter(name, venue=venue, strategy=strategy))


class AccountFigures:
    """One account's counters and histograms.

    Args:
        counters: the gate's segment
        venue: the label
        strategies: ids by tag
        assets: in which strategies have capital
    """

    def __init__(
        self, counters: Counters, venue: str, strategies: Mapping[str, str], assets: Iterable[str] = ()
    ) -> None:
        self.drifts = {asset: counters.counter("capital_drift_e8", venue=venue, asset=asset) for asset in assets}
        self._by_name = {name: counters.counter(name, venue=venue) for name in NAMES}
        self._by_reply = {kind: self._by_name[name] for kind, name in _BY_REPLY.items()}
        self._by_reason = {
            code: counters.counter("orders_refused", venue=venue, reason=reason) for code, reason in REASONS.items()
        }
        self.order_latency, self.own_latency, self.order_wait, self.ack_latency = (
            counters.histogram(name, venue=venue) for name in HISTOGRAM_NAMES
        )
        self.stale = StaleFigures(*(counters.counter(name, venue=venue) for name in STALE_NAMES))
        self._waits = tuple(
            counters.histogram("wait_ns", **{"venue": venue, "class": rank.name.lower()}) for rank in RequestClass
        )
        self._depths = tuple(
            counters.counter("queue_depth_class", **{"venue": venue, "class": rank.name.lower()})
            for rank in RequestClass
        )
        self._counters = counters
        self._venue = venue
        self.strategies = {tag: StrategyFigures(counters, venue, name) for tag, name in strategies.items()}

    def add_strategy(self, tag: str, name: str) -> bool:
        """Count for one more strategy from now on; returns whether there was room."""
        if tag not in self.strategies:
            try:
                self.strategies[tag] = StrategyFigures(self._counters, self._venue, name)
            except TableFull:
                return False
        return True

    def count(self, name: str) -> None:
        """Add one to a counter."""
        self._by_name[name].inc()

    def value(self, name: str) -> int:
        """Return the value of a counter."""
        return self._by_name[name].value

    def set(self, name: str, value: int) -> None:
        """Set a gauge."""
        self._by_name[name].set(value)

    def count_reply(self, reply: Reply) -> None:
        """Count what a strategy is told for the first time."""
        counter = self._by_reply.get(reply.kind)
        if counter is not None:
            counter.inc()

    def sent(self, order: Order) -> None:
        """Count an order that was written to a connection."""
        self._by_name["orders_sent"].inc()
        one = self.strategies.get(order.tag)
        if one is not None:
            one.strategy_sent.inc()

    def rejected(self, order: Order) -> None:
        """Count an order that the venue refused."""
        one = self.strategies.get(order.tag)
        if one is not None:
            one.strategy_rejected.inc()

    def refused(self, tag: str, code: int) -> None:
        """Count an order that was not sent."""
        counter = self._by_reason.get(code)
        if counter is not None:
            counter.inc()
        if code == Refusal.STALE_BOOK:
            self._by_name["orders_refused_stale"].inc()
        one = self.strategies.get(tag)
        if one is not None:
            one.strategy_refused.inc()

    def waited(self, rank: RequestClass, wait_ns: int) -> None:
        """Record how long a request waited for its turn."""
        self._waits[rank].record(wait_ns)

    def depth(self, rank: RequestClass, length: int) -> None:
        """Show how many requests of a class wait."""
        self._depths[rank].set(length)
