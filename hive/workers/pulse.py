"""The heartbeat of a worker's loop, and what is looked at with every beat.

Each beat is a timer of the loop itself, so a loop that hangs does not beat.
"""

import asyncio
from collections.abc import Callable
from time import monotonic_ns

from hive.shm.counters import Counters
from hive.workers.market import MarketData
from hive.workers.orders import OrderRouter
from hive.workers.watchdog import Watchdog

BEAT_NS = 10_000_000
SELDOM = 10  # beats


class Pulse:
    """Beats every 10 ms: heartbeat, loop lag, watchdog, a look at the queues and at the books.

    Every 100 ms it cancels what rests on books that are not live for too long, and calls `look` (conduct.py).
    """

    def __init__(
        self,
        counters: Counters,
        *,
        loop: asyncio.AbstractEventLoop,
        watchdog: Watchdog,
        orders: OrderRouter,
        market: MarketData,
        look: Callable[[], None],
        worker: int,
    ) -> None:
        self._counters = counters
        self._loop = loop
        self._watchdog = watchdog
        self._orders = orders
        self._market = market
        self._look_at_strategies = look
        self._lag = counters.histogram("loop_lag_ns", worker=str(worker))
        self._stale_cancels = counters.counter("stale_cancels")
        self._due_ns = 0
        self._beats = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Beat now and from now on."""
        self._watchdog.start()
        self._due_ns = monotonic_ns()
        self._beat()

    def stop(self) -> None:
        """Beat no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._watchdog.stop()

    def _beat(self) -> None:
        now_ns = monotonic_ns()
        lag_ns = now_ns - self._due_ns
        self._due_ns = now_ns + BEAT_NS
        self._timer = self._loop.call_at(self._due_ns / 1e9, self._beat)
        self._counters.beat(now_ns)
        self._lag.record(lag_ns)
        self._watchdog.beat()
        self._orders.pump()
        self._market.look()
        self._beats += 1
        if self._beats % SELDOM == 0:
            self._stale_cancels.inc(self._orders.check_books())
            self._look_at_strategies()
