"""A candle series as a numpy array, for who computes with it.

    rows(reader, 100) -> float64 of shape (up to 100, 10), oldest first, the newest candle last; columns as NAMES

The array is a copy of one moment and the caller's own: views into the ring would change, and tear, under their reader.
"""

import numpy as np

from hive.shm.candles import COLUMNS, CandleReader

NAMES = (
    "timestamp",  # when the candle opened, in s
    "open",
    "high",
    "low",
    "close",
    "volume",
    "quote_asset_volume",
    "n_trades",
    "taker_buy_base_volume",
    "taker_buy_quote_volume",
)


def rows(reader: CandleReader, most: int | None = None) -> np.ndarray:
    """Return the newest `most` candles (None: all that there are), fewer when there are fewer.

    Raises:
        ValueError: `most` is negative.
        ShmError: the writer changed them faster than they could be copied.
    """
    if most is not None and most < 0:
        raise ValueError(f"most must be >= 0, was {most}")
    wanted = reader.capacity if most is None else min(most, reader.capacity)
    into = np.empty((wanted, COLUMNS))
    return into[: reader.read_into(into)]
