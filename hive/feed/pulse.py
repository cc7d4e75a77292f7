"""Pings and pongs of one connection, and what they prove about the data between them.

The venue answers in the order in which it sends, and messages are handled in the order in which they arrive: a pong
proves that everything sent before the venue saw the ping has been handled. One that takes longer than `within_ns` has
waited behind data, or data has waited with it, so what arrives is late until one comes that took less. Pure: time is a
parameter, monotonic.
"""

from dataclasses import dataclass

NEVER_NS = 1 << 62


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a connection waits for what, in seconds."""

    silence_s: float = 10.0
    answer_within_s: float = 5.0
    connect_within_s: float = 10.0
    ping_interval_s: float = 1.0
    pong_within_s: float = 1.0
    lost_after_s: float = 5.0


class Pulse:
    """The pings of one open connection; their numbers ascend from 1."""

    def __init__(self, patience: Patience) -> None:
        self._interval_ns = int(patience.ping_interval_s * 1e9)
        self._within_ns = int(patience.pong_within_s * 1e9)
        self._lost_ns = int(patience.lost_after_s * 1e9)
        self._waiting: dict[int, int] = {}  # number -> when it was sent
        self._sent = 0
        self._sent_ns = 0
        self._ponged = 0
        self._missing = False
        self._proof = 0  # the ping whose pong ends a doubt; 0: there is none

    def reset(self, now_ns: int) -> None:
        """Begin with a new connection."""
        self._waiting.clear()
        self._sent_ns = now_ns
        self._ponged = self._sent  # of an earlier connection: nobody waits for those
        self._missing = False
        self._proof = 0

    @property
    def late(self) -> bool:
        """Whether what arrives may be old."""
        return self._missing or self._proof != 0

    @property
    def due_ns(self) -> int:
        """When the next ping is due."""
        return self._sent_ns + self._interval_ns

    def ping(self, now_ns: int) -> int:
        """Return the number of a ping that is now being sent."""
        self._sent += 1
        self._sent_ns = self._waiting[self._sent] = now_ns
        return self._sent

    def doubt(self, now_ns: int) -> int:
        """Return the number of a ping that is now being sent to end a doubt; earlier ones do not count any more."""
        self._waiting.clear()
        self._proof = self.ping(now_ns)
        return self._proof

    def answered(self, number: int) -> bool:
        """Return whether everything that was sent before that ping has been handled."""
        return self._ponged >= number

    def pong(self, number: int, now_ns: int) -> int | None:
        """Take a pong; return how many ns it took, None when nobody waits for it."""
        sent_ns = self._waiting.get(number)
        if sent_ns is None:
            return None
        self._ponged = number
        for earlier in [one for one in self._waiting if one <= number]:
            del self._waiting[earlier]
        if now_ns - sent_ns <= self._within_ns:
            self._missing = False
        if number >= self._proof:
            self._proof = 0
        return max(0, now_ns - sent_ns)

    def look(self, now_ns: int) -> int | None:
        """Judge the oldest pong that is missing; return when to look again, None when the connection is lost."""
        oldest_ns = next(iter(self._waiting.values()), NEVER_NS)
        if oldest_ns + self._lost_ns <= now_ns:
            return None
        if oldest_ns + self._within_ns <= now_ns:
            self._missing = True
        return oldest_ns + (self._lost_ns if self._missing else self._within_ns)
