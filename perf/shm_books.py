"""What does a book in shared memory cost: against the same bytes in plain C, and against what else Python has?

    one process      publish a book of 20 levels | read its top | copy it      Hive's C API and plain C, in turns
    two processes    CPU 0 --book--> CPU 1 --book--> CPU 0                     one way = half of the round trip
    four readers     CPU 0 publishes, 4 processes on the other CPUs read       what the writer is held for

The rival (perf/native/rival.c) writes and reads the same bytes under the same protocol, without instruments that come
and go. One way: each run of Hive's stands between two of the rival's; a pair counts when those two agree within 25 %,
which on a virtual machine they often do not. Both reads are taken, top and whole book; the worse ratio is the goal's.

Four readers: the writer publishes a book every 10 us (100,000 a second), its readers copy every new version as soon as
they see it and look again at once; what is measured is how long a publication holds the writer's thread. Printed beside
it: the same at other rates, with readers that never pause, and back to back, where the cache lines that readers have
pulled do hold the writer up.

The peers carry the same book at Python's level, Hive is measured through its C API, as its order book runs on it; what
Hive costs from Python is printed too.
"""

import statistics
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from children import Child
from harness import (
    Args,
    CannotMeasure,
    Goal,
    NotMeasured,
    Outcome,
    check,
    interleaved,
    number,
    pinned,
    require_cpus,
    run,
)
from hive.shm.book import BookCopy, BookReader, BookWriter
from native import loops
from shm_peers import RUN, one_way_ns, peers
from shm_rig import Rig, Words

GOALS = (
    Goal("books.read_bbo_vs_c", "<=", 1.3),
    Goal("books.copy20_vs_c", "<=", 1.3),
    Goal("books.publish20_vs_c", "<=", 1.3),
    Goal("books.one_way_vs_c", "<=", 1.5),
    Goal("books.writer_cost_4_readers", "<=", 1.2),
    Goal("books.vs_best_peer", ">=", 20),
)
LEAST_PAIRS = 50
AGREE = 0.25
READERS = 4
RATE_INTERVAL_NS = 10_000
READ_SHARE = 0.8  # of the versions, by all readers together: else they were not running
JUDGED = "held, 100,000/s, each version copied"
MODE = 0  # the word that tells readers what to do; theirs follow, one each
REST, TOP, COPY, EACH_TOP, EACH_COPY, END = 0, 1, 2, 3, 4, 9


def measure(args: Args) -> Outcome:
    """Measure everything in one run, on CPU 0 and as many others as there are."""
    calls = args.size("calls in a batch", 200_000, 50_000)
    batches = args.size("batches", 101, 31)
    rounds = args.size("round trips in a run", 200, 200)
    pairs = args.size("pairs of runs", 500, 50)
    publications = args.size("publications in a batch", 2_000, 500)
    peer_rounds = args.size("round trips of a peer in a turn", 5_000, 1_000)
    turns = args.size("turns of each peer", 9, 3)
    values: dict[str, float | NotMeasured] = {}
    details: dict[str, object] = {}
    lines: list[str] = []
    cpus = require_cpus(1)
    with Rig() as rig, pinned(cpus[0]):
        one_process(rig, calls, batches, values, details, lines)
    try:
        cpus = require_cpus(2)
    except CannotMeasure as error:
        values[""] = NotMeasured(str(error))
        return Outcome(values, details, lines)
    with Rig() as rig, pinned(cpus[0]):
        two_processes(rig, rounds, pairs, cpus, values, details, lines)
        readers_beside(rig, publications, batches, cpus, values, details, lines)
        against_peers(rig, peer_rounds, turns, cpus, values, details, lines)
    return Outcome(values, details, lines)


# ---- One process -------------------------------------------------------------------------------------------------


