"""A host without Hummingbot: strategies that keep one order at the best bid, and some that misbehave.

A strategy's `name` is what it does: trade, trade_then_fail, fail_to_start, fail, exit_in_tick, exit_in_task, block,
never_stop or never_start.
"""

import asyncio
import time
from decimal import Decimal

from hive.shm.ids import order_prefix
from hive.shm.messages import Intent, IntentKind, OrderType, ReplyKind, Side
from hive.workers.context import current
from hive.workers.errors import OrderRefused

PRELOADED = []


class TinyStrategy:
    """Buys at the best bid; when the order is over, buys again."""

    def __init__(self, spec, context, services):
        self.spec = spec
        self.context = context
        self.services = services
        self.pair = spec.config["pair"]
        self.prefix = order_prefix(services.fleet_id, context.tag)
        self.number = 0
        self.open = None
        self.timestamps = []
        context.on_reply = self.on_reply

    def tick(self, timestamp):
        assert current() is self.context
        self.timestamps.append(timestamp)
        getattr(self, self.spec.name)()

    def trade(self):
        if self.open is None and self.services.orders.is_open(0) and self.services.books.is_live(0, self.pair):
            self.number += 1
            self.open = f"{self.prefix}{self.services.worker_epoch}-{self.number}"
            asyncio.ensure_future(self.buy(self.open))  # noqa: RUF006 - the way strategies do it

    async def buy(self, client_order_id):
        bid = self.services.books.reader(0, self.pair).top()[0]
        intent = Intent(
            IntentKind.PLACE,
            0,
            self.pair,
            client_order_id,
            side=Side.BUY,
            order_type=OrderType.LIMIT,
            price=Decimal(f"{bid:.2f}"),
            amount=Decimal("0.1"),
            created_ns=self.services.now_ns(),
        )
        try:
            reply = await self.services.orders.place(intent)
        except OrderRefused:
            self.open = None
            return
        if reply.kind is ReplyKind.REJECTED:
            self.open = None

    def on_reply(self, reply):
        assert current() is self.context
        if reply.final and reply.client_order_id == self.open:
            self.open = None

    def fail(self):
        raise ValueError("no such spread")

    def trade_then_fail(self):
        self.trade()
        if self.open is not None and len(self.timestamps) > 5:
            raise ValueError("no such level")

    def exit_in_tick(self):
        raise SystemExit(9)

    def exit_in_task(self):
        async def leave():
            raise SystemExit(9)

        asyncio.ensure_future(leave())  # noqa: RUF006

    def block(self):
        if len(self.timestamps) == 5:
            time.sleep(self.spec.config.get("block_s", 0.6))

    def never_stop(self):
        pass


class TinyHost:
    """Makes TinyStrategies."""

    @staticmethod
    def preload(config):
        PRELOADED.append(bytearray(config.get("megabytes", 1) << 20))
        PRELOADED[-1][::4096] = b"x" * len(PRELOADED[-1][::4096])
        if config.get("preload_fails"):
            raise RuntimeError("no such data directory")

    def __init__(self, config, services):
        self.services = services

    async def start(self, spec, context):
        if spec.name == "fail_to_start":
            raise LookupError("no such config")
        if spec.name == "never_start":
            await asyncio.Event().wait()
        await self.services.instruments(0, [spec.config["pair"]])
        context.host_data = TinyStrategy(spec, context, self.services)
        return context.host_data

    async def stop(self, context):
        strategy = context.host_data
        if strategy is None:
            return
        self.services.scheduler.pause(context, "stopping")
        if strategy.spec.name == "never_stop":
            await asyncio.Event().wait()
        if strategy.open is not None:
            await self.services.orders.cancel(0, strategy.pair, strategy.open)
