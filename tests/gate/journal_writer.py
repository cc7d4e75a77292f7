"""A process that writes a journal until it is killed: `journal_writer.py FOLDER FIRST COUNT POLICY`.

It says "NUMBER STEP" after each commit, so what it said is what it may have acted upon.
"""

import asyncio
import sys
from pathlib import Path

from gate.journal_rig import SMALL, Clock, Life, made
from hive.gate.journal import Journal

STEPS = ("sent", "acked", "fill", "ended", "done")


async def main(folder: Path, first: int, count: int, policy: str) -> None:
    """Let orders live, one after the other, in files as small as can be."""
    clock = Clock()
    one = Journal.open(
        folder,
        "benca",
        "binance",
        policy=policy,
        interval_s=0.001,
        file_bytes=SMALL,
        wall_ns=lambda: clock.wall,
        now_ns=lambda: clock.now,
    )
    syncing = asyncio.create_task(one.run())
    print("open", flush=True)
    for number in range(first, first + count):
        life = Life(one, made(number, clock), clock)
        for step in STEPS:
            life.live_through(step)
            if not one.commit():
                sys.exit(one.failing)
            print(number, step, flush=True)
        await asyncio.sleep(0)
    await syncing


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
