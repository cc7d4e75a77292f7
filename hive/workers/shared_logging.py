"""The loggers that all strategies of a worker share, and what a strategy may do to them.

    root logger                    its handlers, level and filters stay, and so do its handlers' own
    loggers of installed packages  level and filters stay: `logging.getLogger("hummingbot").setLevel(CRITICAL)` would
                                   hide what all strategies log, and keep their errors from being counted
    any logger: addHandler()       the handler is given what is logged by the strategy that has added it, nothing else

Loggers of other names are left to who uses them.
"""

import functools
import logging
import sys
import weakref
from collections.abc import Callable
from typing import Any

from hive.workers.context import CURRENT, StrategyContext

REFUSED_OF_ROOT = ("setLevel", "addHandler", "removeHandler", "addFilter", "removeFilter")
REFUSED_OF_SHARED = ("setLevel", "addFilter", "removeFilter")
REFUSED_OF_HANDLERS = ("setLevel", "setFormatter", "addFilter", "removeFilter", "close")
REFUSED_OF_LIST = (
    *("append", "clear", "extend", "insert", "pop", "remove"),
    *("__setitem__", "__delitem__", "__iadd__", "__imul__"),
)
KEPT_OF_ROOT = frozenset({"handlers", "filters", "level", "disabled"})

type Refused = Callable[[str], bool]  # whether a strategy's code runs; it is told what has no effect


class OnlyOf:
    """A filter that lets pass what one strategy logs."""

    def __init__(self, strategy: StrategyContext) -> None:
        self._strategy = weakref.ref(strategy)

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is being logged by the strategy."""
        return CURRENT.get(None) is self._strategy()


def install(refused: Refused) -> None:
    """Have strategies' changes refused from now on; once is enough, twice does no harm."""
    if hasattr(logging.Logger.addHandler, "of_strategies"):
        return
    for name in REFUSED_OF_SHARED:
        _wrap(logging.Logger, name, functools.partial(_of_shared, name, refused))
    _wrap(logging.Logger, "addHandler", _adding)
    root = logging.getLogger()
    for name in REFUSED_OF_ROOT:
        _wrap(root, name, functools.partial(_of, f"logging.getLogger().{name}()", refused))
    kept = {"__setattr__": _keeping(refused, type(root).__setattr__)}
    root.__class__ = type(type(root).__name__, (type(root),), kept)
    methods = {name: getattr(list, name) for name in REFUSED_OF_LIST}
    guarded = {name: _of(f"logging.getLogger().handlers.{name}()", refused, one) for name, one in methods.items()}
    root.handlers = type("Handlers", (list,), guarded)(root.handlers)


def install_on_handlers(refused: Refused) -> None:
    """Do the same for the handlers that the root logger has now."""
    for handler in logging.getLogger().handlers:
        for name in REFUSED_OF_HANDLERS:
            if not hasattr(getattr(handler, name), "of_strategies"):
                _wrap(handler, name, functools.partial(_of, f"logging.getLogger().handlers[].{name}()", refused))


def _wrap(owner: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    before = getattr(owner, name)
    after = functools.wraps(before)(make(before))
    after.of_strategies = True
    setattr(owner, name, after)


def _of(name: str, refused: Refused, before: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return None if refused(name) else before(*args, **kwargs)

    return call


def _of_shared(name: str, refused: Refused, before: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: logging.Logger, *args: Any, **kwargs: Any) -> Any:
        shared = self.name.partition(".")[0] in sys.modules and not _is_own(self)
        if shared and refused(f"logging.getLogger({self.name!r}).{name}()"):
            return None
        return before(self, *args, **kwargs)

    return call


def _is_own(logger: logging.Logger) -> bool:
    """Return whether a logger is named for a module of the strategy's own."""
    context = CURRENT.get(None)
    return context is not None and logger.name.partition(".")[0] == f"hive_{context.tag}"


def _adding(before: Callable[..., None]) -> Callable[..., None]:
    def add_handler(self: logging.Logger, handler: logging.Handler) -> None:
        context = CURRENT.get(None)
        if context is not None and not any(isinstance(one, OnlyOf) for one in handler.filters):
            handler.addFilter(OnlyOf(context))
        before(self, handler)

    return add_handler


def _keeping(refused: Refused, before: Callable[..., None]) -> Callable[..., None]:
    def set_attribute(self: logging.Logger, name: str, value: Any) -> None:
        if name not in KEPT_OF_ROOT or not refused(f"logging.getLogger().{name} = ..."):
            before(self, name, value)

    return set_attribute
