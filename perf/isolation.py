"""What do the neighbours of a strategy that misbehaves notice of it, and does the operator read why it had to go?

    exchange (apart) <-> gate <-> 2 workers: 99 strategies that trade and write diaries, and 18 bad neighbours
                                     |          let go one by one
               every 0.1 s: counters, `hive status`            in the end: diaries <- judge -> the exchange's ledger

The others are late while, in the last half second, one of them did not tick at all, or the p99 of their lateness was
over LATE_MS: a whole tick interval. What is counted is the time from letting a neighbour go to the last such moment.
An order of the others is lost when the exchange and its strategy do not tell the same story of it (chaos_judge.py).
Misattributed are replies that reached another strategy, and blame that fell on one of the others.
"""

import re
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from chaos import SEED, SETTLE_S, START_S, STOP_S, verdict_of
from chaos_fleet import NAME, PAIRS, TICK_MS, Exchange, Fleet
from harness import Args, Goal, Outcome, check, run
from hive import totals
from hive.shm.counters import CountersReader
from hive.shm.errors import ShmError
from hive.shm.segment import Segment
from hive.shm.snapshots import CountersSnapshot

GOALS = (
    Goal("isolation.lost_orders_of_others", "<=", 0),
    Goal("isolation.misattributed", "<=", 0),
    Goal("isolation.others_late_s", "<=", 3, "s"),
    Goal("isolation.reason_missing", "<=", 0),
)
HARMS = {  # what the operator must read of it; None: nothing was done to it, its errors and refused orders are counted
    "raise_always": "ticks in a row failed",
    "raise_in_task": None,
    "raise_in_event": None,
    "return_garbage": None,
    "block": "held the loop",
    "spin": "held the loop",
    "spin_in_task": "held the loop",
    "swallow": "heartbeat|killed|died|hung|quarantine",
    "leave": "SystemExit",
    "leave_hard": "SystemExit|asked its process to end",
    "crash": "died|killed|signal|quarantine",
    "take_memory": "memory",
    "flood_log": "lines of its log|worker's time",
    "flood_orders": "orders were refused|worker's time",
    "change_directory": "os.chdir",
    "change_environment": "os.putenv",
    "change_locale": "setlocale",
    "recurse": "RecursionError",
}
RUNTIME = {
    "tick_interval_ms": TICK_MS,
    "max_strategies_per_container": 60,
    "hang_after_ms": 1000,
    "interrupt_after_ms": 300,
    "worker_memory_mb": 600,
    "restart_wait_max_s": 0.2,
}
OTHERS = 99
OTHERS_QUICK = 8
ORDERS_PER_S = 100  # of all others
LATE_MS = 50
LOOK_S = 0.1
WINDOW = 5  # looks
REASON_S = 12.0


@dataclass(slots=True)
class Effect:
    """What came of one harm."""

    harm: str
    late_s: float = 0.0
    late_p99_ms: float = 0.0
    reason: str = ""
    state: str = ""
    errors: int = 0
    blamed: set[str] = field(default_factory=set)

    def line(self) -> str:
        """Return its row of the table."""
        late = f"{self.late_s:7.2f} {self.late_p99_ms:9.1f}"
        return f"{self.harm:20} {late} {self.state:12} {self.reason or f'{self.errors} errors'}"[:160]


class NeighboursFleet(Fleet):
    """The fleet of chaos.py with a bad neighbour of each kind."""

    host = "isolation_host:IsolationHost"

    def _write(self, exchange: Exchange) -> None:
        super()._write(exchange)
        path = self._root / "fleet.yml"
        fleet = yaml.safe_load(path.read_text())
        fleet["runtime"] = RUNTIME
        fleet["strategies"] += [
            {
                "id": name_of(harm),
                "script": "chaos",
                "set": {"trading_pair": PAIRS[0], "diaries": str(self._diaries), "harm": harm},
            }
            for harm in HARMS
        ]
        path.write_text(yaml.safe_dump(fleet))

    def let_go(self, harm: str) -> None:
        """Let a bad neighbour do its harm."""
        (self._diaries / f"go.{name_of(harm)}").touch()

    def strategies(self) -> dict[str, dict[str, Any]]:
        """Return what fleet.json says of the strategies, by id."""
        fleet = self.folder_of_run.read() or {"strategies": []}
        return {one["id"]: one for one in fleet["strategies"]}

    def counters(self) -> CountersSnapshot:
        """Return the counters of all workers that live."""
        fleet = self.folder_of_run.read() or {"processes": []}
        found = []
        for process in fleet["processes"]:
            if process["role"] == "worker" and process["counters"]:
                try:
                    found.append(CountersReader(Segment.open(process["counters"], kind="counters")).read())
                except (ShmError, OSError):
                    continue  # it has just died
        return totals.add(found)


def name_of(harm: str) -> str:
    """Return the id of the bad neighbour that does this harm."""
    return f"bad-{harm.replace('_', '-')}"


