"""Whose turn it is: deficit round robin over strategies, with rounds as fine as one likes and none of them iterated.

    push(flow, entry) -> the flow's own queue -> pop(now_ns, wait) -> item
                         a flow is in one of four heaps:
        ready    its turn has begun; ordered by where the turn ends
        ahead    it had more than its share so far; ordered by where its next turn begins
        parked   wait() said "not yet"; ordered by when to ask again
        leaving  nothing waits, but what it took early is not paid yet; ordered as `ahead`

Derivation. Deficit round robin (Shreedhar and Varghese 1996) gives a flow of weight phi a credit of quantum * phi in
each round, and sends from it while the credit covers the cost. With a quantum that covers an order, a heavy flow sends
in bursts for which the light ones wait; with a small one, most rounds send nothing. Let the quantum go to zero: the
count of rounds becomes a clock V that grows by cost / PHI for each item sent, where PHI is the sum of the weights in
the round. A flow whose turn begins at S has the deficit phi * (V - S), and its head of cost c is covered at
F = S + c / phi, where its next turn begins. So there is nothing to iterate: the flow with the least F goes, among those
with S <= V + 1 / PHI, whose turn begins before the next order is out (that is the rule of WF2Q, Bennett and Zhang 1996,
on the virtual time of generalized processor sharing). If no turn has begun, V moves on to the first. Equal F: who has
waited longer for a turn. Each flow is in one heap, so push, pop and remove cost O(log flows).

- An idle flow keeps no credit: it comes back with S = max(S, V), and its weight counts in PHI until V has passed what
  it had taken early. Coming and going earns nothing.
- A parked flow counts for nothing and earns nothing; the deficit that it had is kept, at most its head's cost. So one
  that its own quota holds up still gets the lesser of quota and share, and flows that share an empty limit take turns.
  A limit that k flows share costs k calls of wait() whenever it lets one of them go.
- A weight that changes live counts from now on: what the flow was ahead is forgiven, its deficit is at most one head.

Bound. With costs of 1, the orders that must leave between two values of V, because their turn begins after the first
and ends before the second, are at most phi * (V2 - V1) for each flow, in total what is sent in between. So
earliest-end-first meets every F, rounded up to a whole order: the k-th order of a flow since it began to wait is among
the next ceil(k * PHI / phi), however much the others send. A venue that takes L orders per window W has thus taken it
after B = ceil(k * PHI / (phi * L)) * W. A flow that comes, or wakes from parking, while another is ahead of its share
may add one order to that. With unequal costs the dearest one is added. tests/gate/test_rounds.py holds the code against this.
"""

from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.ref cimport PyObject

cdef double REBASE = 2.0**20  # the clock starts again from 0 here, so that it keeps resolving the shortest turn


cdef class Flow:
    """One flow of one class: what waits, and its place in the round."""

    def __init__(self, str name, double weight):
        self.name = name
        self.weight = weight

    cdef void append(self, Entry entry) noexcept:
        entry.ahead = self.last
        if self.last is None:
            self.head = entry
        else:
            self.last.behind = entry
        self.last = entry
        self.depth += 1

    cdef void prepend(self, Entry entry) noexcept:
        entry.behind = self.head
        if self.head is None:
            self.last = entry
        else:
            self.head.ahead = entry
        self.head = entry
        self.depth += 1

    cdef void unlink(self, Entry entry) noexcept:
        """Take an entry out; from now on it does not wait any more."""
        if entry.ahead is None:
            self.head = entry.behind
        else:
            entry.ahead.behind = entry.behind
        if entry.behind is None:
            self.last = entry.ahead
        else:
            entry.behind.ahead = entry.ahead
        entry.ahead = None
        entry.behind = None
        entry.owner = None
        self.depth -= 1

    cdef list items(self):
        """Return what waits, in its order."""
        cdef list found = []
        cdef Entry entry = self.head
        while entry is not None:
            found.append(entry.item)
            entry = entry.behind
        return found


cdef class Entry:
    """An item that waits: FairQueue.push() returns it, FairQueue.remove() takes it."""

    def __init__(self, object item, str flow, int rank, double cost, Flow owner):
        self.item = item
        self.flow = flow
        self.rank = rank
        self.cost = cost
        self.owner = owner

    @property
    def waiting(self):
        """Return whether it still waits."""
        return self.owner is not None


