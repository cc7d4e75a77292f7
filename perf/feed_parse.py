"""What does it cost to turn market messages into books, and how many times less than upstream's own classes?

    recorded bytes --> Hive:     connection, parse, continuity, book, publish to shared memory
                   \\-> upstream: WSConnection, data source, queues, OrderBookTracker, OrderBook
    both: CPU time of the same bytes, each in a process of its own, in turns; the same books afterwards, level by level

    sender process --(loopback WebSocket, 1,000 instruments at 10 diffs/s)--> feed process: its CPU time

The recording is made at run time, the same each time (market_stream.py): depth updates of 5 to 40 levels, mostly near
the top, and one trade in five messages. For the ratio each message comes when the one before has been handled, as in
life; how much less upstream needs when 16 come at a time, so that its tasks share turns of the loop, is printed too.
The turn of the loop in which a socket is read is counted for neither side.

core_share is taken with messages that come one by one, 100 us apart, which costs the feed most, and in bunches; the
largest share counts.
"""

import asyncio
import gc
import json
import multiprocessing
import multiprocessing.connection
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from feed_rig import Feed, Sender
from harness import Args, CannotMeasure, Goal, NotMeasured, Outcome, check, interleaved, percentiles, run
from hive_books import HiveBooks
from market_stream import Instrument, instruments, messages, record, replay
from upstream_books import UpstreamBooks

INSTRUMENTS = 20
DEPTH = 50
BUNCH = 16
LOAD_INSTRUMENTS, LOAD_RATE = 1_000, 10_000
LOAD_DEPTH = 20
GROUPS = {"one by one": 1, "10 every ms": 10, "1,000 every 100 ms": 1_000}
YOUNG_OBJECTS = 50_000  # as the feed process sets it

GOALS = (
    Goal("parse.cpu_ratio", ">=", 20, "x"),
    Goal("parse.level_differences", "<=", 0),
    Goal("parse.core_share_1000x10", "<=", 0.15, "cores"),
)

Tops = dict[str, tuple[list, list]]  # pair -> bids, asks of (price, quantity)


# ---- The two sides, each in a process of its own -----------------------------------------------------------------


async def serve_hive(link: multiprocessing.connection.Connection, snapshots: dict, files: list[Path]) -> None:
    """Take each file when told to, and answer (CPU seconds, books)."""
    books = HiveBooks(snapshots, DEPTH)
    try:
        await books.start()
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS)
        link.send("ready")
        while (asked := link.recv()) is not None:
            seconds = books.take(replay(files[asked[0]]))
            await asyncio.sleep(0)
            link.send((seconds, {pair: books.top(pair) for pair, _ in snapshots.values()}))
    finally:
        await books.close()


async def serve_upstream(link: multiprocessing.connection.Connection, snapshots: dict, files: list[Path]) -> None:
    """Take each file when told to, and answer (CPU seconds, books)."""
    books = UpstreamBooks(snapshots)
    await books.start()
    gc.collect()
    gc.freeze()
    link.send("ready")
    while (asked := link.recv()) is not None:
        number, at_a_time = asked
        recorded = replay(files[number])
        seconds = await books.take(recorded, last_ids(recorded), at_a_time)
        link.send((seconds, {pair: books.top(symbol, DEPTH) for symbol, (pair, _) in snapshots.items()}))
    books.stop()


def last_ids(recorded: list[bytes]) -> dict[str, int]:
    """Return the last update id of each symbol."""
    found = {}
    for raw in recorded:
        message = json.loads(raw)
        if message["e"] == "depthUpdate":
            found[message["s"]] = message["u"]
    return found


def side(serve: Callable, link: multiprocessing.connection.Connection, snapshots: dict, files: list[Path]) -> None:
    """Run one side; a process's main."""
    os.chdir(files[0].parent)  # upstream writes its logs where it stands
    asyncio.run(serve(link, snapshots, files))


class Side:
    """One side's process."""

    def __init__(self, serve: Callable, snapshots: dict, files: list[Path]) -> None:
        context = multiprocessing.get_context("spawn")
        self._link, theirs = context.Pipe()
        self._process = context.Process(target=side, args=(serve, theirs, snapshots, files))
        self._process.start()
        theirs.close()
        self._next = 0
        self.books: list[Tops] = []
        check(self._link.recv() == "ready", "a side did not start")

    def take(self, at_a_time: int = 1) -> float:
        """Take the next file; return the CPU seconds."""
        self._link.send((self._next, at_a_time))
        self._next += 1
        seconds, books = self._link.recv()
        self.books.append(books)
        return seconds

    def close(self) -> None:
        """End it."""
        self._link.send(None)
        self._process.join()


# ---- Measuring ---------------------------------------------------------------------------------------------------


def expected(one: Instrument) -> tuple[list, list]:
    """Return the best levels of an instrument of the generator."""
    bids = [(float(one.price(at)), float(one.bids[at])) for at in sorted(one.bids, reverse=True)[:DEPTH]]
    return bids, [(float(one.price(at)), float(one.asks[at])) for at in sorted(one.asks)[:DEPTH]]


