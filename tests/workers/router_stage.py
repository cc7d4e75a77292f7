"""An order router between strategies that write down what they are told and a scripted gate; real queues and links."""

import asyncio
from decimal import Decimal

from hive.shm.ids import order_prefix
from hive.shm.link import Link
from hive.shm.messages import Intent, IntentKind, OrderType, ReplyKind, Side
from hive.shm.order_queue import OrderQueue
from hive.workers.market import MarketData
from hive.workers.orders import OrderRouter
from tests.workers.venue import ScriptedGate, TinyFeed

MS = 1_000_000
PAIR = "BTC-USDT"
FLEET = "abcde"
WORKER_EPOCH = 3


class Stage:
    """A router, its market and gate, and strategies that write down what they are told."""

    def __init__(self, run, strategies):
        self.run = run
        self.strategies = strategies
        self.now_ns = 10**12
        self.feed = TinyFeed(run)
        self.feed.add(PAIR)
        self.feed.beat(self.now_ns)
        self.market = MarketData(boot_ns=lambda: self.now_ns, want=lambda *_: None, stale_after_ms=50)
        self.market.attach(0, 1, self.feed.books.name, self.feed.trades.name)
        self.wedged = []
        self.filled = []
        self.router = OrderRouter(
            loop=asyncio.get_running_loop(),
            now_ns=lambda: self.now_ns,
            market=self.market,
            on_wedged=lambda: self.wedged.append(1),
            on_fill=self.filled.append,
        )
        self.gates = []
        self.heard = []
        self.contexts = {}

    def strategy(self, name):
        context = self.contexts[name] = self.strategies.new(name)
        context.on_reply = lambda reply: self.heard.append((name, reply.kind.name, reply.client_order_id))
        context.books.add((0, PAIR))
        self.router.register(context)
        return context

    def gate(self, epoch=1, opened=True):
        gate = ScriptedGate(self.run, epoch, WORKER_EPOCH)
        self.gates.append(gate)
        self.router.attach_gate(epoch, *gate.names, self.make_link)
        if opened:
            gate.say(ReplyKind.OPENED)
            gate.flush()
            self.router.pump()
        return gate

    @staticmethod
    def make_link(inbound, outbound):
        return Link(OrderQueue.attach(inbound), OrderQueue.attach(outbound), None, WORKER_EPOCH)

    def order(self, context, number, **changes):
        values = {
            "kind": IntentKind.PLACE,
            "venue": 0,
            "pair": PAIR,
            "client_order_id": f"{order_prefix(FLEET, context.tag)}{number}",
            "side": Side.BUY,
            "order_type": OrderType.LIMIT,
            "price": Decimal("99.50"),
            "amount": Decimal("0.1000"),
            "created_ns": self.now_ns,
        }
        return Intent(**{**values, **changes})

    def place(self, context, number):
        """Place from a task of the strategy, which notes the answer."""

        async def buy():
            reply = await self.router.place(self.order(context, number))
            self.heard.append((context.id, f"answer {reply.kind.name}", reply.client_order_id))
            return reply

        return context.create_task(buy())

    def cancel(self, context, number):
        async def stop():
            reply = await self.router.cancel(0, PAIR, self.id(context, number))
            self.heard.append((context.id, f"cancel {reply.kind.name}", reply.client_order_id))
            return reply

        return context.create_task(stop())

    def id(self, context, number):
        return f"{order_prefix(FLEET, context.tag)}{number}"

    async def say(self, gate, *replies):
        for kind, client_order_id, *values in replies:
            gate.say(kind, client_order_id, **(values[0] if values else {}))
        gate.flush()
        self.router.pump()
        await self.settle()

    async def settle(self):
        for _ in range(20):
            await asyncio.sleep(0)

    def names(self):
        return [what for _, what, _ in self.heard]

    def close(self):
        self.router.detach_gate()
        self.feed.close()
        for gate in self.gates:
            gate.close()
