"""What a worker asks of the host that makes strategies, and what it offers to it.

The worker knows its host as a dotted name only (`hummingbot.runtime.host:HummingbotHost`). A host has

    preload(config)                   before the fork: imports, process-wide set-up; no loop, no thread, no socket
    Host(config, services)            once per worker, after the fork, on the running loop
    await start(spec, context)        make one strategy; runs in a task inside context; returns what to tick
    await stop(context)               cancel its orders and end it; runs in a task inside context

Everything that raises in `start` fails that strategy alone. `start` of several strategies run at the same time.
Ticks go on while `stop` runs, unless the host calls `services.scheduler.pause(context, ...)`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

from hive.shm.counters import Counters
from hive.shm.instruments import InstrumentRules
from hive.workers.clock import CallbackCounter
from hive.workers.context import CURRENT, StrategyContext, current
from hive.workers.errors import BootError
from hive.workers.market import MarketData
from hive.workers.orders import OrderRouter
from hive.workers.scheduler import StrategyScheduler, TickTarget
from hive.workers.wants import MARKET

__all__ = ["Host", "StrategySpec", "TickTarget", "WorkerServices"]


@dataclass(frozen=True, slots=True)
class StrategySpec:
    """One strategy as the boot message names it; keys that a worker does not use are in `extra`, for the host.

    `tick_on_book_ms`: the least time between its last tick and one because of a book; None: none of these.
    """

    id: str
    tag: str
    index: int
    kind: str
    name: str
    config: Mapping[str, Any] = field(default_factory=dict)
    config_file: str | None = None
    priority: int = 0
    tick_interval_ms: int | None = None
    tick_on_book_ms: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "StrategySpec":
        """Return the spec of one entry of boot's `strategies`; raises BootError naming a key that is not there."""
        known = {one.name for one in fields(cls)} - {"extra"}
        for key in ("id", "tag", "index", "kind", "name"):
            if key not in raw:
                raise BootError(f"boot: strategies: {raw.get('id', raw)}: {key} is missing")
        extra = {key: value for key, value in raw.items() if key not in known and key != "extra"}
        extra.update(raw.get("extra") or {})
        return cls(**{key: raw[key] for key in known if key in raw}, extra=extra)


@dataclass(frozen=True, slots=True)
class WorkerServices:
    """What a worker offers to its host; one object for all strategies of the process."""

    loop: asyncio.AbstractEventLoop
    orders: OrderRouter
    books: MarketData
    scheduler: StrategyScheduler
    counters: Counters
    callbacks: CallbackCounter
    now_ns: Callable[[], int]
    log: logging.Logger
    fleet_id: str
    run_dir: str
    worker_epoch: int
    tick_interval_ns: int
    venues: tuple[Mapping[str, Any], ...]
    request: Callable[[int, list[str], str], Awaitable[list[InstrumentRules]]]

    async def instruments(self, venue: int, pairs: list[str]) -> list[InstrumentRules]:
        """Ask the feed for `pairs`, wait until all are in the directory, and return their rules in that order.

        Called inside a context, it also marks the pairs as used by that strategy (its resting orders are cancelled
        when one of their books is not live for too long), and they are wanted for as long as it lives. Raises
        UnknownInstrument when the venue lists no such pair.
        """
        context = CURRENT.get(None)
        rules = await self.request(venue, pairs, "" if context is None else context.id)
        if context is not None:
            context.books.update((venue, pair) for pair in pairs)
        return rules

    def forget(self, venue: int, pair: str) -> None:
        """Note that the strategy inside whose context this is called uses a pair no more."""
        context = current()
        context.books.discard((venue, pair))
        self.books.unwant(context.id, venue, [(pair, kind) for kind in MARKET])


class Host(Protocol):
    """Makes and ends strategies; see the module's first lines."""

    @staticmethod
    def preload(config: Mapping[str, Any]) -> None:
        """Import and set up what all workers share; runs in the server process before any fork."""

    def __init__(self, config: Mapping[str, Any], services: WorkerServices) -> None: ...

    async def start(self, spec: StrategySpec, context: StrategyContext) -> TickTarget:
        """Make one strategy, ready to be ticked, and return its target."""

    async def stop(self, context: StrategyContext) -> None:
        """Cancel the strategy's open orders and end it; called once, also after a failed start."""
