"""Workers and strategies that come, go and come back: what each life is told that an earlier one left or missed.

    a worker comes                 tell_capital, tell_again
    a strategy begins a life       tell_capital, hand_over
    a strategy's life ends         part
    a later life cancels           tell_heir: the fills come before what becomes of the cancel

Everything may be told twice: strategies know fills by the ids of trades, and ends by their orders.
"""

from collections.abc import Callable

from hive.gate import replies
from hive.gate.capital import Capital
from hive.gate.exact import subtract
from hive.gate.journal import Journal
from hive.gate.ledger import Ledger
from hive.gate.order import Order
from hive.shm.messages import Reply, ReplyKind

PARTING_NS = 5_000_000_000  # from a strategy's last look at its replies until the gate knows that it has left
TELL_AGAIN_NS = 60_000_000_000  # what was taken in so long before a worker's next life is told to that one too


class Lives:
    """Tells the lives of one account's strategies.

    Args:
        index: the account's number in replies
        ledger, journal, capital: the account's
        reply: takes (strategy's tag, reply)
        now_ns: monotonic
    """

    def __init__(
        self,
        index: int,
        ledger: Ledger,
        journal: Journal,
        capital: Capital,
        reply: Callable[[str, Reply], None],
        now_ns: Callable[[], int],
    ) -> None:
        self._index = index
        self._ledger = ledger
        self._journal = journal
        self._capital = capital
        self._reply = reply
        self._now_ns = now_ns

    def tell_capital(self, tags: set[str]) -> None:
        """Tell the strategies that have capital all of it: their worker has just come, or they to it."""
        for tag in sorted(tags):
            for asset, (total, free) in self._capital.accounts(tag).items():
                self._reply(tag, replies.balance(self._index, asset, free, subtract(total, free), tag))

    def tell_capital_news(self) -> None:
        """Tell what an order has moved, before its strategy hears of the order itself."""
        for tag, asset, total, free in self._capital.news():
            self._reply(tag, replies.balance(self._index, asset, free, subtract(total, free), tag))

    def tell_again(self, tags: set[str], worker_epoch: int) -> None:
        """Tell a worker that comes what became of its and its last life's orders: those that live, or ended late."""
        since_ns = self._now_ns() - TELL_AGAIN_NS
        for order in self._ledger.orders():
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
            self._tell(order)

    def hand_over(self, tag: str, life: int) -> None:
        """Tell a strategy's life of the orders that earlier ones did not end, and make it the one that holds them."""
        for order in self._ledger.orders():
            if order.tag != tag or order.worker_epoch >= life or order.done or not order.journaled:
                continue
            order.worker_epoch = life
            if not order.final:
                self._journal.adopted(order)  # so that the next gate knows as well
            self._tell(order)

    def part(self, tag: str) -> None:
        """Have what ended a moment ago told to a strategy's next life: the last may have been gone before it heard."""
        since_ns = self._now_ns() - PARTING_NS
        for order in self._ledger.orders():
            if order.tag == tag and order.done and order.done_ns >= since_ns:
                order.done = False

    def tell_heir(self, order: Order, worker_epoch: int) -> None:
        """Tell a life that asks for an order all of its fills when an earlier one holds it; it holds it from now on."""
        if worker_epoch > order.worker_epoch:
            order.worker_epoch = worker_epoch
            for reply in self._ledger.replay(order)[:-1]:
                self._reply(order.tag, reply)

    def catch_up(self, order: Order, coming: list[Reply]) -> None:
        """Tell the fills before those in `coming` when an earlier gate's queues may have been lost with them."""
        if not order.retell or not coming:
            return
        order.retell = False
        new = {reply.trade_id for reply in coming if reply.kind is ReplyKind.FILL}
        for reply in self._ledger.replay(order):
            if reply.kind is ReplyKind.FILL and reply.trade_id not in new:
                self._reply(order.tag, reply)

    def _tell(self, order: Order) -> None:
        for reply in self._ledger.replay(order):
            self._reply(order.tag, reply)
