"""The clock's dues in pure Python, the twin of tick_heap.pyx: the smallest key first, then the smallest sequence."""

import heapq


class TickHeap:
    """The clock's own; `nodes[0]` is the first of its nodes, which are (key, sequence, slot)."""

    __slots__ = ("nodes",)

    def __init__(self) -> None:
        self.nodes: list[tuple[int, int, int]] = []

    def __len__(self) -> int:
        return len(self.nodes)

    def push(self, key: int, sequence: int, slot: int) -> None:
        """Add a node."""
        heapq.heappush(self.nodes, (key, sequence, slot))

    def pop(self) -> None:
        """Drop the first node; there must be one."""
        heapq.heappop(self.nodes)
