"""What waits to be sent, by class and strategy, in pure Python; the twin of fairness.pyx, which has its promises."""

from collections.abc import Callable

from hive.gate.rounds import Entry, Round

LEAST_WEIGHT = 2.0**-16
MOST_WEIGHT = 2.0**16
MOST_COST = 4096.0
RANKS = 16
WEIGHT_STEP = 2.0**-24
"""Weights are multiples of it, so that any sum of them is exact (to a total of 2^29)."""


def at_once(item: object) -> int:
    """Let any item go."""
    return 0


class FairQueue:
    """The items of all flows that wait, in classes.

    Args:
        capacity: most items that one flow may have waiting in one class, >= 1
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be >= 1, was {capacity}")
        self._capacity = capacity
        self._rounds = [Round() for _ in range(RANKS)]
        self._weights: dict[str, float] = {}

    @property
    def capacity(self) -> int:
        """Return how many items one flow may have waiting in one class."""
        return self._capacity

    def set_weight(self, flow: str, weight: float) -> None:
        """Give a flow its weight in every class, from now on; it is 1 until then.

        Args:
            weight: LEAST_WEIGHT to MOST_WEIGHT, in steps of WEIGHT_STEP
        """
        if not LEAST_WEIGHT <= weight <= MOST_WEIGHT:
            raise ValueError(f"weight must be {LEAST_WEIGHT} to {MOST_WEIGHT}, was {weight}")
        weight = round(weight / WEIGHT_STEP) * WEIGHT_STEP
        self._weights[flow] = weight
        for each in self._rounds:
            if flow in each.flows:
                each.set_weight(each.flows[flow], weight)

    def push(self, rank: int, flow: str, item: object, cost: float = 1.0, first: bool = False) -> Entry | None:
        """Add an item behind the others of its flow.

        Args:
            rank: its class, 0 to 15
            cost: what it takes of the flow's share, > 0 and at most MOST_COST
            first: put it before the others of its flow instead, always: it was popped and could not be sent, so what
                it paid is given back

        Returns:
            Its Entry; None when the flow has `capacity` items waiting in this class.
        """
        place = self._round(rank)
        if not 0 < cost <= MOST_COST:
            raise ValueError(f"cost must be > 0 and at most {MOST_COST}, was {cost}")
        owner = place.flows.get(flow)
        if owner is None:
            owner = place.flow(flow, self._weights.get(flow, 1.0))
        if not first and len(owner.entries) >= self._capacity:
            return None
        entry = Entry(item, flow, rank, cost, owner)
        if first:
            place.push_first(owner, entry)
        else:
            place.push(owner, entry)
        return entry

    def pop(self, rank: int, now_ns: int, wait: Callable[[object], int]) -> object | None:
        """Take out the item whose turn it is.

        Args:
            now_ns: monotonic
            wait: wait(item) returns 0 to let it go, or in how many ns to ask for its flow again: until then the flow
                is passed over in this class. It must not change the queue.

        Returns:
            The item, None when no flow may send now.
        """
        return self._round(rank).pop(now_ns, wait)

    def passed(self, rank: int, flow: str, item: object, now_ns: int, cost: float = 1.0) -> None:
        """Count an item that went without waiting as push() and pop() would have.

        No effect while something waits in its class: that is the item itself, which could not be sent, or came later.
        """
        place = self._round(rank)
        owner = place.flows.get(flow)
        if place.length:
            return
        if owner is None:
            owner = place.flow(flow, self._weights.get(flow, 1.0))
        entry = Entry(item, flow, rank, cost, owner)
        place.push(owner, entry)
        if place.pop(now_ns, at_once) is None:
            place.remove(entry)

    def wait_ns(self, rank: int, now_ns: int) -> int:
        """Return how long no pop() is worth trying: 0 when it is now, -1 when nothing waits."""
        return self._round(rank).wait_ns(now_ns)

    def unpark(self, flow: str | None = None) -> None:
        """Ask for a flow again at the next pop(), or for all of them: limits have changed."""
        for each in self._rounds:
            if flow is None:
                each.unpark()
            elif flow in each.flows:
                each.unpark(each.flows[flow])

    def remove(self, entry: Entry) -> bool:
        """Take an item out that is not to be sent; returns False when it does not wait any more."""
        if entry.owner is None:
            return False
        self._round(entry.rank).remove(entry)
        return True

    def waiting(self) -> list[int]:
        """Return the classes of which something waits, the first first."""
        return [rank for rank, each in enumerate(self._rounds) if each.length]

    def length(self, rank: int) -> int:
        """Return how many items of a class wait."""
        return self._round(rank).length

    def depth(self, rank: int, flow: str) -> int:
        """Return how many items of a flow wait in a class."""
        owner = self._round(rank).flows.get(flow)
        return 0 if owner is None else len(owner.entries)

    def items(self, rank: int | None = None) -> list[object]:
        """Return every item that waits, in one class or in all: flow by flow, each in its order."""
        found: list[object] = []
        for each in self._rounds if rank is None else [self._round(rank)]:
            for flow in each.flows.values():
                found += [entry.item for entry in flow.entries]
        return found

    def head(self, rank: int, flow: str) -> object | None:
        """Return the first item of a flow in a class, None when nothing waits."""
        owner = self._round(rank).flows.get(flow)
        return next(iter(owner.entries)).item if owner is not None and owner.entries else None

    def flows(self, rank: int) -> list[str]:
        """Return the names of the flows with something waiting in a class."""
        return [flow.name for flow in self._round(rank).flows.values() if flow.entries]

    def _round(self, rank: int) -> Round:
        if not 0 <= rank < len(self._rounds):
            raise ValueError(f"rank must be 0 to {len(self._rounds) - 1}, was {rank}")
        return self._rounds[rank]
