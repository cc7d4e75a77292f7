"""Worker processes: many strategies on one event loop, each in a context of its own."""

from hive.workers.clock import MultiStrategyClock
from hive.workers.context import StrategyContext
from hive.workers.scheduler import StrategyScheduler

__all__ = ["MultiStrategyClock", "StrategyContext", "StrategyScheduler"]
