"""An account takes over from an earlier gate: the orders in its journal, and intents that it may have sent.

    remember    what the journal knows, at the start
    keep        an intent that only the venue's account, once read, can answer; until `release`
    bury        such intents of a worker that is gone meanwhile

What the journal of this run does not know was never sent. Without such a journal the venue is asked about it.
"""

from collections.abc import Callable

from hive.gate.guards import AccountGuards
from hive.gate.journal import Journal
from hive.gate.ledger import Ledger
from hive.gate.order import Order, State
from hive.shm.messages import Intent, IntentKind


class Takeover:
    """What one account has from the gate before.

    Args:
        ledger, guards, journal: the account's
        absent_after_ns: how long after its sending "does not exist" may only mean "not there yet"
        now_ns: monotonic

    Attributes:
        complete: the journal says of every order of this run whether it was sent
    """

    def __init__(
        self,
        ledger: Ledger,
        guards: AccountGuards,
        journal: Journal,
        absent_after_ns: int,
        now_ns: Callable[[], int],
    ) -> None:
        self.complete = False
        self._ledger = ledger
        self._guards = guards
        self._journal = journal
        self._absent_after_ns = absent_after_ns
        self._born_ns = now_ns()  # nothing that an earlier gate sent can have left after this
        self._early: list[tuple[Intent, str, int]] | None = []

    def remember(self, orders: list[Order], complete: bool, new_run: bool = False) -> None:
        """Take over what the journal knows of earlier gates' orders.

        What an earlier gate could not send, and let wait again, is not among an account's orders: its worker sends it
        anew.

        Args:
            complete: an order of this run that is not among them was never sent
            new_run: they are another run's: of workers that nobody can ask, whose epochs mean nothing now
        """
        self.complete = complete
        self._ledger.last_fill = self._guards.last_fill
        for order in orders:
            if order.state is State.PENDING:
                if not order.done:
                    self._journal.done(order.client_order_id)
                continue
            if new_run and order.worker_epoch:
                order.worker_epoch = 0
                if not order.done:
                    self._journal.adopted(order)  # so that this run's next gate knows as well
            order.absent_ns = self.absent_ns()
            self._ledger.restore(order)
            self._guards.restored(order)
        self._guards.capital.news()  # each worker is told everything when it comes

    def absent_ns(self, created_ns: int = 0) -> int:
        """Return until when the venue may not know yet what an earlier gate has sent, or an intent asked for then."""
        return max(self._born_ns, created_ns) + self._absent_after_ns

    def keep(self, intent: Intent, tag: str, worker_epoch: int) -> bool:
        """Keep an intent until `release`; returns False, and keeps nothing, after that."""
        if self._early is None:
            return False
        self._early.append((intent, tag, worker_epoch))
        return True

    def bury(self, tags: set[str], epoch: int, cancel: bool) -> None:
        """Place nothing that a worker asked for which is gone; what an earlier gate may have sent is cancelled."""
        kept = []
        for intent, tag, worker_epoch in self._early or ():
            if intent.kind is not IntentKind.PLACE or tag not in tags or worker_epoch > epoch:
                kept.append((intent, tag, worker_epoch))
            elif not self.complete:
                kept.append((intent._replace(kind=IntentKind.CANCEL) if cancel else intent, tag, worker_epoch))
        if self._early is not None:
            self._early = kept

    def release(self) -> list[tuple[Intent, str, int]]:
        """Return what was kept, with tag and epoch of each, and keep nothing from now on."""
        early, self._early = self._early, None
        return early or []
