"""Deficit round robin over flows in pure Python, the twin of rounds.pyx, which derives it and its bound."""

from collections import OrderedDict
from collections.abc import Callable

REBASE = 2.0**20  # the clock starts again from 0 here, so that it keeps resolving the shortest turn


class Flow:
    """One flow of one class: what waits, and its place in the round."""

    def __init__(self, name: str, weight: float) -> None:
        self.name = name
        self.entries: OrderedDict[Entry, None] = OrderedDict()  # the first one is the head
        self.weight = weight
        self.start = 0.0  # S: where its turn begins, or the next one would
        self.finish = 0.0  # F, while something waits
        self.deficit = 0.0  # V - S, kept while it is parked
        self.sequence = 0  # when it began to wait for this turn
        self.before = 0  # the same of the turn before
        self.counted = False  # whether PHI contains its weight
        self.heap: Heap | None = None  # where it is, None when nothing waits and nothing is owed
        self.at = 0  # its position there


class Entry:
    """An item that waits: FairQueue.push() returns it, FairQueue.remove() takes it."""

    def __init__(self, item: object, flow: str, rank: int, cost: float, owner: Flow) -> None:
        self._item = item
        self._flow = flow
        self._rank = rank
        self.cost = float(cost)
        self.owner: Flow | None = owner  # None as soon as it does not wait any more

    @property
    def item(self) -> object:
        """Return what was pushed."""
        return self._item

    @property
    def flow(self) -> str:
        """Return the name of its flow."""
        return self._flow

    @property
    def rank(self) -> int:
        """Return its class."""
        return self._rank

    @property
    def waiting(self) -> bool:
        """Return whether it still waits."""
        return self.owner is not None


class Heap:
    """Flows by (key, sequence), least first; a flow knows its position, so any can be taken out."""

    def __init__(self) -> None:
        self.nodes: list[tuple[float, int, Flow]] = []

    def __len__(self) -> int:
        return len(self.nodes)

    def add(self, flow: Flow, key: float) -> None:
        flow.heap = self
        node = (key, flow.sequence, flow)
        self.nodes.append(node)
        self._up(len(self.nodes) - 1, node)

    def remove(self, flow: Flow) -> None:
        at = flow.at
        last = self.nodes.pop()
        flow.heap = None
        if at < len(self.nodes):
            if at and last[:2] < self.nodes[(at - 1) >> 1][:2]:
                self._up(at, last)
            else:
                self._down(at, last)

    def top(self) -> Flow:
        return self.nodes[0][2]

    def least(self) -> float:
        return self.nodes[0][0]

    def shift(self, by: float) -> None:
        """Lower every key by the same."""
        self.nodes = [(key - by, sequence, flow) for key, sequence, flow in self.nodes]

    def _put(self, at: int, node: tuple[float, int, Flow]) -> None:
        self.nodes[at] = node
        node[2].at = at

    def _up(self, at: int, node: tuple[float, int, Flow]) -> None:
        while at and node[:2] < self.nodes[(at - 1) >> 1][:2]:
            self._put(at, self.nodes[(at - 1) >> 1])
            at = (at - 1) >> 1
        self._put(at, node)

    def _down(self, at: int, node: tuple[float, int, Flow]) -> None:
        used = len(self.nodes)
        while (child := 2 * at + 1) < used:
            if child + 1 < used and self.nodes[child + 1][:2] < self.nodes[child][:2]:
                child += 1
            if not self.nodes[child][:2] < node[:2]:
                break
            self._put(at, self.nodes[child])
            at = child
        self._put(at, node)


