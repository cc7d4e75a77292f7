"""What waits to be sent, by class and strategy: bounded queues, served in turns by weight.

    push(rank, flow, item) -> one queue for each class and flow -> pop(rank, now_ns, wait) -> item

Each class (rank) has its own rounds; whose turn it is and how long a turn can take is derived in rounds.pyx. Which
class is next is not decided here (quota.ClassPolicy).

Promise: every item that was pushed leaves by pop() or remove(), once; a flow's items leave in their order; push, pop
and remove cost O(log flows). One thread.
"""

from hive.gate.rounds cimport Entry, Flow, Round

LEAST_WEIGHT = 2.0**-16
MOST_WEIGHT = 2.0**16
MOST_COST = 4096.0
RANKS = 16
WEIGHT_STEP = 2.0**-24
"""Weights are multiples of it, so that any sum of them is exact (to a total of 2^29)."""


def at_once(item):
    """Let any item go."""
    return 0


cdef class FairQueue:
    """The items of all flows that wait, in classes.

    Args:
        capacity: most items that one flow may have waiting in one class, >= 1
    """

    cdef readonly Py_ssize_t capacity
    cdef list _rounds
    cdef dict _weights

    def __init__(self, Py_ssize_t capacity):
        if capacity < 1:
            raise ValueError(f"capacity must be >= 1, was {capacity}")
        self.capacity = capacity
        self._rounds = [Round() for _ in range(RANKS)]
        self._weights = {}

    def set_weight(self, str flow, double weight):
        """Give a flow its weight in every class, from now on; it is 1 until then.

        Args:
            weight: LEAST_WEIGHT to MOST_WEIGHT, in steps of WEIGHT_STEP
        """
        cdef Round each
        if not LEAST_WEIGHT <= weight <= MOST_WEIGHT:
            raise ValueError(f"weight must be {LEAST_WEIGHT} to {MOST_WEIGHT}, was {weight}")
        weight = round(weight / WEIGHT_STEP) * WEIGHT_STEP
        self._weights[flow] = weight
        for each in self._rounds:
            if flow in each.flows:
                each.set_weight(each.flows[flow], weight)

    def push(self, int rank, str flow, object item, double cost=1.0, bint first=False):
        """Add an item behind the others of its flow.

        Args:
            rank: its class, 0 to 15
            cost: what it takes of the flow's share, > 0 and at most MOST_COST
            first: put it before the others of its flow instead, always: it was popped and could not be sent, so what
                it paid is given back

        Returns:
            Its Entry; None when the flow has `capacity` items waiting in this class.
        """
        cdef Round place = self._round(rank)
        if not 0 < cost <= MOST_COST:
            raise ValueError(f"cost must be > 0 and at most {MOST_COST}, was {cost}")
        cdef Flow owner = place.flows.get(flow)
        if owner is None:
            owner = place.flow(flow, self._weights.get(flow, 1.0))
        if not first and owner.depth >= self.capacity:
            return None
        cdef Entry entry = Entry(item, flow, rank, cost, owner)
        if first:
            place.push_first(owner, entry)
        else:
            place.push(owner, entry)
        return entry

    def pop(self, int rank, long long now_ns, object wait):
        """Take out the item whose turn it is.

        Args:
            now_ns: monotonic
            wait: wait(item) returns 0 to let it go, or in how many ns to ask for its flow again: until then the flow
                is passed over in this class. It must not change the queue.

        Returns:
            The item, None when no flow may send now.
        """
        return self._round(rank).pop(now_ns, wait)

    def passed(self, int rank, str flow, object item, long long now_ns, double cost=1.0):
        """Count an item that went without waiting as push() and pop() would have.

        No effect while something waits in its class: that is the item itself, which could not be sent, or came later.
        """
        cdef Round place = self._round(rank)
        cdef Flow owner = place.flows.get(flow)
        cdef Entry entry
        if place.length:
            return
        if owner is None:
            owner = place.flow(flow, self._weights.get(flow, 1.0))
        entry = Entry(item, flow, rank, cost, owner)
        place.push(owner, entry)
        if place.pop(now_ns, at_once) is None:
            place.remove(entry)

    def wait_ns(self, int rank, long long now_ns):
        """Return how long no pop() is worth trying: 0 when it is now, -1 when nothing waits."""
        return self._round(rank).wait_ns(now_ns)

    def unpark(self, str flow=None):
        """Ask for a flow again at the next pop(), or for all of them: limits have changed."""
        cdef Round each
        for each in self._rounds:
            if flow is None:
                each.unpark()
            elif flow in each.flows:
                each.unpark(each.flows[flow])

    def remove(self, Entry entry not None):
        """Take an item out that is not to be sent; returns False when it does not wait any more."""
        if entry.owner is None:
            return False
        self._round(entry.rank).remove(entry)
        return True

    def waiting(self):
        """Return the classes of which something waits, the first first."""
        cdef Round each
        cdef int rank
        found = []
        for rank in range(RANKS):
            each = <Round>self._rounds[rank]
            if each.length:
                found.append(rank)
        return found

    def length(self, int rank):
        """Return how many items of a class wait."""
        return self._round(rank).length

    def depth(self, int rank, str flow):
        """Return how many items of a flow wait in a class."""
        cdef Flow owner = self._round(rank).flows.get(flow)
        return 0 if owner is None else owner.depth

    def items(self, rank=None):
        """Return every item that waits, in one class or in all: flow by flow, each in its order."""
        cdef Round each
        cdef Flow flow
        found = []
        for each in self._rounds if rank is None else [self._round(rank)]:
            for flow in each.flows.values():
                found += flow.items()
        return found

    def head(self, int rank, str flow):
        """Return the first item of a flow in a class, None when nothing waits."""
        cdef Flow owner = self._round(rank).flows.get(flow)
        return owner.head.item if owner is not None and owner.depth else None

    def flows(self, int rank):
        """Return the names of the flows with something waiting in a class."""
        cdef Flow flow
        return [flow.name for flow in self._round(rank).flows.values() if flow.depth]

    cdef Round _round(self, int rank):
        if not 0 <= rank < len(self._rounds):
            raise ValueError(f"rank must be 0 to {len(self._rounds) - 1}, was {rank}")
        return <Round>self._rounds[rank]
