"""The ledger: every order of an account, what is known of it, and what its strategy has been told.

    PENDING -> SENT -> ACKED -> FILLED | CANCELLED | EXPIRED
       |        |  \\-> UNKNOWN -> ACKED ... | REJECTED
       |        \\----> REJECTED
       \\-> CANCELLED (withdrawn before it was sent), REJECTED

Each method takes one piece of evidence and returns the replies that follow from it, in order. The promises, whatever
the order and repetition of the evidence:
- a strategy hears ACKED before any FILL, every fill once, all of an order's fills before FILLED, CANCELLED or EXPIRED,
  and one of those, or REJECTED, once and last;
- an order is PENDING again after SENT only when the venue itself said that it did not execute it;
- a final state stays, with one exception: evidence of life from the venue overrules a REJECTED, a withdrawal, or an end
  that was told because the venue no longer knew the order, and is reported as ACKED and on. It means that the venue
  first denied the order. Its strategy has given it up, so that it is cancelled; a fill is never dropped.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Protocol

from hive.gate.order import ZERO, Order, State
from hive.gate.venue import COUNTED, OrderState, OrderStatus, Trade
from hive.shm.messages import Intent, IntentKind, Reply, ReplyKind

_STATE_OF = {
    OrderStatus.FILLED: State.FILLED,
    OrderStatus.CANCELLED: State.CANCELLED,
    OrderStatus.EXPIRED: State.EXPIRED,
}
_KIND_OF = {
    State.ACKED: ReplyKind.ACKED,
    State.UNKNOWN: ReplyKind.UNKNOWN,
    State.FILLED: ReplyKind.FILLED,
    State.CANCELLED: ReplyKind.CANCELLED,
    State.EXPIRED: ReplyKind.EXPIRED,
    State.REJECTED: ReplyKind.REJECTED,
}


class Record(Protocol):
    """Where each transition is written before anybody is told; see `hive.gate.journal`. None of these blocks."""

    def sent(self, order: Order) -> None:
        """It is about to be written to a connection."""

    def unsent(self, order: Order) -> None:
        """The request was certainly not executed."""

    def acked(self, order: Order) -> None:
        """It lives at the venue."""

    def fill(self, order: Order, trade: Trade) -> None:
        """A part of it was executed."""

    def unknown(self, order: Order) -> None:
        """It may have been executed."""

    def ended(self, order: Order) -> None:
        """It is over."""

    def adopted(self, order: Order) -> None:
        """It was found at the venue."""

    def unwanted(self, order: Order) -> None:
        """The gate itself is to cancel it."""

    def done(self, client_order_id: str) -> None:
        """Its strategy has been told everything."""


class NoRecord:
    """Writes nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *facts: None


