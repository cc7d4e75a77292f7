# distutils: language=c++
"""The clock that one strategy's connectors and strategy objects see; the worker's `MultiStrategyClock` drives it.

It is a real `Clock`, because compiled code asks for one, and it has no task of its own: whoever owns the strategy
calls `tick()` inside the strategy's context.
"""

from hummingbot.core.clock cimport Clock
from hummingbot.core.clock_mode import ClockMode
from hummingbot.core.time_iterator cimport TimeIterator


cdef class ContextClock(Clock):
    """Ticks its iterators in the order in which they were added, as the stock clock does."""

    def __init__(self, double tick_size, double timestamp):
        """Make a started clock.

        Args:
            tick_size: seconds between two ticks.
            timestamp: wall time in seconds that iterators added before the first tick start at.
        """
        super().__init__(ClockMode.REALTIME, tick_size)
        self._current_tick = timestamp
        self._current_context = []
        self._started = True

    def tick(self, double timestamp):
        """Tick every iterator once.

        Args:
            timestamp: wall time of this tick in seconds.

        Raises:
            Exception: what the first failing iterator raised, after all of them had their turn; further failures
                of the same tick are logged.
        """
        cdef TimeIterator iterator
        first = None
        self._current_tick = timestamp
        for child in list(self._child_iterators):
            iterator = child
            try:
                iterator.c_tick(timestamp)
            except Exception as error:
                if first is None:
                    first = error
                else:
                    self.logger().error("A second iterator failed in the same tick.", exc_info=True)
        if first is not None:
            raise first

    def close(self):
        """Stop every iterator and forget them."""
        for child in list(self._child_iterators):
            self.remove_iterator(child)

    async def run(self):
        """Refuse: the worker's clock drives this one."""
        raise RuntimeError("ContextClock has no loop of its own: the worker ticks it")

    async def run_til(self, timestamp: float):
        """Refuse: the worker's clock drives this one."""
        raise RuntimeError("ContextClock has no loop of its own: the worker ticks it")
