"""What happened to the orders of a journal, as records: those that wait to be written, and those that are needed still.

    sent() acked() fill() ...  ->  tails  ->  _pending: to be written, in the order in which it happened
                                          ->  stories by order, notes by key: what the next file begins with

No method raises or blocks: what cannot be recorded exactly is remembered as `_unrecordable`, and the journal refuses.
"""

from collections.abc import Callable

from hive.gate.journal_format import Kind, pack_fill, pack_mark, pack_note, pack_state
from hive.gate.journal_pack import pack_order
from hive.gate.journal_replay import DAY_NS, KEEP_DONE_NS, Replayed, recover
from hive.gate.journal_stories import Stories
from hive.gate.order import Order
from hive.gate.venue import Trade
from hive.shm.errors import NotRepresentable

FORGET_EVERY_NS = 1_000_000_000


class Records:
    """The part of a `Journal` that takes what happened.

    Args:
        replayed: what earlier files tell
    """

    def __init__(self, wall_ns: Callable[[], int], now_ns: Callable[[], int], replayed: Replayed) -> None:
        self._wall_ns = wall_ns
        self._now_ns = now_ns
        self._notes = replayed.notes
        self._day, self._sent_of_day = replayed.day, replayed.sent
        self._pending: list[bytes] = []
        self._sending = False  # a SENT is among them
        self._unrecordable = ""
        self._forgot_ns = now_ns()
        self.records = 0  # that were recorded in this life
        self.recovered, done_ns = recover(replayed, wall_ns(), now_ns())
        self._stories = Stories(replayed.stories, done_ns)

    @property
    def backlog(self) -> int:
        """Return how many records are not written yet."""
        return len(self._pending)

    def sent(self, order: Order) -> None:
        """An order is about to be written to a connection; `commit` first."""
        wall_ns = self._wall_ns()
        self._sending = True
        try:
            tail = pack_order(Kind.SENT, order, self._now_ns() - order.created_ns, wall_ns)
        except NotRepresentable as error:
            self._unrecordable = f"order {order.client_order_id}: {error}"
            return
        self._pending.append(tail)
        self.records += 1
        self._stories.send(order.client_order_id, tail)
        self._count(1, wall_ns)

    def unsent(self, order: Order) -> None:
        """The request was certainly not executed."""
        if order.client_order_id in self._stories and self._put_state(Kind.UNSENT, order):
            self._count(-1, self._wall_ns())

    def acked(self, order: Order) -> None:
        """An order lives."""
        self._put_state(Kind.ACKED, order)

    def fill(self, order: Order, trade: Trade) -> None:
        """A part of an order was executed."""
        if self._introduced(order):
            self._put(order.client_order_id, pack_fill, order, trade)

    def unknown(self, order: Order) -> None:
        """An order may live or not."""
        self._put_state(Kind.UNKNOWN, order)

    def ended(self, order: Order) -> None:
        """An order is over, in its state, with its code and text."""
        self._put_state(Kind.ENDED, order)

    def done(self, client_order_id: str) -> None:
        """The strategy of an order that ended has been told everything: forget it in ten minutes."""
        now_ns = self._now_ns()
        if client_order_id in self._stories and self._put(client_order_id, pack_mark, Kind.DONE, client_order_id):
            self._stories.finish(client_order_id, now_ns)
        if now_ns - self._forgot_ns >= FORGET_EVERY_NS:
            self._forget()

    def adopted(self, order: Order) -> None:
        """An order was found at the venue."""
        self._put(order.client_order_id, pack_order, Kind.ADOPTED, order, self._now_ns() - order.created_ns)

    def unwanted(self, order: Order) -> None:
        """The gate itself is to cancel an order, and so is any later one."""
        if self._introduced(order):
            self._put(order.client_order_id, pack_mark, Kind.UNWANTED, order.client_order_id)

    def note(self, key: str, value: str) -> None:
        """Keep a value (at most 102 bytes) by its key (at most 60 bytes); an empty value takes the key away."""
        try:
            tail = pack_note(key, value, self._wall_ns())
        except NotRepresentable as error:
            self._unrecordable = f"note {key}: {error}"
            return
        self._pending.append(tail)
        self.records += 1
        if value:
            self._notes[key] = tail
        else:
            self._notes.pop(key, None)

    def _put_state(self, kind: Kind, order: Order) -> bool:
        return self._introduced(order) and self._put(order.client_order_id, pack_state, kind, order)

    def _introduced(self, order: Order) -> bool:
        """Begin the story of an order that has none with the whole order; returns whether it has one now."""
        if order.client_order_id in self._stories:
            return True
        self.adopted(order)
        return order.client_order_id in self._stories

    def _put(self, client_order_id: str, pack: Callable[..., bytes], *facts: object) -> bool:
        try:
            tail = pack(*facts, self._wall_ns())
        except NotRepresentable as error:
            self._unrecordable = f"order {client_order_id}: {error}"
            return False
        self._pending.append(tail)
        self.records += 1
        self._stories.add(client_order_id, tail)
        return True

    def _count(self, orders: int, wall_ns: int) -> None:
        day = wall_ns // DAY_NS
        if day != self._day:
            self._day, self._sent_of_day = day, 0
        self._sent_of_day = max(0, self._sent_of_day + orders)

    def _forget(self) -> None:
        self._forgot_ns = self._now_ns()
        self._stories.forget(self._forgot_ns - KEEP_DONE_NS)
