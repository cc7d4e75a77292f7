"""Whether code that holds the loop may be interrupted where it stands, and what is raised there.

    Handle._run                                 asyncio runs a callback
      hive.workers..., hummingbot.runtime...    the way into the strategy: Hive's frames, one after the other
        the strategy, Hummingbot, libraries     here it may be interrupted
          hive..., asyncio, logging ...         what the strategy has called: never

So nothing of Hive's, of the loop's or of the logging's is left half done: an interruption begins in a frame of the
strategy's own (or of a library that it called), and unwinds through Hive's frames only at the call that led into the
strategy, as any exception of the strategy would. Imports are left alone because modules are shared, `__del__` because
what is raised there is lost. Signal handlers of Python run between two bytecodes of the main thread, so code that stays
in C is not reached.
"""

import asyncio
from dataclasses import dataclass
from types import FrameType

HIVE = ("hive", "hummingbot.runtime")
PROTECTED = (
    "_frozen_importlib",
    "_frozen_importlib_external",
    "asyncio",
    "concurrent.futures.thread",
    "contextlib",
    "importlib",
    "locale",
    "logging",
    "selectors",
    "signal",
    "sqlalchemy",
    "sqlite3",
    "warnings",
    "weakref",
    "zipimport",
)
RUN_CALLBACK = asyncio.Handle._run.__code__


class TickInterrupted(BaseException):
    """Raised inside a strategy whose callback holds the loop for too long.

    Not an Exception: strategies and Hummingbot catch those and would go on.
    """


@dataclass(frozen=True, slots=True)
class Callback:
    """The callback of the loop that a frame belongs to, and whether it may be interrupted at that frame."""

    handle: asyncio.Handle | None
    may_interrupt: bool


def callback_of(frame: FrameType | None) -> Callback:
    """Return what the loop is running, by the innermost frame of its thread."""
    allowed = True
    innermost = True
    on_the_way_in = False  # walking outwards: the frames since the last one that was not Hive's are all Hive's
    while frame is not None:
        if frame.f_code is RUN_CALLBACK:
            return Callback(frame.f_locals.get("self"), allowed and not innermost)
        name = frame.f_globals.get("__name__") or ""
        if _within(name, HIVE):
            allowed &= not innermost
            on_the_way_in = True
        elif on_the_way_in or _within(name, PROTECTED) or frame.f_code.co_name == "__del__":
            allowed = False
        innermost = False
        frame = frame.f_back
    return Callback(None, False)


def _within(module: str, packages: tuple[str, ...]) -> bool:
    return module.startswith(packages) and any(
        module == package or module.startswith(package + ".") for package in packages
    )
