"""Does every strategy get its turn when five of a hundred flood the account, and does the venue never have to say no?

    5 hogs, 20 orders/s each -----+--> 4 workers' queues --> gate process --> simulated exchange, 100 orders / 10 s
    95 quiet, one in 20 s each ---+    (this script)         (real)           (real process)

Placing is open loop: whatever becomes of the orders, the next come at their times. Orders that live are cancelled after
a while; some of the hogs' are cancelled while they wait. A wait counts from the time at which an order was to be placed
until the exchange read it off its socket, or until the order left the queue unsent. The bound on a wait is gate.md's:
ceil(active weights / (weight x limit)) windows, which with 100 strategies of weight 1 is one window of 10 s.

`fair.starved_seconds` is the larger of what the gate's counters say and of what the log says: time for which a strategy
had had orders in the queue (from when they were really sent), longer than the bound, since the last of its orders went
to the venue (behind those it waits for itself). A window's orders leave in one burst; by what a strategy's place in it
differs from its place in the last one, waits may differ too, so the log counts those that are 0.1 s beyond the bound or
more, and prints the longest. An order of a quiet strategy that is refused counts as waiting to the end of the run.
FIFO and static shares beside it are simulated on the same arrivals with the same windows, without an exchange, with the
gate's 30 s for the longest wait; they are no goals.

The second half runs against a new gate and an exchange that says 100 and takes 70 (fault `limit`): `fair.secret_*`.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from fair_judge import Limit, Wait, beyond_ns, budget_used, full_windows, replay
from fair_load import HOGS, QUIETS, Load, Placed
from gate_rig import GateRig
from harness import Args, Goal, NotMeasured, Outcome, check, percentiles, run
from sim_rig import Request, SimExchange

ORDERS, SECRET_ORDERS, WINDOW_NS = 100, 70, 10_000_000_000
WORKERS = 4
STRATEGIES = [*HOGS, *QUIETS]
RESOLUTION_NS = WINDOW_NS // 100
LEAD_NS = 500_000_000  # before the first window that counts
MAX_AGE_NS = 30_000_000_000
REFUSALS = ("429", "418")
EXCHANGE = (
    "--rate", "0.001", "--active", "1", "--symbols", "5", "--orders-10s", str(ORDERS), "--open-orders", "100000",
    "--balance", "USDT=10000000",
)  # fmt: skip

GOALS = (
    Goal("fair.starved_seconds", "<=", 0, "s"),
    Goal("fair.quiet_p99_over_bound", "<=", 1),
    Goal("fair.cancel_p99_ms", "<=", 100, "ms"),
    Goal("fair.budget_used", ">=", 0.98),
    Goal("fair.http_429", "<=", 0),
    Goal("fair.secret_rejects", "<=", 0.01),
    Goal("fair.secret_budget_used", ">=", 0.9),
)


@dataclass(frozen=True, slots=True)
class Log:
    """One run: the strategies' view, the exchange's, and the gate's own starved time (None: it does not say)."""

    orders: dict[str, Placed]
    requests: list[Request]
    limit: Limit
    begin_ns: int
    end_ns: int
    refusals: int
    late_ns: int
    gate_starved_ms: int | None
    exchange_cpu_s: float
    gate_cpu_s: float

    def attempts(self) -> list[Request]:
        """Return every request to place an order, refused ones too: an order refused for a limit is sent again."""
        return [request for request in self.requests if request.kind == "place"]

    def accepted(self) -> dict[str, Request]:
        """Return the requests that the exchange accepted, by order."""
        return {request.order: request for request in self.attempts() if request.status == 200}

    def waits(self, since_ns: Callable[[Placed], int]) -> list[Wait]:
        """Return every order's wait from a moment of its own; a quiet strategy's that was refused waits to the end."""
        accepted = self.accepted()
        waits = []
        for order, one in self.orders.items():
            if order in accepted:
                left_ns = accepted[order].read_ns
            else:
                unserved = not one.over_ns or (one.refused and one.strategy in QUIETS)
                left_ns = max(self.end_ns, since_ns(one)) if unserved else one.over_ns
            waits.append(Wait(one.strategy, since_ns(one), left_ns, order in accepted))
        return waits


