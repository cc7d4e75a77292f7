"""A strategy with its router in a model of a fleet (model_world.py): what it does, and all that it is told.

    Strategy ── OrderRouter ── Link ══ pipes ══ the gate
      heard       of one life of its worker

The router is the real one.
"""

import secrets
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

from gate.fake_venue import FLEET_ID, OTHER, TAG
from gate.model_venue import PAIR
from gate.virtual_loop import VirtualLoop
from hive.shm.book import LIVE
from hive.shm.counters import Counters, counters_size
from hive.shm.ids import order_prefix
from hive.shm.messages import Intent, IntentKind, Reply, Side
from hive.shm.segment import Segment, segment_name
from hive.workers.clock import CallbackCounter
from hive.workers.context import StrategyContext, StrategyCounters
from hive.workers.errors import OrderRefused
from hive.workers.orders import OrderRouter

if TYPE_CHECKING:
    from gate.model_world import World

TAGS = (TAG, OTHER)  # worker 0 has the first, worker 1 the other


class LiveBooks:
    """A market whose books are always live."""

    def state(self, venue: int, pair: str) -> int:
        return LIVE


def strategy_counters() -> tuple[StrategyCounters, ...]:
    """Return the counters of both strategies, in a segment that has no name any more."""
    name = segment_name(secrets.token_hex(4), "counters.test", 1)
    segment = Segment.create(name, counters_size(100, 8), kind="counters", epoch=1)
    segment.unlink()
    counters = Counters.create(segment, 100)
    return tuple(StrategyCounters.of(counters, tag) for tag in TAGS)


class Worker:
    """One life of a worker with one strategy, which writes down what it hears.

    Attributes:
        placed: ids of orders that its router took
        heard: by order, everything that the strategy was told of it
    """

    def __init__(self, world: "World", index: int, epoch: int) -> None:
        self.index, self.epoch, self.tag = index, epoch, TAGS[index]
        self.loop = VirtualLoop(world.clock)
        self.placed: list[str] = []
        self.heard: dict[str, list[Reply]] = {}
        self.busy = False  # it looks at nothing
        self.next_gate: Callable[[], None] | None = None  # attaches it to the gate that it has just been told of
        self._world = world
        self.context = StrategyContext(
            self.tag, self.tag, 0, loop=self.loop, callbacks=CallbackCounter(), counters=world.counters[index]
        )
        self.context.on_reply = self._hear
        self.router = OrderRouter(loop=self.loop, now_ns=world.clock, market=LiveBooks(), cancel_after_ms=None)
        self.router.expect([self.tag])
        self.router.register(self.context)
        self.router.started(self.context)

    def place(self, side: Side = Side.BUY, price: Decimal = Decimal(10), amount: Decimal = Decimal(1)) -> None:
        world = self._world
        name = f"{order_prefix(FLEET_ID, self.tag)}{world.next_number()}"
        intent = Intent(IntentKind.PLACE, 0, PAIR, name, side, price=price, amount=amount, created_ns=world.clock.now)

        async def buy() -> None:
            try:
                answer = self.router.place(intent)
            except OrderRefused:
                return
            self.placed.append(name)
            world.placed[name] = self
            self._hear(await answer)

        self.loop.enter(self.context.create_task, buy())

    def cancel(self, name: str) -> None:
        async def stop() -> None:
            await self.router.cancel(0, PAIR, name)

        self.loop.enter(self.context.create_task, stop())

    def pump(self) -> None:
        if self.next_gate is not None:
            self.loop.enter(self.next_gate)
            self.next_gate = None
        self.loop.enter(self.router.pump)

    def gate_gone(self) -> None:
        self.next_gate = None
        self.loop.enter(self.router.detach_gate)

    def _hear(self, reply: Reply) -> None:
        self.heard.setdefault(reply.client_order_id, []).append(reply)
        self._world.check_told(self, reply)
