"""What a strategy may not do to the process that it shares: it raises there, and the operator is told who it was.

    os.chdir, fchdir                          the working directory           seen by an audit hook
    os.environ, putenv, unsetenv              the environment                 seen by it too; allowed while importing
    os.kill, killpg of the worker itself      its life                        seen by it too
    os.fork, forkpty                          its queues and its channel      seen by it too; allowed to multiprocessing
    os.exec...                                the process                     seen by it too
    resource.setrlimit, prlimit of itself     its limits                      seen by it too
    os._exit, os.abort                        its life                        replaced: SystemExit instead
    sys.setrecursionlimit, locale.setlocale,  what all of its code lives in   replaced (REPLACED)
    os.umask, nice, sched_setaffinity, ...

Nothing has to be undone, because nothing was done: an audit hook runs before the event, and what it raises comes out of
the call. The hook is called for every audit event of the process (each import, open, socket and more), so the first
thing that it does is one look into a small dict. Whose call it was, the context variable says; threads that strategies
start by hand have no context, and are refused without a name. Code that reaches the C library past Python is not seen.
"""

import functools
import locale
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn

from hive.workers.context import CURRENT, StrategyContext

WATCHED = {
    "os.chdir": "the working directory",
    "os.putenv": "the environment",
    "os.unsetenv": "the environment",
    "os.kill": "its life",
    "os.killpg": "its life",
    "os.fork": "the process",
    "os.forkpty": "the process",
    "os.exec": "the process",
    "resource.setrlimit": "a limit",
    "resource.prlimit": "a limit",
}
FORKS = frozenset({"os.fork", "os.forkpty"})  # the child would go on as a second worker, over the same order queues
FORKS_AND_ENDS = "multiprocessing.popen_fork"  # its child runs one function and ends
WHEN_IMPORTING = frozenset({"os.putenv", "os.unsetenv"})  # libraries set variables for the C code that they load
REPLACED: tuple[tuple[Any, str, str, Callable[..., bool]], ...] = (  # owner, name, what of, calls that change nothing
    (sys, "setrecursionlimit", "the stack", lambda limit: limit == sys.getrecursionlimit()),
    (locale, "setlocale", "the locale", lambda category, locale=None: locale is None),
    (os, "umask", "the mask of new files", lambda mask: False),
    (os, "nice", "the priority", lambda increment: increment == 0),
    (os, "sched_setaffinity", "the choice of CPUs", lambda pid, mask: pid not in (0, os.getpid())),
    (os, "sched_setscheduler", "the scheduling", lambda pid, policy, param: pid not in (0, os.getpid())),
    (os, "setpriority", "the priority", lambda which, who, priority: who not in (0, os.getpid())),
)
KEPT = 100

_active: "Refusals | None" = None
_hooked = False


class Refusals:
    """What was refused and not yet told; any thread may refuse."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._kept: deque[tuple[StrategyContext, str]] = deque(maxlen=KEPT)
        self._before: list[tuple[Any, str, Callable[..., Any]]] = []

    def install(self) -> None:
        """Begin to refuse; once in a process's life at a time, after the fork."""
        global _active, _hooked
        _active = self
        if not _hooked:
            sys.addaudithook(_on_audit)  # for the rest of the process's life
            _hooked = True
        for owner, name, replacement in (
            (os, "_exit", self._exit),
            (os, "abort", self._abort),
            *((owner, name, self._guarded(owner, name, *about)) for owner, name, *about in REPLACED),
        ):
            self._before.append((owner, name, getattr(owner, name)))
            setattr(owner, name, replacement)

    def uninstall(self) -> None:
        """Refuse nothing any more."""
        global _active
        _active = None
        while self._before:
            owner, name, before = self._before.pop()
            setattr(owner, name, before)

    def take(self) -> list[tuple[StrategyContext, str]]:
        """Return what was refused since the last call, with what the operator should read."""
        taken = []
        while self._kept:
            taken.append(self._kept.popleft())
        return taken

    def judge(self, event: str, args: tuple[Any, ...]) -> None:
        """Raise PermissionError when this event, one of WATCHED, is a strategy's."""
        strategy = CURRENT.get(None)
        if os.getpid() != self._pid or (strategy is None and threading.current_thread() is threading.main_thread()):
            return
        if event in WHEN_IMPORTING and _is_called_from("importlib._bootstrap"):
            return
        if event in FORKS and _is_called_from(FORKS_AND_ENDS):
            return
        if WATCHED[event] == "its life" and not self._is_own(event, args[0], args[1]):
            return
        if event == "resource.prlimit" and (args[2] is None or args[0] not in (0, self._pid)):
            return
        self._refuse(strategy, event, WATCHED[event])

    def _is_own(self, event: str, target: int, what: int) -> bool:
        if what == 0:  # only asks whether it lives
            return False
        if event == "os.killpg" or target <= 0:
            return target in (0, -1) or abs(target) == os.getpgrp()
        return target == self._pid

    def _refuse(self, strategy: StrategyContext | None, what: str, of: str) -> NoReturn:
        whose = "a thread of a strategy" if strategy is None else f"strategy {strategy.id}"
        if strategy is not None:
            self._kept.append((strategy, f"{what} was refused: {of} is the whole worker's"))
        raise PermissionError(f"{what} is refused to {whose}: {of} is the whole worker's")

    def _original(self, owner: Any, name: str) -> Callable[..., Any]:
        return next(before for one, known, before in self._before if one is owner and known == name)

    def _exit(self, status: int) -> NoReturn:
        self._leave(status)
        self._original(os, "_exit")(status)

    def _abort(self) -> NoReturn:
        self._leave(signal.SIGABRT)
        self._original(os, "abort")()

    def _leave(self, status: int) -> None:
        strategy = CURRENT.get(None)
        if strategy is not None and os.getpid() == self._pid:
            self._kept.append((strategy, f"it asked its process to end, with status {status:d}"))
            raise SystemExit(status)

    def _guarded(self, owner: Any, name: str, of: str, is_harmless: Callable[..., bool]) -> Callable[..., Any]:
        before = getattr(owner, name)

        @functools.wraps(before)
        def call(*args: Any, **kwargs: Any) -> Any:
            strategy = CURRENT.get(None)
            if strategy is not None and os.getpid() == self._pid and not is_harmless(*args, **kwargs):
                self._refuse(strategy, f"{owner.__name__}.{name}", of)
            return before(*args, **kwargs)

        return call


def _on_audit(event: str, args: tuple[Any, ...]) -> None:
    if event in WATCHED and _active is not None:
        _active.judge(event, args)


def _is_called_from(module: str) -> bool:
    frame = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == module:
            return True
        frame = frame.f_back
    return False