class Lateness:
    """Looks at how late the others are."""

    def __init__(self, fleet: NeighboursFleet) -> None:
        self._fleet = fleet
        self._looks: list[CountersSnapshot] = []

    def look(self) -> float:
        """Return the p99 of the last half second in ms; infinite when one of the others has not ticked in it."""
        self._looks = [*self._looks, self._fleet.counters()][-WINDOW - 1 :]
        now, then = self._looks[-1], self._looks[0]
        late = []
        for name in self._fleet.names:
            label = (("strategy", name),)
            ticks = now.values.get(("ticks", label), 0) - then.values.get(("ticks", label), 0)
            if len(self._looks) > WINDOW and ticks <= 0:  # fewer: its worker has begun anew
                return float("inf")
            after = now.histograms.get(("tick_lateness_ns", label))
            before = then.histograms.get(("tick_lateness_ns", label))
            if after is not None and before is not None and after.count > before.count:
                late.append((after, before))
        return max((recent_p99_ms(after, before) for after, before in late), default=0.0)


def recent_p99_ms(after: Any, before: Any) -> float:
    """Return the p99 of what a histogram counted between two readings."""
    buckets = tuple(now - then for now, then in zip(after.buckets, before.buckets, strict=True))
    return type(after)(after.sum - before.sum, after.max, buckets).percentile(99) / 1e6


def harm_once(fleet: NeighboursFleet, harm: str, calm_s: float) -> Effect:
    """Let one neighbour go; return once there is a reason, and the others were undisturbed for `calm_s`."""
    effect = Effect(harm)
    lateness = Lateness(fleet)
    for _ in range(WINDOW + 1):
        lateness.look()
        time.sleep(LOOK_S)
    name = name_of(harm)
    errors = errors_of(fleet, name)
    fleet.let_go(harm)
    begun = last_late = time.monotonic()
    while True:
        time.sleep(LOOK_S)
        now = time.monotonic()
        late_ms = lateness.look()
        if late_ms > LATE_MS:
            last_late = now
            effect.late_s = now - begun
        if late_ms != float("inf"):
            effect.late_p99_ms = max(effect.late_p99_ms, late_ms)
        told = fleet.strategies()
        effect.blamed |= {one for one in fleet.names if told.get(one, {}).get("state") == "paused"}
        own = told.get(name, {"state": "", "message": ""})
        wanted = HARMS[harm]
        if wanted is None:
            effect.errors = errors_of(fleet, name) - errors
        elif not effect.reason and re.search(wanted, own["message"]):
            effect.reason = own["message"]
        effect.state = own["state"]
        answered = bool(effect.reason) or effect.errors > 0
        if (answered and now - last_late > calm_s) or now - begun > REASON_S + calm_s:
            return effect


def errors_of(fleet: NeighboursFleet, name: str) -> int:
    """Return how many errors and refused orders of a strategy were counted."""
    values = fleet.counters().values
    return sum(values.get((what, (("strategy", name),)), 0) for what in ("errors", "orders_refused"))


def measure(args: Args) -> Outcome:
    """Let all go, one by one, and judge."""
    calm_s = args.size("calm_ms", 5_000, 1_000) / 1e3
    others = args.size("other strategies", OTHERS, OTHERS_QUICK)
    folder = Path(tempfile.mkdtemp(prefix="hvi"))
    exchange = Exchange(SEED)
    try:
        fleet = NeighboursFleet(folder, exchange, others, max(1, others * 1000 // TICK_MS // ORDERS_PER_S))
        try:
            fleet.up()
            check(fleet.wait(lambda: not fleet.idle_since(0), START_S), f"the fleet does not trade:\n{fleet.output()}")
            effects = [harm_once(fleet, harm, calm_s) for harm in HARMS]
            since_ns = time.monotonic_ns()
            check(fleet.wait(lambda: not fleet.idle_since(since_ns), START_S), f"it trades no more:\n{fleet.output()}")
            fleet.pause()
            fleet.wait(lambda: not verdict_of(exchange, fleet).lost, SETTLE_S)
            code = fleet.stop(STOP_S)
            verdict = verdict_of(exchange, fleet)
        finally:
            fleet.stop(STOP_S)
    finally:
        exchange.close()
        shutil.rmtree(folder, ignore_errors=True)
    check(code == 0, f"the fleet must stop with exit code 0, was {code}")
    check(verdict.orders > 500, f"the others must trade meanwhile, had {verdict.orders} orders")
    blamed = sorted({one for effect in effects for one in effect.blamed})
    foreign = [line for line in verdict.misattributed if "the tag of no strategy" not in line]
    missing = [effect.harm for effect in effects if not effect.reason and not effect.errors]
    lines = [f"{'neighbour':20} late, s  p99, ms  state        what the operator reads"]
    lines += [effect.line() for effect in effects]
    lines += [f"orders of the others {verdict.orders}, fills {verdict.fills}"]
    lines += [f"lost: {line}" for line in verdict.lost[:10]] + [f"misattributed: {line}" for line in foreign[:10]]
    lines += [f"blamed: {one}" for one in blamed] + [f"no reason: {harm}" for harm in missing]
    values = {
        "isolation.lost_orders_of_others": len(verdict.lost),
        "isolation.misattributed": len(foreign) + len(blamed),
        "isolation.others_late_s": max(effect.late_s for effect in effects),
        "isolation.reason_missing": len(missing),
    }
    details = {
        "fleet": NAME,
        "late_over_ms": LATE_MS,
        "harms": [
            {"harm": one.harm, "late_s": round(one.late_s, 2), "late_p99_ms": round(one.late_p99_ms, 1),
             "state": one.state, "reason": one.reason, "errors": one.errors}
            for one in effects
        ],
        "orders": verdict.orders,
        "fills": verdict.fills,
    }
    return Outcome(values, details, lines)


if __name__ == "__main__":
    sys.exit(run(__doc__, GOALS, measure))
