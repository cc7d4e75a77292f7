"""The load of `gate_fairness.py`: hogs that place far more than their share, quiet strategies, and everybody's cancels.

A hog places at set times, a quiet strategy at random ones (exponential gaps), whatever becomes of the orders. An order
that lives is cancelled after a while; one in ten of the hogs' orders is cancelled while it probably still waits.
"""

import heapq
import random
import select
import time
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum

from gate_rig import GateRig
from hive.shm.messages import Intent, IntentKind, OrderType, Reply, ReplyKind, Side

HOGS = tuple(f"hog-{i}" for i in range(5))
QUIETS = tuple(f"quiet-{i}" for i in range(95))
HOG_EVERY_NS = 50_000_000
QUIET_EVERY_S = 20.0
HOG_RESTS_NS, QUIET_RESTS_NS = 1_000_000_000, 5_000_000_000
REGRETTED = 10  # one in so many of the hogs' orders
REGRET_NS = 2_000_000_000
SETTLE_NS = 1_000_000_000  # at the end: nothing new, answers and cancels arrive
MARKETS = {"BTC-USDT": "32000", "ETH-USDT": "1500", "SOL-USDT": "70", "BNB-USDT": "290", "XRP-USDT": "0.3"}
QUOTE = Decimal(30)  # what an order is worth
STEPS = {"BTC-USDT": "0.00001", "ETH-USDT": "0.0001", "SOL-USDT": "0.001", "BNB-USDT": "0.001", "XRP-USDT": "0.1"}


class Do(IntEnum):
    """What is to be done at a time."""

    PLACE = 1
    CANCEL_LIVE = 2
    CANCEL_WAITING = 3


@dataclass(slots=True)
class Placed:
    """An order of the load; times are monotonic ns, 0 for what did not happen.

    due_ns: when it was to be placed; placed_ns: when it was. acked_ns: when its strategy was told that it lives;
    over_ns: that it is over; refused: the code of a refusal.
    """

    strategy: str
    order: str
    pair: str
    due_ns: int
    placed_ns: int
    acked_ns: int = 0
    over_ns: int = 0
    refused: int = 0
    cancel_ns: int = 0


class Load:
    """Places and cancels through a gate's queues, and records everything.

    Args:
        rig: whose strategies are HOGS and QUIETS
        seed: of the quiet strategies' times
    """

    def __init__(self, rig: GateRig, seed: int) -> None:
        self._rig = rig
        self._random = random.Random(seed)
        self._due: list[tuple[int, int, Do, str]] = []
        self._numbers = Counter[str]()
        self._pushed = 0
        self.orders: dict[str, Placed] = {}
        self.late_ns = 0  # the longest that an order was placed after its time

    def run(self, begin_ns: int, end_ns: int) -> None:
        """Place from `begin_ns` until `end_ns` (monotonic), then let what is on its way arrive."""
        for index, hog in enumerate(HOGS):
            self._push(begin_ns + index * HOG_EVERY_NS // len(HOGS), Do.PLACE, hog)
        for quiet in QUIETS:
            self._push(begin_ns + self._gap_ns(), Do.PLACE, quiet)
        receivers = [worker.receiver for worker in self._rig.workers]
        while (now_ns := time.monotonic_ns()) < end_ns + SETTLE_NS:
            while self._due and self._due[0][0] <= now_ns:
                due_ns, _, what, name = heapq.heappop(self._due)
                if due_ns < end_ns:
                    self._do(what, name, due_ns)
            next_ns = self._due[0][0] if self._due else end_ns + SETTLE_NS
            timeout_s = max(0.0, min(next_ns - time.monotonic_ns(), 10_000_000) / 1e9)
            select.select(receivers, [], [], timeout_s)
            for worker in self._rig.workers:
                for reply in worker.listen():
                    self._on_reply(reply)

    def _push(self, due_ns: int, what: Do, name: str) -> None:
        self._pushed += 1
        heapq.heappush(self._due, (due_ns, self._pushed, what, name))

    def _gap_ns(self) -> int:
        return int(self._random.expovariate(1 / QUIET_EVERY_S) * 1e9)

    def _do(self, what: Do, name: str, due_ns: int) -> None:
        if what is Do.PLACE:
            self._place(name, due_ns)
            self._push(due_ns + (HOG_EVERY_NS if name in HOGS else self._gap_ns()), Do.PLACE, name)
            return
        placed = self.orders[name]
        if not placed.over_ns and bool(placed.acked_ns) is (what is Do.CANCEL_LIVE):
            placed.cancel_ns = time.monotonic_ns()
            self._send(placed, Intent(IntentKind.CANCEL, 0, placed.pair, name, created_ns=placed.cancel_ns))

    def _place(self, strategy: str, due_ns: int) -> None:
        number = self._numbers[strategy]
        self._numbers[strategy] += 1
        pair = list(MARKETS)[(number + len(strategy)) % len(MARKETS)]
        order = f"{self._rig.prefix_of[strategy]}{number:x}"
        price, step = Decimal(MARKETS[pair]), Decimal(STEPS[pair])
        now_ns = time.monotonic_ns()
        placed = self.orders[order] = Placed(strategy, order, pair, due_ns, now_ns)
        self.late_ns = max(self.late_ns, now_ns - due_ns)
        amount = (QUOTE / price).quantize(step)
        self._send(placed, Intent(
            IntentKind.PLACE, 0, pair, order, Side.BUY, OrderType.LIMIT, price=price, amount=amount, created_ns=now_ns,
        ))  # fmt: skip
        if strategy in HOGS and number % REGRETTED == 0:
            self._push(due_ns + REGRET_NS, Do.CANCEL_WAITING, order)

    def _send(self, placed: Placed, intent: Intent) -> None:
        self._rig.workers[self._rig.worker_of[placed.strategy]].send(intent)

    def _on_reply(self, reply: Reply) -> None:
        placed = self.orders.get(reply.client_order_id)
        if placed is None:
            return  # a balance, or the account's state
        now_ns = time.monotonic_ns()
        if reply.kind is ReplyKind.ACKED and not placed.acked_ns:
            placed.acked_ns = now_ns
            rests_ns = HOG_RESTS_NS if placed.strategy in HOGS else QUIET_RESTS_NS
            if not placed.cancel_ns:
                self._push(now_ns + rests_ns, Do.CANCEL_LIVE, reply.client_order_id)
        elif reply.final and not placed.over_ns:
            placed.over_ns = now_ns
            placed.refused = reply.code if reply.kind is ReplyKind.REJECTED else 0
