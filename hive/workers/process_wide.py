"""What belongs to the whole process and a strategy may take for its own: each gets its own, or leaves it as it is.

    random, numpy.random           functions draw from a generator of the strategy's own
    threading.Thread               runs in a copy of the context of the code that starts it, as tasks do
    loop.set_exception_handler     its handler is told of its own tasks' exceptions, after the worker's
    asyncio.all_tasks              its own tasks, without those of Hive that start and stop it
    warnings.filterwarnings, ...   a lasting filter hides the strategy's own warnings; other actions have no effect
    gc.disable, signal.signal,     refused: the call does nothing, and the log names who called (once for each)
    loop.stop, ...
    logging                        shared_logging.py

Outside of every strategy's context all of it is as in any process. Inside of `warnings.catch_warnings()` filters are
the process's, until it ends: no await belongs there. Code that bound such a function before `install()` keeps the
process's.
"""

import asyncio
import contextvars
import faulthandler
import functools
import gc
import logging
import logging.config
import random
import signal
import socket
import sys
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import numpy

from hive.workers import shared_logging
from hive.workers.context import CURRENT, StrategyContext

REFUSED = (
    (gc, ("disable", "freeze", "unfreeze", "set_debug", "set_threshold")),
    (
        signal,
        ("signal", "set_wakeup_fd", "alarm", "setitimer", "siginterrupt", "pthread_sigmask", "raise_signal"),
    ),
    (faulthandler, ("enable", "disable", "register", "unregister", "dump_traceback_later")),
    (logging, ("basicConfig", "disable", "shutdown", "captureWarnings", "setLoggerClass", "setLogRecordFactory")),
    (logging.config, ("dictConfig", "fileConfig")),
    (sys, ("setswitchinterval", "settrace", "setprofile")),
    (threading, ("settrace", "setprofile", "settrace_all_threads", "setprofile_all_threads")),
    (tracemalloc, ("start", "stop", "clear_traces")),
    (socket, ("setdefaulttimeout",)),
    (time, ("tzset",)),
    (asyncio, ("set_event_loop_policy",)),
)
OWN_THREADS = "hive-"  # what names of Hive's own threads begin with
REFUSED_OF_LOOP = (
    "stop",
    "close",
    "add_signal_handler",
    "remove_signal_handler",
    "set_debug",
    "set_default_executor",
    "set_task_factory",
)
REFUSED_COROUTINES_OF_LOOP = ("shutdown_asyncgens", "shutdown_default_executor")
TASKS_OF_HIVE = ("start {}", "stop {}", "shutdown", "end")  # names of a strategy's tasks that are not of its own making
FILTERS = ("filterwarnings", "simplefilter", "resetwarnings")

log = logging.getLogger(__name__)

_generators: WeakKeyDictionary[StrategyContext, random.Random] = WeakKeyDictionary()
_numpy_generators: WeakKeyDictionary[StrategyContext, numpy.random.RandomState] = WeakKeyDictionary()
_handlers: WeakKeyDictionary[StrategyContext, Callable[..., object]] = WeakKeyDictionary()
_hidden: WeakKeyDictionary[StrategyContext, list[type[Warning]]] = WeakKeyDictionary()
_catching: WeakKeyDictionary[StrategyContext, int] = WeakKeyDictionary()  # how many catch_warnings() it is inside of
_told: WeakKeyDictionary[StrategyContext, set[str]] = WeakKeyDictionary()


def install() -> None:
    """Take the process's functions over; before strategies' code is imported. Once is enough, twice does no harm."""
    for module, names in REFUSED:
        for name in names:
            _replace(module, name, functools.partial(_refusing, f"{module.__name__}.{name}"))
    shared_logging.install(refused)
    for module in (asyncio, asyncio.tasks):
        _replace(module, "all_tasks", _all_tasks)
    _replace(threading.Thread, "start", _starting)
    _give_each(random, random._inst, _generators, random.Random)
    _give_each(numpy.random, numpy.random.mtrand._rand, _numpy_generators, numpy.random.RandomState)
    for name, method in (("seed", "seed"), ("ranf", "random_sample"), ("sample", "random_sample")):  # mere functions
        make = functools.partial(_drawing, method, _numpy_generators, numpy.random.RandomState)
        _replace(numpy.random, name, make)
    for name in FILTERS:
        _replace(warnings, name, functools.partial(_hiding, name))
    _replace(warnings, "_showwarnmsg", _showing)  # what every warning goes through that no filter holds back
    _replace(warnings.catch_warnings, "__enter__", functools.partial(_entering, 1))
    _replace(warnings.catch_warnings, "__exit__", functools.partial(_entering, -1))