cdef class Heap:
    """Flows by (key, sequence), least first; a flow knows its position, so any can be taken out."""

    def __dealloc__(self):
        PyMem_Free(self.nodes)

    cdef int add(self, Flow flow, double key) except -1:
        cdef Node *nodes
        if self.used == self.room:
            nodes = <Node *>PyMem_Realloc(self.nodes, (2 * self.room + 16) * sizeof(Node))
            if nodes == NULL:
                raise MemoryError()
            self.nodes = nodes
            self.room = 2 * self.room + 16
        self.used += 1
        flow.heap = self
        self._up(self.used - 1, Node(key, flow.sequence, <PyObject *>flow))
        return 0

    cdef void remove(self, Flow flow) noexcept:
        cdef Py_ssize_t at = flow.at
        cdef Node last = self.nodes[self.used - 1]
        self.used -= 1
        flow.heap = None
        if at < self.used:
            if at and before(&last, &self.nodes[(at - 1) >> 1]):
                self._up(at, last)
            else:
                self._down(at, last)

    cdef Flow top(self):
        return <Flow>self.nodes[0].flow

    cdef void shift(self, double by) noexcept:
        """Lower every key by the same."""
        cdef Py_ssize_t at
        for at in range(self.used):
            self.nodes[at].key -= by

    cdef void _put(self, Py_ssize_t at, Node node) noexcept:
        self.nodes[at] = node
        (<Flow>node.flow).at = at

    cdef void _up(self, Py_ssize_t at, Node node) noexcept:
        while at and before(&node, &self.nodes[(at - 1) >> 1]):
            self._put(at, self.nodes[(at - 1) >> 1])
            at = (at - 1) >> 1
        self._put(at, node)

    cdef void _down(self, Py_ssize_t at, Node node) noexcept:
        cdef Py_ssize_t child
        while True:
            child = 2 * at + 1
            if child >= self.used:
                break
            if child + 1 < self.used and before(&self.nodes[child + 1], &self.nodes[child]):
                child += 1
            if not before(&self.nodes[child], &node):
                break
            self._put(at, self.nodes[child])
            at = child
        self._put(at, node)


cdef inline bint before(const Node *a, const Node *b) noexcept nogil:
    return a.key < b.key or (a.key == b.key and a.sequence < b.sequence)


