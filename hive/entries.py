"""From one entry of `strategies:` to the strategies that it stands for: ids and configurations. Pure.

    {id: pmm, for_each: {pair: [BTC-USDT, ETH-USDT], spread: [0.1, 0.2]}, count: 2}
        -> pmm-BTC-USDT-0.1-1, pmm-BTC-USDT-0.1-2, pmm-BTC-USDT-0.2-1, ...  (the product, in the order written)

A key of `for_each` is a key of the strategy's configuration. Two short names stand for several: `pair` for the key of
the market, `spread` for both spreads; a configuration that has a key of that very name takes it literally.
"""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ID_MAX = 64
PAIR = re.compile(r"[A-Z0-9]{1,12}-[A-Z0-9]{1,12}")
MARKET_KEYS = ("market", "trading_pair")
SPREAD_KEYS = ("bid_spread", "ask_spread")
_NOT_IN_ID = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Variant:
    """One strategy of an entry: its id and its value of each `for_each` key."""

    id: str
    values: Mapping[str, Any]


def variants(stem: str, for_each: Mapping[str, list[Any]], count: int) -> list[Variant]:
    """Return the strategies that an entry stands for.

    Args:
        stem: the entry's id, or what stands for it.
        for_each: lists of values by key; all combinations are made.
        count: how many of each combination, >= 1; they are numbered from 1 when there are several.
    """
    made = []
    for combination in itertools.product(*for_each.values()):
        parts = [stem, *(readable(value) for value in combination)]
        numbers = [[str(number)] for number in range(1, count + 1)] if count > 1 else [[]]
        for number in numbers:
            made.append(Variant("-".join([*parts, *number]), dict(zip(for_each, combination, strict=True))))
    return made


def readable(value: Any) -> str:
    """Return a value as it may stand in an id: letters, digits, dot, dash and underscore."""
    if isinstance(value, Mapping):
        value = [item for pair in value.items() for item in pair]
    if isinstance(value, list | tuple):
        return "-".join(readable(item) for item in value)
    return _NOT_IN_ID.sub("-", str(value).removesuffix(".yml")).strip("-") or "x"


def keys_meant(key: str, kind: str, config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the configuration keys that a `for_each` key stands for.

    Args:
        key: as written; `pair` and `spread` are short names.
        kind: "v1" or "script".
        config: the values of the strategy's file.
    """
    if key in config or key not in ("pair", "spread"):
        return (key,)
    if key == "spread":
        return SPREAD_KEYS
    present = tuple(name for name in MARKET_KEYS if name in config)
    return present[:1] or (MARKET_KEYS[0] if kind == "v1" else MARKET_KEYS[1],)


def merged(config: Mapping[str, Any], kind: str, values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict:
    """Return a file's values with those of `for_each`, then those of `set:`, in their places."""
    result = dict(config)
    for key, value in values.items():
        result.update(dict.fromkeys(keys_meant(key, kind, config), value))
    result.update(overrides)
    return result


def pairs_in(config: Any) -> tuple[str, ...]:
    """Return the trading pairs that a configuration names anywhere under a key with "pair" or "market" in it."""
    found: dict[str, None] = {}
    _collect(config, False, found)
    return tuple(found)


def _collect(value: Any, about_markets: bool, found: dict[str, None]) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _collect(inner, about_markets or "market" in str(key) or "pair" in str(key), found)
    elif isinstance(value, list | tuple):
        for inner in value:
            _collect(inner, about_markets, found)
    elif about_markets and isinstance(value, str):
        for part in value.replace(" ", "").split(","):
            if PAIR.fullmatch(part):
                found[part] = None
