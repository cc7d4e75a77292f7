"""How long after a strategy called `buy()` is the first byte of its order at the exchange's socket?

    pacer --> buy() in a strategy of `hive up` --> worker -> queue -> gate: limits, journal --> WebSocket API --+
          --> buy() of stock Hummingbot's binance connector, in a process of its own --> REST ----------------+-> sim

At 1, 50 and 500 orders a second, one order at a time, with limits that nobody meets: limit orders far below the market,
which the exchange ends after 0.2 s. Both trade on the same exchange; at each rate they take turns. A latency counts
from the intended time, at which the pacer writes to the FIFO that wakes the strategy's loop, to when the exchange read
the order off its socket. Hive is charged with the strategy's `buy()`, the stock connector only with the connector's.
Hive's recorder, a process of its own, runs as in every fleet; the stock connector alone has none, which favours it.

Of the three rates the worst counts: the largest of Hive's p50 and p99, the smallest ratio to the stock connector's p50.
An order of the stock connector's that had not arrived when waiting ended counts with the time that it had waited.
`own` is the gate's figure for the way from where Hummingbot's code has rounded price and amount, in the worker, to the
client's send call: with the order's id, all checks, the queue, both wake-ups, limits and the journal.
"""

import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from harness import Args, Goal, NotMeasured, Outcome, Percentiles, check, percentiles, run
from hive.shm.snapshots import HistogramSnapshot
from order_rivals import HiveFleet, Rival, StockConnector
from sim_rig import Request, SimExchange

EXCHANGE = (
    "--rate", "20", "--active", "1", "--symbols", "5", "--weight-limit", "1000000", "--orders-10s", "1000000",
    "--orders-day", "100000000", "--open-orders", "100000", "--balance", "USDT=100000000", "--balance", "BTC=1000",
)  # fmt: skip
RESTS_S = 0.2
ROUNDS = 2
WARMUP = 40  # orders of each, at 20 a second
ARRIVAL_S = 30.0
POLL_S = 0.1
OWN, WITH_SEND = "own_latency_ns", "order_latency_ns"

GOALS = (
    Goal("order.span_p50_ms", "<=", 0.8, "ms"),
    Goal("order.span_p99_ms", "<=", 5, "ms"),
    Goal("order.stock_over_hive_p50", ">=", 3),
    Goal("order.own_p50_ms", "<=", 0.15, "ms"),
    Goal("order.own_p99_ms", "<=", 2, "ms"),
)


class Arrivals:
    """What the exchange has read, by client order id."""

    def __init__(self, exchange: SimExchange) -> None:
        self._exchange = exchange
        self._placed: dict[str, list[Request]] = {}

    def of(self, orders: list[str], patience_s: float) -> dict[str, list[Request]]:
        """Return the requests that placed these orders, as soon as all have arrived or the time is over."""
        deadline = time.monotonic() + patience_s
        while True:
            for request in self._exchange.requests():
                if request.kind == "place":
                    self._placed.setdefault(request.order, []).append(request)
            found = {order: self._placed[order] for order in orders if order in self._placed}
            if len(found) == len(orders) or time.monotonic() > deadline:
                return found
            time.sleep(POLL_S)


def measure_round(rival: Rival, arrivals: Arrivals, rate: float, count: int, strict: bool) -> list[int]:
    """Return the latencies of one round in ns, each until its order's first arrival.

    strict: it is an error when an order did not arrive, arrived twice or was refused.
    """
    rows = rival.pacer.buy(rate, count)
    found = arrivals.of([order for order, _, _ in rows], ARRIVAL_S)
    until_ns = time.monotonic_ns()
    if strict:
        check(len(found) == count, f"{rate:g}/s: {count - len(found)} of {count} orders never arrived")
        bad = [requests for requests in found.values() if len(requests) > 1 or requests[0].status != 200]
        check(not bad, f"{rate:g}/s: {len(bad)} of {count} orders were refused or placed twice, first {bad[:1]}")
    took = [
        (found[order][0].read_ns if order in found else until_ns) - intended_ns for order, intended_ns, _ in rows
    ]
    check(min(took) > 0, "an order arrived before it was to be placed: the clocks disagree")
    return took


def merged(latencies: list[list[int]]) -> Percentiles:
    """Return all rounds of one rate together."""
    return percentiles([one for each in latencies for one in each])


