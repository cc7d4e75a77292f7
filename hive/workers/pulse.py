"""The heartbeat of a worker's loop, and what is looked at when the loop has beaten.

The loop beats wherever it waits (beats.pyx), so one that hangs does not beat. A look is a callback of its own, after
those that are due.
"""

import asyncio
import contextvars
from collections.abc import Callable
from time import monotonic_ns

from hive.workers.beats import Beats
from hive.workers.market import MarketData
from hive.workers.orders import OrderRouter
from hive.workers.phases import LONG_PULSE_NS
from hive.workers.selector import CountingSelector
from hive.workers.watchdog import Watchdog

BEAT_NS = LONG_PULSE_NS  # where all tick once a second, no beat needs a wake-up of its own
LOOK_NS = 500_000_000
CLOSE_LOOK_NS = 100_000_000  # while a book is not live
BOOKS_NS = 1_000_000_000  # while all are live, and none has changed


class Pulse:
    """Beats every 50 ms: heartbeat, loop lag, watchdog, and whether the books are what they were.

    Looks twice a second, ten times while a book is not live, and with the beat after which something is to be told: a
    book's state is another, a feed is silent, a callback held the loop, memory has jumped, an executor had a fill. A
    look takes in what the queue has, calls `look` (conduct.py, executor_watch.py), and has a look at the books when
    something is to be told or one is not live, and else every second: what rests on books that are not live for too
    long is cancelled.

    Args:
        beats: of the loop.
        selector: of the loop.
        look: returns whether it is to be called again soon.
        count_cancels: is told how many orders were cancelled.
    """

    def __init__(
        self,
        beats: Beats,
        *,
        loop: asyncio.AbstractEventLoop,
        selector: CountingSelector,
        watchdog: Watchdog,
        orders: OrderRouter,
        market: MarketData,
        look: Callable[[], bool],
        count_cancels: Callable[[int], None],
    ) -> None:
        self._beats = beats
        self._loop = loop
        self._selector = selector
        self._watchdog = watchdog
        self._orders = orders
        self._market = market
        self._look_at_strategies = look
        self._count_cancels = count_cancels
        self._looked_ns = 0
        self._books_ns = 0
        self._readers_made = 0
        self._all_live = False
        self._outside = contextvars.Context()

    def start(self) -> None:
        """Beat from the loop's next wait on."""
        self._watchdog.start()
        self._selector.beat(self._beats, self._look_soon)

    def stop(self) -> None:
        """Beat no more."""
        self._selector.beat(None)
        self._watchdog.stop()

    def _look_soon(self) -> None:
        now = self._loop.time()
        self._loop.call_at(now, self._look, context=self._outside)  # after the ticks that are due: no look delays them

    def _look(self) -> None:
        now_ns = monotonic_ns()
        early = now_ns - self._looked_ns < self._beats.look_ns - BEAT_NS  # something is to be told
        self._looked_ns = now_ns
        self._watchdog.tell()
        self._orders.pump()
        new = self._market.readers_made != self._readers_made
        if early or new or not self._all_live or now_ns - self._books_ns >= BOOKS_NS - BEAT_NS:
            self._look_at_books(now_ns)
        if self._look_at_strategies():
            self._beats.ask()

    def _look_at_books(self, now_ns: int) -> None:
        self._books_ns = now_ns
        self._readers_made = self._market.readers_made
        self._beats.watch(self._market.watched())  # before the look: what changes after it is seen with the next beat
        self._all_live = self._market.look()
        self._beats.look_ns = LOOK_NS if self._all_live else CLOSE_LOOK_NS
        self._count_cancels(self._orders.check_books())
