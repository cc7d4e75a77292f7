"""Does a reader ever get a wrong or old book that says LIVE, whatever the exchange and the machine do to the feed?

    simulated exchange --faults--> feed --> shared books --> 2 workers, the example fleet --> gate --> orders
          |                         ^ stopped, killed    \\-> probe: what is a reader told, 1,000 times a second?
          +--> what each book was at each update id, when each diff went out, when each order came --> judge

A real `hive up` runs the example fleet against an exchange that outlives it. One after the other, every fault of market
data that the exchange knows is put to work, and the feed is stopped and killed. A probe reads all books as a worker
does; afterwards every LIVE read is judged by the exchange's own records (fault_judge.py): content, level by level, at
that update id, and age. After each fault every book must equal the exchange's. Then nothing is done to the loaded fleet
for a while, and no reader (probe, workers, gate) may see a book that is not LIVE. At last a million mutated messages
go through the feed's handling (feed_fuzz.py).

How soon can be known what: a stopped or killed feed 100 ms, a closed connection at once, a gap with the next diff, a
venue that answers no pings 2 s, one that answers pings and sends no data (it looks like a quiet market) 10 s.
"""

import asyncio
import json
import logging
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fault_fleet import NAME, Run, fleet_run
from fault_judge import Verdict, Window, judge
from fault_probe import Claim
from feed_fuzz import Rig, Tally
from harness import Args, Goal, Outcome, check, run
from hive.shm.segment import sweep

PROBE = Path(__file__).with_name("fault_probe.py")
CALM_S = 1.5  # between two faults
NS = 1_000_000_000
NEXT_DIFF_NS = 250_000_000
PONG_NS = 2_200_000_000
SILENCE_NS = 10_200_000_000

