"""One venue account: intents in, requests out, what the venue says back to the strategies.

    handle(intent) -> ledger, FIFO -> pump: rates, limits -> venue.place -> ledger -> replies
                                                   user stream, inquiry ->/

Everything runs on one event loop; what is written to a connection is written without waiting for other tasks. An
account that fails is started again by itself and does not touch the others.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine

from hive.gate.binance_messages import CANCEL_REJECTED, FILTER_FAILURE
from hive.gate.errors import ClockRefused, NotSent, Refused, Throttled, Unanswered, VenueError, Withheld
from hive.gate.fifo import OrderFifo, OrderRates
from hive.gate.figures import AccountFigures
from hive.gate.inquiry import Inquiry
from hive.gate.ledger import Ledger, Order, State
from hive.gate.venue import NewOrder, Venue
from hive.shm.messages import MAYBE_SENT, STALE_BOOK, Intent, IntentKind, OrderType, Reply, ReplyKind

RETRY_S = 0.25  # after a request that could not be sent
CLOCK_RETRIES = 3
EARLY_NS = 1_000_000_000  # a venue takes a timestamp that is up to this much ahead of its clock
MARGIN_NS = 1_000_000_000


class Account:
    """The orders of one venue account.

    Args:
        index: its number in intents and replies
        venue: speaks its protocol
        recv_window_ns: how long a request stays valid at the venue
        max_age_ns: how long an intent may wait
        rates: of all accounts
        reply: takes (strategy's tag, reply)
        figures: its counters
        now_ns: monotonic
        stale: asked at the moment of sending, by pair and the feed's epoch of the decision: why not, "" when it may go
        on_filter: called when the venue refused an order by one of its filters
    """

    def __init__(
        self,
        index: int,
        venue: Venue,
        recv_window_ns: int,
        max_age_ns: int,
        rates: OrderRates,
        reply: Callable[[str, Reply], None],
        figures: AccountFigures,
        log: logging.Logger,
        now_ns: Callable[[], int] = time.monotonic_ns,
        stale: Callable[[str, int], str] = lambda pair, book_epoch: "",
        on_filter: Callable[[], None] = lambda: None,
    ) -> None:
        self.index = index
        self.venue = venue
        self.ledger = Ledger(index)
        self.inquiry = Inquiry(venue, self.ledger, self.apply, log, now_ns)
        self.figures = figures
        self.refusing = "the venue's account is not ready"
        self.unheard: dict[str, int] = {}  # client order id -> since when the user stream should speak of it
        self._fifo = OrderFifo(rates)
        self._reply = reply
        self._log = log
        self._now_ns = now_ns
        self._stale = stale
        self._on_filter = on_filter
        self._max_age_ns = max_age_ns
        self._absent_after_ns = recv_window_ns + EARLY_NS + MARGIN_NS
        self._born_ns = now_ns()  # nothing that an earlier gate sent can have left after this
        self._hold_until_ns = 0
        self._wake_up: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task] = set()
        self._early: list[tuple[Intent, str, int]] | None = []

    def accept(self) -> None:
        """Take new orders from now on; what came too early is handled."""
        self.refusing = ""
        early, self._early = self._early, None
        for intent, tag, worker_epoch in early or ():
            self.handle(intent, tag, worker_epoch)

    def handle(self, intent: Intent, tag: str, worker_epoch: int) -> None:
        """Take an intent whose client order id belongs to the strategy `tag` of a worker."""
        order = self.ledger.get(intent.client_order_id)
        placing = intent.kind is IntentKind.PLACE
        if order is not None and intent.kind is IntentKind.CANCEL:
            if worker_epoch > order.worker_epoch:  # a later life of its worker: it may have heard of none of the fills
                order.worker_epoch = worker_epoch
                for reply in self.ledger.replay(order)[:-1]:
                    self._reply(tag, reply)
            self.cancel(order)
        elif order is not None:
            if placing:
                self.figures.count("duplicates_dropped")
            for reply in self.ledger.replay(order):
                self._reply(tag, reply)
        elif placing and not intent.flags & MAYBE_SENT:
            self._admit(intent, tag, worker_epoch)
        elif self._early is not None:
            self._early.append((intent, tag, worker_epoch))
        else:
            self._look_up(intent, tag, worker_epoch)

    def recover(self, intent: Intent, tag: str) -> None:
        """Say what is true of an intent whose handling broke: refused when it was not sent, else asked for."""
        order = self.ledger.get(intent.client_order_id)
        why = "an error in the gate, not sent"
        if order is None:
            kind = ReplyKind.CANCEL_FAILED if intent.kind is IntentKind.CANCEL else ReplyKind.REJECTED
            self._reply(tag, Reply(kind, self.index, intent.client_order_id, text=why))
        elif order.state is State.PENDING:
            self.drop(order, why)
        else:
            self._doubt(order)

    def cancel(self, order: Order) -> None:
        """Cancel an order: at once, or when its fate is known."""
        if order.state is State.PENDING:
            self._fifo.remove(order)
            self.apply(order, self.ledger.withdraw(order, "cancelled before it was sent", self._now_ns()))
        elif order.state is State.REJECTED:
            self._reply(order.tag, self.ledger.failed_cancel(order, CANCEL_REJECTED, f"rejected: {order.text}"))
        elif order.final:
            self._reply(order.tag, self.ledger.replay(order)[-1])
        else:
            order.cancel_wanted = True
            self._try_cancel(order)

    def refuse(self, why: str) -> None:
        """Take no new orders from now on, and end those that wait."""
        self.refusing = why
        self.drop_waiting(why)

    def drop_waiting(self, why: str, code: int = 0) -> None:
        """End the orders that wait, unsent."""
        for order in self._fifo.waiting():
            self.drop(order, why, code)

    def worker_gone(self, tags: set[str], epoch: int, cancel: bool) -> int:
        """End the waiting orders of a worker that is gone and, with `cancel`, its open ones; returns how many."""
        orders = [o for o in self.ledger.open_orders() if o.tag in tags and o.worker_epoch <= epoch]
        for order in orders:
            if order.state is State.PENDING:
                self.drop(order, "its worker is gone")
            elif cancel:
                self.cancel(order)
        return len(orders)

    def drop(self, order: Order, why: str, code: int = 0) -> None:
        """End an order that waits, unsent."""
        self._fifo.remove(order)
        if code == STALE_BOOK:
            self.figures.count("orders_refused_stale")
        self.apply(order, self.ledger.reject(order, code, why, self._now_ns()))

    def apply(self, order: Order, replies: list[Reply]) -> None:
        """Pass on what follows from evidence about an order, and do what it asks for next."""
        for reply in replies:
            self.figures.count_reply(reply)
            self._reply(order.tag, reply)
        if order.refusal is not None and not order.suspect:
            code, text = order.refusal
            order.refusal = None
            if not order.final and order.closing is None:
                self._reply(order.tag, self.ledger.failed_cancel(order, code, text))
        if order.needs_asking:
            self.inquiry.ask(order)
        elif order.cancel_wanted:
            self._try_cancel(order)

    def pump(self) -> None:
        """Send every order whose turn it is, and come back when the next one's is."""
        while True:
            now_ns = self._now_ns()
            wait_ns = self._fifo.wait_ns(now_ns)
            if wait_ns is None:
                return
            wait_ns = max(wait_ns, self._hold_until_ns - now_ns)
            if wait_ns <= 0:
                wait_ns = self.venue.order_wait_ns(now_ns)
            if wait_ns > 0:
                self._pump_in(wait_ns)
                return
            order = self._fifo.head(now_ns)
            if order is None:
                return
            stale = self._stale(order.pair, order.book_epoch)
            if stale:
                self.drop(order, stale, STALE_BOOK)
                continue
            self._fifo.take(order, now_ns)
            self.figures.order_wait.record(now_ns - order.queued_ns)
            self._start(self._place(order), order)

    def tick(self) -> None:
        """Do what time alone brings: refuse what waited too long, show the figures."""
        oldest_ns = self._now_ns() - self._max_age_ns
        for order in self._fifo.waiting():
            if order.created_ns < oldest_ns:
                self.drop(order, self._too_old())
        for name, value in self.venue.figures().items():
            self.figures.set(name, value)
        self.figures.set("queue_depth", len(self._fifo))
        self.figures.set("unknown_now", self.ledger.count(State.UNKNOWN))
        self.figures.set("open_orders", self.ledger.count(State.ACKED))
        self.pump()

    def stop(self) -> None:
        """Stop every task of its own."""
        self.inquiry.stop()
        for task in self._tasks:
            task.cancel()

    def _admit(self, intent: Intent, tag: str, worker_epoch: int) -> None:
        order = self.ledger.admit(intent, tag, self.venue.symbol(intent.pair) or "", worker_epoch)
        fault = self.refusing or self._fault(order)
        if fault:
            self.apply(order, self.ledger.reject(order, 0, fault, self._now_ns()))
            return
        order.queued_ns = self._now_ns()
        self._fifo.push(order)
        self.pump()

    def _look_up(self, intent: Intent, tag: str, worker_epoch: int) -> None:
        symbol = self.venue.symbol(intent.pair)
        if symbol is None:
            cancelling = intent.kind is IntentKind.CANCEL
            kind = ReplyKind.CANCEL_FAILED if cancelling else ReplyKind.REJECTED
            text = f"{self.venue.name} does not list {intent.pair}"
            self._reply(tag, Reply(kind, self.index, intent.client_order_id, text=text))
            return
        order = self.ledger.admit(intent, tag, symbol, worker_epoch)
        self.ledger.inquire(order, max(self._born_ns, intent.created_ns) + self._absent_after_ns)
        order.cancel_wanted = intent.kind is IntentKind.CANCEL
        self.inquiry.ask(order, at_once=True)

    def _fault(self, order: Order) -> str:
        if not order.symbol:
            return f"{self.venue.name} does not list {order.pair}"
        if order.amount <= 0:
            return f"amount must be > 0, was {order.amount}"
        if order.order_type is not OrderType.MARKET and (order.price is None or order.price <= 0):
            return f"price must be > 0, was {order.price}"
        return self._too_old() if order.created_ns < self._now_ns() - self._max_age_ns else ""

    def _too_old(self) -> str:
        return f"waited longer than {self._max_age_ns / 1e9:g} s for its turn"

    async def _place(self, order: Order) -> None:
        new = NewOrder(
            order.symbol,
            order.client_order_id,
            order.side,
            order.order_type,
            order.tif,
            None if order.order_type is OrderType.MARKET else order.price,
            order.amount,
        )

        def on_sent(now_ns: int) -> None:
            order.sent_ns = now_ns
            order.absent_ns = now_ns + self._absent_after_ns
            self.figures.count("orders_sent")
            self.figures.order_latency.record(now_ns - order.created_ns)

        def may_send() -> None:
            stale = self._stale(order.pair, order.book_epoch)
            if stale:
                raise Withheld(stale)

        self.ledger.send(order, self._now_ns() + self._absent_after_ns)
        try:
            state, trades = await self.venue.place(new, on_sent, may_send)
        except (NotSent, Throttled):
            self._wait_again(order)
        except Withheld as withheld:
            self.drop(order, str(withheld), STALE_BOOK)
        except ClockRefused as refused:
            await self._place_again(order, refused)
        except Refused as refused:
            if refused.code == FILTER_FAILURE:
                self._on_filter()
            self.apply(order, self.ledger.reject(order, refused.code, refused.text, self._now_ns()))
        except Unanswered as unanswered:
            self._log.warning("order %s: fate unknown: %s", order.client_order_id, unanswered)
            self.apply(order, self.ledger.doubt(order, str(unanswered)))
        else:
            now_ns = self._now_ns()
            self.figures.ack_latency.record(now_ns - order.sent_ns)
            self._expect(order, order.sent_ns)
            self.apply(order, self.ledger.observe(order, state, trades, now_ns))

    async def _place_again(self, order: Order, refused: ClockRefused) -> None:
        order.clock_refusals += 1
        try:
            await self.venue.sync_clock()
        except VenueError as error:
            self._log.warning("the venue's clock could not be read: %s", error)
        if order.clock_refusals < CLOCK_RETRIES:
            self._wait_again(order)
        else:
            self.apply(order, self.ledger.reject(order, refused.code, refused.text, self._now_ns()))

    def _wait_again(self, order: Order) -> None:
        """Put an order back that the venue certainly did not execute."""
        if not self.ledger.unsend(order):
            return
        if order.cancel_wanted:
            self.cancel(order)
        elif self.refusing:
            self.drop(order, self.refusing)
        else:
            self._fifo.push_back(order)
            self._hold_until_ns = self._now_ns() + int(RETRY_S * 1e9)
            self._pump_in(int(RETRY_S * 1e9))

    def _try_cancel(self, order: Order) -> None:
        if order.state is State.ACKED and order.cancel_wanted and not order.cancelling and not order.needs_asking:
            order.cancelling = True
            self._start(self._cancel(order), order)

    async def _cancel(self, order: Order) -> None:
        retry_s = None
        asked_ns = self._now_ns()
        self.figures.count("cancels_sent")
        try:
            state = await self.venue.cancel(order.symbol, order.client_order_id)
        except NotSent:
            retry_s = RETRY_S
        except Throttled as throttled:
            retry_s = throttled.wait_s
        except ClockRefused as refused:
            retry_s = await self._cancel_again(order, refused)
        except Refused as refused:
            self._refused_cancel(order, refused)
        except Unanswered as unanswered:
            self._log.warning("order %s: its cancel has no answer: %s", order.client_order_id, unanswered)
            order.suspect = True
        else:
            order.cancelling = False
            self._expect(order, asked_ns)
            self.apply(order, self.ledger.observe(order, state, (), self._now_ns()))
            return
        order.cancelling = False
        if retry_s is not None:
            asyncio.get_running_loop().call_later(retry_s, self._try_cancel, order)
        elif order.needs_asking:
            self.inquiry.ask(order, at_once=True)

    async def _cancel_again(self, order: Order, refused: ClockRefused) -> float | None:
        order.clock_refusals += 1
        if order.clock_refusals >= CLOCK_RETRIES:
            self._refused_cancel(order, refused)
            return None
        try:
            await self.venue.sync_clock()
        except VenueError as error:
            self._log.warning("the venue's clock could not be read: %s", error)
        return RETRY_S

    def _refused_cancel(self, order: Order, refused: Refused) -> None:
        if order.final:
            return
        order.cancel_wanted = False
        order.suspect = True  # what became of it is asked for before the refusal is reported
        order.refusal = (refused.code, refused.text)

    def _expect(self, order: Order, since_ns: int) -> None:
        if order.stream_ns < since_ns:
            self.unheard.setdefault(order.client_order_id, self._now_ns())

    def _pump_in(self, wait_ns: int) -> None:
        loop = asyncio.get_running_loop()
        if self._wake_up is not None:
            self._wake_up.cancel()
        self._wake_up = loop.call_later(wait_ns * 1e-9, self.pump)

    def _start(self, coroutine: Coroutine[None, None, None], order: Order) -> None:
        # an eager task runs up to its first real wait right here: the request is written before this returns
        task = asyncio.Task(coroutine, loop=asyncio.get_running_loop(), eager_start=True)
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(order, done))

    def _ended(self, order: Order, task: asyncio.Task) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        self._log.error("order %s: handling it broke", order.client_order_id, exc_info=task.exception())
        self._doubt(order)

    def _doubt(self, order: Order) -> None:
        order.cancelling = False
        order.suspect = not order.final and order.state is not State.PENDING
        self.apply(order, self.ledger.doubt(order, "an error in the gate"))