class Ledger:
    """The orders of one venue account.

    Args:
        venue: the account's number in intents and replies
        record: where transitions are written
    """

    def __init__(self, venue: int, record: Record | None = None) -> None:
        self.venue = venue
        self.last_fill = 0  # the number of the account's latest fill
        self._record: Record = record or NoRecord()
        self._orders: dict[str, Order] = {}
        self._open: dict[str, Order] = {}
        self._ended: deque[Order] = deque()

    def get(self, client_order_id: str) -> Order | None:
        """Return an order, None when it was never seen or has been forgotten."""
        return self._orders.get(client_order_id)

    def at_venue(self, symbol: str, exchange_order_id: str) -> Order | None:
        """Return the open order that the venue has under a number of its own, None when that is none of these."""
        same = (o for o in self._open.values() if o.exchange_order_id == exchange_order_id and o.symbol == symbol)
        return next(same, None)

    def orders(self) -> Iterator[Order]:
        """Iterate over all orders that are not forgotten; the ledger may change meanwhile."""
        return iter(list(self._orders.values()))

    def open_orders(self) -> Iterator[Order]:
        """Iterate over the orders that have not ended; the ledger may change meanwhile."""
        return iter(list(self._open.values()))

    def count(self, state: State) -> int:
        """Return how many open orders are in a state."""
        return sum(order.state is state for order in self._open.values())

    def admit(self, intent: Intent, tag: str, symbol: str, worker_epoch: int) -> Order:
        """Enter the order of an intent as PENDING; its client order id must be new.

        Raises:
            ValueError: the client order id is known, so it must not be sent.
        """
        if intent.client_order_id in self._orders:
            raise ValueError(f"a client order id is sent once, {intent.client_order_id} is known")
        order = Order(
            client_order_id=intent.client_order_id,
            pair=intent.pair,
            symbol=symbol,
            tag=tag,
            origin=intent.kind,
            side=intent.side,
            order_type=intent.order_type,
            tif=intent.tif,
            price=intent.price,
            amount=intent.amount or ZERO,
            worker_epoch=worker_epoch,
            created_ns=intent.created_ns,
            book_epoch=intent.book_epoch,
        )
        self._orders[order.client_order_id] = self._open[order.client_order_id] = order
        return order

    def adopt(self, state: OrderState, pair: str, tag: str, now_ns: int) -> Order:
        """Enter an order of ours that was found at the venue, as UNKNOWN; `observe` what was found next."""
        intent = Intent(
            IntentKind.QUERY,
            self.venue,
            pair,
            state.client_order_id,
            side=state.side,
            price=state.price,
            amount=state.amount,
            created_ns=now_ns,
        )
        order = self.admit(intent, tag, state.symbol, 0)
        order.state = State.UNKNOWN
        order.journaled = True
        self._record.adopted(order)
        return order

    def restore(self, order: Order) -> None:
        """Enter an order as an earlier gate's journal has it; what that one had sent and not heard of is UNKNOWN."""
        self._orders[order.client_order_id] = order
        order.journaled = True
        if order.final:
            self._ended.append(order)
            return
        if order.state is State.SENT:
            order.state = State.UNKNOWN
        self._open[order.client_order_id] = order

    def finish(self, order: Order, now_ns: int) -> None:
        """Note that the worker of an order that is over has taken in everything."""
        if order.final and not order.done:
            order.done, order.done_ns = True, now_ns
            if order.journaled:
                self._record.done(order.client_order_id)

    def forget(self, order: Order) -> None:
        """Drop an order that turned out never to have been one (a question about an id that nobody knows)."""
        self._orders.pop(order.client_order_id, None)
        self._open.pop(order.client_order_id, None)

    def send(self, order: Order, absent_ns: int) -> None:
        """PENDING -> SENT, before the request is written."""
        if order.state is not State.PENDING:
            raise ValueError(f"an order is sent once, {order.client_order_id} is {order.state.name}")
        order.state = State.SENT
        order.absent_ns = absent_ns
        order.journaled = True
        self._record.sent(order)

    def unsend(self, order: Order) -> bool:
        """SENT -> PENDING, because the request certainly was not executed; returns whether it is PENDING now."""
        if order.state is State.SENT:
            order.state = State.PENDING
            self._record.unsent(order)
        return order.state is State.PENDING

    def inquire(self, order: Order, absent_ns: int) -> None:
        """PENDING -> UNKNOWN without a reply: an order that an earlier gate may have sent."""
        order.state = State.UNKNOWN
        order.absent_ns = absent_ns

    def doubt(self, order: Order, text: str) -> list[Reply]:
        """SENT -> UNKNOWN: the request may have been executed."""
        if order.state is not State.SENT:
            return []
        order.state = State.UNKNOWN
        self._record.unknown(order)
        return self.still_unknown(order, text)

    def still_unknown(self, order: Order, text: str) -> list[Reply]:
        """Tell the strategy, once, that an order to be placed is UNKNOWN."""
        if order.state is not State.UNKNOWN or order.told_unknown or order.origin is not IntentKind.PLACE:
            return []
        order.told_unknown = True
        order.text = text
        return [self._reply(order, ReplyKind.UNKNOWN, text=text)]

    def want_cancel(self, order: Order, urgent: bool) -> None:
        """Note that an order which may live is to be cancelled; `urgent`: as this gate wishes, and each later one."""
        order.cancel_wanted = True
        if urgent and not order.urgent:
            order.urgent = True
            if order.journaled:
                self._record.unwanted(order)

    def withdraw(self, order: Order, text: str, now_ns: int) -> list[Reply]:
        """PENDING -> CANCELLED: it was never sent."""
        if order.state is not State.PENDING:
            return []
        order.text = text
        return [self._end(order, State.CANCELLED, now_ns)]

    def reject(self, order: Order, code: int, text: str, now_ns: int) -> list[Reply]:
        """End an order that never lived; no effect on one that the venue has shown to live."""
        if order.state not in (State.PENDING, State.SENT, State.UNKNOWN):
            return []
        order.code, order.text = code, text
        return [self._end(order, State.REJECTED, now_ns)]

    def vanish(self, order: Order, code: int, text: str, now_ns: int) -> list[Reply]:
        """End a live order that the venue, asked again and again, no longer knows."""
        if order.final:
            return []
        order.code, order.text = code, text
        return [self._end(order, State.EXPIRED, now_ns)]

    def observe(
        self, order: Order, state: OrderState | None, trades: Iterable[Trade], now_ns: int, counted_ns: int = 0
    ) -> list[Reply]:
        """Take what the venue says of an order: a state, fills, or both.

        Args:
            counted_ns: the venue's time before which its fills were counted already, when it was known before
        """
        order.heard_ns = now_ns
        if state is not None and state.status is OrderStatus.REJECTED and not order.exchange_order_id:
            return self.reject(order, order.code, order.text or "rejected by the venue", now_ns)
        replies = []
        denied = self._denied(order, state)
        if state is not None:
            order.exchange_order_id = state.exchange_order_id or order.exchange_order_id
            order.wall_ns = max(order.wall_ns, state.wall_ns)
            order.executed = max(order.executed, state.executed)
            if order.amount == ZERO:
                order.amount, order.price, order.side = state.amount, state.price, state.side
            elif ZERO < state.amount < order.amount:
                order.amount_before, order.amount = order.amount, state.amount
                if order.journaled:
                    self._record.adopted(order)
        new = sorted((t for t in trades if t.trade_id not in order.trades), key=lambda trade: trade.trade_id)
        if not order.journaled:  # denied, or withdrawn, and yet it lives
            order.journaled = True
            self._record.adopted(order)
        if denied:  # its strategy was told that there is none, and would never end it
            self.want_cancel(order, urgent=True)
        if denied or order.state in (State.PENDING, State.SENT, State.UNKNOWN):
            order.state = State.ACKED
            order.code, order.text = 0, ""
            order.done = False
            self._open[order.client_order_id] = order
            self._record.acked(order)
            replies.append(self._reply(order, ReplyKind.ACKED))
        for trade in new:
            replies.append(self._fill(order, trade, counted_ns))
        order.executed = max(order.executed, order.filled)
        if order.final:
            return replies
        if state is not None and state.status in _STATE_OF:
            order.closing = _STATE_OF[state.status]
        if ZERO < order.amount <= order.filled:
            order.closing = State.FILLED
        if order.closing is not None and not order.trades_missing:
            replies.append(self._end(order, order.closing, now_ns))
        return replies

    def rename(self, order: Order, state: OrderState, now_ns: int) -> list[Reply]:
        """End an order that goes on at the venue under an id of somebody else's, with the fills that it had."""
        order.text = f"changed by hand, goes on as {state.client_order_id}"
        ended = replace(state, status=OrderStatus.CANCELLED, amount=order.amount)
        return self.observe(order, ended, (), now_ns)

    def replay(self, order: Order) -> list[Reply]:
        """Return an order's whole story again: fills, then where it stands; nothing while it waits or is on its way."""
        if order.state in (State.PENDING, State.SENT):
            return []
        cumulative = ZERO
        replies = []
        for trade in order.trades.values():
            cumulative += trade.amount
            replies.append(self._fill_reply(order, trade, cumulative))
        replies.append(self._reply(order, _KIND_OF[order.state], code=order.code, text=order.text))
        return replies

    def failed_cancel(self, order: Order, code: int, text: str) -> Reply:
        """Return the reply to a cancel that was refused."""
        return self._reply(order, ReplyKind.CANCEL_FAILED, code=code, text=text)

    def forget_ended(self, before_ns: int) -> int:
        """Forget orders that ended before `before_ns` and whose strategies know; returns how many.

        The caller keeps them for longer than an intent's maximum age, so that no intent can bring one back.
        """
        forgotten = 0
        untold = []
        while self._ended and self._ended[0].final_ns < before_ns:
            order = self._ended.popleft()
            if not order.final or order.final_ns >= before_ns:
                continue  # it lived on, and stands here again for its later end
            if order.journaled and not order.done:
                untold.append(order)
            elif self._orders.pop(order.client_order_id, None):
                forgotten += 1
        self._ended.extendleft(reversed(untold))
        return forgotten

    def _denied(self, order: Order, state: OrderState | None) -> bool:
        if order.state is State.EXPIRED:  # as the venue no longer knew it, and now it does
            return bool(order.code) and state is not None and state.status is OrderStatus.LIVE
        withdrawn = order.state is State.CANCELLED and not order.exchange_order_id
        return order.state is State.REJECTED or withdrawn

    def _fill(self, order: Order, trade: Trade, counted_ns: int) -> Reply:
        serial = COUNTED
        if trade.wall_ns >= counted_ns:
            serial = self.last_fill = self.last_fill + 1
        trade = order.trades[trade.trade_id] = replace(trade, serial=serial)
        order.filled += trade.amount
        order.done = False  # a fill that comes after the end is to be told too
        self._record.fill(order, trade)
        return self._fill_reply(order, trade, order.filled)

    def _fill_reply(self, order: Order, trade: Trade, cumulative: Decimal) -> Reply:
        return Reply(
            ReplyKind.FILL,
            self.venue,
            order.client_order_id,
            order.exchange_order_id,
            price=trade.price,
            amount=trade.amount,
            cumulative=cumulative,
            fee=trade.fee,
            fee_asset=trade.fee_asset[:12],
            trade_id=trade.trade_id,
            maker=trade.maker,
            wall_ns=trade.wall_ns,
            sent_ns=order.sent_ns,
        )

    def _end(self, order: Order, state: State, now_ns: int) -> Reply:
        order.state = state
        order.closing = None
        order.suspect = False
        order.final_ns = now_ns
        self._open.pop(order.client_order_id, None)
        self._ended.append(order)
        if order.journaled:
            self._record.ended(order)
        return self._reply(order, _KIND_OF[state], code=order.code, text=order.text)

    def _reply(self, order: Order, kind: ReplyKind, code: int = 0, text: str = "") -> Reply:
        return Reply(
            kind,
            self.venue,
            order.client_order_id,
            order.exchange_order_id,
            code=code,
            text=text,
            price=order.price,
            amount=order.amount,
            cumulative=order.filled,
            wall_ns=order.wall_ns,
            sent_ns=order.sent_ns,
        )
