"""The clock's dues in C: the smallest key first, the smallest sequence among equal keys.

    push ──▶ run: [first, ..., last]    what does not come before the last of them
        └──▶ heap                       all else; the first of the two is the first

Strategies of one interval become due again in the order in which they were ticked, so nearly all go to the end of the
run and come off its beginning: next to each other in memory, where a heap of ten thousand moves thirteen for each.

It holds no references: `slot` says where the clock keeps whom a node is of. No two nodes have the same sequence, so the
order is total, and a node whose sequence is no longer its owner's is one that the clock drops when it comes up.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc, realloc

cdef enum:
    ROOM = 16  # of the first nodes; a power of two


cdef inline bint before(const Due *a, const Due *b) noexcept nogil:
    return a.key < b.key or (a.key == b.key and a.sequence < b.sequence)


cdef class TickHeap:
    """The clock's own; `first` is the first node until the next push() or pop(), NULL when there is none."""

    def __cinit__(self):
        self.first = self._heap = self._run = NULL
        self._heap_used = self._heap_room = 0
        self._run_begin = self._run_used = self._run_room = 0  # a ring: its room is a power of two

    def __dealloc__(self):
        free(self._heap)
        free(self._run)

    def __len__(self):
        return self._heap_used + self._run_used

    cdef int push(self, int64_t key, uint64_t sequence, Py_ssize_t slot) except -1:
        """Add a node; MemoryError when there is no room for it."""
        cdef Due node
        node.key = key
        node.sequence = sequence
        node.slot = slot
        if self._run_used and before(&node, &self._run[(self._run_begin + self._run_used - 1) & (self._run_room - 1)]):
            self._rise(node)
        else:
            self._append(node)
        self._choose()
        return 0

    cdef void pop(self) noexcept:
        """Drop the first node; there must be one."""
        if self.first == self._heap:
            self._heap_used -= 1
            if self._heap_used:
                self._sink(self._heap[self._heap_used])
        else:
            self._run_used -= 1
            self._run_begin = (self._run_begin + 1) & (self._run_room - 1)
        self._choose()

    cdef Due *second(self) noexcept:
        """Return which node probably comes after the first one, NULL when none is at hand; only speed relies on it."""
        cdef Due *children = self._heap + 1
        if self.first != self._heap:
            return &self._run[(self._run_begin + 1) & (self._run_room - 1)] if self._run_used > 1 else NULL
        if self._heap_used < 3:
            return NULL
        return children + 1 if before(children + 1, children) else children

    cdef int _append(self, Due node) except -1:
        """Put a node at the end of the run."""
        cdef Py_ssize_t room, at
        cdef Due *grown
        if self._run_used == self._run_room:
            room = max(<Py_ssize_t>ROOM, 2 * self._run_room)
            grown = <Due *>malloc(room * sizeof(Due))
            if grown == NULL:
                raise MemoryError()
            for at in range(self._run_used):
                grown[at] = self._run[(self._run_begin + at) & (self._run_room - 1)]
            free(self._run)
            self._run = grown
            self._run_room = room
            self._run_begin = 0
        self._run[(self._run_begin + self._run_used) & (self._run_room - 1)] = node
        self._run_used += 1
        return 0

    cdef int _rise(self, Due node) except -1:
        """Put a node into the heap: it rises from the bottom."""
        cdef Py_ssize_t at, parent, room
        cdef void *grown
        if self._heap_used == self._heap_room:
            room = max(<Py_ssize_t>ROOM, 2 * self._heap_room)
            grown = realloc(self._heap, room * sizeof(Due))
            if grown == NULL:
                raise MemoryError()
            self._heap = <Due *>grown
            self._heap_room = room
        at = self._heap_used
        self._heap_used += 1
        while at > 0:
            parent = (at - 1) // 2
            if not before(&node, &self._heap[parent]):
                break
            self._heap[at] = self._heap[parent]
            at = parent
        self._heap[at] = node
        return 0

    cdef void _sink(self, Due node) noexcept:
        """Put a node at the top of the heap and let it sink."""
        cdef Due *nodes = self._heap
        cdef Py_ssize_t used = self._heap_used
        cdef Py_ssize_t at = 0
        cdef Py_ssize_t child = 1
        while child < used:
            if child + 1 < used and before(&nodes[child + 1], &nodes[child]):
                child += 1
            if not before(&nodes[child], &node):
                break
            nodes[at] = nodes[child]
            at = child
            child = 2 * at + 1
        nodes[at] = node

    cdef void _choose(self) noexcept:
        """Let `first` be the first of the run or of the heap."""
        cdef Due *of_run = &self._run[self._run_begin] if self._run_used else NULL
        if not self._heap_used:
            self.first = of_run
        elif of_run == NULL or before(&self._heap[0], of_run):
            self.first = self._heap
        else:
            self.first = of_run