class OwnPart:
    """What the gate's histogram gains while Hive is at work."""

    def __init__(self, fleet: HiveFleet) -> None:
        self.name = OWN if fleet.gate_histogram(OWN) is not None else WITH_SEND
        self._fleet = fleet
        self._before = HistogramSnapshot()

    def begin(self) -> None:
        """Note where it stands."""
        self._before = self._fleet.gate_histogram(self.name)

    def end(self) -> HistogramSnapshot:
        """Return what came since."""
        return self._fleet.gate_histogram(self.name).minus(self._before)


def measure(args: Args) -> Outcome:
    """Measure at each rate, in turns."""
    sizes = {  # orders a round, of Hive and of the stock connector, which is late for long after 500 a second
        1: (args.size("orders at 1/s", 50, 10),) * 2,
        50: (args.size("orders at 50/s", 500, 150),) * 2,
        500: (args.size("orders at 500/s", 3000, 1000), args.size("stock orders at 500/s", 500, 250)),
    }
    spans: dict[str, dict[int, list[list[int]]]] = {"hive": {}, "stock": {}}
    own: dict[int, HistogramSnapshot] = {}
    with tempfile.TemporaryDirectory(prefix="hive-perf-") as scratch, ExitStack() as stack:
        exchange = SimExchange(*EXCHANGE)
        stack.callback(exchange.close)
        exchange.fault("expire", age=RESTS_S)
        arrivals = Arrivals(exchange)
        fleet = HiveFleet(Path(scratch), exchange)
        stock = StockConnector(Path(scratch), exchange)
        rivals: dict[str, Rival] = {"hive": fleet, "stock": stock}
        for rival in (fleet, stock):
            stack.callback(rival.close)
        for rival in (fleet, stock):
            rival.wait_ready()
            measure_round(rival, arrivals, 20, WARMUP, True)
        part = OwnPart(fleet)
        cpu_s = exchange.cpu_s()
        for rate, counts in sizes.items():
            for _ in range(ROUNDS):
                for (name, rival), count in zip(rivals.items(), counts, strict=True):
                    part.begin()
                    took = measure_round(rival, arrivals, rate, count, name == "hive")
                    spans[name].setdefault(rate, []).append(took)
                    gained = part.end()
                    if name == "hive":
                        check(gained.count == count, f"the gate timed {gained.count} of {count} orders")
                        own[rate] = own.get(rate, HistogramSnapshot()).merge(gained)
        cpu_s = exchange.cpu_s() - cpu_s
    hive, theirs = ({rate: merged(rounds) for rate, rounds in spans[name].items()} for name in ("hive", "stock"))
    ratios = {rate: theirs[rate].p(50) / hive[rate].p(50) for rate in sizes}
    values: dict[str, float | NotMeasured] = {
        "order.span_p50_ms": max(one.p(50) for one in hive.values()) / 1e6,
        "order.span_p99_ms": max(one.p(99) for one in hive.values()) / 1e6,
        "order.stock_over_hive_p50": min(ratios.values()),
        "order.own_p50_ms": max(one.percentile(50) for one in own.values()) / 1e6,
        "order.own_p99_ms": max(one.percentile(99) for one in own.values()) / 1e6,
    }
    lines = []
    for rate in sizes:
        lines += [
            f"{rate}/s Hive: {hive[rate].text('ms', 1e-6)}",
            f"{rate}/s stock: {theirs[rate].text('ms', 1e-6)}; {ratios[rate]:.1f} times Hive's p50",
            f"{rate}/s own: p50 {own[rate].percentile(50) / 1e6:.3f} ms, p99 {own[rate].percentile(99) / 1e6:.3f} ms",
        ]
    if part.name != OWN:
        lines.append(f"own: the gate has no {OWN}; {WITH_SEND} stands for it, which includes the send call")
    lines.append(f"simulator, not counted: CPU {cpu_s:.1f} s")
    details = {
        "latency_ns": {name: {str(rate): summary(one) for rate, one in found.items()}
                       for name, found in (("hive", hive), ("stock", theirs))},
        "own": {str(rate): {"histogram": part.name, "p50": one.percentile(50), "p99": one.percentile(99)}
                for rate, one in own.items()},
        "rounds_p50_ns": {name: {str(rate): [percentiles(one).p(50) for one in rounds]
                                 for rate, rounds in found.items()} for name, found in spans.items()},
        "simulator_cpu_s": cpu_s,
    }  # fmt: skip
    return Outcome(values, details, lines)


def summary(one: Percentiles) -> dict[str, float]:
    """Return a sample as the JSON has it."""
    return {"n": one.n, "p50": one.p(50), "p90": one.p(90), "p99": one.p(99), "max": one.max}


if __name__ == "__main__":
    sys.exit(run(__doc__, GOALS, measure))
