"""The clock of one strategy in pure Python, the twin of clock.pyx: Hummingbot's own `Clock`, ticked from outside.

Nothing here is compiled by Hive, so the C methods of iterators are reached through `TimeIterator`'s own Python methods,
called on that class: `TimeIterator.tick(strategy, t)` runs the strategy's c_tick(), whatever its class calls `tick`.
"""

from hummingbot.core.clock import Clock
from hummingbot.core.clock_mode import ClockMode
from hummingbot.core.time_iterator import TimeIterator


class ContextClock(Clock):
    """Ticks its iterators in the order in which they were added, as the stock clock does."""

    def __init__(self, tick_size: float, timestamp: float) -> None:
        """Make a started clock.

        Args:
            tick_size: seconds between two ticks.
            timestamp: wall time in seconds that iterators added before the first tick start at.
        """
        super().__init__(ClockMode.REALTIME, tick_size)
        self._now = timestamp
        self.__enter__()  # from now on remove_iterator() stops what it removes

    @property
    def current_timestamp(self) -> float:
        """Wall time of the present tick in seconds."""
        return self._now

    def add_iterator(self, iterator: TimeIterator) -> None:
        """Start an iterator at the present tick's time and tick it from the next one on."""
        super().add_iterator(iterator)
        TimeIterator.start(iterator, self)

    def tick(self, timestamp: float) -> None:
        """Tick every iterator once.

        Args:
            timestamp: wall time of this tick in seconds.

        Raises:
            Exception: what the first failing iterator raised, after all of them had their turn; further failures
                of the same tick are logged.
        """
        first = None
        self._now = timestamp
        for iterator in list(self.child_iterators):
            try:
                TimeIterator.tick(iterator, timestamp)
            except Exception as error:  # noqa: BLE001 - strategies raise anything; raised again below
                if first is None:
                    first = error
                else:
                    self.logger().error("A second iterator failed in the same tick.", exc_info=True)
        if first is not None:
            raise first

    def close(self) -> None:
        """Stop every iterator and forget them."""
        for iterator in list(self.child_iterators):
            self.remove_iterator(iterator)

    async def run(self) -> None:
        """Refuse: the worker's clock drives this one."""
        raise RuntimeError("ContextClock has no loop of its own: the worker ticks it")

    async def run_til(self, timestamp: float) -> None:
        """Refuse: the worker's clock drives this one."""
        raise RuntimeError("ContextClock has no loop of its own: the worker ticks it")
