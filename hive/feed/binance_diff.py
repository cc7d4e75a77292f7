"""The twin of binance_diff.pyx in pure Python, where the decoder of binance.py is faster than any shortcut."""

from typing import Any

from hive.feed.inlet import Shortcut
from hive.feed.venue import Diff, TradeEvent

LONGEST_MESSAGE = 1 << 20  # a diff of 5,000 levels on both sides is about 300 kB


def usual_diff(raw: bytes) -> Diff | None:
    """Return None: no message is of a form that is worth a shortcut."""
    return None


def usual_trade(raw: bytes) -> TradeEvent | None:
    """Return None, as usual_diff()."""
    return None


class BinanceShortcut(Shortcut):
    """Takes nothing, as usual_diff()."""

    def __init__(self, books: dict[str, Any], tapes: dict[str, Any]) -> None:
        """Nothing is done with the books and tapes by symbol."""
