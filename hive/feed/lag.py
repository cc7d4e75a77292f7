"""Whether the event loop kept its beat, by two clocks.

CLOCK_MONOTONIC stands still while the machine is suspended, CLOCK_BOOTTIME does not: a loop that is late by both was
stopped or starved, and what the venue sent meanwhile waits in the sockets; one that is late by BOOTTIME alone slept
with the whole machine, and its connections lead nowhere. Pure: what the clocks did is a parameter.
"""

from enum import IntEnum

SUSPENDED_NS = 500_000_000  # a process that loses its CPU between reading one clock and the other makes less


class Beat(IntEnum):
    """What a beat came as."""

    ON_TIME = 0
    LATE = 1
    SUSPENDED = 2


def judge(mono_ns: int, boot_ns: int, limit_ns: int) -> Beat:
    """Judge a beat by the time since the one before.

    Args:
        mono_ns, boot_ns: by CLOCK_MONOTONIC and by CLOCK_BOOTTIME.
        limit_ns: from what age on readers take the heartbeat for dead.
    """
    if boot_ns - mono_ns > SUSPENDED_NS:
        return Beat.SUSPENDED
    return Beat.LATE if max(mono_ns, boot_ns) > limit_ns else Beat.ON_TIME
