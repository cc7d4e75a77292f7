"""What each strategy has won or lost at one venue account within a window, by quote asset.

    result of a pair = quote asset moved by own fills + what they have left of the base asset, at the live mid
                       - fees: in the quote asset, in the base asset, or in a third one at its own mid

A window is a run of the fleet, or a day in UTC. With a new run everything starts from nothing; with a new day what is
held is carried over at the first mid that is known, so that a loss of value counts on the day on which it happens.

The mid known last stands in for one that is missing. Where none has ever been known a result is not known either; only
a fee in a third asset is left out, and `unvalued` tells how much of it.

Notes, for the journal, exact over restarts (hive.gate.tally): profit[/TAG/PAIR/LEG], and loss_window -> its name.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from hive.gate.exact import ONE, ZERO, add, assets_of, exact, moves, multiply, subtract
from hive.gate.order import Order
from hive.gate.tally import Tally
from hive.gate.venue import Trade

MidOf = Callable[[str], float | None]
"""Takes a pair, returns the middle of its live book's touch, None when there is none."""

BASE, QUOTE, FEE, CARRIED = "base", "quote", "fee", "carried"
DAY = "day"
RUN = "run"


def window_name(kind: str, run: str, venue_ns: int) -> str:
    """Return the name of the window of a moment, for `kind` run or day; a later day's name is the greater."""
    if kind == RUN:
        return f"run {run}"
    return f"day {datetime.fromtimestamp(venue_ns // 1_000_000_000, UTC).date().isoformat()}"


@dataclass(slots=True)
class Results:
    """What was won (lost: < 0) by (tag, quote asset), where that is known.

    Attributes:
        unknown: (tag, quote asset) -> a pair without which that result is not known
        unvalued: (tag, asset) -> fees that are in no result, for want of a price
    """

    won: dict[tuple[str, str], Decimal] = field(default_factory=dict)
    unknown: dict[tuple[str, str], str] = field(default_factory=dict)
    unvalued: dict[tuple[str, str], Decimal] = field(default_factory=dict)


class Profit:
    """The results of one venue account.

    Args:
        venue: its name
        mid: of this venue's books
        window: the name of the window, see `window_name`
    """

    def __init__(self, venue: str, mid: MidOf, window: str) -> None:
        self.venue = venue
        self.window = window
        self._mid = mid
        self._mids: dict[str, Decimal] = {}
        self._tally = Tally("profit")
        self._news = {"loss_window": window}

    def filled(self, order: Order, trade: Trade) -> None:
        """Take a fill, once; also of an order that has ended."""
        base, quote = assets_of(order.pair)
        for (asset, amount), leg in zip(moves(order, trade), (BASE, QUOTE, FEE), strict=False):
            pair = order.pair
            if leg == FEE and asset in (base, quote):
                leg = BASE if asset == base else QUOTE
            elif leg == FEE:
                pair = f"{asset}-{quote}"
            self._tally.add((order.tag, pair, leg), amount, trade.serial)

    def results(self) -> Results:
        """Return how every strategy stands now."""
        self._settle()
        results = Results()
        for (tag, pair, leg), amount in self._tally.items():
            base, quote = assets_of(pair)
            price = ONE if leg == QUOTE or not amount else self._mid_of(pair)
            if price is None and leg == FEE:
                results.unvalued[tag, base] = add(results.unvalued.get((tag, base), ZERO), amount)
            elif price is None:
                results.unknown[tag, quote] = pair
            elif leg != CARRIED:  # nothing is left of it, it is settled
                results.won[tag, quote] = add(results.won.get((tag, quote), ZERO), multiply(amount, price))
        for of in results.unknown:
            results.won.pop(of, None)
        return results

    def enter(self, window: str) -> None:
        """Begin a later day: what is held is carried over, all else starts from nothing. A past one has no effect."""
        if window <= self.window or not self.window.startswith(DAY):
            return
        self.window = self._news["loss_window"] = window
        sums = dict(self._tally.items())
        for tag, pair, leg in sums:
            if leg == BASE:
                self._tally.put((tag, pair, CARRIED), sums[tag, pair, BASE])
            elif leg != CARRIED:
                self._tally.put((tag, pair, leg), ZERO)

    def restored(self, order: Order) -> None:
        """Take the fills of an order that the journal gave back; after `restore`."""
        for trade in order.trades.values():
            self.filled(order, trade)

    def restore(self, notes: Mapping[str, str], start: int) -> None:
        """Take what the journal gave back, once at the start, before `restored`, `enter` and `snapshot`.

        Args:
            notes: all of the journal's
            start: the last fill's number, see hive.gate.tally.last_serial; another run's window begins there
        """
        before = notes.get("loss_window", "")
        goes_on = before == self.window or (before.startswith(DAY) and self.window.startswith(DAY))
        if goes_on and self._tally.restore(notes):
            self.window = before
            self._news = {}
            return
        self._news |= {name: "" for name in notes if name.startswith("profit/")}
        self._tally.begin(start)

    def snapshot(self) -> dict[str, str]:
        """Return the notes for the journal that have changed since the last call."""
        notes, self._news = self._news, {}
        return notes | self._tally.snapshot()

    def _settle(self) -> None:
        """Value what was carried into this window, as soon as there is a price for it."""
        for (tag, pair, leg), amount in self._tally.items():
            if leg == CARRIED and amount and (mid := self._mid_of(pair)) is not None:
                cost = multiply(amount, mid)
                self._tally.put((tag, pair, QUOTE), subtract(self._tally.sum((tag, pair, QUOTE)), cost))
                self._tally.put((tag, pair, CARRIED), ZERO)

    def _mid_of(self, pair: str) -> Decimal | None:
        mid = self._mid(pair)
        if mid is not None and 0 < mid < math.inf:
            self._mids[pair] = exact(mid)
        return self._mids.get(pair)
