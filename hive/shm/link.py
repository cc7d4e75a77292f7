"""Reliable messages over a pair of order queues: in order, exactly once, whatever becomes of the queues.

    frame   link epoch u32 | flags u32 | sequence u64 | ack u64 | payload, up to 224 bytes

Sequences start at 1. `ack` is the highest sequence that the frame's sender has acted upon: it goes with every frame,
and alone (flag ACK_ONLY, sequence 0) when nothing else is to be said. What is not acknowledged is kept, and relink()
sends it again through a fresh pair; the receiver drops what it has seen. Frames of another link epoch are dropped.

A link's state lives in its process. When the process at the other end is replaced, its successor has another link epoch
(a new Link at both ends, unacked() says what may be lost), or resumes where its own journal ends (`received`).
"""

import collections
import struct

from hive.shm.errors import MessageTooLarge
from hive.shm.order_queue import OrderQueue
from hive.shm.wake import Waker

PAYLOAD_MAX = 224
ACK_ONLY = 1
_HEAD = struct.Struct("<IIQQ")
_BATCH = 64


class Link:
    """One end of a pair of queues. One thread.

    Args:
        inbound: what the other end puts; outbound: what this end puts.
        wake: of the other end, or None when it polls by itself.
        epoch: of the link, the same at both ends.
        received: the last sequence that an earlier process at this end has acted upon.
        sent: the last sequence that an earlier process at this end has sent and that was acknowledged.

    Attributes:
        duplicates, foreign, gaps: frames that poll() dropped: seen before, of another epoch, ahead of their turn.
    """

    def __init__(
        self,
        inbound: OrderQueue,
        outbound: OrderQueue,
        wake: Waker | None,
        epoch: int,
        *,
        received: int = 0,
        sent: int = 0,
    ) -> None:
        self._inbound = inbound
        self._outbound = outbound
        self._wake = wake
        self.epoch = epoch
        self.duplicates = 0
        self.foreign = 0
        self.gaps = 0
        self._frames: collections.deque[tuple[int, bytes]] = collections.deque()  # not acknowledged, in order
        self._last = sent  # the sequence that was given last
        self._put = sent  # the highest one in the present queue
        self._received = received
        self._ack_owed = False
        self._unheard = False  # what was put, and the other end not woken for

    @property
    def received(self) -> int:
        """The last sequence that poll() returned."""
        return self._received

    @property
    def acked(self) -> int:
        """The last sequence that the other end is known to have acted upon."""
        return self._frames[0][0] - 1 if self._frames else self._last

    @property
    def backlog(self) -> int:
        """How many messages are not in the queue yet."""
        return self._last - self._put

    def send(self, payload: bytes) -> int:
        """Take a message, kept until it is acknowledged; flush() puts it. Returns its sequence."""
        if len(payload) > PAYLOAD_MAX:
            raise MessageTooLarge(f"a payload must have at most {PAYLOAD_MAX} bytes, was {len(payload)}")
        self._last += 1
        self._frames.append((self._last, payload))
        return self._last

    def poll(self) -> list[bytes]:
        """Return the new messages in order, [] when there are none. flush() acknowledges them: act on them before.

        Raises:
            QueueWedged: the other process died inside the inbound queue; relink().
        """
        messages: list[bytes] = []
        while not messages and (frames := self._inbound.get_many()):
            for frame in frames:
                self._take(frame, messages)
        return messages

    def flush(self) -> bool:
        """Put what is pending, or a mere ack when one is owed; wake the other end for messages, not for acks.

        Returns:
            True when all is put; False when the queue is full or busy: call again later.

        Raises:
            QueueWedged: the other process died inside the outbound queue; relink().
        """
        try:
            return self.put()
        finally:
            self.wake()

    def put(self) -> bool:
        """Do what flush() does, but for waking: wake() does that, for who has several links to put into before."""
        put_before = self._put
        try:
            while self._put < self._last:
                pending = self._pending()
                taken = self._outbound.put_many([self._frame(0, *item) for item in pending])
                if taken:
                    self._put = pending[taken - 1][0]
                    self._ack_owed = False
                if taken < len(pending):
                    return False
        finally:
            if self._put > put_before:
                self._unheard = True
        if self._ack_owed:
            if not self._outbound.put_many([self._frame(ACK_ONLY, 0, b"")]):
                return False
            self._ack_owed = False
        return True

    def wake(self) -> None:
        """Wake the other end when messages were put since the last time."""
        if self._unheard:
            self._unheard = False
            if self._wake is not None:
                self._wake.wake()

    def unacked(self) -> list[bytes]:
        """Return the messages that the other end has not acknowledged, oldest first."""
        return [payload for _, payload in self._frames]

    def relink(self, inbound: OrderQueue, outbound: OrderQueue) -> None:
        """Go on over a fresh pair: the next flush() puts everything unacknowledged again, and the ack.

        The other end must relink too, with the two swapped. The old queues stay the caller's to close and unlink.
        """
        self._inbound = inbound
        self._outbound = outbound
        self._put = self._frames[0][0] - 1 if self._frames else self._last
        self._ack_owed = True

    def _take(self, frame: bytes, messages: list[bytes]) -> None:
        epoch, flags, sequence, ack = _HEAD.unpack_from(frame)
        if epoch != self.epoch:
            self.foreign += 1
            return
        while self._frames and self._frames[0][0] <= ack:
            self._frames.popleft()
        if ack > self._put:
            self._put = min(ack, self._last)  # acknowledged through an earlier pair
        if flags & ACK_ONLY:
            return
        if sequence == self._received + 1:
            self._received = sequence
            self._ack_owed = True
            messages.append(frame[_HEAD.size :])
        elif sequence <= self._received:
            self.duplicates += 1
            self._ack_owed = True  # it would not have come again, had our ack arrived
        else:
            self.gaps += 1

    def _pending(self) -> list[tuple[int, bytes]]:
        first = self._put + 1 - self._frames[0][0]
        return [self._frames[i] for i in range(first, min(first + _BATCH, len(self._frames)))]

    def _frame(self, flags: int, sequence: int, payload: bytes) -> bytes:
        return _HEAD.pack(self.epoch, flags, sequence, self._received) + payload
