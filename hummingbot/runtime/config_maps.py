"""Load a V1 strategy's configuration into a map that belongs to that strategy alone.

Legacy V1 strategies keep their configuration in a module-level dict of `ConfigVar`s, and their validators and starters
read that dict. So a load fills the module's dict, copies it and puts the old values back; the copy is handed to a
starter whose globals are its own. One load at a time per worker, because validators await.
"""

import asyncio
import copy
import types
from collections.abc import Callable, Mapping
from typing import Any

from hummingbot.client.config.config_helpers import (
    ClientConfigAdapter,
    get_strategy_config_map,
    get_strategy_pydantic_config_cls,
    get_strategy_starter_file,
    parse_cvar_value,
    retrieve_validation_error_msg,
)
from hummingbot.client.config.config_var import ConfigVar
from pydantic import ValidationError

from hummingbot.runtime.errors import StrategyConfigError

IGNORED_KEYS = {"template_version", "strategy"}

ConfigMap = ClientConfigAdapter | dict[str, ConfigVar]


class ConfigLoader:
    """Loads the V1 configurations of one worker."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def load(self, strategy: str, values: Mapping[str, Any], place: str) -> ConfigMap:
        """Return a private configuration map.

        Args:
            strategy: Hummingbot's name of the V1 strategy.
            values: what its configuration file says, with the fleet's `set:` already merged in.
            place: the file to name in errors.

        Raises:
            StrategyConfigError: a key that does not exist, an invalid value, or a required value that is missing.
        """
        model = get_strategy_pydantic_config_cls(strategy)
        if model is None:
            return await self._load_legacy(strategy, values, place)
        try:
            return ClientConfigAdapter(
                model(**{key: value for key, value in values.items() if key != "template_version"})
            )
        except ValidationError as error:
            raise StrategyConfigError(f"{place}: {retrieve_validation_error_msg(error)}") from error

    async def _load_legacy(self, strategy: str, values: Mapping[str, Any], place: str) -> dict[str, ConfigVar]:
        shared = get_strategy_config_map(strategy)
        if not shared:
            raise StrategyConfigError(f"{place}: Hummingbot has no configuration map for strategy {strategy}")
        unknown = sorted(set(values) - set(shared) - IGNORED_KEYS)
        if unknown:
            raise StrategyConfigError(f"{place}: {unknown[0]}: strategy {strategy} has no such key")
        async with self._lock:
            before = {key: variable.value for key, variable in shared.items()}
            try:
                for key, variable in shared.items():
                    variable.value = None if key != "strategy" else strategy
                for key, variable in shared.items():
                    await _assign(variable, values.get(key), f"{place}: {key}")
                for key, variable in shared.items():
                    if variable.value is None:  # a later key's validator has dropped it, for its operator to be asked
                        await _assign(variable, values.get(key), f"{place}: {key}")
                for key, variable in shared.items():
                    if variable.required and variable.value is None:
                        raise StrategyConfigError(f"{place}: {key}: Field required")
                return copy.deepcopy(shared)
            finally:
                for key, variable in shared.items():
                    variable.value = before[key]


async def _assign(variable: ConfigVar, value: Any, place: str) -> None:
    if value is None or value == "":
        if variable.default is not None:
            variable.value = variable.default() if callable(variable.default) else variable.default
        return
    variable.value = parse_cvar_value(variable, value)
    problem = await variable.validate(str(variable.value))
    if problem is not None:
        raise StrategyConfigError(f"{place}: {problem} (was {value!r})")


def private_starter(strategy: str, config: ConfigMap) -> Callable[..., Any]:
    """Return the strategy's own `start` function, reading `config` where it would read the module-level map.

    Raises:
        StrategyConfigError: Hummingbot has no starter of that name.
    """
    start = get_strategy_starter_file(strategy)
    if start is None:
        raise StrategyConfigError(f"strategy {strategy}: Hummingbot has no starter for it")
    if isinstance(config, ClientConfigAdapter):
        return start
    shared = get_strategy_config_map(strategy)
    own = {name: config for name, value in start.__globals__.items() if value is shared}
    return types.FunctionType(
        start.__code__, {**start.__globals__, **own}, start.__name__, start.__defaults__, start.__closure__
    )
