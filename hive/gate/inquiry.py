"""Finding out what became of orders: the venue is asked until it says, and nothing is guessed.

An order is asked about while `Order.needs_asking`: its fate is unknown, its fills are incomplete, or something makes
its state suspect. "Does not exist" is believed only once the request can no longer reach the venue: its recvWindow,
what the venue allows a timestamp to be early, and a margin have passed since it may last have been sent.

An order that is asked about because a strategy wants to cancel what nobody knows was known before, and is forgotten:
its fills are told again and counted once.
"""

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable

from hive.gate.binance_messages import NO_SUCH_ORDER
from hive.gate.errors import VenueError
from hive.gate.ledger import Ledger
from hive.gate.order import Order, State
from hive.gate.venue import OrderState, Venue
from hive.shm.messages import IntentKind, Reply

DELAYS_S = (0.2, 0.5, 1.0, 2.0, 5.0)  # the last one repeats
DENIALS = 5  # of an order that the venue had acknowledged, in a row
COUNTED_NS = 590_000_000_000  # ten minutes, for which every order is remembered after its end, and a margin for clocks

_ABSENT_TEXT = {
    IntentKind.PLACE: "never reached the venue",
    IntentKind.QUERY: "not known at the venue",
    IntentKind.CANCEL: "Unknown order sent.",
}


class Inquiry:
    """Asks a venue about orders, each in a task of its own.

    Args:
        venue, ledger: of one account
        apply: takes the replies that follow from an answer; called after every answer, also with none
        renamed: told of an order that goes on under another id, with the state under that
        turn: waits until a question about a strategy's order may be sent
        remembered: the journal has lost nothing, so that who is not in it ended long ago, or before it began
        now_ns: monotonic
    """

    def __init__(
        self,
        venue: Venue,
        ledger: Ledger,
        apply: Callable[[Order, list[Reply]], None],
        renamed: Callable[[Order, OrderState], None],
        turn: Callable[[str], Awaitable[None]],
        remembered: bool,
        log: logging.Logger,
        now_ns: Callable[[], int],
    ) -> None:
        self._venue = venue
        self._ledger = ledger
        self._apply = apply
        self._renamed = renamed
        self._turn = turn
        self._remembered = remembered
        self._log = log
        self._now_ns = now_ns
        self._asking: dict[str, asyncio.Task] = {}

    def ask(self, order: Order, at_once: bool = False) -> None:
        """Start asking about an order, unless that is going on already."""
        if order.client_order_id in self._asking:
            return
        task = asyncio.get_running_loop().create_task(self._ask(order, at_once))
        self._asking[order.client_order_id] = task
        task.add_done_callback(lambda done: self._done(order, done))

    def stop(self) -> None:
        """Stop asking."""
        for task in self._asking.values():
            task.cancel()

    def compare(self, listed: dict[str, OrderState], asked_ns: int) -> int:
        """Hold the venue's list of open orders against the ledger, and ask where they differ.

        Args:
            listed: by client order id
            asked_ns: when the list was asked for; what was heard since is newer than the list

        Returns:
            how many orders are not as they were known.
        """
        differing = 0
        by_number = {(state.symbol, state.exchange_order_id): state for state in listed.values()}
        for name, state in listed.items():
            order = self._ledger.get(name)
            if order is not None and order.final and order.heard_ns < asked_ns:  # denied, and yet it lives
                self._apply(order, self._ledger.observe(order, state, (), self._now_ns()))
        for order in self._ledger.open_orders():
            if order.state in (State.PENDING, State.SENT) or order.heard_ns >= asked_ns:
                continue
            found = listed.get(order.client_order_id)
            if found is not None:
                self._apply(order, self._ledger.observe(order, found, (), self._now_ns()))
            elif order.state is State.ACKED and (order.symbol, order.exchange_order_id) in by_number:
                self._renamed(order, by_number[order.symbol, order.exchange_order_id])
            elif order.state is State.ACKED:
                order.suspect = True
            if order.needs_asking:
                differing += 1
                self.ask(order, at_once=True)
        return differing

    async def _ask(self, order: Order, at_once: bool) -> None:
        delays = itertools.chain((0.0,) if at_once else (), DELAYS_S, itertools.repeat(DELAYS_S[-1]))
        for delay_s in delays:
            await asyncio.sleep(delay_s)
            if not order.needs_asking:
                return
            try:
                await self._ask_once(order)
            except VenueError as error:
                self._log.warning("order %s: asking failed: %s", order.client_order_id, error)
                if order.state is State.UNKNOWN:
                    self._apply(order, self._ledger.still_unknown(order, str(error)))
                continue
            if not order.needs_asking:
                return

    async def _ask_once(self, order: Order) -> None:
        if order.state is State.UNKNOWN or order.suspect:
            await self._turn(order.tag)
            asked_ns = self._now_ns()
            state = await self._venue.status(order.symbol, order.client_order_id)
            if state is None:
                if order.denials + 1 >= DENIALS and order.state is State.ACKED:
                    await self._ask_for_trades(order)  # it may have gone by being filled
                self._absent(order, asked_ns)
                return
            order.denials = 0
            order.suspect = False
            self._apply(order, self._ledger.observe(order, state, (), self._now_ns()))
        if order.trades_missing:
            await self._ask_for_trades(order)

    async def _ask_for_trades(self, order: Order) -> None:
        await self._turn(order.tag)
        trades = await self._venue.trades(order.symbol, order.exchange_order_id)
        self._apply(order, self._ledger.observe(order, None, trades, self._now_ns(), self._counted_ns(order)))

    def _counted_ns(self, order: Order) -> int:
        """Return the venue's time before which an order's fills were counted, 0 for one that was not forgotten."""
        if order.origin is not IntentKind.CANCEL or not self._remembered:
            return 0
        return self._venue.venue_ns() - (self._now_ns() - order.created_ns) - COUNTED_NS

    def _absent(self, order: Order, asked_ns: int) -> None:
        now_ns = self._now_ns()
        if order.state is State.UNKNOWN:
            if asked_ns <= order.absent_ns:
                self._apply(order, self._ledger.still_unknown(order, "the venue does not know it yet"))
            elif order.origin is IntentKind.CANCEL:
                reply = self._ledger.failed_cancel(order, NO_SUCH_ORDER, _ABSENT_TEXT[order.origin])
                self._ledger.forget(order)
                order.state = State.REJECTED
                self._apply(order, [reply])
            else:
                replies = self._ledger.reject(order, NO_SUCH_ORDER, _ABSENT_TEXT[order.origin], now_ns)
                if order.origin is IntentKind.QUERY:
                    self._ledger.forget(order)
                self._apply(order, replies)
        elif order.suspect:
            order.denials += 1
            if order.denials >= DENIALS and asked_ns > order.absent_ns:
                self._log.error("order %s: acknowledged, but the venue no longer knows it", order.client_order_id)
                text = "the venue no longer knows it"
                self._apply(order, self._ledger.vanish(order, NO_SUCH_ORDER, text, now_ns))

    def _done(self, order: Order, task: asyncio.Task) -> None:
        self._asking.pop(order.client_order_id, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._log.error("order %s: asking about it broke", order.client_order_id, exc_info=error)
        if order.needs_asking:
            self.ask(order)
