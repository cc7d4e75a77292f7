"""A binary heap of the clock's dues in C: the smallest key first, the smallest sequence among equal keys.

It holds no references: `slot` says where the clock keeps whom a node is of. No two nodes have the same sequence, so the
order is total, and a node whose sequence is no longer its owner's is one that the clock drops when it comes up.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, realloc


cdef inline bint before(const Due *a, const Due *b) noexcept nogil:
    return a.key < b.key or (a.key == b.key and a.sequence < b.sequence)


cdef class TickHeap:
    """The clock's own; `nodes[0]` is the first of `used` nodes."""

    def __cinit__(self):
        self.nodes = NULL
        self.used = 0
        self._room = 0

    def __dealloc__(self):
        free(self.nodes)

    def __len__(self):
        return self.used

    cdef int push(self, int64_t key, uint64_t sequence, Py_ssize_t slot) except -1:
        """Add a node; MemoryError when there is no room for it."""
        cdef Due node
        cdef Py_ssize_t at, parent, room
        cdef void *grown
        if self.used == self._room:
            room = max(16, 2 * self._room)
            grown = realloc(self.nodes, room * sizeof(Due))
            if grown == NULL:
                raise MemoryError()
            self.nodes = <Due *>grown
            self._room = room
        node.key = key
        node.sequence = sequence
        node.slot = slot
        at = self.used
        self.used += 1
        while at > 0:
            parent = (at - 1) // 2
            if not before(&node, &self.nodes[parent]):
                break
            self.nodes[at] = self.nodes[parent]
            at = parent
        self.nodes[at] = node
        return 0

    cdef void pop(self) noexcept:
        """Drop the first node; there must be one."""
        self.used -= 1
        if self.used:
            self._sink(self.nodes[self.used])

    cdef void replace(self, int64_t key, uint64_t sequence, Py_ssize_t slot) noexcept:
        """Put another node in the place of the first one; there must be one."""
        cdef Due node
        node.key = key
        node.sequence = sequence
        node.slot = slot
        self._sink(node)

    cdef void _sink(self, Due node) noexcept:
        """Let a node sink from the top."""
        cdef Due *nodes = self.nodes
        cdef Py_ssize_t used = self.used
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