cdef class Round:
    """The flows of one class and their clock."""

    def __init__(self):
        self.flows = {}
        self.ready = Heap()
        self.ahead = Heap()
        self.parked = Heap()
        self.leaving = Heap()

    cpdef Flow flow(self, str name, double weight):
        """Return the flow of a name, made with this weight when it is new."""
        cdef Flow found = self.flows.get(name)
        if found is None:
            found = self.flows[name] = Flow(name, weight)
        return found

    cpdef int push(self, Flow flow, Entry entry) except -1:
        """Add an entry behind the others of its flow."""
        cdef bint waits = flow.depth > 0
        flow.append(entry)
        self.length += 1
        if not waits:
            self._detach(flow)
            flow.start = max(flow.start, self.clock)
            self.sequence += 1
            flow.sequence = self.sequence
            self._attach(flow)
        return 0

    cpdef int push_first(self, Flow flow, Entry entry) except -1:
        """Put an entry before the others and undo its pop(): the turn begins again where it began, and the clock takes back what it had counted."""
        cdef bint waits = flow.depth > 0
        self._detach(flow)
        if not waits:
            flow.start = max(flow.start, self.clock)
        flow.start -= entry.cost / flow.weight
        flow.sequence = flow.before
        flow.prepend(entry)
        self.length += 1
        self._attach(flow)
        self.clock -= entry.cost / self.weights
        return 0

    cpdef object pop(self, long long now_ns, object wait):
        """Take out the item whose turn it is, None when no flow may send now; see FairQueue.pop()."""
        cdef Flow flow
        cdef Entry entry
        cdef long long pause
        while self.parked.used and self.parked.nodes[0].key <= now_ns:
            self.unpark(self.parked.top())
        while True:
            flow = self._next()
            if flow is None:
                return None
            entry = flow.head
            pause = wait(entry.item)
            if pause <= 0:
                break
            self.ready.remove(flow)
            self._count(flow, False)
            flow.deficit = self.clock - flow.start
            self.parked.add(flow, <double>(now_ns + pause))
        self.ready.remove(flow)
        flow.unlink(entry)
        self.length -= 1
        self._advance(entry.cost)
        flow.start = flow.finish
        flow.before = flow.sequence
        self.sequence += 1
        flow.sequence = self.sequence
        self._settle(flow)
        return entry.item

    cpdef int remove(self, Entry entry) except -1:
        """Take an entry out that waits."""
        cdef Flow flow = entry.owner
        cdef bint first = flow.head is entry
        flow.unlink(entry)
        self.length -= 1
        if first:  # a parked flow is asked again: its new head may go where the old one might not
            self._detach(flow)
            if flow.depth:
                flow.start = max(flow.start, self.clock - flow.head.cost / flow.weight)
            self._settle(flow)
        return 0

    cpdef int set_weight(self, Flow flow, double weight) except -1:
        """Change a flow's weight from now on."""
        cdef Heap heap = flow.heap
        if heap is self.parked:
            flow.deficit = max(flow.deficit, 0.0)
            flow.weight = weight
            return 0
        if heap is not None:
            heap.remove(flow)
        self._count(flow, False)
        flow.weight = weight
        flow.start = min(flow.start, self.clock)
        if flow.depth:
            flow.start = max(flow.start, self.clock - flow.head.cost / weight)
            self._attach(flow)
        return 0

    cpdef long long wait_ns(self, long long now_ns):
        """Return how long no pop() is worth trying: 0 when it is now, -1 when nothing waits."""
        if not self.length:
            return -1
        if self.ready.used or self.ahead.used:
            return 0
        return max(0, <long long>self.parked.nodes[0].key - now_ns)

    cpdef int unpark(self, Flow flow=None) except -1:
        """Let a parked flow, or each of them, take part again."""
        if flow is None:
            while self.parked.used:
                self.unpark(self.parked.top())
        elif flow.heap is self.parked:
            self._detach(flow)
            self._attach(flow)
        return 0

    cdef int _detach(self, Flow flow) except -1:
        """Take a flow out of its heap, if it is in one; a parked one gets the start that its deficit means now."""
        cdef Heap heap = flow.heap
        if heap is None:
            return 0
        heap.remove(flow)
        if heap is self.parked:
            flow.start = self.clock - flow.deficit
            if flow.depth:
                flow.start = max(flow.start, self.clock - flow.head.cost / flow.weight)
        return 0

    cdef int _attach(self, Flow flow) except -1:
        """Put a flow with something waiting where its turn says."""
        flow.finish = flow.start + flow.head.cost / flow.weight
        self._count(flow, True)
        if flow.start <= self.clock:
            self.ready.add(flow, flow.finish)
        else:
            self.ahead.add(flow, flow.start)
        return 0

    cdef int _settle(self, Flow flow) except -1:
        """Put a flow that is in no heap where it belongs."""
        if flow.depth:
            self._attach(flow)
        elif flow.start > self.clock:
            self._count(flow, True)
            self.leaving.add(flow, flow.start)
        else:
            self._count(flow, False)
        return 0

    cdef Flow _next(self):
        """Return the flow whose turn it is, None when none waits that is not parked."""
        cdef Flow flow
        while True:
            while self.ahead.used and self.ahead.nodes[0].key <= self.clock + 1.0 / self.weights:
                flow = self.ahead.top()
                self.ahead.remove(flow)
                self.ready.add(flow, flow.finish)
            if self.ready.used:
                return self.ready.top()
            if not self.ahead.used:
                return None
            self._move_to(self.ahead.nodes[0].key)

    cdef int _advance(self, double cost) except -1:
        """Let the clock run while `cost` is shared by the weights of those in the round, some of which leave."""
        cdef Flow flow
        cdef double needed
        while self.leaving.used:
            flow = self.leaving.top()
            needed = (flow.start - self.clock) * self.weights
            if needed > cost:
                break
            cost -= max(needed, 0.0)
            self.clock = max(self.clock, flow.start)
            self.leaving.remove(flow)
            self._count(flow, False)
        self._move_to(self.clock + cost / self.weights if self.weights > 0 else self.clock)
        return 0

    cdef int _move_to(self, double clock) except -1:
        cdef Flow flow
        self.clock = clock
        while self.leaving.used and self.leaving.nodes[0].key <= clock:
            flow = self.leaving.top()
            self.leaving.remove(flow)
            self._count(flow, False)
        if clock > REBASE:
            for flow in self.flows.values():
                flow.start -= clock
                flow.finish -= clock
            self.ready.shift(clock)
            self.ahead.shift(clock)
            self.leaving.shift(clock)
            self.clock = 0.0
        return 0

    cdef void _count(self, Flow flow, bint counted) noexcept:
        if counted and not flow.counted:
            self.weights += flow.weight
        elif flow.counted and not counted:
            self.weights -= flow.weight
        flow.counted = counted
