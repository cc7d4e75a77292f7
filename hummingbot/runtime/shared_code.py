"""Functions and classes that all strategies of a worker use, and that the code of one of them has replaced.

    remember()   before the first strategy's code is imported: some 12,000 functions, classes and properties
    accept()     before each import of a strategy's: what others have replaced since is not its doing   (5 ms)
    put_back()   after it: what is another object now is made what it was   (5 ms)

decimal.DefaultContext is among them: every context that begins later has its precision.

Any code may assign to a class or module that it did not make. A script that changes Hummingbot while it is imported
would change it under every other strategy. What a strategy replaces later than that stays, and what it adds is not
seen.
"""

import decimal
import sys
from collections.abc import Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodDescriptorType, ModuleType
from typing import Any

PACKAGES = frozenset({"hummingbot", "aiohttp", "asyncio", "json", "logging", "socket", "ssl", "threading", "time"})
KINDS = (FunctionType, BuiltinFunctionType, MethodDescriptorType, staticmethod, classmethod, property, type)

DECIMALS = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp", "traps")  # of decimal.DefaultContext

type Part = tuple[type | ModuleType, Mapping[str, Any], tuple[str, ...], list[Any]]
"""A class or module, all of its attributes, and the names and values of those that are kept; None: it is gone."""

_parts: list[Part] = []
_decimals: dict[str, Any] = {}


def remember() -> None:
    """Take what is there now for what is to be there."""
    _parts[:] = _found()
    _decimals.update(_of_decimals())


def accept() -> list[str]:
    """Take what is there now for what is to be there; return the names of what was something else, as put_back()."""
    replaced = []
    for (owner, attributes, names, values), at in _different():
        values[at] = attributes.get(names[at])
        replaced.append(f"{_name(owner)}.{names[at]}")
    replaced += [f"decimal.DefaultContext.{name}" for name in _other_decimals()]
    _decimals.update(_of_decimals())
    return replaced


def put_back() -> list[str]:
    """Make everything what it was; return the names of what was not, as module.name or module.Class.name."""
    replaced = []
    for (owner, _, names, values), at in _different():
        if values[at] is None:
            delattr(owner, names[at])
        else:
            setattr(owner, names[at], values[at])
        replaced.append(f"{_name(owner)}.{names[at]}")
    for name in _other_decimals():
        setattr(decimal.DefaultContext, name, _decimals[name])
        replaced.append(f"decimal.DefaultContext.{name}")
    return replaced


def _different() -> list[tuple[Part, int]]:
    """Return what is another object now: the part, and the index in it."""
    return [
        (part, at)
        for part in _parts
        for at, (name, value) in enumerate(zip(part[2], part[3], strict=True))
        if part[1].get(name) is not value
    ]


def _other_decimals() -> list[str]:
    found = _of_decimals()
    return [name for name, value in _decimals.items() if found[name] != value]


def _of_decimals() -> dict[str, Any]:
    values = {name: getattr(decimal.DefaultContext, name) for name in DECIMALS}
    return {**values, "traps": dict(values["traps"])}  # it would change with them


def _found() -> Iterator[Part]:
    for module_name, module in list(sys.modules.items()):
        if not isinstance(module, ModuleType) or module_name.partition(".")[0] not in PACKAGES:
            continue
        yield _part(module)
        for value in list(vars(module).values()):
            if isinstance(value, type) and value.__module__ == module_name:
                yield _part(value)


def _part(owner: type | ModuleType) -> Part:
    attributes = vars(owner)
    kept = [(name, value) for name, value in list(attributes.items()) if isinstance(value, KINDS)]
    return owner, attributes, tuple(name for name, _ in kept), [value for _, value in kept]


def _name(owner: type | ModuleType) -> str:
    return owner.__name__ if isinstance(owner, ModuleType) else f"{owner.__module__}.{owner.__qualname__}"