GOALS = (
    Goal("faults.wrong_reads_not_marked", "<=", 0),
    Goal("faults.orders_on_a_stale_book", "<=", 0),
    Goal("faults.false_stale_intervals", "<=", 0),
    Goal("faults.books_unequal_after", "<=", 0),
    Goal("faults.fuzz_crashes", "<=", 0),
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is done to the exchange, in order; how long it takes at least; how soon it can be known."""

    name: str
    faults: tuple[dict[str, Any], ...]
    lasts_s: float = 1.0
    hidden_ns: int = 0
    harmless: bool = False


GAP = {"name": "gap", "symbol": "*", "count": 6}
NOTICED = ("gaps", "resyncs", "reconnects", "malformed", "http_429")  # counters of the feed that must have moved
KINDS = ("truncated", "text", "empty", "binary", "types", "keys", "nan", "levels", "event", "symbol", "deep", "huge")
TROUBLES = (
    Trouble("duplicate", ({"name": "duplicate", "count": 20},), harmless=True),
    Trouble("gap", (GAP,), hidden_ns=NEXT_DIFF_NS),
    Trouble("reorder", ({"name": "reorder", "count": 6},), hidden_ns=NEXT_DIFF_NS),
    Trouble("crossed", ({"name": "crossed", "count": 6},), hidden_ns=NEXT_DIFF_NS),
    Trouble("gap, lagging snapshots", ({"name": "lag", "count": 6}, GAP), hidden_ns=NEXT_DIFF_NS),
    Trouble(
        "gap, 5xx on snapshots", ({"name": "http_5xx", "operation": "snapshot", "count": 8}, GAP),
        hidden_ns=NEXT_DIFF_NS,
    ),
    Trouble(
        "gap, 429 on a snapshot", ({"name": "http_429", "operation": "snapshot", "retry_after": 2}, GAP),
        hidden_ns=NEXT_DIFF_NS,
    ),
    Trouble("gap, banned", ({"name": "ban", "channel": "rest", "seconds": 2}, GAP), 2.0, hidden_ns=NEXT_DIFF_NS),
    Trouble(
        "gap, slow snapshots", ({"name": "delay", "operation": "snapshot", "ms": 700, "count": 6}, GAP),
        hidden_ns=NEXT_DIFF_NS,
    ),
    *(
        Trouble(f"garbage, {kind}", ({"name": "garbage", "kind": kind, "count": 5},), hidden_ns=NEXT_DIFF_NS)
        for kind in KINDS
    ),
    *(
        Trouble(
            f"garbage instead, {kind}", ({"name": "garbage", "kind": kind, "instead": 1, "count": 5},),
            hidden_ns=NEXT_DIFF_NS,
        )
        for kind in KINDS
    ),
    Trouble("drop", ({"name": "drop", "channel": "market"},)),
    Trouble("drop without a word", ({"name": "drop", "channel": "market", "abort": 1},)),
    Trouble("shutdown notice", ({"name": "shutdown", "ms": 4000},), 5.0, harmless=True),
    Trouble("end of a connection's life", ({"name": "lifetime", "age": 1, "seconds": 0.2},)),
    Trouble(
        "maintenance",
        ({"name": "maintenance", "channel": "market", "seconds": 3}, {"name": "drop", "channel": "market"}), 3.0,
    ),
    Trouble("stall", ({"name": "stall", "channel": "market", "seconds": 4},), 4.0, hidden_ns=PONG_NS),
    Trouble("stall of everything", ({"name": "stall", "channel": "all", "seconds": 4},), 4.0, hidden_ns=PONG_NS),
    Trouble("mute", ({"name": "mute", "channel": "market", "seconds": 12},), 12.0, hidden_ns=SILENCE_NS),
    Trouble("halt", ({"name": "halt", "symbol": "XRPUSDT", "seconds": 5},), 5.0),
    Trouble("other filters", ({"name": "filters", "symbol": "SOLUSDT", "step": "0.01", "seconds": 4},), 4.0),
)


def trouble(run: Run, one: Trouble) -> None:
    """Put a fault to work, wait until the books are right again, and note from when to when that was."""
    from_ns = time.monotonic_ns()
    for fault in one.faults:
        run.exchange.post("/sim/fault", {key: str(value) for key, value in fault.items()})
    time.sleep(one.lasts_s)
    run.wait(run.live, f"every book LIVE after {one.name}")
    run.exchange.post("/sim/clear", {})
    run.compare(one.name)
    run.windows.append(Window(one.name, from_ns, time.monotonic_ns(), one.hidden_ns, one.harmless))
    time.sleep(CALM_S)


def stop_feed(run: Run, seconds: float) -> None:
    """SIGSTOP the feed for a while; the supervisor kills and replaces it when that is too long."""
    pid, epoch = run.feed_pid(), run.books.epoch
    name = f"SIGSTOP for {seconds:g} s" if seconds else "SIGSTOP for good"
    from_ns = time.monotonic_ns()
    os.kill(pid, signal.SIGSTOP)
    dead_ns, alive_ns, dead_epoch = time.monotonic_ns(), 0, 0
    if seconds:
        time.sleep(seconds)
        alive_ns = time.monotonic_ns()
        os.kill(pid, signal.SIGCONT)
    else:
        dead_epoch = epoch
        run.wait(lambda: run.live() and run.books.epoch > epoch, "a new feed with every book LIVE")
    run.wait(run.live, f"every book LIVE after {name}")
    run.compare(name)
    window = Window(
        name, from_ns, time.monotonic_ns(), dead_ns=dead_ns, alive_ns=alive_ns, dead_epoch=dead_epoch
    )
    run.windows.append(window)
    time.sleep(CALM_S)


def kill_feed(run: Run) -> None:
    """SIGKILL the feed and wait for the next one's books."""
    pid, epoch = run.feed_pid(), run.books.epoch
    from_ns = time.monotonic_ns()
    os.kill(pid, signal.SIGKILL)
    dead_ns = time.monotonic_ns()
    run.wait(lambda: run.live() and run.books.epoch > epoch, "a new feed with every book LIVE")
    run.compare("SIGKILL")
    run.windows.append(Window("SIGKILL", from_ns, time.monotonic_ns(), dead_ns=dead_ns, dead_epoch=epoch))
    time.sleep(CALM_S)


def stale_counts(status: dict[str, Any]) -> dict[str, int]:
    """Return how often workers and gate have seen a book that was not current."""
    stale = status["venues"][0]["stale"]
    return {role: stale[role]["intervals"] for role in ("worker", "gate")}


def be_quiet(run: Run, seconds: int) -> int:
    """Do nothing to the fleet for a while; return how often workers and gate took a book for stale."""
    before = stale_counts(run.status())
    time.sleep(seconds)
    after = stale_counts(run.status())
    seen = {role: after[role] - before[role] for role in before}
    run.lines.append(f"quiet for {seconds} s: stale intervals seen by workers {seen['worker']}, gate {seen['gate']}")
    return sum(seen.values())


def read_claims(path: Path) -> tuple[list[Claim], list[float]]:
    """Return what the probe wrote: claims, and for how long (ms) it was not scheduled each time."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    late = [(row[2] - row[1]) / 1e6 for row in rows if row[0] == "late"]
    return [Claim(*row) for row in rows if row[0] != "late"], late


def fuzz(messages: int) -> Tally:
    """Hand so many mutated messages to the feed's own handling."""
    logging.getLogger("hive").setLevel(logging.CRITICAL)  # each connection that a message ended would be a line
    name = secrets.token_hex(4)
    rig = Rig(name, seed=20261124)
    try:
        return asyncio.run(rig.fuzz(messages))
    finally:
        rig.close()
        sweep(name)


def measure(args: Args) -> Outcome:
    """Go through all faults, be quiet, fuzz, judge."""
    rounds = args.size("rounds of all faults", 1, 1)
    quiet_s = args.size("seconds of quiet", 600, 60)
    messages = args.size("fuzzed messages", 1_000_000, 50_000)
    with tempfile.TemporaryDirectory(prefix="hive-perf-") as scratch, fleet_run(Path(scratch)) as run:
        claims_file = run.folder / "claims.jsonl"
        run.wait(lambda: run.status().get("strategies"), "a status")
        run.wait(run.live, "every book LIVE")
        run.wait(lambda: all(s["state"] == "running" for s in run.status()["strategies"]), "every strategy running")
        probe = subprocess.Popen([sys.executable, PROBE, NAME, claims_file])
        try:
            since_ns = time.monotonic_ns() + NS
            time.sleep(2)
            run.compare("the start")
            for _ in range(rounds):
                for one in TROUBLES:
                    trouble(run, one)
                stop_feed(run, 0.5)
                stop_feed(run, 1.2)
                kill_feed(run)
                stop_feed(run, 0)
            seen_in_quiet = be_quiet(run, quiet_s)
            run.compare("the quiet stretch")
        finally:
            probe.terminate()
            probe.wait(30)
        run.exchange.fetch()
        orders = [one for one in run.exchange.orders() if one[1] > since_ns]
        claims, late_ms = read_claims(claims_file)
        check(run.exchange.missed == 0, f"{run.exchange.missed} of the exchange's records were missed")
        verdict = judge(claims, run.exchange.truths, run.windows, orders, since_ns)
        end = {**run.status(), "exchange_cpu_s": run.exchange.get("/sim/state")["cpu_seconds"]}
    tally = fuzz(messages)
    check(verdict.compared > 1000, f"the probe has seen too little: {verdict.compared} books")
    check(len(orders) > 20, f"too few orders reached the exchange: {len(orders)}")
    check(tally.malformed > messages / 10, "the fuzzer's messages were hardly mutated")
    venue = end["venues"][0]
    quiet = [name for name in NOTICED if not venue[name]]
    check(not quiet, f"the feed has noticed nothing of what was done to it: {', '.join(quiet)} are 0")
    check(end["totals"]["orders"]["refused"] > 0, "no strategy tried to place an order on a book that was not live")
    values = {
        "faults.wrong_reads_not_marked": verdict.wrong_reads + tally.wrong_live,
        "faults.orders_on_a_stale_book": verdict.orders_on_stale,
        "faults.false_stale_intervals": verdict.false_stale + seen_in_quiet,
        "faults.books_unequal_after": run.unequal,
        "faults.fuzz_crashes": tally.crashes + tally.uncounted,
    }
    return Outcome(values, details(run, verdict, tally, end), [*report(run, verdict, tally, orders, late_ms, end)])


def report(
    run: Run, verdict: Verdict, tally: Tally, orders: list[tuple[str, int]], late_ms: list[float], end: dict[str, Any]
) -> Iterator[str]:
    """Yield lines for the reader."""
    for window in run.windows:
        spans = [(after, before) for _, after, before in verdict.stale_spans if after < window.to_ns]
        spans = [(before - after) / 1e6 for after, before in spans if before > window.from_ns]
        took_s = (window.to_ns - window.from_ns) / 1e9
        yield f"  {window.name}: right again after {took_s:.1f} s; {stale_text(spans)}"
    yield f"{len(run.windows)} faults; {run.compared} books compared after them"
    yield (
        f"probe: {verdict.live_reads} LIVE reads of {verdict.compared} books compared level by level; outside of "
        f"faults the oldest was outdated for {verdict.latest_ns / 1e6:.0f} ms; the probe was not scheduled for "
        f"{max(late_ms, default=0):.0f} ms at most"
    )
    refused = end["totals"]["orders"]["refused"]
    yield (
        f"orders: {len(orders)} reached the exchange, {refused} were refused before; stretches of more than 100 ms "
        f"with a stale book: {len(verdict.stale_spans)}"
    )
    venue = end["venues"][0]
    yield "feed's counters since its start: " + ", ".join(f"{name} {venue[name]}" for name in NOTICED)
    yield (
        f"fuzz: {tally.messages} messages, {tally.malformed} malformed, {tally.resyncs} resyncs, {tally.live_checks} "
        f"LIVE books compared, {tally.wrong_live} wrong"
    )
    yield f"the exchange's own CPU, not the fleet's: {end['exchange_cpu_s']:.1f} s"
    yield from run.lines
    yield from verdict.texts
    yield from tally.details


def stale_text(spans_ms: list[float]) -> str:
    """Describe for how long books were stale during a fault."""
    if not spans_ms:
        return "no book stale for more than 100 ms"
    return f"{len(spans_ms)} times a book stale, {max(spans_ms):.0f} ms at most"


def details(run: Run, verdict: Verdict, tally: Tally, status: dict[str, Any]) -> dict[str, Any]:
    """Return what goes into the JSON file."""
    began_ns = run.windows[0].from_ns if run.windows else 0
    return {
        "windows": [
            {"name": one.name, "from_s": (one.from_ns - began_ns) / 1e9, "seconds": (one.to_ns - one.from_ns) / 1e9}
            for one in run.windows
        ],
        "live_reads": verdict.live_reads,
        "books_compared": verdict.compared,
        "oldest_live_ms": verdict.latest_ns / 1e6,
        "fuzz": {key: getattr(tally, key) for key in tally.__slots__},
        "venue": status.get("venues", [None])[0],
    }


if __name__ == "__main__":
    sys.exit(run(__doc__, GOALS, measure))
