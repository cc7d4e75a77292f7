"""Run the controllers that the configuration names; a plain Hummingbot V2 script.

Controllers propose actions by themselves; the script adds none of its own.
"""

from hummingbot.strategy.strategy_v2_base import StrategyV2Base, StrategyV2ConfigBase
from hummingbot.strategy_v2.models.executor_actions import CreateExecutorAction, StopExecutorAction


class ControllersRunnerConfig(StrategyV2ConfigBase):
    """Names the controllers' configuration files in `controllers_config`."""

    script_file_name: str = "controllers_runner.py"


class ControllersRunner(StrategyV2Base):
    """Leaves every decision to its controllers."""

    closed_executors_buffer = 5  # of all closed ones a report is made at every tick; more are kept in the database

    def create_actions_proposal(self) -> list[CreateExecutorAction]:
        """Return nothing: controllers create executors."""
        return []

    def stop_actions_proposal(self) -> list[StopExecutorAction]:
        """Return nothing: controllers stop executors."""
        return []
