"""One request each: placing and cancelling an order, and what every outcome says about the order.

    place   -> acknowledged | refused | not executed: it waits again | no answer: UNKNOWN
    cancel  -> the order's new state | not sent: it is tried again | refused, or no answer: the venue is asked; one that
               the gate itself wants, and was refused, is sent again later

A request is written before the call that starts it returns, when its connection takes it. The journal has the order by
then: an order that cannot be recorded is not sent.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from hive.gate.binance_messages import BAD_KEYS, FILTER_FAILURE, ORDER_REJECTED
from hive.gate.errors import ClockRefused, NotSent, Refused, Throttled, Unanswered, VenueError, Withheld
from hive.gate.figures import AccountFigures
from hive.gate.ledger import Ledger
from hive.gate.order import Order, State
from hive.gate.sender import Sender
from hive.gate.venue import NewOrder, Venue
from hive.shm.messages import OrderType, Reply
from hive.shm.refusals import Refusal

RETRY_S = 0.25  # after a request that could not be sent
CANCEL_AGAIN_S = 30.0  # after a refused cancel that the gate itself wants: the market may be closed
CLOCK_RETRIES = 3
EARLY_NS = 1_000_000_000  # a venue takes a timestamp that is up to this much ahead of its clock
MARGIN_NS = 1_000_000_000
LOOK_HOLDS_NS = 1_000_000  # an order that was looked at so lately, with nothing awaited since, is not looked at again


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Who is told what became of requests.

    Args:
        apply: takes an order and the replies that follow from evidence about it
        refuse: ends an order that was not sent: (order, code, text)
        cancel: cancels an order, or withdraws it
        may_send: why an order may not be sent at this moment, None when it may
        refusing: why no order may, "" when they may
        expect: called when the user stream should speak of an order, with since when
        on_filter: the venue refused an order by one of its filters
        on_bad_key: the venue does not take the key any more, with what it says
    """

    apply: Callable[[Order, list[Reply]], None]
    refuse: Callable[[Order, int, str], None]
    cancel: Callable[[Order], None]
    may_send: Callable[[Order], tuple[Refusal, str] | None]
    refusing: Callable[[], str]
    expect: Callable[[Order, int], None]
    on_filter: Callable[[], None]
    on_bad_key: Callable[[str], None]