def one_process(rig: Rig, calls: int, batches: int, values: dict, details: dict, lines: list) -> None:
    """Publish, read and copy in nogil loops, Hive and rival in turns."""
    writer, reader = rig.book("hive")
    rival = rig.rival("rival")
    columns, copy = loops.Columns(), BookCopy(loops.LEVELS)
    runs = interleaved(
        {
            "publish20": partial(loops.publish_ns, writer, columns, calls),
            "publish20 c": partial(rival.publish_ns, columns, calls),
            "read_bbo": partial(right, partial(loops.top_ns, reader, calls), calls * 100.0),
            "read_bbo c": partial(right, partial(rival.top_ns, calls), calls * 100.0),
            "copy20": partial(right, partial(loops.copy_ns, reader, copy, calls), calls * 179.0),
            "copy20 c": partial(right, partial(rival.copy_ns, calls), calls * 179.0),
        },
        repeats=batches,
        warmup=3,
    )
    for name in ("read_bbo", "copy20", "publish20"):
        ours, theirs = statistics.median(runs[name]), statistics.median(runs[f"{name} c"])
        values[f"books.{name}_vs_c"] = ours / theirs
        details[name] = {"hive_ns": ours, "c_ns": theirs, "hive_min_ns": min(runs[name])}
        lines.append(f"{name}: {ours:.1f} ns, plain C {theirs:.1f} ns (median of {batches} batches)")


def right(loop: Callable[[], tuple[float, float]], total: float) -> float:
    """Return what a loop took when it read what was published."""
    took_ns, seen = loop()
    check(seen == total, f"the loop read a total of {seen}, must be {total}")
    return took_ns


# ---- Two processes -----------------------------------------------------------------------------------------------


class PingPong:
    """Both sides' books, and both kinds of read: 0 the top, 1 the whole book."""

    def __init__(self, rig: Rig, rounds: int) -> None:
        self.rounds = rounds
        self.there, self.seen_there = rig.book("there")
        self.back, self.seen_back = rig.book("back")
        self.rival_there, self.rival_back = rig.rival("rival-there"), rig.rival("rival-back")
        self.words = rig.words("words", 3)
        self.columns, self.copy = loops.Columns(), BookCopy(loops.LEVELS)
        self.sent = 1

    def order(self) -> list[tuple[str, bool]]:
        """Return what is played in a turn."""
        return [("c", False), ("hive", False), ("c", False), ("c", True), ("hive", True), ("c", True), ("word", False)]

    def play(self, who: str, whole: bool) -> float:
        """Ask `rounds` times; return ns one way."""
        first, self.sent = self.sent, self.sent + self.rounds
        if who == "c":
            return self.rival_there.ping_ns(self.rival_back, self.columns, first, self.rounds, whole)
        if who == "word":
            return loops.word_ping_ns(self.words.memory, self.words.at(1), self.words.at(2), first, self.rounds)
        return loops.ping_ns(self.there, self.seen_back, self.copy, self.columns, first, self.rounds, whole)

    def answer(self) -> None:
        """Answer turns until the word 0 says that there are no more."""
        while True:
            for who, whole in self.order():
                first, self.sent = self.sent, self.sent + self.rounds
                if who == "c":
                    self.rival_back.pong(self.rival_there, self.columns, first, self.rounds, whole)
                elif who == "word":
                    loops.word_pong(self.words.memory, self.words.at(1), self.words.at(2), first, self.rounds)
                else:
                    loops.pong(self.back, self.seen_there, self.copy, self.columns, first, self.rounds, whole)
            while (turn := self.words.get(0)) == 0:
                pass
            if turn == END:
                return
            self.words.set(0, 0)


def two_processes(
    rig: Rig, rounds: int, wanted: int, cpus: list[int], values: dict, details: dict, lines: list
) -> None:
    """Measure one way between two CPUs."""
    game = PingPong(rig, rounds)
    runs: dict[bool, list[tuple[float, float, float]]] = {False: [], True: []}
    word: list[float] = []
    with Child(game.answer, cpu=cpus[1]) as child:
        for turn in range(wanted * 20):
            took = [game.play(who, whole) for who, whole in game.order()]
            if turn:  # the first is for warming up
                runs[False].append((took[0], took[1], took[2]))
                runs[True].append((took[3], took[4], took[5]))
                word.append(took[6])
            if min(len(agreeing(pairs)) for pairs in runs.values()) >= wanted:
                break
            game.words.set(0, 1)
            while game.words.get(0):
                check(not child.ended(0), "the process that answers has died")
        game.words.set(0, END)
        child.wait(10)
    ratios = {}
    for whole, name in ((False, "top"), (True, "book of 20 levels")):
        good = agreeing(runs[whole])
        if len(good) < LEAST_PAIRS:
            values["books.one_way_vs_c"] = NotMeasured(
                f"only {len(good)} of {len(runs[whole])} pairs had C before and after within {AGREE:.0%}"
            )
            return
        ratios[name] = statistics.median(2 * hive / (before + after) for before, hive, after in good)
        hive_ns = statistics.median(hive for _, hive, _ in good)
        c_ns = statistics.median((before + after) / 2 for before, _, after in good)
        details[f"one way, {name}"] = {"hive_ns": hive_ns, "c_ns": c_ns, "pairs": len(good), "runs": len(runs[whole])}
        lines.append(
            f"one way, {name}: {hive_ns:.0f} ns, plain C {c_ns:.0f} ns, ratio {ratios[name]:.2f} "
            f"(median of {len(good)} of {len(runs[whole])} pairs)"
        )
    details["one way, one word"] = {"c_ns": statistics.median(word)}
    lines.append(f"one way, one word on a line of its own, plain C: {statistics.median(word):.0f} ns")
    values["books.one_way_vs_c"] = max(ratios.values())


