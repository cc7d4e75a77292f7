"""A reader in a process of its own that notes when book versions become visible: `python perf/book_watcher.py`.

    stdin   {"segment": NAME, "pairs": [...]}  -> stdout {"watching": N}
            {"log": FILE, "seconds": S}        -> spins over the books for S seconds, then {"seen": K}
            end of file                        -> exit

It does what a worker's tick does, without a pause: it asks each book for its top. FILE gets three int64 for each new
version that it saw: the book's number, the update id and when (CLOCK_MONOTONIC, ns).
"""

import array
import gc
import json
import sys
import time
from pathlib import Path

from hive.shm.book import BookDirectory, BookReader
from hive.shm.segment import Segment


def watch(readers: list[BookReader], seconds: float) -> array.array:
    """Return what was seen, and when."""
    clock = time.monotonic_ns
    log = array.array("q")
    tops = [reader.top for reader in readers]
    known = [0] * len(readers)
    numbered = list(enumerate(tops))
    deadline = clock() + int(seconds * 1e9)
    while (now := clock()) < deadline:
        for number, top in numbered:
            seen = top()
            if seen is not None and seen[4] != known[number]:
                now = clock()
                known[number] = seen[4]
                log.extend((number, seen[4], now))
    return log


def main() -> None:
    """Serve until standard input ends."""
    wish = json.loads(sys.stdin.readline())
    segment = Segment.open(wish["segment"], kind="books")
    directory = BookDirectory(segment)
    readers = [directory.reader(directory.find(pair)) for pair in wish["pairs"]]
    print(json.dumps({"watching": len(readers)}), flush=True)
    gc.freeze()
    gc.disable()
    for line in sys.stdin:
        wish = json.loads(line)
        log = watch(readers, wish["seconds"])
        Path(wish["log"]).write_bytes(log.tobytes())
        print(json.dumps({"seen": len(log) // 3}), flush=True)
    del readers, directory
    segment.close()


if __name__ == "__main__":
    main()
