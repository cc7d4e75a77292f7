"""Where in its interval a strategy is ticked: at a pulse, with as few others as there can be.

    interval 1 s   |....|....|....|....|  a pulse every 50 ms, 20 of them; of 100 ms: 10 of 10 ms
                   a    d    b    e    c

A wake-up of a process costs more than many a tick, so strategies of a worker meet, and so do their timers (loop.py).
They are spread evenly over the pulses, because who is at one pulse waits for one another.

The pulses of one worker lie between those of another, because they share CPUs, and feed and gate.

An interval of a second or more that 50 ms do not divide has a pulse every 25 ms.

An interval that no pulse divides has no pulses: phases are spread over it, by multiples of the golden ratio. However
many there are, the gaps between neighbours have at most three lengths, and the largest is at most 2.62 times the
smallest; adding one splits a largest gap.
"""

from collections import Counter
from collections.abc import Iterable

PULSE_NS = 10_000_000
LONG_PULSE_NS = 50_000_000  # also of the timers of strategies
LONG_NS = 1_000_000_000  # intervals from here on have the long pulse
PLACES_MAX = 100  # of an interval, however long it is

GOLDEN = 0x9E3779B97F4A7C15  # 2**64 / golden ratio


def phase_ns(k: int, interval_ns: int) -> int:
    """Return the phase of the k-th strategy, in [0, interval), with as wide a gap to all before as there is."""
    return ((k * GOLDEN) % (1 << 64)) * interval_ns >> 64


def offset_ns(worker: int) -> int:
    """Return how long after full pulses of the wall clock those of a worker are."""
    return phase_ns(worker, PULSE_NS)


def pulse_phase_ns(k: int, interval_ns: int, taken: Iterable[int], worker_offset_ns: int = 0) -> int:
    """Return the phase of one more strategy, in [0, interval).

    Args:
        k: how many there were before, those that are gone included.
        interval_ns: its interval.
        taken: the phases of the others with this interval.
        worker_offset_ns: of the worker's pulses.
    """
    pulses = (LONG_PULSE_NS, LONG_PULSE_NS // 2) if interval_ns >= LONG_NS else (PULSE_NS,)
    pulse_ns = next((one for one in pulses if interval_ns % one == 0), None)
    if pulse_ns is None:
        return phase_ns(k, interval_ns)
    count = min(interval_ns // pulse_ns, PLACES_MAX)
    apart_ns = interval_ns // pulse_ns // count * pulse_ns
    first = phase_ns(k, count)
    at = Counter(taken)
    place = min(range(count), key=lambda place: (at[place * apart_ns + worker_offset_ns], (place - first) % count))
    return place * apart_ns + worker_offset_ns
