"""The twin of binance_diff.pyx in pure Python, where the decoder of binance.py is faster than any shortcut."""

from hive.feed.venue import Diff, TradeEvent


def usual_diff(raw: bytes) -> Diff | None:
    """Return None: no message is of a form that is worth a shortcut."""
    return None


def usual_trade(raw: bytes) -> TradeEvent | None:
    """Return None, as usual_diff()."""
    return None