class Round:
    """The flows of one class and their clock."""

    def __init__(self) -> None:
        self.flows: dict[str, Flow] = {}
        self.length = 0
        self.clock = 0.0  # V
        self.weights = 0.0  # PHI
        self.sequence = 0
        self.ready = Heap()
        self.ahead = Heap()
        self.parked = Heap()
        self.leaving = Heap()

    def flow(self, name: str, weight: float) -> Flow:
        """Return the flow of a name, made with this weight when it is new."""
        found = self.flows.get(name)
        if found is None:
            found = self.flows[name] = Flow(name, weight)
        return found

    def push(self, flow: Flow, entry: Entry) -> None:
        """Add an entry behind the others of its flow."""
        waits = bool(flow.entries)
        flow.entries[entry] = None
        self.length += 1
        if not waits:
            self._detach(flow)
            flow.start = max(flow.start, self.clock)
            self.sequence += 1
            flow.sequence = self.sequence
            self._attach(flow)

    def push_first(self, flow: Flow, entry: Entry) -> None:
        """Put an entry before the others and undo its pop(): the turn begins again where it began, and the clock
        takes back what it had counted.
        """
        waits = bool(flow.entries)
        self._detach(flow)
        if not waits:
            flow.start = max(flow.start, self.clock)
        flow.start -= entry.cost / flow.weight
        flow.sequence = flow.before
        flow.entries[entry] = None
        flow.entries.move_to_end(entry, last=False)
        self.length += 1
        self._attach(flow)
        self.clock -= entry.cost / self.weights

    def pop(self, now_ns: int, wait: Callable[[object], int]) -> object | None:
        """Take out the item whose turn it is, None when no flow may send now; see FairQueue.pop()."""
        while self.parked and self.parked.least() <= now_ns:
            self.unpark(self.parked.top())
        while True:
            flow = self._next()
            if flow is None:
                return None
            entry = head(flow)
            pause = wait(entry.item)
            if pause <= 0:
                break
            self.ready.remove(flow)
            self._count(flow, False)
            flow.deficit = self.clock - flow.start
            self.parked.add(flow, float(now_ns + pause))
        self.ready.remove(flow)
        del flow.entries[entry]
        entry.owner = None
        self.length -= 1
        self._advance(entry.cost)
        flow.start = flow.finish
        flow.before = flow.sequence
        self.sequence += 1
        flow.sequence = self.sequence
        self._settle(flow)
        return entry.item

    def remove(self, entry: Entry) -> None:
        """Take an entry out that waits."""
        flow = entry.owner
        first = head(flow) is entry
        del flow.entries[entry]
        entry.owner = None
        self.length -= 1
        if first:  # a parked flow is asked again: its new head may go where the old one might not
            self._detach(flow)
            if flow.entries:
                flow.start = max(flow.start, self.clock - head(flow).cost / flow.weight)
            self._settle(flow)

    def set_weight(self, flow: Flow, weight: float) -> None:
        """Change a flow's weight from now on."""
        if flow.heap is self.parked:
            flow.deficit = max(flow.deficit, 0.0)
            flow.weight = weight
            return
        if flow.heap is not None:
            flow.heap.remove(flow)
        self._count(flow, False)
        flow.weight = weight
        flow.start = min(flow.start, self.clock)
        if flow.entries:
            flow.start = max(flow.start, self.clock - head(flow).cost / weight)
            self._attach(flow)

    def wait_ns(self, now_ns: int) -> int:
        """Return how long no pop() is worth trying: 0 when it is now, -1 when nothing waits."""
        if not self.length:
            return -1
        if self.ready or self.ahead:
            return 0
        return max(0, int(self.parked.least()) - now_ns)

    def unpark(self, flow: Flow | None = None) -> None:
        """Let a parked flow, or each of them, take part again."""
        if flow is None:
            while self.parked:
                self.unpark(self.parked.top())
        elif flow.heap is self.parked:
            self._detach(flow)
            self._attach(flow)

    def _detach(self, flow: Flow) -> None:
        """Take a flow out of its heap, if it is in one; a parked one gets the start that its deficit means now."""
        heap = flow.heap
        if heap is None:
            return
        heap.remove(flow)
        if heap is self.parked:
            flow.start = self.clock - flow.deficit
            if flow.entries:
                flow.start = max(flow.start, self.clock - head(flow).cost / flow.weight)

    def _attach(self, flow: Flow) -> None:
        """Put a flow with something waiting where its turn says."""
        flow.finish = flow.start + head(flow).cost / flow.weight
        self._count(flow, True)
        if flow.start <= self.clock:
            self.ready.add(flow, flow.finish)
        else:
            self.ahead.add(flow, flow.start)

    def _settle(self, flow: Flow) -> None:
        """Put a flow that is in no heap where it belongs."""
        if flow.entries:
            self._attach(flow)
        elif flow.start > self.clock:
            self._count(flow, True)
            self.leaving.add(flow, flow.start)
        else:
            self._count(flow, False)

    def _next(self) -> Flow | None:
        """Return the flow whose turn it is, None when none waits that is not parked."""
        while True:
            while self.ahead and self.ahead.least() <= self.clock + 1.0 / self.weights:
                flow = self.ahead.top()
                self.ahead.remove(flow)
                self.ready.add(flow, flow.finish)
            if self.ready:
                return self.ready.top()
            if not self.ahead:
                return None
            self._move_to(self.ahead.least())

    def _advance(self, cost: float) -> None:
        """Let the clock run while `cost` is shared by the weights of those in the round, some of which leave."""
        while self.leaving:
            flow = self.leaving.top()
            needed = (flow.start - self.clock) * self.weights
            if needed > cost:
                break
            cost -= max(needed, 0.0)
            self.clock = max(self.clock, flow.start)
            self.leaving.remove(flow)
            self._count(flow, False)
        self._move_to(self.clock + cost / self.weights if self.weights > 0 else self.clock)

    def _move_to(self, clock: float) -> None:
        self.clock = clock
        while self.leaving and self.leaving.least() <= clock:
            flow = self.leaving.top()
            self.leaving.remove(flow)
            self._count(flow, False)
        if clock > REBASE:
            for flow in self.flows.values():
                flow.start -= clock
                flow.finish -= clock
            for heap in (self.ready, self.ahead, self.leaving):
                heap.shift(clock)
            self.clock = 0.0

    def _count(self, flow: Flow, counted: bool) -> None:
        if counted and not flow.counted:
            self.weights += flow.weight
        elif flow.counted and not counted:
            self.weights -= flow.weight
        flow.counted = counted


def head(flow: Flow) -> Entry:
    """Return the first entry of a flow that has one."""
    return next(iter(flow.entries))