def agreeing(runs: Sequence[tuple[float, float, float]]) -> list[tuple[float, float, float]]:
    """Return those whose C runs before and after agree."""
    return [run for run in runs if abs(run[0] - run[2]) <= AGREE * min(run[0], run[2])]


# ---- A writer and its readers ------------------------------------------------------------------------------------


def readers_beside(
    rig: Rig, publications: int, batches: int, cpus: list[int], values: dict, details: dict, lines: list
) -> None:
    """Measure what a publication holds the writer for, without and with four readers on the other CPUs."""
    writer, reader = rig.book("read")
    words = rig.words("control", 1 + READERS)
    columns = loops.Columns()
    with ExitStack() as stack:
        others = cpus[1:]
        for index in range(READERS):
            args = (reader, BookCopy(loops.LEVELS), words.memory, words.at(MODE), words.at(1 + index))
            stack.enter_context(Child(loops.read_until, *args, cpu=others[index % len(others)]))
        stack.callback(words.set, MODE, END)
        where = f"{READERS} readers on {len(others)} other CPU{'s' * (len(others) > 1)}"
        turns = max(10, batches // 3)
        for name, mode, interval_ns, drained in (
            (JUDGED, EACH_COPY, RATE_INTERVAL_NS, False),
            ("held, 100,000/s, copies without pause", COPY, RATE_INTERVAL_NS, False),
            ("held, 100,000/s, tops without pause", TOP, RATE_INTERVAL_NS, False),
            ("held, 1,000,000/s, each version copied", EACH_COPY, 1_000, False),
            ("held and drained, 100,000/s, each version copied", EACH_COPY, RATE_INTERVAL_NS, True),
            ("back to back, copies without pause", COPY, 0, False),
        ):
            judged = name == JUDGED
            alone, beside, shares = [], [], []
            for _ in range(4 * turns):
                took_ns, share = cost_ns(writer, columns, words, mode, publications, interval_ns, drained)
                if interval_ns and share < READ_SHARE:
                    continue  # the readers were not there: others had their CPUs
                beside.append(took_ns)
                shares.append(share)
                alone.append(cost_ns(writer, columns, words, REST, publications, interval_ns, drained)[0])
                if len(beside) == turns:
                    break
            if len(beside) < turns:
                reason = f"in {len(beside)} of {4 * turns} batches only the readers read enough versions"
                lines.append(f"{name}: not measured: {reason}")
                if judged:
                    values["books.writer_cost_4_readers"] = NotMeasured(reason)
                continue
            ratio = statistics.median(beside) / statistics.median(alone)
            if judged:
                values["books.writer_cost_4_readers"] = ratio
            share = statistics.median(shares)
            details[name] = {
                "alone_ns": statistics.median(alone),
                "with_readers_ns": statistics.median(beside),
                "read_share": share,
                "readers": where,
            }
            lines.append(
                f"{name}: {statistics.median(alone):.0f} ns alone, {statistics.median(beside):.0f} ns with {where}, "
                f"ratio {ratio:.2f} (together they read {share:.2f} for each version)"
            )


def cost_ns(
    writer: BookWriter, columns: loops.Columns, words: Words, mode: int, count: int, interval_ns: int, drained: bool
) -> tuple[float, float]:
    """Return what a publication costs in a mode of the readers, and how many reads of a version there were for each."""
    words.set(MODE, mode)
    time.sleep(0.002)
    before = sum(words.get(1 + index) for index in range(READERS))
    if interval_ns:
        nothing = loops.paced_publish_ns(writer, columns, 500, 500, False, drained)
        took = loops.paced_publish_ns(writer, columns, count, interval_ns, True, drained)
        took_ns = usual(took) - usual(nothing)
    else:
        count *= 20
        took_ns = loops.publish_ns(writer, columns, count)
    return took_ns, (sum(words.get(1 + index) for index in range(READERS)) - before) / count


def usual(took_ns: Sequence[int]) -> float:
    """Return the mean without the longest 2 %, which are other processes and the hypervisor."""
    kept = sorted(took_ns)[: max(1, len(took_ns) * 98 // 100)]
    return sum(kept) / len(kept)


# ---- Peers -------------------------------------------------------------------------------------------------------


def against_peers(
    rig: Rig, rounds: int, turns: int, cpus: list[int], values: dict, details: dict, lines: list
) -> None:
    """Send the same book over everything else, in turns with Hive."""
    rivals: dict[str, Callable[[], float]] = {
        "Hive": partial(hive_one_way_ns, rig, 10 * rounds, cpus, ping_in_runs, loops.pong),
        "Hive from Python (publish() and copy_into())": partial(hive_one_way_ns, rig, rounds, cpus, ping, pong),
    }
    for name, opens in peers().items():
        if opens is None:
            lines.append(f"one way, {name}: not installed")
        else:
            rivals[name] = partial(one_way_ns, opens, rounds, cpus)
    took = {name: statistics.median(runs) for name, runs in interleaved(rivals, repeats=turns, warmup=0).items()}
    hive_ns = took["Hive"]
    details["peers"] = took
    for name, ns in took.items():
        times = "" if name == "Hive" else f", {number(round(ns / hive_ns, 1))} times that"
        lines.append(f"one way, {name}: {ns:.0f} ns{times} (median of {turns} turns)")
    values["books.vs_best_peer"] = min(ns for name, ns in took.items() if not name.startswith("Hive")) / hive_ns


def hive_one_way_ns(
    rig: Rig, rounds: int, cpus: list[int], ask: Callable[..., float], answer: Callable[..., object]
) -> float:
    """Return Hive's ns one way for a whole book, `rounds` times there and back."""
    name = f"peer{time.monotonic_ns()}"
    there, seen_there = rig.book(f"{name}-there")
    back, seen_back = rig.book(f"{name}-back")
    columns, copy = loops.Columns(), BookCopy(loops.LEVELS)
    with Child(answer, back, seen_there, copy, columns, 1, rounds, True, cpu=cpus[1]) as child:
        took = ask(there, seen_back, copy, columns, 1, rounds, True)
        child.wait(10)
    return took


def ping_in_runs(writer: BookWriter, answer: BookReader, copy: BookCopy, columns: loops.Columns, *rest: int) -> float:
    """Return the median of loops.ping_ns() over runs of RUN round trips."""
    first, rounds, whole = rest
    starts = range(first, first + rounds, RUN)
    return statistics.median(loops.ping_ns(writer, answer, copy, columns, start, RUN, whole) for start in starts)


COLUMN = array("d", range(loops.LEVELS))


def ping(writer: BookWriter, answer: BookReader, copy: BookCopy, _: object, first: int, rounds: int, __: bool) -> float:
    """Do in Python what loops.ping_ns() does."""
    took = []
    for start in range(first, first + rounds, RUN):
        begun = time.perf_counter_ns()
        for update in range(start, start + RUN):
            writer.publish(update, 0, 0, 0, COLUMN, COLUMN, COLUMN, COLUMN)
            await_version(answer, copy, update)
        took.append((time.perf_counter_ns() - begun) / RUN)
    return statistics.median(took) / 2


def pong(writer: BookWriter, asked: BookReader, copy: BookCopy, _: object, first: int, rounds: int, __: bool) -> None:
    """Do in Python what loops.pong() does."""
    for update in range(first, first + rounds):
        await_version(asked, copy, update)
        writer.publish(update, 0, 0, 0, COLUMN, COLUMN, COLUMN, COLUMN)


def await_version(reader: BookReader, copy: BookCopy, version: int) -> None:
    """Spin until the version is there, and copy it."""
    deadline = time.monotonic() + 10
    while reader.version < version or reader.copy_into(copy) != 1:
        check(time.monotonic() < deadline, "the other end does not answer")


if __name__ == "__main__":
    sys.exit(run(__doc__, GOALS, measure))
