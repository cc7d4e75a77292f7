"""Whether the event loop kept its beat, by two clocks.

CLOCK_MONOTONIC stands still while the machine is suspended, CLOCK_BOOTTIME does not: a loop that is late by both was
stopped or starved, and what the venue sent meanwhile waits in the sockets; one that is late by BOOTTIME alone slept
with the whole machine, and its connections lead nowhere. Pure: the clocks' values are parameters.
"""

from enum import IntEnum

SUSPENDED_NS = 500_000_000  # a process that loses its CPU between reading one clock and the other makes less


class Beat(IntEnum):
    """What a beat came as."""

    ON_TIME = 0
    LATE = 1
    SUSPENDED = 2


class LagWatch:
    """Judges one beat after another. `limit_ns`: from what age on readers take the heartbeat for dead."""

    def __init__(self, limit_ns: int) -> None:
        if limit_ns <= 0:
            raise ValueError(f"limit_ns must be > 0, was {limit_ns}")
        self._limit_ns = limit_ns
        self._mono_ns: int | None = None
        self._boot_ns = 0
        self.late_ns = 0  # how long nothing was beaten before the last look

    def look(self, mono_ns: int, boot_ns: int) -> Beat:
        """Judge the beat that comes now; the first is on time."""
        before = self._mono_ns
        mono, boot = (0, 0) if before is None else (mono_ns - before, boot_ns - self._boot_ns)
        self._mono_ns, self._boot_ns = mono_ns, boot_ns
        self.late_ns = max(mono, boot)
        if boot - mono > SUSPENDED_NS:
            return Beat.SUSPENDED
        return Beat.LATE if self.late_ns > self._limit_ns else Beat.ON_TIME
