"""The worker's end of the order path: intents to the gate, replies back to the strategy that asked.

An order is `placing` until its fate was told for the first time (ACKED, REJECTED or UNKNOWN), then `open` or
`unknown`, and it is kept until a final reply (REJECTED, FILLED, CANCELLED, EXPIRED). There are no timeouts: what is not
known is never turned into a failure. What the router itself refuses raises OrderRefused at once and was never sent.

Replies reach a strategy in order, through its inbox only. `place()` is resolved first, and the task that awaits it has
run before the order's next reply is delivered to `context.on_reply`.

What the gate tells of orders that an earlier life of this worker placed is kept until the strategy runs again, and then
delivered: by then it has its orders back from its own records.

When a new gate takes over, every order without an answer goes to it again, marked MAYBE_SENT (it will look for it and
never place it), every other order that is not over is QUERYed, and cancels without an answer are repeated. Fills that
come twice that way are dropped by their trade id.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from decimal import Decimal

from hive.shm.book import LIVE, STATE_NAMES
from hive.shm.errors import NotRepresentable, QueueWedged
from hive.shm.ids import parse_order_id
from hive.shm.link import Link
from hive.shm.messages import FINAL_KINDS, MAYBE_SENT, Intent, IntentKind, Reply, ReplyKind, unpack
from hive.shm.order_queue import OrderQueue
from hive.workers.accounts import Account, Accounts, Balance
from hive.workers.context import CURRENT, StrategyContext
from hive.workers.ended import EndedOrders
from hive.workers.errors import OrderRefused
from hive.workers.market import MarketData
from hive.workers.order import Order
from hive.workers.stale import StaleBooks
from hive.workers.strays import Strays

ANSWERS = frozenset({ReplyKind.ACKED, ReplyKind.REJECTED, ReplyKind.UNKNOWN})
CANCEL_AGAIN_NS = 1_000_000_000  # between two cancels of an order whose book stays stale
REFUSED_NS = 30_000_000_000  # after a refused cancel of an order that must end: the market may be closed
TRY_AGAIN_S = 0.001  # after a queue that was full or busy

log = logging.getLogger(__name__)


class OrderRouter:
    """Sends the intents of all strategies of this worker and hands the replies back.
    `cancel_after_ms` is how long a used book may be not live before the strategy's resting orders are cancelled (None:
    never). `placing_max` is how many orders of one strategy may be placing (None: any number).
    `on_wedged()` is called when the queue pair cannot be used any more and a fresh one is needed, `on_fill(context)` at
    each fill that a strategy is going to be told of.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        now_ns: Callable[[], int],
        market: MarketData,
        cancel_after_ms: float | None = 1000,
        placing_max: int | None = None,
        on_wedged: Callable[[], None] | None = None,
        on_fill: Callable[[StrategyContext], None] | None = None,
    ) -> None:
        self._loop = loop
        self._now_ns = now_ns
        self._market = market
        self._stale = StaleBooks(market, None if cancel_after_ms is None else int(cancel_after_ms * 1e6))
        self._placing_max = placing_max
        self._on_wedged = on_wedged
        self._on_fill = on_fill
        self._contexts: dict[str, StrategyContext] = {}
        self._orders: dict[str, Order] = {}
        self._ended = EndedOrders()
        self._orphans: dict[str, Order] = {}  # cancels of orders that this router never placed
        self._strays = Strays(self._deliver)
        self._accounts = Accounts()
        self._arrived: deque[bytes] = deque()
        self._link: Link | None = None
        self._names: tuple[str, str] | None = None
        self._epoch = -1
        self._wedged = False
        self._retry: asyncio.TimerHandle | None = None

    def expect(self, tags: Iterable[str]) -> None:
        """Keep what is told of these strategies' earlier orders until each has `started`."""
        self._strays.expect(tags)

    def register(self, context: StrategyContext) -> None:
        """Route replies of orders that carry this strategy's tag to `context`."""
        self._contexts[context.tag] = context

    def started(self, context: StrategyContext) -> None:
        """Deliver what was told of the strategy's earlier orders; it has them back, as far as it kept them."""
        self._strays.started(context)

    def unregister(self, context: StrategyContext) -> None:
        """Refuse new orders of `context`; replies of those that it has still reach it."""
        self._contexts.pop(context.tag, None)
        self._strays.failed(context)

    def release(self, context: StrategyContext) -> int:
        """Know nothing more of a strategy that has left, nor of its orders; returns how many of those were not over.

        What is told of them from now on belongs to its next life, wherever that is; the gate tells it all again.
        """
        if self._contexts.get(context.tag) is context:
            self.unregister(context)
        left = self.open_orders(context)
        for order in left:
            if order.placing is not None:
                self._send_cancel(order)  # its records do not have it yet, so its next life could not look after it
            del self._orders[order.intent.client_order_id]
        for client_order_id in [key for key, one in self._orphans.items() if one.context is context]:
            del self._orphans[client_order_id]
        return len(left)

    def is_open(self, venue: int) -> bool:
        """Return whether a gate is attached and the venue's account is ready."""
        return self._link is not None and not self._accounts[venue].closed

    def balances(self, venue: int) -> dict[str, Balance]:
        """Return the account's balances by asset, live: the same dict is updated in place."""
        return self._accounts[venue].balances

    def total_balances(self, venue: int, tag: str = "") -> dict[str, Decimal]:
        """Return free plus locked amounts by asset, live: the same dict is updated in place.

        Args:
            tag: of the strategy with capital whose they are; "": the account's.
        """
        return self._account(venue, tag).totals

    def free_balances(self, venue: int, tag: str = "") -> dict[str, Decimal]:
        """Return free amounts by asset; see `total_balances`."""
        return self._account(venue, tag).free

    def open_orders(self, context: StrategyContext | None = None) -> list[Order]:
        """Return the orders that are not over, oldest first, of one strategy or of all."""
        return [order for order in self._orders.values() if context is None or order.context is context]

    def place(self, intent: Intent) -> asyncio.Future[Reply]:
        """Send a PLACE intent now; the returned future gets the ACKED, REJECTED or UNKNOWN reply.

        Everything that follows UNKNOWN or ACKED goes to `context.on_reply`. Cancelling the future does not cancel the
        order: its answer then goes to `on_reply` as well. Raises OrderRefused, and nothing was sent, when no gate is
        attached, the account is not ready, a book that the strategy uses is not live, the client order id is not this
        strategy's or was used before, or a price or an amount cannot be carried exactly.
        """
        context = self._owner(intent.client_order_id)
        try:
            self._check(intent, context)
            payload = intent.pack()
        except OrderRefused:
            context.counters.orders_refused.inc()
            raise
        except (NotRepresentable, TypeError) as error:
            context.counters.orders_refused.inc()
            raise OrderRefused(str(error)) from error
        try:
            self._send(payload)  # before the rest, which goes on while the gate wakes up
        finally:
            future = self._loop.create_future()
            self._orders[intent.client_order_id] = Order(intent, context, future)
            context.orders_placing += 1
            context.counters.orders_submitted.inc()
        return future

    def cancel(self, venue: int, pair: str, client_order_id: str) -> asyncio.Future[Reply]:
        """Ask for the end of an order; the returned future gets the reply that says how it ended.

        That is CANCELLED, FILLED, EXPIRED or REJECTED (the order is over; `on_reply` gets the same reply afterwards),
        or CANCEL_FAILED (it may still be open). Never refused: without a gate it waits for the next one. A second
        cancel of the same order joins the first.
        """
        future = self._loop.create_future()
        ended = self._ended.get(client_order_id)
        if ended is not None:
            future.set_result(ended)
            return future
        order = self._orders.get(client_order_id) or self._orphans.get(client_order_id)
        if order is None:
            blank = self._cancel_intent(venue, pair, client_order_id)
            order = self._orphans[client_order_id] = Order(blank, self._owner(client_order_id), None)
        order.cancels.append(future)
        self._send_cancel(order)
        return future

    def cancel_all(self, context: StrategyContext) -> int:
        """Ask for the end of all orders of a strategy that cannot do so itself; returns how many cancels that were.

        What becomes of them goes to `on_reply`.
        """
        orders = [order for order in self.open_orders(context) if not order.cancel_sent]
        for order in orders:
            order.must_end = True
            self._send_cancel(order)
        return len(orders)

    def attach_gate(self, epoch: int, inbound: str, outbound: str, make_link: Callable[[str, str], Link]) -> None:
        """Use this queue pair from now on: segment names as this end reads and writes them.

        `make_link(inbound, outbound)` makes the link to a new gate. The same epoch with other names is a fresh pair to
        the same gate (the last one was wedged); the same epoch and names again change nothing. Raises ShmError when a
        queue cannot be mapped; the last pair then stays.
        """
        names = (inbound, outbound)
        if self._link is not None and epoch == self._epoch:
            if names == self._names:
                return
            self._link.relink(OrderQueue.attach(inbound), OrderQueue.attach(outbound))
            self._names, self._wedged = names, False
        else:
            self._link = make_link(inbound, outbound)
            self._names, self._epoch, self._wedged = names, epoch, False
            self._accounts.close_all()
            self._tell_new_gate()
        self.pump()

    def detach_gate(self) -> None:
        """Forget a gate that is gone: new orders are refused until the next one; cancels wait for it."""
        self._link = None
        self._accounts.close_all()
        for order in (*self._orders.values(), *self._orphans.values()):
            order.cancel_sent = False

    def pump(self) -> None:
        """Take in what the gate has sent, and send what is pending; call it on a wake-up and now and then."""
        if self._link is None or self._wedged:
            return
        try:
            while self._arrived or self._poll():  # what one reply raises must not hold back those behind it
                self._on_reply(unpack(self._arrived.popleft()))
        except QueueWedged:
            self._note_wedged()
            return
        self._flush()

    def _poll(self) -> bool:
        self._arrived.extend(self._link.poll())
        return bool(self._arrived)

    def check_books(self) -> int:
        """Cancel what rests on books that are not live for too long; returns how many cancels that were.

        What must end, and whose cancel was refused, is cancelled again as well.
        """
        if self._link is None:
            return 0
        contexts = {order.context for order in self._orders.values()}
        used = {(order.intent.venue, order.intent.pair) for order in self._orders.values()}
        used.update(book for context in contexts for book in context.books)
        now_ns = self._now_ns()
        for order in self._orders.values():
            if order.must_end and now_ns - order.cancel_ns >= REFUSED_NS:
                self._send_cancel(order)
        late = self._stale.late(used, now_ns)
        if not late:
            return 0
        cancelled = 0
        for order in self._orders.values():
            own = (order.intent.venue, order.intent.pair)
            tried = order.cancel_sent or now_ns - order.cancel_ns < CANCEL_AGAIN_NS
            if not tried and (own in late or not late.isdisjoint(order.context.books)):
                self._send_cancel(order)
                cancelled += 1
        if cancelled:
            pairs = ", ".join(sorted(pair for _, pair in late))
            log.warning("cancelling %d orders: the book of %s is stale", cancelled, pairs)
        return cancelled

    def _account(self, venue: int, tag: str) -> Account:
        return self._accounts.capital(tag, venue) if tag else self._accounts[venue]

    def _owner(self, client_order_id: str) -> StrategyContext:
        parsed = parse_order_id(client_order_id)
        context = None if parsed is None else self._contexts.get(parsed[1])
        if context is None:
            raise OrderRefused(f"order id {client_order_id} carries no tag of a strategy of this worker")
        caller = CURRENT.get(None)
        if caller is not None and caller is not context:
            raise OrderRefused(f"order id {client_order_id} is one of {context.id}, was used by {caller.id}")
        return context

    def _check(self, intent: Intent, context: StrategyContext) -> None:
        if intent.kind is not IntentKind.PLACE:
            raise OrderRefused(f"place() takes PLACE intents, was {intent.kind.name}")
        if intent.client_order_id in self._orders or intent.client_order_id in self._ended:
            raise OrderRefused(f"order id {intent.client_order_id} was used before")
        if self._link is None:
            raise OrderRefused("gate is restarting")
        if self._placing_max is not None and context.orders_placing >= self._placing_max:
            context.orders_over += 1
            raise OrderRefused(f"{context.orders_placing} orders of {context.id} wait for their fate, no more may")
        closed = self._accounts[intent.venue].closed
        if closed:
            raise OrderRefused(f"{self._market.name_of(intent.venue)} is not ready: {closed}")
        own = (intent.venue, intent.pair)
        for venue, pair in context.books if own in context.books else (own, *context.books):
            state = self._market.state(venue, pair)
            if state != LIVE:
                raise OrderRefused(f"book of {pair} is {STATE_NAMES[state]}")

    def _cancel_intent(self, venue: int, pair: str, client_order_id: str) -> Intent:
        return Intent(IntentKind.CANCEL, venue, pair, client_order_id, created_ns=self._now_ns())

    def _send(self, payload: bytes) -> None:
        self._link.send(payload)
        self._flush()

    def _send_cancel(self, order: Order) -> None:
        if self._link is None or order.cancel_sent:
            return
        order.cancel_sent = True
        order.cancel_ns = self._now_ns()
        intent = order.intent
        self._send(self._cancel_intent(intent.venue, intent.pair, intent.client_order_id).pack())

    def _flush(self) -> None:
        if self._wedged:
            return
        try:
            done = self._link.flush()
        except QueueWedged:
            self._note_wedged()
            return
        if not done and self._retry is None:
            self._retry = self._loop.call_later(TRY_AGAIN_S, self._flush_again)

    def _flush_again(self) -> None:
        self._retry = None
        if self._link is not None:
            self._flush()

    def _note_wedged(self) -> None:
        self._wedged = True
        log.error("queue pair %s is wedged: waiting for a fresh one", self._names)
        if self._on_wedged is not None:
            self._on_wedged()

    def _tell_new_gate(self) -> None:
        for order in self._orders.values():
            intent = order.intent
            if order.placing is not None:
                self._link.send(intent._replace(flags=intent.flags | MAYBE_SENT).pack())
            else:
                self._link.send(intent._replace(kind=IntentKind.QUERY, flags=intent.flags | MAYBE_SENT).pack())
        for order in (*self._orders.values(), *self._orphans.values()):
            order.cancel_sent = False
            if order.cancels or order.must_end:
                self._send_cancel(order)

    def _on_reply(self, reply: Reply) -> None:
        if self._accounts.take(reply):
            return
        order = self._orders.get(reply.client_order_id)
        if order is None:
            self._on_stray(reply)
            return
        if reply.exchange_order_id:
            order.exchange_order_id = reply.exchange_order_id
        if reply.kind is ReplyKind.CANCEL_FAILED:
            self._on_cancel_failed(order, reply)
            return
        if order.placing is not None:
            proves_life = reply.kind not in ANSWERS
            self._answer(order, reply._replace(kind=ReplyKind.ACKED) if proves_life else reply)
            if not proves_life:
                return
        elif order.has_heard(reply):
            return
        order.count(reply)
        order.unknown = reply.kind is ReplyKind.UNKNOWN
        if reply.kind in FINAL_KINDS:
            self._end(order, reply)
        order.context.post(self._deliver, order.context, reply)
        if reply.kind is ReplyKind.FILL and self._on_fill is not None:
            self._on_fill(order.context)

    def _answer(self, order: Order, reply: Reply) -> None:
        """Resolve place(); the caller's task runs before anything else of this order is delivered."""
        future, order.placing = order.placing, None
        order.context.orders_placing -= 1
        order.unknown = reply.kind is ReplyKind.UNKNOWN
        order.count(reply)
        order.context.resolve(future, reply, lambda late: self._deliver(order.context, late))
        if reply.kind in FINAL_KINDS:
            self._end(order, reply)

    def _end(self, order: Order, reply: Reply) -> None:
        client_order_id = order.intent.client_order_id
        self._orders.pop(client_order_id, None)
        self._orphans.pop(client_order_id, None)
        self._ended.add(reply)
        self._strays.heard(client_order_id, order.trade_ids)
        self._resolve_cancels(order, reply)

    @staticmethod
    def _resolve_cancels(order: Order, reply: Reply) -> None:
        for future in order.cancels:
            order.context.resolve(future, reply)
        order.cancels = []

    def _on_cancel_failed(self, order: Order, reply: Reply) -> None:
        order.cancel_sent = False
        if order.cancels:
            self._resolve_cancels(order, reply)
        else:
            order.context.post(self._deliver, order.context, reply)

    def _on_stray(self, reply: Reply) -> None:
        """Handle a reply to an order that is over, or that an earlier life of this worker placed."""
        orphan = self._orphans.get(reply.client_order_id)
        if orphan is not None:
            if reply.kind in FINAL_KINDS:
                self._end(orphan, reply)
            elif reply.kind is ReplyKind.CANCEL_FAILED:
                del self._orphans[reply.client_order_id]
                self._resolve_cancels(orphan, reply)
                return
        elif reply.client_order_id in self._ended and reply.kind is not ReplyKind.FILL:
            return
        parsed = parse_order_id(reply.client_order_id)
        tag = "" if parsed is None else parsed[1]
        self._strays.take(tag, self._contexts.get(tag), reply)

    @staticmethod
    def _deliver(context: StrategyContext, reply: Reply) -> None:
        if context.on_reply is None:
            log.warning("strategy %s takes no replies: %s of %s", context.id, reply.kind.name, reply.client_order_id)
        else:
            context.on_reply(reply)
