"""Which books have not been live for too long."""

from collections.abc import Set

from hive.workers.market import MarketData


class StaleBooks:
    """Keeps since when each used book is not live; time is a parameter.

    `after_ns` is how long that may last; None: for ever.
    """

    def __init__(self, market: MarketData, after_ns: int | None) -> None:
        self._market = market
        self._after_ns = after_ns
        self._since: dict[tuple[int, str], int] = {}

    def late(self, used: Set[tuple[int, str]], now_ns: int) -> set[tuple[int, str]]:
        """Look at the (venue, pair) in `used` and return those that have not been live for `after_ns` or longer."""
        if self._after_ns is None:
            return set()
        dead = {book for book in used if not self._market.is_live(*book)}
        self._since = {book: self._since.get(book, now_ns) for book in dead}
        return {book for book, since in self._since.items() if now_ns - since >= self._after_ns}
