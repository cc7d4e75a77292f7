"""One venue account: intents in, requests out, what the venue says back to the strategies.

    handle(intent) -> ledger, guards -> Sender: classes, strategies, limits -> Requests: journal, venue
                                          replies <- ledger <- answers, user stream, inquiry ->/

Everything runs on one event loop; what is written to a connection is written without waiting for other tasks. An
account that fails is started again by itself and does not touch the others.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from hive.gate import replies
from hive.gate.admission import NOT_READY, Admission
from hive.gate.binance_messages import NO_SUCH_ORDER
from hive.gate.exact import plain
from hive.gate.figures import AccountFigures
from hive.gate.guards import AccountGuards
from hive.gate.inquiry import Inquiry
from hive.gate.journal import Journal
from hive.gate.ledger import Ledger
from hive.gate.lives import Lives
from hive.gate.order import Order, State
from hive.gate.quota import Quotas, RequestClass
from hive.gate.requests import Outcomes, Requests
from hive.gate.sender import Sender
from hive.gate.takeover import Takeover
from hive.gate.venue import OrderState, Venue
from hive.shm.messages import MAYBE_SENT, Intent, IntentKind, Reply
from hive.shm.refusals import Refusal

BROKE = "an error in the gate, not sent"
GONE = (Refusal.WORKER_GONE, "its worker is gone")
LATEST = 1 << 62  # an epoch, or a life, that is not before any other


@dataclass(frozen=True, slots=True)
class AccountRules:
    """How an account treats orders.

    Args:
        recv_window_ns: how long a request stays valid at the venue
        max_age_ns: how long an intent may wait; None: see `Admission`
        queue_per_strategy: most requests of one strategy that wait in a class
    """

    recv_window_ns: int
    max_age_ns: int | None = None
    queue_per_strategy: int = 100


class Account:
    """The orders of one venue account.

    Args:
        index: its number in intents and replies
        venue: speaks its protocol
        rules: of its own
        quotas: of all accounts
        journal: its own, open
        guards: pre-trade risk, capital, loss limits
        reply: takes (strategy's tag, reply)
        figures: its counters
        now_ns: monotonic
        stale: asked at the moment of sending, by pair and the feed's epoch of the decision: why not, "" when it may go
        on_filter: called when the venue refused an order by one of its filters
        on_bad_key: called when the venue does not take the key any more, with what it says
    """

    def __init__(
        self,
        index: int,
        venue: Venue,
        rules: AccountRules,
        quotas: Quotas,
        journal: Journal,
        guards: AccountGuards,
        reply: Callable[[str, Reply], None],
        figures: AccountFigures,
        log: logging.Logger,
        now_ns: Callable[[], int] = time.monotonic_ns,
        stale: Callable[[str, int], str] = lambda pair, book_epoch: "",
        on_filter: Callable[[], None] = lambda: None,
        on_bad_key: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.index = index
        self.venue = venue
        self.journal = journal
        self.ledger = Ledger(index, journal)
        self.guards = guards
        self.figures = figures
        self.sender = Sender(venue, rules.queue_per_strategy, quotas, figures, self._go, now_ns)
        self.admission = Admission(venue, journal, guards, rules.max_age_ns, self.sender.bound_ns, stale, now_ns)
        self.balances: dict[str, Decimal] = {}  # free plus locked, as the venue last said
        self.unheard: dict[str, int] = {}  # client order id -> since when the user stream should speak of it
        outcomes = Outcomes(
            apply=self.apply,
            refuse=self.refuse,
            cancel=self.cancel,
            may_send=self.admission.may_send,
            refusing=lambda: self.admission.refusing,
            expect=self._expect,
            on_filter=on_filter,
            on_bad_key=on_bad_key,
        )
        self.requests = Requests(
            venue, self.ledger, journal.commit, figures, outcomes, rules.recv_window_ns, log, now_ns
        )
        self.requests.sender = self.sender
        remembered = not journal.recovered.damage
        self.inquiry = Inquiry(
            venue, self.ledger, self.apply, self.renamed, self.sender.turn, remembered, log, now_ns
        )
        self.takeover = Takeover(self.ledger, guards, journal, self.requests.absent_after_ns, now_ns)
        self.lives = Lives(index, self.ledger, journal, guards.capital, reply, now_ns)
        self._rules = rules
        self._reply = reply
        self._log = log
        self._now_ns = now_ns
        self._journal_failing = ""

    # --- intents

    def accept(self) -> None:
        """Take new orders from now on, unless the gate is leaving; what came too early is handled."""
        if self.admission.refusing == NOT_READY:
            self.admission.refusing = ""
        for intent, tag, worker_epoch in self.takeover.release():
            self.handle(intent, tag, worker_epoch)

    def handle(self, intent: Intent, tag: str, worker_epoch: int) -> None:
        """Take an intent whose client order id belongs to the strategy `tag` of a worker."""
        order = self.ledger.get(intent.client_order_id)
        placing = intent.kind is IntentKind.PLACE
        if order is not None and intent.kind is IntentKind.CANCEL:
            self.lives.tell_heir(order, worker_epoch)
            self.cancel(order)
        elif order is not None and placing and self._is_another(order, intent, worker_epoch):
            text = f"{intent.client_order_id} was used before"
            self.figures.refused(tag, Refusal.DUPLICATE_ID)
            self._reply(tag, replies.refused(intent, Refusal.DUPLICATE_ID, text))
        elif order is not None:
            if placing:
                self.figures.count("duplicates_dropped")
            for reply in self.ledger.replay(order):
                self._reply(tag, reply)
        elif placing and not intent.flags & MAYBE_SENT:
            self._admit(intent, tag, worker_epoch)
        elif self.takeover.keep(intent, tag, worker_epoch):
            pass  # until the account is ready
        elif placing and self.takeover.complete:  # no earlier gate has sent it
            self._admit(intent, tag, worker_epoch)
        else:
            self._look_up(intent, tag, worker_epoch)

    def recover(self, intent: Intent, tag: str) -> None:
        """Say what is true of an intent whose handling broke: refused when it was not sent, else asked for."""
        order = self.ledger.get(intent.client_order_id)
        if order is None:
            self._reply(tag, replies.refused(intent, Refusal.GATE_ERROR, BROKE))
        else:
            self._tell_truth(order)

    def _tell_truth(self, order: Order) -> None:
        """Say what is true of an order whose handling broke."""
        if order.state is State.PENDING:
            self.refuse(order, Refusal.GATE_ERROR, BROKE)
        else:
            self.requests.doubt(order)

    def cancel(self, order: Order, urgent: bool = False) -> None:
        """Cancel an order: at once, or when its fate is known; `urgent` before the cancels of strategies."""
        if order.state is State.PENDING:
            self.sender.withdraw(order)
            self.apply(order, self.ledger.withdraw(order, "cancelled before it was sent", self._now_ns()))
        elif order.state is State.REJECTED:
            self._reply(order.tag, self.ledger.failed_cancel(order, NO_SUCH_ORDER, f"rejected: {order.text}"))
        elif order.final:
            self._reply(order.tag, self.ledger.replay(order)[-1])
        else:
            self.ledger.want_cancel(order, urgent)
            self._try_cancel(order)

    # --- who may not

    def refuse_all(self, why: str) -> None:
        """Take no new orders from now on, and end those that wait."""
        self.admission.refusing = why
        self.drop_waiting(why, Refusal.VENUE_CLOSED)

    def halt(self, tag: str | None, scope: str, reason: str) -> None:
        """Take no new orders of a strategy (None: of anybody), and end those that wait; see `Halts`."""
        self.admission.halts.halt(tag, scope, reason)
        self.drop_waiting(reason, Refusal.HALTED, tag)

    def drop_waiting(self, why: str, code: Refusal, tag: str | None = None) -> None:
        """End the orders that wait, unsent; with `tag` those of one strategy."""
        for order in self.sender.orders():
            if tag is None or order.tag == tag:
                self.refuse(order, code, why)

    def part(self, tag: str, cancel: bool) -> int:
        """End a strategy's life: its waiting orders and, with `cancel`, its open ones; returns how many it had."""
        self.lives.part(tag)
        return self.worker_gone({tag}, LATEST, cancel)

    def worker_gone(self, tags: set[str], epoch: int, cancel: bool) -> int:
        """End the waiting orders of a worker that is gone and, with `cancel`, its open ones; returns how many."""
        self.takeover.bury(tags, epoch, cancel)
        orders = [o for o in self.ledger.open_orders() if o.tag in tags and o.worker_epoch <= epoch]
        for order in orders:
            if order.state is State.PENDING:
                self.refuse(order, *GONE)
                continue
            if order.state is State.SENT:  # it may wait for its connection, or be refused for a limit and wait again
                order.withheld = GONE
            if cancel:
                self.cancel(order, urgent=True)
        return len(orders)

    def refuse(self, order: Order, code: int, why: str) -> None:
        """End an order that was not sent."""
        self.sender.withdraw(order, code)
        self.figures.refused(order.tag, code)
        self.apply(order, self.ledger.reject(order, code, why, self._now_ns()))

    # --- evidence

    def apply(self, order: Order, news: list[Reply]) -> None:
        """Pass on what follows from evidence about an order, and do what it asks for next."""
        self.lives.catch_up(order, news)
        if order.amount_before is not None:
            self._made_smaller(order)
        for reply in news:
            self.figures.count_reply(reply)
            self._count(order, reply)
            self._reply(order.tag, reply)
        if order.refusal is not None and not order.suspect:
            code, text = order.refusal
            order.refusal = None
            if not order.final and order.closing is None:
                self._reply(order.tag, self.ledger.failed_cancel(order, code, text))
        if order.needs_asking:
            self.inquiry.ask(order, at_once=order.suspect)
        if order.cancel_wanted:
            self._try_cancel(order)

    def renamed(self, order: Order, state: OrderState) -> None:
        """Take it that an order goes on at the venue under an id that is not the fleet's: a person changed it."""
        if order.closing is not None:
            return  # it is ending, as soon as its fills are known; what comes under the other id is not its own
        text = "order %s was changed at the venue, by hand: it goes on as %s, which is not the fleet's and left alone"
        self._log.critical(text, order.client_order_id, state.client_order_id)
        self.figures.count("foreign_orders")
        self.apply(order, self.ledger.rename(order, state, self._now_ns()))

    def _made_smaller(self, order: Order) -> None:
        before, order.amount_before = order.amount_before, None
        text = "order %s was made smaller at the venue, by hand: %s instead of %s"
        self._log.critical(text, order.client_order_id, plain(order.amount), plain(before))
        if order.guarded:
            self.guards.ended(order)
            self.guards.admitted(order)

    def _count(self, order: Order, reply: Reply) -> None:
        try:
            self.guards.told(order, reply)
            self.lives.tell_capital_news()
        except Exception:  # noqa: BLE001 - its strategy must hear of it all the same
            text = "order %s: its %s cannot be counted, so that limits and capital are wrong from now on"
            self._log.critical(text, order.client_order_id, reply.kind.name, exc_info=True)

    def taken(self, client_order_id: str) -> None:
        """Note that a worker has acted upon the reply that ended an order."""
        order = self.ledger.get(client_order_id)
        if order is not None:
            self.ledger.finish(order, self._now_ns())

    def tick(self) -> None:
        """Do what time alone brings: refuse what waited too long, show the figures."""
        now_ns = self._now_ns()
        for order in self.sender.orders():
            refusal = self.admission.too_old(order)
            if refusal is not None:
                self.refuse(order, *refusal)
        self.sender.tick(now_ns)
        self.guards.tick(self.balances, now_ns)
        self.journal.commit()
        self._watch_journal()
        self.sender.pump()

    def pump(self) -> None:
        """Send whatever may go now."""
        self.sender.pump()

    def stop(self) -> None:
        """Stop every task of its own."""
        self.inquiry.stop()
        self.sender.stop()
        self.requests.stop()

    def _watch_journal(self) -> None:
        failing = self.journal.failing
        if failing and not self._journal_failing:
            self._log.critical("the journal cannot be written: no new orders, cancels pass: %s", failing)
        elif self._journal_failing and not failing:
            self._log.warning("the journal is written again: new orders are taken")
        self._journal_failing = failing

    def _admit(self, intent: Intent, tag: str, worker_epoch: int) -> None:
        order = self.ledger.admit(intent, tag, self.venue.symbol(intent.pair) or "", worker_epoch)
        refusal = self.admission.refusal(order)
        if refusal is not None:
            self.refuse(order, *refusal)
            return
        now_ns = order.queued_ns = self._now_ns()
        if self.sender.free(order, now_ns):
            self._send_at_once(order, now_ns)
        else:
            self._queue(order)

    def _send_at_once(self, order: Order, now_ns: int) -> None:
        """Send an order that nothing holds up; what its turn would have counted before is counted behind the write.

        Nothing is awaited between, so nobody can see it uncounted; of what a death between would lose, the next gate
        finds the order in the journal, and makes its guards' sums from that.
        """
        self._send(order, self.admission.stale)  # all else has been looked at a moment ago
        if not order.guarded and not order.final:
            self.guards.admitted(order)
            self.lives.tell_capital_news()
        self.sender.went(order, now_ns)

    def _queue(self, order: Order) -> None:
        self.guards.admitted(order)
        self.lives.tell_capital_news()
        if not self.sender.push_order(order):
            text = f"{self._rules.queue_per_strategy} orders of this strategy wait already"
            self.refuse(order, Refusal.QUEUE_FULL, text)
        self.sender.pump()

    def _is_another(self, order: Order, intent: Intent, worker_epoch: int) -> bool:
        """Return whether a known id comes with another order, from a worker that does not hold the known one."""
        same = (order.pair, order.side, order.price, order.amount) == (
            intent.pair,
            intent.side,
            intent.price,
            intent.amount,
        )
        return not same and (order.final or worker_epoch > order.worker_epoch)

    def _look_up(self, intent: Intent, tag: str, worker_epoch: int) -> None:
        symbol = self.venue.symbol(intent.pair)
        if symbol is None:
            text = f"{self.venue.name} does not list {intent.pair}"
            self._reply(tag, replies.refused(intent, Refusal.INVALID, text))
            return
        order = self.ledger.admit(intent, tag, symbol, worker_epoch)
        self.ledger.inquire(order, self.takeover.absent_ns(intent.created_ns))
        order.cancel_wanted = intent.kind is IntentKind.CANCEL
        if intent.amount:  # it counts until the venue says that it does not live
            self.guards.admitted(order)
            self.lives.tell_capital_news()
        self.inquiry.ask(order, at_once=True)

    def _go(self, rank: RequestClass, order: Order) -> None:
        """Send what has got its turn."""
        if rank is not RequestClass.NEW:
            if order.state is State.ACKED and order.cancel_wanted:
                self.requests.cancel(order)
            else:
                order.cancelling = False
            return
        self._send(order, self.admission.may_send)

    def _send(self, order: Order, look: Callable[[Order], tuple[int, str] | None]) -> None:
        """Send an order, or end it when a last look finds a refusal."""
        try:
            refusal = look(order)
            if refusal is not None:
                self.refuse(order, *refusal)
            else:
                self.requests.place(order)
        except Exception:  # noqa: BLE001 - it waits nowhere any more: its strategy must be told something true
            self._log.exception("order %s: sending it broke", order.client_order_id)
            self._tell_truth(order)

    def _try_cancel(self, order: Order) -> None:
        if order.state is not State.ACKED or not order.cancel_wanted or order.cancelling:
            return
        if order.suspect or order.closing is not None:
            return  # it is asked about; fills that are missing do not hold a cancel up
        order.cancelling = True
        self.sender.push_cancel(order)
        self.sender.pump()

    def _expect(self, order: Order, since_ns: int) -> None:
        if order.stream_ns < since_ns:
            self.unheard.setdefault(order.client_order_id, self._now_ns())
