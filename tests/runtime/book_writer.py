"""Publish versions of one book as fast as possible; every number of a version follows from its update id."""

import sys
import time

import numpy as np

from hive.shm.book import LIVE, BookTable, books_size
from hive.shm.segment import Segment
from hummingbot.runtime.selftest import KNOWN

DEPTH = 20
VERSIONS = 8


def mid_of(update_id: int) -> float:
    """Return the middle price of a version."""
    return 1000.0 + update_id % 977


def main(name: str, seconds: float) -> None:
    """Write until told otherwise, `seconds` at most."""
    segment = Segment.create(name, books_size(1, DEPTH, VERSIONS), kind="books", epoch=1)
    try:
        table = BookTable(segment, 1, DEPTH, VERSIONS)
        slot = table.add(KNOWN)
        writer = table.writer(slot)
        steps = np.arange(1.0, DEPTH + 1)
        publish(writer, 1, steps)
        table.set_state(slot, LIVE, time.monotonic_ns())
        print("ready", flush=True)
        until = time.monotonic() + seconds
        update_id = 1
        while time.monotonic() < until:
            for _ in range(1000):
                update_id += 1
                publish(writer, update_id, steps)
    finally:
        segment.close()
        segment.unlink()


def publish(writer, update_id: int, steps: np.ndarray) -> None:
    """Publish one version: level k lies k away from the middle price and holds the price's last two digits plus k."""
    mid = mid_of(update_id)
    amounts = mid % 97 + steps
    writer.publish(update_id, 0, 0, 0, mid - steps, amounts, mid + steps, amounts)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
