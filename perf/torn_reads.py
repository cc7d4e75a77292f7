"""Does a reader ever accept a book that never was, while the writer goes at full speed?

    CPU 0   publishes a thousand million versions, version n made of the number n and of a count of levels from n
    CPU 1   reads without pause, as BookReader.c_copy() does, and looks at every number of what it accepted

The books are small (up to 8 levels a side, 8 versions kept), so that a minute is enough and the writer is nearly always
inside a version. A version that was accepted and is right, and is not the one of the read before, is distinct; it
overlapped a write when the writer had finished another one between the read's first load and its end.

Then the same for a tenth of the versions with the re-check compiled out of the same source (HIVE_WITHOUT_RECHECK in
hive/shm/book_protocol.h): a test that cannot catch that would prove nothing. What no run here can show is a missing
fence: x86-64 keeps stores and loads in order by itself. tests/shm/test_memory_order.py looks for those in what the
compiler makes.
"""

import os
import sys
from contextlib import ExitStack

from children import Child
from harness import Args, Goal, Outcome, check, pinned, require_cpus, run
from native import torn
from shm_rig import Rig, Words

GOALS = (
    Goal("torn.torn", "<=", 0),
    Goal("torn.distinct_accepted", ">=", 1e7),
    Goal("torn.overlapping_a_write", ">=", 1e7),
    Goal("torn.caught_without_recheck", ">=", 1),
)
STOP = 0
COUNTS = ("reads", "refused", "torn", "distinct", "overlapping")


def measure(args: Args) -> Outcome:
    """Run with the re-check, then without."""
    versions = args.size("versions published", 1_000_000_000, 200_000_000)
    unchecked = args.size("versions published without the re-check", 100_000_000, 20_000_000)
    cpus = require_cpus(2)
    with pinned(cpus[0]):
        counts, seconds = under_writer(versions, True, cpus[1:])
        bad, bad_seconds = under_writer(unchecked, False, cpus[1:])
    values = {
        "torn.torn": counts["torn"],
        "torn.distinct_accepted": counts["distinct"],
        "torn.overlapping_a_write": counts["overlapping"],
        "torn.caught_without_recheck": bad["torn"],
    }
    lines = [
        told("with the re-check", versions, seconds, counts),
        told("without it", unchecked, bad_seconds, bad),
    ]
    details = {"with": counts | {"seconds": seconds}, "without": bad | {"seconds": bad_seconds}}
    return Outcome(values, details, lines)


def told(what: str, versions: int, seconds: float, counts: dict[str, int]) -> str:
    """Return the line for a run."""
    return (
        f"{what}: {versions} versions in {seconds:.1f} s ({seconds / versions * 1e9:.0f} ns each); "
        f"{counts['reads']} reads: {counts['refused']} refused, {counts['torn']} torn, {counts['distinct']} distinct "
        f"versions, {counts['overlapping']} of them while another was written"
    )


def under_writer(versions: int, recheck: bool, cpus: list[int]) -> tuple[dict[str, int], float]:
    """Publish on this CPU, read on each of the others; return what all readers counted, and the writer's seconds."""
    with Rig() as rig, ExitStack() as stack:
        writer, reader = rig.book("torn", torn.LEVELS)
        words = rig.words("control", 1)
        pipes, children = [], []
        for cpu in cpus:
            source, sink = os.pipe()
            children.append(stack.enter_context(Child(read, reader, recheck, words, sink, cpu=cpu)))
            os.close(sink)
            pipes.append(stack.enter_context(os.fdopen(source, "rb")))
        seconds = torn.write_versions(writer, 1, versions, words.memory, words.at(STOP))
        words.set(STOP, 1)
        found = [[int(word) for word in pipe.read().split()] for pipe in pipes]
        for child in children:
            check(child.wait(20) == 0, "a reader has failed")
        check(reader.version == versions, f"the last version must be {versions}, was {reader.version}")
    return {name: sum(column) for name, column in zip(COUNTS, zip(*found, strict=True), strict=True)}, seconds


def read(reader: object, recheck: bool, words: Words, sink: int) -> None:
    """Read until told to stop, and write the counts into the pipe."""
    counts = torn.read_versions(reader, recheck, words.memory, words.at(STOP))
    os.write(sink, " ".join(map(str, counts)).encode())


if __name__ == "__main__":
    sys.exit(run(__doc__, GOALS, measure))
