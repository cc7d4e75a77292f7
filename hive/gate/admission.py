"""Whether an order may be taken, and whether it may be sent: everything but its turn.

    refusal     when it arrives: the venue, halts, the order itself, its age, the journal, the guards
    may_send    when its turn has come, and again when its connection was waited for: the book, halts, journal, guards
"""

from collections.abc import Callable

from hive.gate.guards import AccountGuards
from hive.gate.halts import Halts
from hive.gate.journal import Journal
from hive.gate.order import Order
from hive.gate.venue import Venue
from hive.shm.messages import OrderType
from hive.shm.refusals import Refusal

NOT_READY = "the venue's account is not ready"
AGE_NS = 30_000_000_000  # an intent may wait so long, or twice the bound on its wait when that is longer


class Admission:
    """What one account's orders must pass.

    Args:
        venue, journal, guards: the account's
        max_age_ns: how long an intent may wait; None: as AGE_NS says
        bound_ns: the bound on a strategy's wait for its turn, by tag
        stale: why no order may be sent that was decided on a pair's book in an epoch of the feed, "" when it may
        now_ns: monotonic
    """

    def __init__(
        self,
        venue: Venue,
        journal: Journal,
        guards: AccountGuards,
        max_age_ns: int | None,
        bound_ns: Callable[[str], int],
        stale: Callable[[str, int], str],
        now_ns: Callable[[], int],
    ) -> None:
        self.halts = Halts()
        self.refusing = NOT_READY
        self._venue = venue
        self._journal = journal
        self._guards = guards
        self._max_age_ns = max_age_ns
        self._bound_ns = bound_ns
        self._stale = stale
        self._now_ns = now_ns

    def refusal(self, order: Order) -> tuple[int, str] | None:
        """Return code and reason why an order is not taken, None when it is."""
        if self.refusing:
            return Refusal.VENUE_CLOSED, self.refusing
        halted = self.halts.reason(order.tag)
        if halted:
            return Refusal.HALTED, halted
        fault = self._fault(order)
        if fault:
            return Refusal.INVALID, fault
        return self.too_old(order) or self._unrecorded() or self._guards.check(order)

    def may_send(self, order: Order) -> tuple[int, str] | None:
        """Return code and reason why an order may not be sent at this moment, None when it may."""
        stale = self.stale(order)
        if stale is not None:
            return stale
        halted = self.halts.reason(order.tag)
        if halted:
            return Refusal.HALTED, halted
        return self._unrecorded() or self._guards.recheck(order)

    def stale(self, order: Order) -> tuple[int, str] | None:
        """Return the refusal of an order whose book is not live, None when it is."""
        why = self._stale(order.pair, order.book_epoch)
        return (Refusal.STALE_BOOK, why) if why else None

    def too_old(self, order: Order) -> tuple[int, str] | None:
        """Return the refusal of an order that has waited too long, None when it has not."""
        age_ns = self._now_ns() - order.created_ns
        most_ns = AGE_NS if self._max_age_ns is None else self._max_age_ns
        if age_ns > most_ns and self._max_age_ns is None:
            most_ns = max(AGE_NS, 2 * self._bound_ns(order.tag))
        if age_ns <= most_ns:
            return None
        return Refusal.TOO_OLD, f"waited longer than {most_ns / 1e9:g} s for its turn"

    def _unrecorded(self) -> tuple[int, str] | None:
        if self._journal.can_send:
            return None
        return Refusal.JOURNAL, f"the journal takes no new orders: {self._journal.failing}"

    def _fault(self, order: Order) -> str:
        if not order.symbol:
            return f"{self._venue.name} does not list {order.pair}"
        if order.amount <= 0:
            return f"amount must be > 0, was {order.amount}"
        if order.order_type is not OrderType.MARKET and (order.price is None or order.price <= 0):
            return f"price must be > 0, was {order.price}"
        return ""
