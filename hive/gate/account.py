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

from hive.gate.admission import NOT_READY, Admission
from hive.gate.binance_messages import CANCEL_REJECTED
from hive.gate.exact import subtract
from hive.gate.figures import AccountFigures
from hive.gate.guards import AccountGuards
from hive.gate.inquiry import Inquiry
from hive.gate.journal import Journal
from hive.gate.ledger import Ledger
from hive.gate.order import Order, State
from hive.gate.quota import Quotas, RequestClass
from hive.gate.requests import Outcomes, Requests
from hive.gate.sender import Sender
from hive.gate.venue import Venue
from hive.shm.decimals import halves
from hive.shm.messages import MAYBE_SENT, Intent, IntentKind, Reply, ReplyKind
from hive.shm.refusals import Refusal

BROKE = "an error in the gate, not sent"
LATEST = 1 << 62  # an epoch, or a life, that is not before any other
PARTING_NS = 5_000_000_000  # from a strategy's last look at its replies until the gate knows that it has left
TELL_AGAIN_NS = 60_000_000_000  # what was taken in so long before a worker's next life is told to that one too


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
        self.inquiry = Inquiry(venue, self.ledger, self.apply, self.sender.turn, log, now_ns)
        self._rules = rules
        self._reply = reply
        self._log = log
        self._now_ns = now_ns
        self._born_ns = now_ns()  # nothing that an earlier gate sent can have left after this
        self._early: list[tuple[Intent, str, int]] | None = []
        self._journal_failing = ""
        self._remembers = False  # the journal says of every order of this run whether it was sent

    # --- at the start

    def remember(self, orders: list[Order], complete: bool, new_run: bool = False) -> None:
        """Take over what the journal knows of earlier gates' orders.

        What an earlier gate could not send, and let wait again, is not among an account's orders: its worker sends it
        anew.

        Args:
            complete: an order of this run that is not among them was never sent
            new_run: they are another run's: of workers that nobody can ask, whose epochs mean nothing now
        """
        self._remembers = complete
        self.ledger.last_fill = self.guards.last_fill
        for order in orders:
            if order.state is State.PENDING:
                if not order.done:
                    self.journal.done(order.client_order_id)
                continue
            if new_run and order.worker_epoch:
                order.worker_epoch = 0
                if not order.done:
                    self.journal.adopted(order)  # so that this run's next gate knows as well
            order.absent_ns = self._born_ns + self.requests.absent_after_ns
            order.guarded = not order.final
            self.ledger.restore(order)
            self.guards.restored(order)
        self.guards.capital.news()  # each worker is told everything when it comes

    def accept(self) -> None:
        """Take new orders from now on, unless the gate is leaving; what came too early is handled."""
        if self.admission.refusing == NOT_READY:
            self.admission.refusing = ""
        early, self._early = self._early, None
        for intent, tag, worker_epoch in early or ():
            self.handle(intent, tag, worker_epoch)

    def _bury_early(self, tags: set[str], epoch: int, cancel: bool) -> None:
        """Carry out nothing that a worker asked which is gone; what an earlier gate may have sent is cancelled."""
        kept = []
        for intent, tag, worker_epoch in self._early or ():
            if intent.kind is not IntentKind.PLACE or tag not in tags or worker_epoch > epoch:
                kept.append((intent, tag, worker_epoch))
            elif not self._remembers:
                kept.append((intent._replace(kind=IntentKind.CANCEL) if cancel else intent, tag, worker_epoch))
        if self._early is not None:
            self._early = kept

    # --- intents

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
        elif order is not None and placing and self._is_another(order, intent, worker_epoch):
            text = f"{intent.client_order_id} was used before"
            self.figures.refused(tag, Refusal.DUPLICATE_ID)
            self._reply(tag, _answer(ReplyKind.REJECTED, self.index, intent, text, Refusal.DUPLICATE_ID))
        elif order is not None:
            if placing:
                self.figures.count("duplicates_dropped")
            for reply in self.ledger.replay(order):
                self._reply(tag, reply)
        elif placing and not intent.flags & MAYBE_SENT:
            self._admit(intent, tag, worker_epoch)
        elif self._early is not None:
            self._early.append((intent, tag, worker_epoch))
        elif placing and self._remembers:  # no earlier gate has sent it
            self._admit(intent, tag, worker_epoch)
        else:
            self._look_up(intent, tag, worker_epoch)

    def recover(self, intent: Intent, tag: str) -> None:
        """Say what is true of an intent whose handling broke: refused when it was not sent, else asked for."""
        order = self.ledger.get(intent.client_order_id)
        if order is None:
            kind = ReplyKind.CANCEL_FAILED if intent.kind is IntentKind.CANCEL else ReplyKind.REJECTED
            self._reply(tag, _answer(kind, self.index, intent, BROKE, Refusal.GATE_ERROR))
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
            self._reply(order.tag, self.ledger.failed_cancel(order, CANCEL_REJECTED, f"rejected: {order.text}"))
        elif order.final:
            self._reply(order.tag, self.ledger.replay(order)[-1])
        else:
            order.cancel_wanted = True
            order.urgent = order.urgent or urgent
            self._try_cancel(order)

    def tell_again(self, tags: set[str], worker_epoch: int) -> None:
        """Tell a worker that comes what became of its orders, and of its last life's: those that live, or ended late.

        What it knows already it tells by the ids of trades.
        """
        since_ns = self._now_ns() - TELL_AGAIN_NS
        for order in self.ledger.orders():
            if order.tag not in tags or not order.journaled:
                continue
            if order.worker_epoch >= worker_epoch and not order.handed:
                order.retell = True  # it asks for those that it placed, but what is heard meanwhile is told first
                continue
            if order.done and order.done_ns < since_ns:
                continue
            order.handed = False
            if order.final:
                order.worker_epoch = max(order.worker_epoch, worker_epoch)
            for reply in self.ledger.replay(order):
                self._reply(order.tag, reply)

    def part(self, tag: str, cancel: bool) -> int:
        """End a strategy's life: its waiting orders and, with `cancel`, its open ones; returns how many it had.

        What ended a moment ago is told to its next life again: the last one may have been gone before it heard.
        """
        since_ns = self._now_ns() - PARTING_NS
        for order in self.ledger.orders():
            if order.tag == tag and order.done and order.done_ns >= since_ns:
                order.done = False
        return self.worker_gone({tag}, LATEST, cancel)

    def hand_over(self, tag: str, life: int) -> None:
        """Tell a strategy's next life of the orders that the last did not end, and make it the one that holds them."""
        for order in self.ledger.orders():
            if order.tag != tag or order.done or not order.journaled:
                continue
            order.worker_epoch = life
            if not order.final:
                self.journal.adopted(order)  # so that the next gate knows as well
            for reply in self.ledger.replay(order):
                self._reply(tag, reply)

    def tell_capital(self, tags: set[str]) -> None:
        """Tell the strategies that have capital all of it: their worker has just come, or they to it."""
        for tag in sorted(tags):
            for asset, (total, free) in self.guards.capital.accounts(tag).items():
                self._reply(tag, _capital(self.index, tag, asset, total, free))

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

    def worker_gone(self, tags: set[str], epoch: int, cancel: bool) -> int:
        """End the waiting orders of a worker that is gone and, with `cancel`, its open ones; returns how many."""
        self._bury_early(tags, epoch, cancel)
        orders = [o for o in self.ledger.open_orders() if o.tag in tags and o.worker_epoch <= epoch]
        for order in orders:
            if order.state is State.PENDING:
                self.refuse(order, Refusal.WORKER_GONE, "its worker is gone")
            elif cancel:
                self.cancel(order, urgent=True)
        return len(orders)

    def refuse(self, order: Order, code: int, why: str) -> None:
        """End an order that was not sent."""
        self.sender.withdraw(order, code)
        self.figures.refused(order.tag, code)
        self.apply(order, self.ledger.reject(order, code, why, self._now_ns()))

    # --- evidence

    def apply(self, order: Order, replies: list[Reply]) -> None:
        """Pass on what follows from evidence about an order, and do what it asks for next."""
        if order.retell and replies:
            order.retell = False
            self._retell_fills(order, replies)
        for reply in replies:
            self.figures.count_reply(reply)
            self._guard(order, reply)
            self._reply(order.tag, reply)
        if order.refusal is not None and not order.suspect:
            code, text = order.refusal
            order.refusal = None
            if not order.final and order.closing is None:
                self._reply(order.tag, self.ledger.failed_cancel(order, code, text))
        if order.needs_asking:
            self.inquiry.ask(order, at_once=order.suspect)
        elif order.cancel_wanted:
            self._try_cancel(order)

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

    def _retell_fills(self, order: Order, replies: list[Reply]) -> None:
        """Tell the fills before those in `replies`: an earlier gate's queues may have been lost with them."""
        new = {reply.trade_id for reply in replies if reply.kind is ReplyKind.FILL}
        for reply in self.ledger.replay(order):
            if reply.kind is ReplyKind.FILL and reply.trade_id not in new:
                self._reply(order.tag, reply)

    def _guard(self, order: Order, reply: Reply) -> None:
        if reply.kind is ReplyKind.FILL:
            self.guards.filled(order, order.trades[reply.trade_id])
        elif reply.final and order.guarded:
            order.guarded = False
            self.guards.ended(order)
        elif reply.kind is ReplyKind.ACKED and not order.guarded:
            order.guarded = True
            self.guards.admitted(order)
        self._tell_capital_news()

    def _tell_capital_news(self) -> None:
        """Tell what an order has moved before the strategy hears of the order itself."""
        for tag, asset, total, free in self.guards.capital.news():
            self._reply(tag, _capital(self.index, tag, asset, total, free))

    def _admit(self, intent: Intent, tag: str, worker_epoch: int) -> None:
        order = self.ledger.admit(intent, tag, self.venue.symbol(intent.pair) or "", worker_epoch)
        refusal = self.admission.refusal(order)
        if refusal is not None:
            self.refuse(order, *refusal)
            return
        order.guarded = True
        self.guards.admitted(order)
        self._tell_capital_news()
        order.queued_ns = self._now_ns()
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
            cancelling = intent.kind is IntentKind.CANCEL
            kind = ReplyKind.CANCEL_FAILED if cancelling else ReplyKind.REJECTED
            text = f"{self.venue.name} does not list {intent.pair}"
            self._reply(tag, _answer(kind, self.index, intent, text, Refusal.INVALID))
            return
        order = self.ledger.admit(intent, tag, symbol, worker_epoch)
        self.ledger.inquire(order, max(self._born_ns, intent.created_ns) + self.requests.absent_after_ns)
        order.cancel_wanted = intent.kind is IntentKind.CANCEL
        self.inquiry.ask(order, at_once=True)

    def _go(self, rank: RequestClass, order: Order) -> None:
        """Send what has got its turn."""
        if rank is not RequestClass.NEW:
            if order.state is State.ACKED and order.cancel_wanted:
                self.requests.cancel(order)
            else:
                order.cancelling = False
            return
        try:
            refusal = self.admission.may_send(order)
            if refusal is not None:
                self.refuse(order, *refusal)
            else:
                self.requests.place(order)
        except Exception:  # noqa: BLE001 - it waits nowhere any more: its strategy must be told something true
            self._log.exception("order %s: sending it broke", order.client_order_id)
            self._tell_truth(order)

    def _try_cancel(self, order: Order) -> None:
        if order.state is not State.ACKED or not order.cancel_wanted or order.cancelling or order.needs_asking:
            return
        order.cancelling = True
        self.sender.push_cancel(order)
        self.sender.pump()

    def _expect(self, order: Order, since_ns: int) -> None:
        if order.stream_ns < since_ns:
            self.unheard.setdefault(order.client_order_id, self._now_ns())


def _capital(venue: int, tag: str, asset: str, total: Decimal, free: Decimal) -> Reply:
    high, low = halves(free)
    locked_high, locked_low = halves(subtract(total, free))
    return Reply(
        ReplyKind.BALANCE,
        venue,
        tag,
        price=low,
        amount=high,
        cumulative=locked_high,
        fee=locked_low,
        fee_asset=asset,
    )


def _answer(kind: ReplyKind, venue: int, intent: Intent, text: str, code: int) -> Reply:
    return Reply(kind, venue, intent.client_order_id, code=code, text=text)
