"""What pydantic finds wrong in a fleet file, as lines for its operator: place, rule, value.

    strategies.0.shre: Extra inputs are not permitted
    runtime.scheduler_algorithm: Input should be 'round_robin', 'priority_based' or 'fair', was 'fare'
    strategies: must be a list, was 'pmm'

The value is left out where it may be a key that was put where the name of its variable belongs.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

VALUE_MAX = 50  # characters that are shown of one
WITH_VALUE = (  # pydantic's names of rules whose messages do not show it
    "bool_type",
    "dict_type",
    "finite_number",
    "float_type",
    "greater_than",
    "greater_than_equal",
    "int_from_float",
    "int_type",
    "less_than",
    "less_than_equal",
    "list_type",
    "literal_error",
    "model_attributes_type",
    "model_type",
    "string_pattern_mismatch",
    "string_type",
)
MAY_BE_SECRET = ("api_key_env", "api_secret_env")
RULES = {  # where pydantic speaks of Python
    "dict_type": "must be a mapping",
    "list_type": "must be a list",
    "model_attributes_type": "must be a mapping",
    "model_type": "must be a mapping",
    "too_short": "must not be empty",
    "union_tag_not_found": "must have a `mode`: sim, live or replay",
}


def problems(error: ValidationError) -> list[str]:
    """Return a line for each error."""
    return [f"{_place(one['loc'])}: {_rule(one)}" for one in error.errors()]


def _rule(problem: Mapping[str, Any]) -> str:
    rule = RULES.get(problem["type"], problem["msg"])
    if problem["type"] == "union_tag_invalid":
        return f"mode: must be sim, live or replay, was {problem['ctx']['tag']!r:.{VALUE_MAX}}"
    if problem["type"] in WITH_VALUE and problem["loc"][-1] not in MAY_BE_SECRET:
        return f"{rule}, was {_shown(problem['input'])}"
    return rule


def _shown(value: Any) -> str:
    """Return a value as the file has it, a list or mapping by its kind."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping | list):
        return "a mapping" if isinstance(value, Mapping) else "a list"
    return f"{f'{value!r}' if isinstance(value, str) else f'{value}':.{VALUE_MAX}}"


def _place(loc: tuple[str | int, ...]) -> str:
    if loc[0] == "venues" and len(loc) > 2 and loc[2] in ("sim", "live", "replay"):
        loc = loc[:2] + loc[3:]  # pydantic's name of the chosen model
    return ".".join(map(str, loc))