def differences(mine: Tops, other: Tops) -> int:
    """Return how many levels of the best DEPTH differ: in price, in quantity, or by not being there."""
    count = 0
    for pair in mine.keys() | other.keys():
        for here, there in zip(mine.get(pair, ([], [])), other.get(pair, ([], [])), strict=True):
            count += sum(a != b for a, b in zip(here, there, strict=False)) + abs(len(here) - len(there))
    return count


def compare_cpu(args: Args, scratch: Path) -> tuple[dict[str, float], dict[str, Any], list[str]]:
    """Give both sides the same files in turns, and compare what they took and what they made of them."""
    per_round = args.size("messages per round", 50_000, 10_000)
    rounds = args.size("rounds", 9, 5)
    traded = instruments(INSTRUMENTS)
    snapshots = {one.symbol: (one.pair, one.snapshot()) for one in traded}
    files, books = [], []
    for number in range(rounds + 2):  # one to warm up, one for the bunches
        files.append(scratch / f"round{number}.bin")
        record(files[-1], messages(traded, per_round, seed=number))
        books.append({one.pair: expected(one) for one in traded})
    sizes = [len(raw) for raw in replay(files[-1])]
    sides: dict[str, Side] = {}
    try:
        for name, serve in (("hive", serve_hive), ("upstream", serve_upstream)):
            sides[name] = Side(serve, snapshots, files)
        took = interleaved({name: one.take for name, one in sides.items()}, repeats=rounds)
        bunched = sides["upstream"].take(BUNCH)
        sides["hive"].take()
    finally:
        for one in sides.values():
            one.close()
    wrong = {name: sum(map(differences, one.books, books)) for name, one in sides.items()}
    check(not any(wrong.values()), f"levels that are not those of the recording's own books: {wrong}")
    unequal = sum(map(differences, sides["hive"].books, sides["upstream"].books))
    us = {name: percentiles([seconds / per_round * 1e6 for seconds in found]) for name, found in took.items()}
    ratios = [theirs / ours for ours, theirs in zip(took["hive"], took["upstream"], strict=True)]
    compared = sum(len(s) for top in books for sides_ in top.values() for s in sides_)
    lines = [
        f"{statistics.mean(sizes):.0f} bytes a message, one in five a trade; {INSTRUMENTS} books, {DEPTH} levels deep",
        f"hive: {us['hive'].p(50):.2f} us of CPU per message (of {rounds} rounds: {us['hive'].ordered[0]:.2f}"
        f" to {us['hive'].max:.2f}), published to shared memory",
        f"upstream: {us['upstream'].p(50):.2f} us ({us['upstream'].ordered[0]:.2f} to {us['upstream'].max:.2f});"
        f" {bunched / per_round * 1e6:.2f} us when {BUNCH} come at a time",
        f"ratio by round: {min(ratios):.1f} to {max(ratios):.1f}; {compared} levels compared at {rounds + 2} points",
    ]
    values = {"parse.cpu_ratio": statistics.median(ratios), "parse.level_differences": unequal}
    details = {"us_per_message": {name: found.ordered for name, found in us.items()}, "ratios": ratios}
    details["upstream_us_bunched"] = bunched / per_round * 1e6
    return values, {**details, "levels_compared": compared}, lines


def core_share(args: Args) -> tuple[float | NotMeasured, dict[str, Any], list[str]]:
    """Send a real feed process what 1,000 instruments bring, and return the largest share of a core that it used."""
    seconds = args.size("seconds of load", 20, 4)
    count = LOAD_RATE * seconds
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        return NotMeasured("needs 2 CPUs, the sender's own is one"), {}, []
    lines = [f"feed process on CPU {cpus[0]}, sender on CPU {cpus[1]}; nothing else is pinned"]
    shares: dict[str, float] = {}
    sender = Sender(LOAD_INSTRUMENTS, {cpus[1]})
    feed = None
    try:
        feed = Feed(sender, LOAD_DEPTH, {cpus[0]})
        feed.follow(sender.pairs)
        for name, group in GROUPS.items():
            sender.generate(count, group)
            time.sleep(1.0)
            before_s, updates = feed.cpu_s(), feed.counter("updates")
            sent = sender.send(LOAD_RATE, group)
            check(feed.wait_for("updates", updates + count), f"{name}: not every diff became a version")
            used = feed.cpu_s() - before_s
            check(len(feed.live(sender.pairs)) == LOAD_INSTRUMENTS, f"{name}: not every book stayed live")
            shares[name] = used / sent["seconds"]
            lines.append(
                f"{name}: {used / count * 1e6:.1f} us of CPU per diff, {shares[name]:.3f} of a core;"
                f" {count} diffs in {sent['seconds']:.1f} s, the latest was sent {sent['late_us']:.0f} us late"
            )
    finally:
        if feed is not None:
            feed.close()
        sender.close()
    return max(shares.values()), {"core_share": shares}, lines


def measure(args: Args) -> Outcome:
    """Compare both sides, then load the whole feed."""
    with tempfile.TemporaryDirectory(prefix="hive-perf-") as scratch:
        values, details, lines = compare_cpu(args, Path(scratch))
    try:
        share, more, told = core_share(args)
    except TimeoutError as error:
        raise CannotMeasure(f"the feed was not ready: {error}") from None
    return Outcome({**values, "parse.core_share_1000x10": share}, {**details, **more}, [*lines, *told])


if __name__ == "__main__":
    sys.exit(run(__doc__, GOALS, measure))
