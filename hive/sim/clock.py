"""The exchange's clock: wall milliseconds, with a skew that a fault may set."""
from __future__ import annotations

import time


class ExchangeClock:
    """Tells the exchange's wall time; `skew_ms` moves it away from the host's."""

    def __init__(self) -> None:
        self.skew_ms = 0

    def wall_ms(self) -> int:
        """Return the exchange's time in ms since the epoch."""
        return time.time_ns() // 1_000_000 + self.skew_ms
