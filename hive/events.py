"""What can happen to a supervisor; each waits in its one queue."""

import asyncio
from dataclasses import dataclass
from typing import Any

from hive.child import Child
from hive.top_sample import Member


@dataclass(frozen=True, slots=True)
class Signalled:
    """A signal asks to stop."""

    number: int


@dataclass(frozen=True, slots=True)
class Said:
    """A child sent a message."""

    child: Child
    message: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Restart:
    """The wait for a restart is over."""

    member: Member


@dataclass(frozen=True, slots=True)
class StopAsked:
    """Somebody wants the fleet to stop: the control socket, or the time that was given."""

    why: str
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A request came over the control socket; its answer goes into the future, now or later."""

    request: dict[str, Any]
    answer: asyncio.Future[dict[str, Any]]


class Ended:
    """Some child ended."""


class Beat:
    """A quarter of a second has passed."""
