"""How long after a message reached the feed's socket does a worker see the book that it made?

    sender --(loopback WebSocket)--> feed process --(shared memory)--> reader
    at its intended time             real, as `hive up` starts it      spins over the books, notes the clock

At 100, 1,000 and 10,000 updates a second over 10 instruments, until the reader saw a message's update id or a later
one. A latency is given from three starts:

    arrival     the kernel's own stamp of the message at the loopback device, a few microseconds before the feed's
                socket is readable: what the goals are about
    sending     right before the sender's call, so with the sending half of TCP
    intended    when it was to be sent, so with the lateness of a sender that was not given its CPU

With 2 CPUs the sender and the feed share one, since the reader that spins needs the other for itself: what the sender
still does after a message has arrived counts as latency too. With 3 or more each has its own.
"""

import array
import json
import os
import subprocess
import sys
import tempfile
from bisect import bisect_left
from pathlib import Path

from feed_rig import Feed, Sender
from harness import Args, CannotMeasure, Goal, Outcome, Percentiles, check, percentiles, run

HERE = Path(__file__).parent
INSTRUMENTS = 10
DEPTH = 20
RATES = (100, 1_000, 10_000)
LEAD_S = 1.0  # the reader starts before the first message, and goes on after the last
DEADLINE_S = 60.0
STARTS = ("intended", "sending", "arrival")  # as in the sender's log
FEWEST_STAMPED = 0.99  # by the kernel; the others count from the sending

GOALS = (
    Goal("feed.p50_us_at_1000", "<=", 50, "us"),
    Goal("feed.p99_us_at_1000", "<=", 1_000, "us"),
)


class Watcher:
    """The process of book_watcher.py."""

    def __init__(self, segment: str, pairs: list[str], cpus: set[int]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, HERE / "book_watcher.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        os.sched_setaffinity(self._process.pid, cpus)
        self._say({"segment": segment, "pairs": pairs})
        self._hear()

    def start(self, log: Path, seconds: float) -> None:
        """Watch for so long."""
        self._say({"log": str(log), "seconds": seconds})

    def wait(self) -> int:
        """Wait for the end; return how many versions were seen."""
        return self._hear()["seen"]

    def close(self) -> None:
        """End it."""
        self._process.stdin.close()
        self._process.wait(DEADLINE_S)
        self._process.stdout.close()

    def _say(self, wish: dict) -> None:
        self._process.stdin.write(json.dumps(wish) + "\n")
        self._process.stdin.flush()

    def _hear(self) -> dict:
        return json.loads(self._process.stdout.readline())


def rows(path: Path, width: int) -> list[tuple[int, ...]]:
    """Return a log's rows."""
    values = array.array("q")
    values.frombytes(path.read_bytes())
    return list(zip(*[iter(values)] * width, strict=True))


def latencies(sent: Path, seen: Path) -> dict[str, list[int]]:
    """Return what each message took until it was seen, in ns, by where it starts: STARTS."""
    visible: dict[int, tuple[list[int], list[int]]] = {}
    for number, update_id, at_ns in rows(seen, 3):
        ids, times = visible.setdefault(number, ([], []))
        ids.append(update_id)
        times.append(at_ns)
    found: dict[str, list[int]] = {start: [] for start in STARTS}
    for number, update_id, *starts_ns in rows(sent, 2 + len(STARTS)):
        ids, times = visible.get(number, ([], []))
        at = bisect_left(ids, update_id)
        check(at < len(ids), f"update {update_id} of instrument {number} was never seen")
        for start, start_ns in zip(STARTS, starts_ns, strict=True):
            found[start].append(times[at] - start_ns)
    return found


def placed() -> tuple[set[int], set[int], set[int], str]:
    """Return the CPUs of sender, feed and reader, and the sentence that says so."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise CannotMeasure("needs 2 CPUs, one for the reader alone")
    sender, feed, reader = (cpus[0], cpus[0], cpus[1]) if len(cpus) == 2 else cpus[:3]
    together = "sender and feed share" if sender == feed else f"sender on CPU {sender}, feed on"
    return {sender}, {feed}, {reader}, f"{together} CPU {feed}, reader on CPU {reader}"


def measure_rate(rig: tuple[Sender, Feed, Watcher], rate: int, seconds: int, scratch: Path) -> dict[str, Percentiles]:
    """Send at one rate, and return the latencies in ns."""
    sender, feed, watcher = rig
    count = rate * seconds
    sender.generate(count, 1)
    updates = feed.counter("updates")
    watcher.start(scratch / "seen", seconds + 2 * LEAD_S)
    sender.send(rate, 1, scratch / "sent")
    watcher.wait()
    check(feed.wait_for("updates", updates + count), f"{rate}/s: not every diff became a version")
    check(len(feed.live(sender.pairs)) == INSTRUMENTS, f"{rate}/s: not every book stayed live")
    found = latencies(scratch / "sent", scratch / "seen")
    stamped = sum(map(int.__ne__, found["sending"], found["arrival"])) / count
    check(stamped > FEWEST_STAMPED, f"{rate}/s: the kernel stamped only {stamped:.2%} of the messages")
    for start, took_ns in found.items():
        check(min(took_ns) > 0, f"a book was seen before its message's {start}: the clocks disagree")
    return {start: percentiles(took_ns) for start, took_ns in found.items()}


def measure(args: Args) -> Outcome:
    """Measure at each rate."""
    samples = {
        100: args.size("seconds at 100/s", 60, 5),
        1_000: args.size("seconds at 1,000/s", 60, 5),
        10_000: args.size("seconds at 10,000/s", 20, 3),
    }
    sender_cpus, feed_cpus, reader_cpus, where = placed()
    found: dict[int, dict[str, Percentiles]] = {}
    sender = Sender(INSTRUMENTS, sender_cpus)
    feed = watcher = None
    try:
        feed = Feed(sender, DEPTH, feed_cpus)
        feed.follow(sender.pairs)
        watcher = Watcher(feed.books_segment, sender.pairs, reader_cpus)
        with tempfile.TemporaryDirectory(prefix="hive-perf-") as scratch:
            measure_rate((sender, feed, watcher), 1_000, 1, Path(scratch))  # to warm up
            for rate in RATES:
                found[rate] = measure_rate((sender, feed, watcher), rate, samples[rate], Path(scratch))
    finally:
        for one in (watcher, feed, sender):
            if one is not None:
                one.close()
    lines = [where]
    for rate, by_start in found.items():
        lines += [f"{rate}/s, from {start}: {by_start[start].text('us', 1e-3)}" for start in reversed(STARTS)]
    at_1000 = found[1_000]["arrival"]
    values = {"feed.p50_us_at_1000": at_1000.p(50) / 1e3, "feed.p99_us_at_1000": at_1000.p(99) / 1e3}
    details = {
        str(rate): {
            start: {"n": one.n, "p50": one.p(50), "p99": one.p(99), "p99.9": one.p(99.9), "max": one.max}
            for start, one in by_start.items()
        }
        for rate, by_start in found.items()
    }
    return Outcome(values, {"latency_ns": details, "placement": where}, lines)


if __name__ == "__main__":
    sys.exit(run(__doc__, GOALS, measure))
