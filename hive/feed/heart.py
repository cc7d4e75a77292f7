"""How the feed's loop waits, and beats meanwhile; the twin of heart.pyx in pure Python.

What a beat is, and when wait() returns, is described there.
"""

import asyncio
import select
from collections.abc import Iterable
from selectors import EVENT_READ, EVENT_WRITE, SelectorKey
from time import monotonic_ns

from hive.shm.atomics import Memory, boottime_ns
from hive.shm.layout import SEGMENT_HEADER

QUIET, READABLE, LOOK = 0, 1, 2
EARLY = 3
_HEARTBEAT, _HEARTBEAT_BOOT, _BOOT_OFFSET = (
    SEGMENT_HEADER.offset(name) >> 3 for name in ("heartbeat_ns", "heartbeat_boot_ns", "boot_offset_ns")
)


def selected(events: int) -> int:
    """Return what a selector calls these events of epoll: an error or hang-up is readable and writable."""
    return (EVENT_READ if events & ~select.EPOLLOUT else 0) | (EVENT_WRITE if events & ~select.EPOLLIN else 0)


def _end_ns(timeout: float | None) -> int | None:
    """Return when a timeout in seconds is over."""
    return None if timeout is None else monotonic_ns() + max(0, int(timeout * 1e9))


def _first(timers: list[asyncio.TimerHandle]) -> asyncio.TimerHandle | None:
    """Return the timer that is due first."""
    return timers[0] if timers else None


def _readers(events: list[tuple[int, int]], keys: dict[int, SelectorKey]) -> list[asyncio.Handle] | None:
    """Return the handles of asyncio that are to read, None when there is anything else to do."""
    known = [(keys[fd], event) for fd, event in events if fd in keys]
    readers = [key.data[0] if selected(event) & key.events == EVENT_READ else None for key, event in known]
    return None if any(reader is None or reader._cancelled for reader in readers) else readers


class Heart:
    """The heartbeats of the segments `memories`, which this process alone writes.

    `last_ns` and `last_boot_ns` are when it beat last, by CLOCK_MONOTONIC and CLOCK_BOOTTIME, 0 before it ever did.
    `ready` is what the last wait found: (key, events) of each descriptor, as a selector returns it. `woke_ns` and
    `served` are of serve().

    Args:
        every_ns: between two beats.
        look_after_ns: a beat that would come later than that after the one before, by either clock, is not made.
    """

    __slots__ = ("_every_ns", "_look_after_ns", "last_boot_ns", "last_ns", "memories", "ready", "served", "woke_ns")

    def __init__(self, *, every_ns: int, look_after_ns: int) -> None:
        if not 0 < every_ns < look_after_ns:
            raise ValueError(f"every_ns must lie between 0 and look_after_ns = {look_after_ns}, was {every_ns}")
        self.last_ns = 0
        self.last_boot_ns = 0
        self.woke_ns = 0
        self.served = 0
        self.memories: list[Memory] = []
        self.ready: list[tuple[SelectorKey, int]] = []
        self._every_ns = every_ns
        self._look_after_ns = look_after_ns

    def keep(self, memories: Iterable[Memory]) -> None:
        """Beat for these segments from now on: writable Memory of each."""
        memories = list(memories)
        if not all(memory.writable for memory in memories):
            raise ValueError("this memory is mapped read-only")
        self.memories = memories

    def beat(self, now_ns: int, boot_ns: int) -> None:
        """Beat, however late: CLOCK_MONOTONIC and CLOCK_BOOTTIME of now."""
        for memory in self.memories:
            memory.signed[_BOOT_OFFSET] = boot_ns - now_ns
            memory.signed[_HEARTBEAT] = now_ns
            memory.signed[_HEARTBEAT_BOOT] = boot_ns
        self.last_ns = now_ns
        self.last_boot_ns = boot_ns

    def wait(self, epoll: select.epoll, timeout: float | None, keys: dict[int, SelectorKey]) -> int:
        """Wait until a file of `epoll` is ready (`ready`), for `timeout` seconds at most (None: without end).

        Times are rounded up to milliseconds, as select.epoll does. `keys` has the SelectorKey of each descriptor; one
        without is left out.

        Returns:
            READABLE, QUIET when the time is over, or LOOK: the beat that was due has not been made, and nothing waited
            for.
        """
        self.ready = []
        found, events = self._wait(epoll, _end_ns(timeout))
        self._list(events, keys)
        return found

    def serve(
        self,
        epoll: select.epoll,
        timeout: float | None,
        keys: dict[int, SelectorKey],
        loop: asyncio.AbstractEventLoop,
        most: int,
    ) -> int:
        """Wait as wait() does, and let `loop`'s readers read meanwhile, at once, without a turn of the loop.

        It goes on until something is to be done that is the loop's: a callback or an earlier timer of it, a file that
        is to be written to (`ready`), or `most` times in which something was read. `served` is how many there were,
        `woke_ns` when the last one began (monotonic); everything is run in the order in which the loop would have.
        """
        end_ns = _end_ns(timeout)
        first = _first(loop._scheduled)
        self.ready = []
        self.served = 0
        while True:
            found, events = self._wait(epoll, end_ns)
            if not events:
                return found
            readers = _readers(events, keys)
            if readers is None:
                self._list(events, keys)
                return found
            self.served += 1
            self.woke_ns = monotonic_ns()
            for reader in readers:
                if not reader._cancelled:  # by one before it
                    reader._run()
            if loop._ready or self.served >= most or _first(loop._scheduled) is not first:
                return found
            if end_ns is not None and monotonic_ns() >= end_ns:
                return found

    def _wait(self, epoll: select.epoll, end_ns: int | None) -> tuple[int, list[tuple[int, int]]]:
        """Wait as wait() does, until `end_ns` (None: without end); return what it does, and the events."""
        now_ns = monotonic_ns()
        if now_ns >= self.last_ns + self._every_ns // EARLY and self._beat_or_look(now_ns):
            return LOOK, []
        while True:
            due_ns = self.last_ns + self._every_ns
            until_ns = due_ns if end_ns is None else min(due_ns, end_ns)
            found = epoll.poll(max(0, until_ns - now_ns) / 1e9)
            if found:
                return READABLE, found
            now_ns = monotonic_ns()
            if now_ns >= self.last_ns + self._every_ns and self._beat_or_look(now_ns):
                return LOOK, []
            if end_ns is not None and now_ns >= end_ns:
                return QUIET, []

    def _list(self, events: list[tuple[int, int]], keys: dict[int, SelectorKey]) -> None:
        """Make events what a selector returns."""
        known = [(keys[fd], event) for fd, event in events if fd in keys]
        self.ready = [(key, selected(event) & key.events) for key, event in known]

    def _beat_or_look(self, now_ns: int) -> bool:
        """Beat, unless that would be late; return whether it would."""
        boot_ns = boottime_ns()
        if self.last_ns and max(now_ns - self.last_ns, boot_ns - self.last_boot_ns) > self._look_after_ns:
            return True
        self.beat(now_ns, boot_ns)
        return False
