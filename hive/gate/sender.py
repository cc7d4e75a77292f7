"""Whose turn it is: what waits for an account's limits leaves by class, and within a class fairly over strategies.

    orders  ─┐
    cancels ─┼─▶ FairQueue ─▶ class (ClassPolicy) ─▶ strategy (deficit round robin) ─▶ own quota, limits ─▶ go()
    queries ─┘

A class waits as a whole for what holds for everybody (the venue's limits, the fleet's rate, a pause); a strategy that
waits for something of its own (quota, rejects, a pair's limit) is passed over meanwhile and holds up nobody.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from hive.gate.breaker import Breaker
from hive.gate.fairness import FairQueue
from hive.gate.figures import AccountFigures
from hive.gate.limits import Operation
from hive.gate.order import Order, State
from hive.gate.quota import ClassPolicy, Quotas, RejectBackoff, RequestClass, Spent, StrategyQuota
from hive.gate.starvation import StarvationMonitor
from hive.gate.venue import Venue
from hive.shm.refusals import Refusal

CLASSES = tuple(RequestClass)
OPERATION = {
    RequestClass.EMERGENCY: Operation.CANCEL,
    RequestClass.CANCEL: Operation.CANCEL,
    RequestClass.AMEND: Operation.AMEND,
    RequestClass.NEW: Operation.PLACE,
    RequestClass.QUERY: Operation.ORDER_STATUS,
}
ORDER_WEIGHT, STATUS_WEIGHT = 1, 4  # what strategies' own quotas are charged
SECOND_NS = 1_000_000_000
MOST_ORDERS = 1e6  # a second, where a venue has no limit
FULL_RETRY_S = 0.05  # for a cancel or a question when too many of its strategy's wait already


@dataclass(frozen=True, slots=True)
class Turn:
    """A question that waits; `future` is done when it may be sent."""

    tag: str
    future: asyncio.Future[None]
    queued_ns: int


class Sender:
    """The queues of one account.

    Args:
        venue: whose limits count
        capacity: most requests of one strategy that wait in a class
        quotas: of all accounts
        figures: the account's
        go: takes an order whose turn it is, to be placed or, by the class, cancelled
        now_ns: monotonic
    """

    def __init__(
        self,
        venue: Venue,
        capacity: int,
        quotas: Quotas,
        figures: AccountFigures,
        go: Callable[[RequestClass, Order], None],
        now_ns: Callable[[], int],
    ) -> None:
        self.backoff = RejectBackoff()
        self.breaker = Breaker()
        self.starvation = StarvationMonitor(MOST_ORDERS, SECOND_NS)
        self._queue = FairQueue(capacity)
        self._policy = ClassPolicy()
        self._venue = venue
        self._quotas = quotas
        self._figures = figures
        self._go = go
        self._now_ns = now_ns
        self._own_waits = {
            RequestClass.EMERGENCY: self._own_cancel_wait_ns,
            RequestClass.CANCEL: self._own_cancel_wait_ns,
            RequestClass.NEW: self._own_order_wait_ns,
            RequestClass.QUERY: lambda turn: 0,
        }
        self._hold_until_ns = 0
        self._pumping = False
        self._wake_up: asyncio.TimerHandle | None = None
        self._wake_ns = 0
        self._closed = False
        now = now_ns()
        for tag, share in quotas.shares():
            self._queue.set_weight(tag, share)
            self.starvation.set_weight(tag, share, now)

    def set_quota(self, tag: str, quota: StrategyQuota) -> None:
        """Change a strategy's quota and share; what it has spent counts on."""
        now_ns = self._now_ns()
        self._quotas.set_quota(tag, quota, now_ns)
        self._queue.set_weight(tag, quota.share)
        self._queue.unpark(tag)  # what it waited for may not hold any more
        self.starvation.set_weight(tag, quota.share, now_ns)

    # --- what waits

    def push_order(self, order: Order, again: bool = False) -> bool:
        """Let an order wait for its turn; `again`: before its strategy's others. Returns whether there was room."""
        order.entry = self._queue.push(RequestClass.NEW, order.tag, order, first=again)
        if order.entry is None:
            self.starvation.overflowed(order.tag, self._now_ns())
        elif not order.waits:
            order.waits = True
            self.starvation.pushed(order.tag, self._now_ns())
        return order.entry is not None

    def push_cancel(self, order: Order) -> None:
        """Let the cancel of an order wait for its turn; it is never refused."""
        rank = RequestClass.EMERGENCY if order.urgent else RequestClass.CANCEL
        order.queued_ns = self._now_ns()
        order.cancel_entry = self._queue.push(rank, order.tag, order)
        if order.cancel_entry is None:
            asyncio.get_running_loop().call_later(FULL_RETRY_S, self._push_cancel_again, order)

    def _push_cancel_again(self, order: Order) -> None:
        if order.cancelling and order.cancel_entry is None:
            self.push_cancel(order)
            self.pump()

    async def turn(self, tag: str) -> None:
        """Wait until a question about one of a strategy's orders may be sent."""
        turn = Turn(tag, asyncio.get_running_loop().create_future(), self._now_ns())
        while (entry := self._queue.push(RequestClass.QUERY, tag, turn)) is None:
            await asyncio.sleep(FULL_RETRY_S)
        self.pump()
        try:
            await turn.future
        finally:
            self._queue.remove(entry)

    def withdraw(self, order: Order, code: int = 0) -> None:
        """Take an order out that is not to be sent, for the reason `code`; no effect on one that does not wait."""
        if order.entry is not None:
            self._queue.remove(order.entry)
            order.entry = None
        if order.waits:
            order.waits = False
            gone = self.starvation.dropped if code == Refusal.TOO_OLD else self.starvation.removed
            gone(order.tag, self._now_ns())

    def sent(self, order: Order) -> None:
        """Take it that an order was written to a connection."""
        self.breaker.sent(self._now_ns())
        if order.waits:
            order.waits = False
            self.starvation.served(order.tag, self._now_ns())

    def length(self, rank: RequestClass) -> int:
        """Return how many requests of a class wait."""
        return self._queue.length(rank)

    def depth(self, tag: str) -> int:
        """Return how many new orders of a strategy wait."""
        return self._queue.depth(RequestClass.NEW, tag)

    def spent(self, tag: str, now_ns: int) -> Spent:
        """Return what a strategy spends now, on all accounts."""
        return self._quotas.spent(tag, now_ns)

    def bound_ns(self, tag: str) -> int:
        """Return how long a strategy may have to wait for its turn, with the limit and the competition of now."""
        return self.starvation.figures(tag).bound_ns

    def tick(self, now_ns: int) -> None:
        """Bring limits and the figures of starvation up to date."""
        limit, window_ns = self._venue.order_limit()
        own = self._quotas.total_per_second
        if own is not None and own * window_ns < limit * SECOND_NS:
            limit, window_ns = max(own, 1.0), max(SECOND_NS, round(SECOND_NS / own))
        self.starvation.set_limit(min(limit, MOST_ORDERS), window_ns, now_ns)
        self.starvation.tick(now_ns)

    def orders(self) -> list[Order]:
        """Return every order that waits."""
        return self._queue.items(RequestClass.NEW)

    # --- what goes

    def free(self, order: Order, now_ns: int) -> bool:
        """Return whether a new order's turn is now: nothing waits, and nothing holds it up."""
        return not (
            self._pumping
            or self._closed
            or self.breaker.open
            or self._hold_until_ns > now_ns
            or self._queue.waiting()
            or self._venue.wait_ns(Operation.PLACE, order.symbol, now_ns)
            or self.backoff.wait_ns(order.tag, now_ns)
            or not self._quotas.may_order(order.tag, ORDER_WEIGHT, now_ns)
        )

    def went(self, order: Order, now_ns: int) -> None:
        """Count an order that was free to go, and went, as it would have been counted had it waited for its turn."""
        self._policy.alone()
        self._queue.passed(RequestClass.NEW, order.tag, order, now_ns)
        self._count_turn(RequestClass.NEW, order, now_ns)
        if order.sent_ns:
            self.starvation.pushed(order.tag, now_ns)
            self.starvation.served(order.tag, now_ns)
        elif order.state is State.SENT:  # on its way to a connection
            order.waits = True
            self.starvation.pushed(order.tag, now_ns)

    def hold(self, wait_ns: int) -> None:
        """Send no new order for a while: the last one could not be sent."""
        self._hold_until_ns = max(self._hold_until_ns, self._now_ns() + wait_ns)
        self._pump_in(wait_ns)

    def pump(self) -> None:
        """Send every request whose turn it is, and come back when the next one's is."""
        if self._pumping:
            return  # what is sent may end other orders, and be called from there
        self._pumping = True
        try:
            while (wait_ns := self._send_one()) == 0:
                pass
        finally:
            self._pumping = False
        if wait_ns > 0:
            self._pump_in(wait_ns)

    def stop(self) -> None:
        """Send nothing any more."""
        if self._wake_up is not None:
            self._wake_up.cancel()
        self._pumping = True

    def _send_one(self) -> int:
        """Send the next request and return 0; else how long none may go, -1 when none waits."""
        waiting = self._queue.waiting()
        if not waiting:
            return -1
        now_ns = self._now_ns()
        if len(waiting) == 1:
            return self._send_only(CLASSES[waiting[0]], now_ns)
        waits = [self._wait_ns(rank, now_ns) for rank in CLASSES]
        ready = [wait_ns == 0 for wait_ns in waits]
        while (rank := self._policy.next(ready)) is not None:
            item = self._queue.pop(rank, now_ns, self._own_waits[rank])
            if item is not None:
                self._policy.sent(rank)
                self._send(rank, item, now_ns)
                return 0
            ready[rank] = False  # every strategy of it waits for something of its own
            waits[rank] = self._queue.wait_ns(rank, now_ns)
        return min((wait_ns for wait_ns in waits if wait_ns > 0), default=-1)

    def _send_only(self, rank: RequestClass, now_ns: int) -> int:
        """Do the same when requests of one class wait: nobody competes."""
        wait_ns = self._wait_ns(rank, now_ns)
        if wait_ns:
            return wait_ns
        item = self._queue.pop(rank, now_ns, self._own_waits[rank])
        if item is None:
            return self._queue.wait_ns(rank, now_ns)
        self._policy.alone()
        self._send(rank, item, now_ns)
        return 0

    def _send(self, rank: RequestClass, item: Order | Turn, now_ns: int) -> None:
        self._count_turn(rank, item, now_ns)
        if rank is not RequestClass.QUERY:
            if rank is RequestClass.NEW:
                item.entry = None
            self._go(rank, item)
        elif not item.future.done():
            item.future.set_result(None)

    def _count_turn(self, rank: RequestClass, item: Order | Turn, now_ns: int) -> None:
        """Show how long a request waited, and charge its strategy."""
        self._figures.waited(rank, now_ns - item.queued_ns)
        if rank is not RequestClass.NEW:
            self._quotas.take(item.tag, 0, STATUS_WEIGHT if rank is RequestClass.QUERY else ORDER_WEIGHT, now_ns)
            return
        self._figures.order_wait.record(now_ns - item.queued_ns)
        if not item.paid:
            item.paid = True  # one that could not be sent, and waits again, pays once
            self._quotas.take(item.tag, 1, ORDER_WEIGHT, now_ns)

    def _wait_ns(self, rank: RequestClass, now_ns: int) -> int:
        """Return how long nobody's request of a class may go, -1 when none waits."""
        wait_ns = self._queue.wait_ns(rank, now_ns)
        return wait_ns if wait_ns else self._class_wait_ns(rank, now_ns)

    def _class_wait_ns(self, rank: RequestClass, now_ns: int) -> int:
        """Return how long nobody's request of a class may go."""
        wait_ns = self._venue.wait_ns(OPERATION[rank], "", now_ns)
        if rank is not RequestClass.NEW:
            return wait_ns
        closed_ns = self._venue.closed_ns(now_ns) if wait_ns else 0  # a venue that is closed lets nothing go
        if self._hold_until_ns > now_ns or self.breaker.open:
            closed_ns = max(closed_ns, self._hold_until_ns - now_ns, self.breaker.wait_ns(now_ns))
        if (closed_ns > 0) != self._closed:
            self._closed = closed_ns > 0
            (self.starvation.close if self._closed else self.starvation.open)(now_ns)
        total_ns = self._quotas.total_wait_ns(now_ns)
        return max(wait_ns, closed_ns, total_ns) if wait_ns or closed_ns or total_ns else 0

    def _own_order_wait_ns(self, order: Order) -> int:
        """Return how long a strategy's next order waits for something of its own."""
        now_ns = self._now_ns()
        own_ns = self.backoff.wait_ns(order.tag, now_ns)
        quota_ns = 0 if order.paid else self._quotas.wait_ns(order.tag, 1, ORDER_WEIGHT, now_ns)
        if quota_ns > own_ns:
            own_ns = quota_ns
        pair_ns = self._venue.pair_wait_ns(Operation.PLACE, order.symbol, now_ns)
        if not own_ns and not pair_ns:
            return 0
        wait_ns = max(own_ns, pair_ns)
        self.starvation.held(order.tag, now_ns + wait_ns, now_ns, shared=pair_ns > own_ns)
        return wait_ns

    def _own_cancel_wait_ns(self, order: Order) -> int:
        now_ns = self._now_ns()
        return self._venue.pair_wait_ns(Operation.CANCEL, order.symbol, now_ns, now_ns - order.sent_ns)

    def _pump_in(self, wait_ns: int) -> None:
        loop = asyncio.get_running_loop()
        due_ns = self._now_ns() + wait_ns
        if self._wake_up is not None:
            if self._wake_ns <= due_ns and not self._wake_up.cancelled():
                return
            self._wake_up.cancel()
        self._wake_ns = due_ns
        self._wake_up = loop.call_later(wait_ns * 1e-9, self._on_time)

    def _on_time(self) -> None:
        self._wake_up = None
        self.pump()
