"""The request budgets that the gate owns, and the feed draws from: one segment per address that a venue counts at.

    budget.<venue>.<epoch>    made at start; goes on with the minute of the gate before, when its segment is still there

Accounts at one REST address share one budget, because the venue counts per IP address, not per account.
"""

from collections.abc import Sequence

from hive.gate.settings import VenueSettings
from hive.shm.budget import BUDGET_BYTES, Budget
from hive.shm.errors import LayoutMismatch, SegmentMissing
from hive.shm.segment import Segment, segment_name, unlink

DOCUMENTED_LIMIT = 6_000  # Binance spot; exchangeInfo tells, and then it counts


class VenueBudgets:
    """The budgets of one gate.

    Args:
        run: of the fleet
        epoch: the gate's
        venues: its accounts
        feed_share: the feed's part of each limit
        wall_ns: this host's wall clock

    Raises:
        ShmError: no room, or a name is taken.
    """

    def __init__(self, run: str, epoch: int, venues: Sequence[VenueSettings], feed_share: float, wall_ns: int) -> None:
        self.names: dict[str, str] = {}  # venue -> segment
        self._segments: dict[str, Segment] = {}  # by REST address
        self._budgets: dict[str, Budget] = {}  # by venue
        for venue in venues:
            address = venue.rest_url.rstrip("/")
            if address in self._segments:
                segment = self._segments[address]
                budget = Budget.open(segment, "gate")
            else:
                name = segment_name(run, f"budget.{venue.name}", epoch)
                segment = Segment.create(name, BUDGET_BYTES, kind="budget", epoch=epoch)
                self._segments[address] = segment
                budget = _continued(segment, run, venue.name, epoch, feed_share, wall_ns)
            self.names[venue.name] = segment.name
            self._budgets[venue.name] = budget

    def of(self, venue: str) -> Budget:
        """Return the gate's view of a venue's budget."""
        return self._budgets[venue]

    def unlink(self) -> None:
        """Remove the segments' names; who has one mapped keeps it."""
        for segment in self._segments.values():
            segment.unlink()


def _continued(segment: Segment, run: str, venue: str, epoch: int, feed_share: float, wall_ns: int) -> Budget:
    """Lay a budget out, going on where the newest of an earlier epoch ended; all earlier ones are unlinked.

    There are several when a gate died while it did this.
    """
    names = [segment_name(run, f"budget.{venue}", earlier) for earlier in range(epoch - 1, 0, -1)]
    before = next(filter(None, map(_left, names)), None)
    budget = Budget.create(segment, DOCUMENTED_LIMIT, feed_share, wall_ns, before)
    for name in names:
        unlink(name)
    return budget


def _left(name: str) -> Budget | None:
    """Return the budget that an earlier gate left in a segment, None when there is none."""
    try:
        return Budget.open(Segment.open(name, kind="budget", writable=True), "gate")
    except (SegmentMissing, LayoutMismatch):
        return None
