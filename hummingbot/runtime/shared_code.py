"""Functions and classes that all strategies of a worker use, and that the code of one of them has replaced.

    remember()   before the first strategy's code is imported: some 9,000 functions, classes and properties
    accept()     before each import of a strategy's: what others have replaced since is not its doing   (1 ms)
    put_back()   after it: what is another object now is made what it was   (1 ms)

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

type Place = tuple[type | ModuleType, Mapping[str, Any], str, Any]  # owner, its attributes, name, value

_places: list[Place] = []
_decimals: dict[str, Any] = {}


def remember() -> None:
    """Take what is there now for what is to be there."""
    _places[:] = _found()
    _decimals.update(_of_decimals())


def accept() -> list[str]:
    """Take what is there now for what is to be there; return the names of what was something else, as put_back()."""
    replaced = []
    for at in reversed(range(len(_places))):
        owner, attributes, name, value = _places[at]
        if attributes.get(name) is value:
            continue
        replaced.append(f"{_name(owner)}.{name}")
        if name in attributes:
            _places[at] = owner, attributes, name, attributes[name]
        else:
            del _places[at]
    replaced += [f"decimal.DefaultContext.{name}" for name in _other_decimals()]
    _decimals.update(_of_decimals())
    return replaced


def put_back() -> list[str]:
    """Make everything what it was; return the names of what was not, as module.name or module.Class.name."""
    replaced = []
    for owner, attributes, name, value in _places:
        if attributes.get(name) is not value:
            setattr(owner, name, value)
            replaced.append(f"{_name(owner)}.{name}")
    for name in _other_decimals():
        setattr(decimal.DefaultContext, name, _decimals[name])
        replaced.append(f"decimal.DefaultContext.{name}")
    return replaced


def _other_decimals() -> list[str]:
    found = _of_decimals()
    return [name for name, value in _decimals.items() if found[name] != value]


def _of_decimals() -> dict[str, Any]:
    values = {name: getattr(decimal.DefaultContext, name) for name in DECIMALS}
    return {**values, "traps": dict(values["traps"])}  # it would change with them


def _found() -> Iterator[Place]:
    for module_name, module in list(sys.modules.items()):
        if not isinstance(module, ModuleType) or module_name.partition(".")[0] not in PACKAGES:
            continue
        attributes = vars(module)
        for name, value in list(attributes.items()):
            if isinstance(value, KINDS):
                yield module, attributes, name, value
            if isinstance(value, type) and value.__module__ == module_name:
                yield from _found_in(value)


def _found_in(owner: type) -> Iterator[Place]:
    attributes = vars(owner)
    for name, value in list(attributes.items()):
        if isinstance(value, KINDS):
            yield owner, attributes, name, value


def _name(owner: type | ModuleType) -> str:
    return owner.__name__ if isinstance(owner, ModuleType) else f"{owner.__module__}.{owner.__qualname__}"
