"""The final replies of orders that are over, packed, so that a late cancel or a repeated ack finds its order over.

A reply is kept as the bytes of its message without the zeros at their end: half of what it takes as an object.
"""

from collections import OrderedDict

from hive.shm.messages import MESSAGE_BYTES, Reply, unpack

ENDED_KEPT = 4096


class EndedOrders:
    """The latest `kept` final replies, by client order id."""

    def __init__(self, kept: int = ENDED_KEPT) -> None:
        self._kept = kept
        self._replies: OrderedDict[str, bytes] = OrderedDict()

    def __contains__(self, client_order_id: str) -> bool:
        return client_order_id in self._replies

    def __len__(self) -> int:
        return len(self._replies)

    def add(self, reply: Reply) -> None:
        """Keep a final reply, and forget the oldest one too many."""
        self._replies[reply.client_order_id] = reply.pack().rstrip(b"\0")
        if len(self._replies) > self._kept:
            self._replies.popitem(last=False)

    def get(self, client_order_id: str) -> Reply | None:
        """Return how an order ended; None when it has not, or that was long ago."""
        packed = self._replies.get(client_order_id)
        return None if packed is None else unpack(packed.ljust(MESSAGE_BYTES, b"\0"))
