"""What does a venue that has become a black hole do to the orders of another one?

    script: one worker --> gate --> exchange 0: well | accepts everything and answers nothing
                                \\-> exchange 1: an order every 20 ms, from intent to acknowledgement

In turns, exchange 0 is well and stalled; orders go to both all the while. Compared are the p99 of the orders at
exchange 1 in rounds of the one kind and of the other, pair by pair; the median of the ratios counts.
"""

import select
import statistics
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

from gate_rig import GateRig
from harness import Args, Goal, Outcome, check, percentiles, run
from hive.shm.messages import Intent, IntentKind, OrderType, ReplyKind, Side, TimeInForce
from sim_rig import SimExchange

PAIR = "BTC-USDT"
PERIOD_S = 0.02
LIMITS = ("--orders-10s", "100000", "--weight-limit", "1000000", "--open-orders", "100000", "--rate", "0.001")
STALL_S = 3600

GOALS = (Goal("venues.p99_beside_a_black_hole", "<=", 1.5),)


class Trader:
    """Places orders far from the market at both venues and times the answers of the second."""

    def __init__(self, rig: GateRig, price: Decimal) -> None:
        self._rig = rig
        self._worker = rig.workers[0]
        self._prefix = next(iter(rig.prefix_of.values()))
        self._price = price
        self._number = 0

    def round(self, orders: int) -> list[int]:
        """Return the ns from intent to acknowledgement of each of `orders` at venue 1."""
        sent: dict[str, int] = {}
        took: list[int] = []
        due = time.monotonic()
        while len(took) < orders:
            if len(sent) + len(took) < orders and time.monotonic() >= due:
                due += PERIOD_S
                self._place(0)
                name = self._place(1)
                sent[name] = time.monotonic_ns()
            select.select([self._worker.receiver], [], [], 0.001)
            for reply in self._worker.listen():
                if reply.client_order_id in sent:
                    check(reply.kind is ReplyKind.ACKED, f"{reply.kind.name} of an order at the other venue")
                    took.append(time.monotonic_ns() - sent.pop(reply.client_order_id))
        return took

    def _place(self, venue: int) -> str:
        self._number += 1
        name = f"{self._prefix}{self._number:x}"
        now_ns = time.monotonic_ns()
        kinds = (Side.BUY, OrderType.LIMIT, TimeInForce.GTC, self._price, Decimal("0.01"))
        self._worker.send(Intent(IntentKind.PLACE, venue, PAIR, name, *kinds, created_ns=now_ns))
        return name


def measure(args: Args) -> Outcome:
    """Compare rounds beside a venue that is well with rounds beside one that is stalled."""
    pairs, orders = args.size("pairs of rounds", 7, 3), args.size("orders a round", 500, 200)
    first, second = SimExchange(*LIMITS), SimExchange(*LIMITS)
    well, stalled = [], []
    try:
        with tempfile.TemporaryDirectory(prefix="hive-perf-") as scratch:
            rig = GateRig(first.told, ["one"], 1, Path(scratch), others=[second.told])
            try:
                best = second.get("/api/v3/depth?symbol=BTCUSDT&limit=5")["bids"][0][0]
                trader = Trader(rig, (Decimal(best) * Decimal("0.8")).quantize(Decimal("0.01")))
                trader.round(orders)
                for _ in range(pairs):
                    well.append(percentiles(trader.round(orders)).p(99) / 1e6)
                    first.fault("stall", channel="all", seconds=STALL_S)
                    stalled.append(percentiles(trader.round(orders)).p(99) / 1e6)
                    first.post("/sim/clear", {})
                    time.sleep(2.0)  # what is unknown there is found out
            finally:
                rig.close()
    finally:
        first.close()
        second.close()
    ratio = statistics.median(hole / fine for hole, fine in zip(stalled, well, strict=True))
    return Outcome(
        {"venues.p99_beside_a_black_hole": ratio},
        {"p99_ms_well": well, "p99_ms_stalled": stalled},
        [f"p99 {statistics.median(well):.2f} ms beside a venue that is well, {statistics.median(stalled):.2f} ms else"],
    )


if __name__ == "__main__":
    sys.exit(run(__doc__, GOALS, measure))