class Requests:
    """The requests of one account that change something.

    Args:
        venue, ledger, figures: the account's
        commit: writes the journal; False when it cannot, and then nothing may be sent
        outcomes: who is told
        recv_window_ns: how long a request stays valid at the venue
        now_ns: monotonic
    """

    def __init__(
        self,
        venue: Venue,
        ledger: Ledger,
        commit: Callable[[], bool],
        figures: AccountFigures,
        outcomes: Outcomes,
        recv_window_ns: int,
        log: logging.Logger,
        now_ns: Callable[[], int],
    ) -> None:
        self.absent_after_ns = recv_window_ns + EARLY_NS + MARGIN_NS
        self.sender: Sender  # set once, by the account
        self._venue = venue
        self._ledger = ledger
        self._commit = commit
        self._figures = figures
        self._outcomes = outcomes
        self._log = log
        self._now_ns = now_ns
        self._tasks: set[asyncio.Task] = set()
        self._again: set[str] = set()  # client order ids whose refused cancel is sent again later
        self._placing = False  # nothing has been awaited since place() was called

    def place(self, order: Order) -> None:
        """Record an order whose turn it is, and which may be sent at this moment, and write it."""
        now_ns = self._now_ns()
        self._ledger.send(order, now_ns + self.absent_after_ns)
        if not self._commit():
            self._ledger.unsend(order)
            self._outcomes.refuse(order, Refusal.JOURNAL, "the journal takes no records")
            return
        self._placing = True
        try:
            self._start(self._place(order, now_ns), order)
        finally:
            self._placing = False

    def cancel(self, order: Order) -> None:
        """Write the cancel of an order."""
        self._start(self._cancel(order), order)

    def stop(self) -> None:
        """Stop every request under way."""
        for task in self._tasks:
            task.cancel()

    def doubt(self, order: Order) -> None:
        """Have the venue asked about an order whose handling broke."""
        order.cancelling = False
        order.suspect = not order.final and order.state is not State.PENDING
        self._outcomes.apply(order, self._ledger.doubt(order, "an error in the gate"))

    async def _place(self, order: Order, looked_ns: int) -> None:
        new = NewOrder(
            order.symbol,
            order.client_order_id,
            order.side,
            order.order_type,
            order.tif,
            None if order.order_type is OrderType.MARKET else order.price,
            order.amount,
        )
        sender = self.sender

        def on_sent(ready_ns: int, sent_ns: int) -> None:
            order.sent_ns = sent_ns
            order.absent_ns = sent_ns + self.absent_after_ns
            sender.sent(order)
            self._figures.sent(order)
            self._figures.own_latency.record(ready_ns - order.created_ns)
            self._figures.order_latency.record(sent_ns - order.created_ns)

        def may_send() -> None:
            if self._placing and self._now_ns() - looked_ns < LOOK_HOLDS_NS:
                return
            refusal = order.withheld or self._outcomes.may_send(order)
            if refusal is not None:
                raise Withheld(*refusal)
            if order.cancel_wanted:
                raise NotSent("it was cancelled while it waited for its connection")

        try:
            state, trades = await self._venue.place(new, on_sent, may_send)
        except (NotSent, Throttled):
            self._wait_again(order)
        except Withheld as withheld:
            self._ledger.unsend(order)
            self._outcomes.refuse(order, withheld.code, withheld.text)
        except ClockRefused as refused:
            await self._place_again(order, refused)
        except Refused as refused:
            self._refused(order, refused)
        except Unanswered as unanswered:
            self._log.warning("order %s: fate unknown: %s", order.client_order_id, unanswered)
            if sender.breaker.failed(self._now_ns()):
                self._log.error("%s answers no orders: new ones wait, one tries now and then", self._venue.name)
            self._outcomes.apply(order, self._ledger.doubt(order, str(unanswered)))
        else:
            now_ns = self._now_ns()
            self._answered(order)
            sender.backoff.accepted(order.tag, now_ns)
            self._figures.ack_latency.record(now_ns - order.sent_ns)
            self._outcomes.expect(order, order.sent_ns)
            self._outcomes.apply(order, self._ledger.observe(order, state, trades, now_ns))

    def _refused(self, order: Order, refused: Refused) -> None:
        self._answered(order)
        if refused.code == FILTER_FAILURE:
            self._outcomes.on_filter()
        if refused.code == ORDER_REJECTED:
            self.sender.backoff.rejected(order.tag, self._now_ns())
        if refused.code in BAD_KEYS:
            self._outcomes.on_bad_key(str(refused))
        self._figures.rejected(order)
        self._outcomes.apply(order, self._ledger.reject(order, refused.code, refused.text, self._now_ns()))

    def _answered(self, order: Order) -> None:
        if self.sender.breaker.answered():
            self._log.warning("%s answers again", self._venue.name)
            self.sender.pump()

    async def _place_again(self, order: Order, refused: ClockRefused) -> None:
        order.clock_refusals += 1
        self.sender.hold(int(RETRY_S * 1e9))  # the others' timestamps would be refused as well
        await self._read_clock()
        if order.clock_refusals < CLOCK_RETRIES:
            self._wait_again(order)
        else:
            self._outcomes.apply(order, self._ledger.reject(order, refused.code, refused.text, self._now_ns()))

    async def _read_clock(self) -> None:
        try:
            await self._venue.sync_clock()
        except VenueError as error:
            self._log.warning("the venue's clock could not be read: %s", error)

    def _wait_again(self, order: Order) -> None:
        """Put an order back that the venue certainly did not execute."""
        if not self._ledger.unsend(order):
            return
        refusing = self._outcomes.refusing()
        if order.withheld is not None:
            self._outcomes.refuse(order, *order.withheld)
        elif order.cancel_wanted:
            self._outcomes.cancel(order)
        elif refusing:
            self._outcomes.refuse(order, Refusal.VENUE_CLOSED, refusing)
        else:
            self.sender.push_order(order, again=True)
            self.sender.hold(int(RETRY_S * 1e9))

    async def _cancel(self, order: Order) -> None:
        retry_s = None
        asked_ns = self._now_ns()
        self._figures.count("cancels_sent")
        try:
            state = await self._venue.cancel(order.symbol, order.client_order_id)
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
            self._outcomes.expect(order, asked_ns)
            self._outcomes.apply(order, self._ledger.observe(order, state, (), self._now_ns()))
            return
        order.cancelling = False
        if retry_s is not None:
            asyncio.get_running_loop().call_later(retry_s, self._outcomes.apply, order, [])
        else:
            self._outcomes.apply(order, [])

    async def _cancel_again(self, order: Order, refused: ClockRefused) -> float | None:
        order.clock_refusals += 1
        if order.clock_refusals >= CLOCK_RETRIES:
            self._refused_cancel(order, refused)
            return None
        await self._read_clock()
        return RETRY_S

    def _refused_cancel(self, order: Order, refused: Refused) -> None:
        if refused.code in BAD_KEYS:
            self._outcomes.on_bad_key(str(refused))
        if order.final:
            return
        order.cancel_wanted = False
        order.suspect = True  # what became of it is asked for before the refusal is reported
        order.refusal = (refused.code, refused.text)
        if order.urgent and order.client_order_id not in self._again:  # nobody else would try again
            self._again.add(order.client_order_id)
            asyncio.get_running_loop().call_later(CANCEL_AGAIN_S, self._cancel_later, order)

    def _cancel_later(self, order: Order) -> None:
        self._again.discard(order.client_order_id)
        if not order.final:
            self._outcomes.cancel(order)

    def _start(self, coroutine: Coroutine[None, None, None], order: Order) -> None:
        # an eager task runs up to its first real wait right here: the request is written before this returns
        task = asyncio.Task(coroutine, loop=asyncio.get_running_loop(), eager_start=True)
        if task.done():
            self._ended(order, task)
            return
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(order, done))

    def _ended(self, order: Order, task: asyncio.Task) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        self._log.error("order %s: handling it broke", order.client_order_id, exc_info=task.exception())
        self.doubt(order)
