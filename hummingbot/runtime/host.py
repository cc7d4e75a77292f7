"""The host that makes Hummingbot strategies in a worker; `hive` names it as `hummingbot.runtime.host:HummingbotHost`.

Importing this module imports next to nothing of Hummingbot: its paths must be set first, so the rest of the runtime is
loaded by `preload()`, by name.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hive.workers.context import StrategyContext
from hive.workers.host import StrategySpec, TickTarget, WorkerServices
from hummingbot.runtime import environment


class HummingbotHost:
    """Makes, starts and stops the Hummingbot strategies of one worker; see `hive.workers.host`.

    `config` has `fleet` (its name), `root` (folder with conf/, scripts/ and controllers/), `data` (folder for
    databases), `venues` (names) and `strategies` (mappings with `kind` and `name`).
    """

    _engine: Any = None
    _client_config: Any = None

    @classmethod
    def preload(cls, config: Mapping[str, Any]) -> None:
        """Import Hummingbot and set its process-wide state up; before the fork.

        Raises:
            RuntimeHostError: with what to do, when the installation or its configuration cannot be used.
        """
        environment.prepare(Path(config["root"]), Path(config["data"]), list(config["venues"]))
        cls._engine = importlib.import_module("hummingbot.runtime.engine")
        cls._client_config = cls._engine.load(config["strategies"], config["fleet"])

    def __init__(self, config: Mapping[str, Any], services: WorkerServices):
        self._strategies = self._engine.WorkerEngine(services, self._client_config)

    async def start(self, spec: StrategySpec, context: StrategyContext) -> TickTarget:
        """Start one strategy by its own starter and return it, ready to be ticked.

        Raises:
            RuntimeHostError: its configuration, venue or starter does not do.
        """
        return await self._strategies.start(spec, context)

    async def stop(self, context: StrategyContext) -> None:
        """Stop a strategy as the `stop` command of a stock instance does: its orders are cancelled."""
        await self._strategies.stop(context)
