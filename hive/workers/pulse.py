"""The heartbeat of a worker's loop, and what is looked at when the loop has beaten.

The loop beats wherever it waits (beats.pyx), so one that hangs does not beat. A look is a callback of
its own.
"""

import asyncio
import contextvars
from collections.abc import Callable
from time import monotonic_ns

from hive.workers.beats import Beats
from hive.workers.market import MarketData
from hive.workers.orders import OrderRouter
from hive.workers.selector import CountingSelector
from hive.workers.watchdog import Watchdog

BEAT_NS = 10_000_000
SELDOM_NS = 100_000_000


class Pulse:
    """Beats every 10 ms: heartbeat, loop lag, watchdog, and whether the books are what they were.

    Looks at the queues and at the books every 100 ms, and with the beat after which something is to be told: a book's
    state is another, a feed is silent, a callback held the loop. Every 100 ms it cancels what rests on books that are
    not live for too long, and calls `look` (conduct.py).

    Args:
        beats: of the loop.
        selector: of the loop.
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
        look: Callable[[], None],
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
        self._seldom_ns = 0
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
        self._loop.call_soon(self._look, context=self._outside)

    def _look(self) -> None:
        self._watchdog.tell()
        self._orders.pump()
        self._beats.watch(self._market.watched())  # before the look: what changes after it is seen with the next beat
        self._market.look()
        now_ns = monotonic_ns()
        if now_ns - self._seldom_ns >= SELDOM_NS - BEAT_NS:
            self._seldom_ns = now_ns
            self._count_cancels(self._orders.check_books())
            self._look_at_strategies()