def cpu_s(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    return time.clock_gettime(~pid << 3 | 2)


def run_load(windows: int, secret: bool) -> Log:
    """Run exchange, gate and load over so many whole windows."""
    limit = SECRET_ORDERS if secret else ORDERS
    with tempfile.TemporaryDirectory(prefix="hive-perf-") as scratch, ExitStack() as stack:
        exchange = SimExchange(*EXCHANGE)
        stack.callback(exchange.close)
        if secret:
            exchange.fault("limit", orders_10s=SECRET_ORDERS)
        rig = GateRig(exchange.told, STRATEGIES, WORKERS, Path(scratch))
        stack.callback(rig.close)
        exchange.requests()
        at = Limit(limit, WINDOW_NS, exchange.offset_ns)
        used = exchange.cpu_s(), cpu_s(rig.process.pid)
        first = at.window(time.monotonic_ns() + LEAD_NS) + 1
        begin_ns, end_ns = at.start_ns(first) - LEAD_NS, at.start_ns(first + windows)
        time.sleep(max(0, begin_ns - time.monotonic_ns()) / 1e9)
        load = Load(rig, seed=1)
        load.run(begin_ns, end_ns)
        counters = rig.counters()
        starved = [value for (name, _), value in counters.values.items() if name == "starved_ms_total"]
        state = exchange.get("/sim/state")
        log = Log(
            orders=load.orders,
            requests=exchange.requests(),
            limit=at,
            begin_ns=begin_ns,
            end_ns=end_ns,
            refusals=sum(state["refusals"].get(status, 0) for status in REFUSALS),
            late_ns=load.late_ns,
            gate_starved_ms=sum(starved) if starved else None,
            exchange_cpu_s=state["cpu_seconds"] - used[0],
            gate_cpu_s=cpu_s(rig.process.pid) - used[1],
        )
        rig.stop()
        open_orders = [o for a in exchange.get("/sim/ledger")["accounts"] for o in a["orders"] if o["status"] == "NEW"]
        check(not open_orders, f"the gate has stopped, and {len(open_orders)} orders are open")
    judge_log(log)
    return log


def judge_log(log: Log) -> None:
    """Check that the run is what it says: every order and cancel is accounted for."""
    seen = [request.order for request in log.attempts() if request.status == 200]
    check(len(seen) == len(set(seen)), "an order was accepted twice")
    check(set(seen) <= log.orders.keys(), "the exchange has accepted an order that nobody placed")
    acked = {order for order, one in log.orders.items() if one.acked_ns}
    check(acked <= set(seen), "a strategy was told of an order that the exchange has not accepted")
    cancelled = {request.order for request in log.requests if request.kind == "cancel"}
    lost = [o for o in acked if 0 < log.orders[o].cancel_ns < log.end_ns - WINDOW_NS and o not in cancelled]
    check(not lost, f"{len(lost)} cancels of live orders never reached the exchange")


def cancel_ms(log: Log) -> Sequence[float]:
    """Return what each cancel of a live order took until the exchange read it."""
    read = {request.order: request.read_ns for request in log.requests if request.kind == "cancel"}
    asked = {order: one.cancel_ns for order, one in log.orders.items() if one.cancel_ns}
    return [(read[order] - asked_ns) / 1e6 for order, asked_ns in asked.items() if order in read]


def accepted_ns(log: Log) -> list[int]:
    """Return when the exchange accepted each order."""
    return [request.read_ns for request in log.accepted().values()]


def scheduler_line(
    name: str, waits: Sequence[Wait], queued: Sequence[Wait], limit: Limit, windows: range
) -> tuple[str, dict[str, float]]:
    """Return what is to be said of one scheduler, and the same as numbers.

    Args:
        waits: from when an order was to be placed
        queued: from when it was
    """
    bound_ns = limit.bound_ns(len(STRATEGIES))
    quiet = percentiles([wait.ns for wait in waits if wait.strategy in QUIETS])
    beyond = [one for each in beyond_ns(queued, bound_ns).values() for one in each]
    found = {
        "budget_used": budget_used([wait.left_ns for wait in waits if wait.sent], windows, limit),
        "quiet_p50_s": quiet.p(50) / 1e9,
        "quiet_p99_s": quiet.p(99) / 1e9,
        "quiet_unsent": sum(not wait.sent for wait in waits if wait.strategy in QUIETS),
        "starved_s": sum(one for one in beyond if one > RESOLUTION_NS) / 1e9,
        "longest_beyond_s": max(beyond, default=0) / 1e9,
    }
    return (
        f"{name}: budget used {found['budget_used']:.1%}, quiet wait p50 {found['quiet_p50_s']:.2f} s, "
        f"p99 {found['quiet_p99_s']:.2f} s (n={quiet.n}), {found['quiet_unsent']} of them unsent, "
        f"starved {found['starved_s']:.1f} s, longest {found['longest_beyond_s']:.3f} s beyond the bound"
    ), found


def measure(args: Args) -> Outcome:
    """Run against the honest venue, then against the one that allows less than it says."""
    windows = args.size("windows of 10 s", 30, 6)
    honest = run_load(windows, secret=False)
    secret = run_load(windows, secret=True)
    limit, whole = honest.limit, full_windows(honest.limit, honest.begin_ns, honest.end_ns)
    check(len(whole) == windows, f"{windows} whole windows were to be measured, were {len(whole)}")
    waits, queued = honest.waits(lambda one: one.due_ns), honest.waits(lambda one: one.placed_ns)
    arrivals = [(wait.strategy, wait.arrived_ns) for wait in waits]
    share = Limit(limit.orders // len(STRATEGIES), limit.window_ns, limit.offset_ns)
    rivals = {
        "FIFO, simulated": replay(arrivals, lambda strategy: "", limit, MAX_AGE_NS),
        "static shares, simulated": replay(arrivals, lambda strategy: strategy, share, MAX_AGE_NS),
    }
    lines, details = [], {}
    for name, found, since in (("the gate", waits, queued), *((name, one, one) for name, one in rivals.items())):
        line, details[name] = scheduler_line(name, found, since, limit, whole)
        lines.append(line)
    cancels = percentiles(cancel_ms(honest))
    sent = secret.attempts()
    rejected = sum(request.status in (429, 418) for request in sent)
    lines += [
        f"cancels of live orders: {cancels.text('ms')}",
        f"secret limit: {len(sent)} orders sent, {rejected} refused, {secret.refusals} answers 429 or 418 in all",
        f"placed at most {max(honest.late_ns, secret.late_ns) / 1e6:.1f} ms late",
        f"CPU of the gate {honest.gate_cpu_s:.1f} s, of the simulator, not counted, {honest.exchange_cpu_s:.1f} s",
    ]
    starved: float | NotMeasured = NotMeasured("the gate does not count starved_ms_total")
    if honest.gate_starved_ms is not None:
        starved = max(details["the gate"]["starved_s"], honest.gate_starved_ms / 1e3)
        lines.append(f"starved by the gate's own count: {honest.gate_starved_ms / 1e3:g} s")
    secret_windows = full_windows(secret.limit, secret.begin_ns, secret.end_ns)
    values = {
        "fair.starved_seconds": starved,
        "fair.quiet_p99_over_bound": details["the gate"]["quiet_p99_s"] * 1e9 / limit.bound_ns(len(STRATEGIES)),
        "fair.cancel_p99_ms": cancels.p(99),
        "fair.budget_used": budget_used(accepted_ns(honest), whole, limit),
        "fair.http_429": honest.refusals,
        "fair.secret_rejects": rejected / len(sent),
        "fair.secret_budget_used": budget_used(accepted_ns(secret), secret_windows, secret.limit),
    }
    return Outcome(values, {"schedulers": details}, lines)


if __name__ == "__main__":
    sys.exit(run(__doc__, GOALS, measure))
