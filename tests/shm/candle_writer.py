"""Writes a candle series as fast as it can until it is killed: `candle_writer.py RUN`; "ready" once it is long.

Ten changes make a candle; change c of candle n has the open n * 10 + c, and each further value is one more than the one
before, so that a reader sees a mixture of two changes, or a candle that changed after it was closed.
"""

import sys

from hive.shm.candles import CandleWriter, candles_size
from hive.shm.segment import Segment, segment_name

CAPACITY = 50
CHANGES = 10

segment = Segment.create(
    segment_name(sys.argv[1], "candles.stress.0", 1), candles_size(CAPACITY), kind="candles", epoch=1
)
writer = CandleWriter(segment, "BTC-USDT", "1s", 1000, CAPACITY)
number = 0
while True:
    for change in range(CHANGES):
        base = number * CHANGES + change
        writer.update(
            number * 1000, number * 1000 + 999, base, base + 1, base + 2, base + 3, base + 4, base + 5, base + 6,
            base + 7, base + 8, change == CHANGES - 1, 0,
        )  # fmt: skip
    number += 1
    if number == 2 * CAPACITY:
        print("ready", flush=True)
