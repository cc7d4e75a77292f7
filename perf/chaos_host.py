"""The strategies of chaos.py: each trades at a steady pace, and writes down whatever it does and is told.

    tick -> cancel what is old, place one order        reply -> one line of the diary (chaos_diary.py)

A third of the orders rest at the best price and are filled by others, a fifth cross the book and are filled at once,
the others rest far away until they are cancelled. While the file `pause` lies beside the diaries nothing is placed and
everything is cancelled.
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from pathlib import Path
from typing import Any

from chaos_diary import Diary
from hive.shm.ids import order_prefix
from hive.shm.instruments import InstrumentRules
from hive.shm.messages import Intent, IntentKind, OrderType, Reply, ReplyKind, Side
from hive.workers.context import StrategyContext
from hive.workers.errors import OrderRefused
from hive.workers.host import StrategySpec, WorkerServices

VENUE = 0
MOST_OPEN = 12
OLD_NS = (200_000_000, 1_200_000_000)  # an order is cancelled when it is so old
CANCEL_AGAIN_NS = 2_000_000_000
AT_THE_TOUCH, CROSSING = 0.35, 0.55  # upper ends of the kinds; above: far away
NOTIONAL = (12.0, 400.0)  # of an order, in the quote currency
FAR = 0.01
CROSS = 0.0004
STOP_WITHIN_S = 10.0
LOOK_S = 0.02


@dataclass(slots=True)
class Open:
    """An order that is not over: when it is to be cancelled, or again, and whether that was asked for."""

    due_ns: int
    asked: bool = False


class ChaosStrategy:
    """One strategy in one of its lives."""

    def __init__(
        self, spec: StrategySpec, context: StrategyContext, services: WorkerServices, rules: InstrumentRules
    ) -> None:
        self._services = services
        self._rules = rules
        self._pair = rules.pair
        folder = Path(spec.config["diaries"])
        self._pause = folder / "pause"
        born_ns = services.now_ns()
        self._diary = Diary(folder / spec.id, born_ns)
        self._prefix = f"{order_prefix(services.fleet_id, context.tag)}{born_ns:x}-"
        self._place_every = spec.config["place_every"]
        self._ticks = 0
        self._serial = 0
        self._random = random.Random(born_ns)
        self._open: dict[str, Open] = {}
        self.stopping = False
        context.on_reply = self._on_reply

    @property
    def open_orders(self) -> int:
        """How many of its orders are not over."""
        return len(self._open)

    def tick(self, wall_timestamp: float) -> None:
        """Cancel and place."""
        now_ns = self._services.now_ns()
        if self.stopping or self._pause.exists():
            self._cancel_all(now_ns)
            return
        for order, state in list(self._open.items()):
            if now_ns >= state.due_ns:
                self._cancel(order, state, now_ns)
        self._ticks += 1
        if (
            self._ticks % self._place_every == 0
            and len(self._open) < MOST_OPEN
            and self._services.orders.is_open(VENUE)
            and self._services.books.is_live(VENUE, self._pair)
        ):
            self._place(now_ns)

    def _cancel_all(self, now_ns: int) -> None:
        for order, state in list(self._open.items()):
            if not state.asked or now_ns >= state.due_ns:
                self._cancel(order, state, now_ns)

    def _place(self, now_ns: int) -> None:
        reader = self._services.books.reader(VENUE, self._pair)
        top = reader.top()
        if top is None or not top[0] > 0 or not top[2] > 0:
            return
        draw = self._random
        side = draw.choice((Side.BUY, Side.SELL))
        touch, other, away = (top[0], top[2], -1) if side is Side.BUY else (top[2], top[0], 1)
        kind = draw.random()
        if kind < AT_THE_TOUCH:
            price = touch
        elif kind < CROSSING:
            price = other * (1 - away * CROSS)
        else:
            price = touch * (1 + away * FAR)
        amount = Decimal(draw.uniform(*NOTIONAL) / price).quantize(self._rules.step, ROUND_UP)
        self._serial += 1
        intent = Intent(
            IntentKind.PLACE,
            VENUE,
            self._pair,
            f"{self._prefix}{self._serial}",
            side=side,
            order_type=OrderType.LIMIT,
            price=Decimal(price).quantize(self._rules.tick),
            amount=amount,
            book_epoch=self._services.books.epoch(VENUE),
            book_version=reader.version,
            created_ns=now_ns,
        )
        self._send(intent, now_ns)

    def _send(self, intent: Intent, now_ns: int) -> None:
        order = intent.client_order_id
        self._diary.place(now_ns, order)
        try:
            answer = self._services.orders.place(intent)
        except OrderRefused as refused:
            self._diary.refused(now_ns, order, str(refused))
            return
        self._open[order] = Open(now_ns + self._random.randint(*OLD_NS))
        answer.add_done_callback(self._on_answer)

    def _cancel(self, order: str, state: Open, now_ns: int) -> None:
        state.due_ns, state.asked = now_ns + CANCEL_AGAIN_NS, True
        self._diary.cancel(now_ns, order)
        answer = self._services.orders.cancel(VENUE, self._pair, order)
        answer.add_done_callback(lambda done: self._on_cancelled(order, done))

    def _on_cancelled(self, order: str, answer: asyncio.Future[Reply]) -> None:
        if answer.cancelled():
            return
        unknown = answer.result().kind is ReplyKind.CANCEL_FAILED and not order.startswith(self._prefix)
        if answer.result().final or unknown:  # an order of an earlier life may be over already
            self._open.pop(order, None)

    def _on_answer(self, answer: asyncio.Future[Reply]) -> None:
        if not answer.cancelled():
            self._on_reply(answer.result())

    def _on_reply(self, reply: Reply) -> None:
        self._diary.told(self._services.now_ns(), reply)
        if reply.final:
            self._open.pop(reply.client_order_id, None)
        elif reply.kind in (ReplyKind.ACKED, ReplyKind.FILL) and reply.client_order_id not in self._open:
            self._open[reply.client_order_id] = Open(self._services.now_ns())  # of an earlier life


class ChaosHost:
    """Makes ChaosStrategies."""

    @staticmethod
    def preload(config: Mapping[str, Any]) -> None:
        """Do nothing: there is nothing to share."""

    def __init__(self, config: Mapping[str, Any], services: WorkerServices) -> None:
        self._services = services

    async def start(self, spec: StrategySpec, context: StrategyContext) -> ChaosStrategy:
        """Make one strategy."""
        (rules,) = await self._services.instruments(VENUE, [spec.config["trading_pair"]])
        context.host_data = ChaosStrategy(spec, context, self._services, rules)
        return context.host_data

    async def stop(self, context: StrategyContext) -> None:
        """Let the strategy place nothing more, and see what it has open end; its ticks cancel it."""
        strategy = context.host_data
        if strategy is None:
            return
        strategy.stopping = True
        deadline_ns = self._services.now_ns() + int(STOP_WITHIN_S * 1e9)
        while strategy.open_orders and self._services.now_ns() < deadline_ns:
            await asyncio.sleep(LOOK_S)
