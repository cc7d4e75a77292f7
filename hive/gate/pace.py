"""When a gate at rest wakes up: what it does again and again is due at the same moments, and shares one wake-up.

    every 0.25 s  |     |     |     |     |     |     |
    every 0.5 s   |           |           |           |
    every 1 s     |                       |

The moments are multiples of the interval on the event loop's clock. One that is late is left out, none comes twice.
"""

import asyncio

BEAT_S = 0.25  # the shortest; the others are multiples of it
_EARLY = 1e-3  # part of an interval by which a loop's timers may come before their time


def next_moment(now_s: float, every_s: float) -> float:
    """Return the first multiple of `every_s` after `now_s`; when that is about to come, the one after it."""
    return (int(now_s / every_s + _EARLY) + 1) * every_s


async def moment(every_s: float) -> None:
    """Wait for the next multiple of `every_s` seconds."""
    now_s = asyncio.get_running_loop().time()
    await asyncio.sleep(next_moment(now_s, every_s) - now_s)