def install_on(loop: asyncio.AbstractEventLoop) -> None:
    """Do the same for a loop, whose exception handler is set already."""
    for name in REFUSED_OF_LOOP:
        _replace(loop, name, functools.partial(_refusing, f"loop.{name}"))
    for name in REFUSED_COROUTINES_OF_LOOP:
        _replace(loop, name, functools.partial(_refusing_coroutine, f"loop.{name}"))
    shared_logging.install_on_handlers(refused)
    if not hasattr(loop.set_exception_handler, "of_strategies"):
        outer = loop.get_exception_handler() or type(loop).default_exception_handler
        set_handler = loop.set_exception_handler
        set_handler(functools.partial(_on_exception, outer))
        _replace(loop, "set_exception_handler", _keeping)


def _replace(owner: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    before = getattr(owner, name)
    if hasattr(before, "of_strategies"):
        return
    after = functools.wraps(before)(make(before))
    after.of_strategies = True
    setattr(owner, name, after)


def refused(name: str) -> bool:
    """Return whether code of a strategy is running, which must not have what it called; its log says so once."""
    context = CURRENT.get(None)
    if context is None:
        return False
    told = _told.setdefault(context, set())
    if name not in told:
        told.add(name)
        log.warning("%s has no effect in a strategy: it would change all strategies of the worker", name)
    return True


def _refusing(name: str, before: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return None if refused(f"{name}()") else before(*args, **kwargs)

    return call


def _refusing_coroutine(name: str, before: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        return None if refused(f"{name}()") else await before(*args, **kwargs)

    return call


def _all_tasks(before: Callable[..., set[asyncio.Task[Any]]]) -> Callable[..., set[asyncio.Task[Any]]]:
    def all_tasks(loop: asyncio.AbstractEventLoop | None = None) -> set[asyncio.Task[Any]]:
        tasks = before(loop)
        context = CURRENT.get(None)
        if context is None:
            return tasks
        not_its_own = {name.format(context.id) for name in TASKS_OF_HIVE}
        return {
            task
            for task in tasks
            if task.get_context().get(CURRENT) is context and task.get_name() not in not_its_own
        }

    return all_tasks


def _starting(before: Callable[..., None]) -> Callable[..., None]:
    def start(self: threading.Thread) -> None:
        if CURRENT.get(None) is not None and not self.name.startswith(OWN_THREADS):
            self.run = functools.partial(contextvars.copy_context().run, self.run)  # type: ignore[method-assign]
        before(self)

    return start


def _give_each(module: Any, shared: Any, own: WeakKeyDictionary[StrategyContext, Any], make: Callable[[], Any]) -> None:
    """Have a module's functions, methods of one generator, act on the generator of whose code calls them."""
    for name, function in list(vars(module).items()):
        if getattr(function, "__self__", None) is shared:
            _replace(module, name, functools.partial(_drawing, name, own, make))


def _drawing(
    name: str, own: WeakKeyDictionary[StrategyContext, Any], make: Callable[[], Any], before: Callable[..., Any]
) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        context = CURRENT.get(None)
        if context is None:
            return before(*args, **kwargs)
        generator = own.get(context)
        if generator is None:
            generator = own[context] = make()
        return getattr(generator, name)(*args, **kwargs)

    return call


def _keeping(before: Callable[..., Any]) -> Callable[..., Any]:
    def set_exception_handler(handler: Callable[..., object] | None) -> None:
        context = CURRENT.get(None)
        if context is None:
            before(handler)
        elif handler is None:
            _handlers.pop(context, None)
        else:
            _handlers[context] = handler

    return set_exception_handler


def _on_exception(outer: Callable[..., object], loop: asyncio.AbstractEventLoop, details: dict[str, Any]) -> None:
    outer(loop, details)
    context = CURRENT.get(None)
    handler = None if context is None else _handlers.get(context)
    if handler is not None:
        handler(loop, details)


def _hiding(name: str, before: Callable[..., Any]) -> Callable[..., Any]:
    def change(*args: Any, **kwargs: Any) -> None:
        context = CURRENT.get(None)
        if context is None or _catching.get(context):
            before(*args, **kwargs)
        elif name == "resetwarnings":
            _hidden.pop(context, None)
        else:
            place = 2 if name == "filterwarnings" else 1
            action = args[0] if args else kwargs.get("action")
            category = args[place] if len(args) > place else kwargs.get("category", Warning)
            if action == "ignore":
                _hidden.setdefault(context, []).append(category)

    return change


def _entering(by: int, before: Callable[..., Any]) -> Callable[..., Any]:
    def enter_or_exit(*args: Any) -> Any:
        context = CURRENT.get(None)
        if context is not None:
            _catching[context] = _catching.get(context, 0) + by
        return before(*args)

    return enter_or_exit


def _showing(before: Callable[..., Any]) -> Callable[..., Any]:
    def show(message: warnings.WarningMessage) -> None:
        context = CURRENT.get(None)
        if context is None or not any(issubclass(message.category, one) for one in _hidden.get(context, ())):
            before(message)

    return show
