"""A worker's inside on one loop: real books, queues and router, and a small venue at the gate's end of the queues."""

import asyncio
import contextlib
import itertools
import logging
import secrets
import time
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hummingbot.strategy.strategy_v2_base import StrategyV2Base

from hive.gate.recorder import Recorder
from hive.gate.recorder_settings import RecorderSettings
from hive.shm.book import LIVE, BookTable, books_size
from hive.shm.broadcast import BroadcastWriter, broadcast_size
from hive.shm.counters import Counters, counters_size
from hive.shm.ids import fleet_id, strategy_tag
from hive.shm.link import Link
from hive.shm.messages import IntentKind, Reply, ReplyKind, Side, unpack
from hive.shm.order_queue import OrderQueue
from hive.shm.segment import Segment, segment_name
from hive.workers.clock import CallbackCounter, MultiStrategyClock
from hive.workers.context import StrategyContext, StrategyCounters
from hive.workers.host import StrategySpec, WorkerServices
from hive.workers.market import MarketData
from hive.workers.orders import OrderRouter
from hive.workers.scheduler import StrategyScheduler
from hummingbot.runtime.host import HummingbotHost
from hummingbot.runtime.selftest import KNOWN

EXAMPLES = Path(__file__).parents[2] / "examples"
FLEET = "stage"
PAIRS = ("BTC-USDT", "ETH-USDT")
TICK_S = 0.1


@pytest.fixture(scope="session")
def host_config(tmp_path_factory):
    """Hummingbot set up once for this process, with the examples as its root."""
    config = {
        "fleet": FLEET,
        "root": str(EXAMPLES),
        "data": str(tmp_path_factory.mktemp("data")),
        "venues": ["binance"],
        "strategies": [{"kind": "v1", "name": "pure_market_making"}],
    }
    HummingbotHost.preload(config)
    return config


@dataclass
class Venue:
    """The gate's end of the queues: acks, and fills when told to. `hold` leaves orders without an answer."""

    link: Link
    hold: bool = False
    forgets: bool = False
    closed: bool = False
    refuse: str = ""
    orders: dict = field(default_factory=dict)
    placed: list = field(default_factory=list)
    cancelled: list = field(default_factory=list)
    ids: itertools.count = field(default_factory=lambda: itertools.count(1))

    def open_account(self, **balances):
        self.send(Reply(ReplyKind.OPENED, 0))
        for asset, free in balances.items():
            self.send(Reply(ReplyKind.BALANCE, 0, fee_asset=asset, amount=Decimal(free), cumulative=Decimal(0)))

    def send(self, reply):
        self.link.send(reply.pack())
        self.link.flush()

    def pump(self):
        for intent in map(unpack, self.link.poll()):
            if intent.kind is IntentKind.PLACE:
                self.place(intent)
            elif intent.kind is IntentKind.CANCEL:
                self.cancel(intent)
        self.link.flush()

    def place(self, intent):
        self.placed.append(intent)
        self.orders[intent.client_order_id] = intent
        if self.refuse:
            self.say(intent, ReplyKind.REJECTED, code=-2010, text=self.refuse)
        elif not self.hold:
            self.say(intent, ReplyKind.ACKED)

    def cancel(self, intent):
        self.cancelled.append(intent.client_order_id)
        order = self.orders.get(intent.client_order_id, intent)
        if self.forgets:
            self.say(order, ReplyKind.CANCEL_FAILED, code=-2013, text="Unknown order sent.")
        elif self.closed:
            self.say(order, ReplyKind.CANCEL_FAILED, code=-2011, text="Market is closed.")
        elif not self.hold:
            self.say(order, ReplyKind.CANCELLED)

    def say(self, intent, kind, **values):
        common = {"client_order_id": intent.client_order_id, "exchange_order_id": str(1000 + len(self.placed))}
        self.send(Reply(kind, 0, wall_ns=time.time_ns(), **{**common, **values}))

    def fill(self, intent, amount=None, final=True):
        amount = amount or intent.amount
        self.say(
            intent,
            ReplyKind.FILL,
            price=intent.price,
            amount=amount,
            fee=amount / 1000,
            fee_asset=intent.pair.split("-")[intent.side is Side.SELL],
            trade_id=next(self.ids),
            maker=True,
        )
        if final:
            self.say(intent, ReplyKind.FILLED)


class Stage:
    """Starts strategies through the real host and moves time and venue by hand."""

    def __init__(self, host_config, segments, run_dir):
        self.loop = asyncio.get_running_loop()
        books, trades, counters, self.inbound, self.outbound = segments
        self.table = BookTable(books, len(PAIRS), 20)
        self.tape = BroadcastWriter(trades, 64)
        self.slots = {pair: self.table.add(self.rules(pair)) for pair in PAIRS}
        self.books_segment = books
        self.callbacks = CallbackCounter()
        self.counters = Counters.create(counters, 2000)
        self.market = MarketData(want=lambda venue, wishes: None, stale_after_ms=60_000)
        self.market.attach(0, 1, books.name, trades.name)
        self.router = OrderRouter(loop=self.loop, now_ns=time.monotonic_ns, market=self.market)
        self.states = []
        scheduler = StrategyScheduler(
            MultiStrategyClock(self.callbacks),
            loop=self.loop,
            interval_ns=int(TICK_S * 1e9),
            report=lambda context, state, message: self.states.append((context.id, state, message)),
        )
        self.services = WorkerServices(
            loop=self.loop,
            orders=self.router,
            books=self.market,
            scheduler=scheduler,
            counters=self.counters,
            callbacks=self.callbacks,
            now_ns=time.monotonic_ns,
            log=logging.getLogger("stage"),
            fleet_id=fleet_id(FLEET),
            run_dir=str(run_dir),
            worker_epoch=1,
            tick_interval_ns=int(TICK_S * 1e9),
            venues=({"index": 0, "name": "binance"},),
            request=self.market.instruments,
        )
        self.router.attach_gate(
            1, self.inbound.name, self.outbound.name, lambda *names: Link(self.inbound, self.outbound, None, 1)
        )
        self.venue = Venue(Link(self.outbound, self.inbound, None, 1))
        self.venue.open_account(BTC="10", ETH="100", USDT="1000000")
        self.host = HummingbotHost(host_config, self.services)
        self.now = time.time() // TICK_S * TICK_S
        self.cores = {}
        for pair, mid in zip(PAIRS, (100.0, 10.0), strict=True):
            self.quote(pair, mid)

    @staticmethod
    def rules(pair):
        base, quote = pair.split("-")
        return replace(KNOWN, pair=pair, symbol=base + quote, base=base, quote=quote)

    def quote(self, pair, mid):
        """Publish a book of ten levels a side, 0.01 apart and a unit each."""
        steps = np.arange(1, 11) * 0.01
        now = time.monotonic_ns()
        self.table.writer(self.slots[pair]).publish(
            now, now, now, now, mid - steps, np.ones(10), mid + steps, np.ones(10)
        )
        self.table.set_state(self.slots[pair], LIVE, now)
        self.books_segment.beat(now)

    def set_state(self, pair, state):
        self.table.set_state(self.slots[pair], state, time.monotonic_ns())

    def trade(self, pair, price, amount, buyer_is_maker=False):
        now = time.time_ns()
        self.tape.publish(self.slots[pair], int(buyer_is_maker), now, now, now, price, amount)

    def context(self, name):
        return StrategyContext(
            name,
            strategy_tag(name),
            len(self.cores),
            loop=self.loop,
            callbacks=self.callbacks,
            counters=StrategyCounters.of(self.counters, name),
        )

    async def start(self, name, kind, strategy, config, config_file=None, **extra):
        spec = StrategySpec(
            id=name,
            tag=strategy_tag(name),
            index=len(self.cores),
            kind=kind,
            name=strategy,
            config=config,
            config_file=config_file,
            extra=extra,
        )
        context = self.context(name)
        self.router.register(context)
        self.cores[name] = context
        return await context.create_task(self.host.start(spec, context))

    async def settle(self, rounds=30):
        """Let tasks run and messages cross until nothing should be left to do."""
        for _ in range(rounds):
            self.venue.pump()
            self.router.pump()
            await asyncio.sleep(0)
        await asyncio.sleep(0.001)

    async def tick(self, times=1, seconds=TICK_S):
        """Tick every strategy, with the venue answering in between."""
        for _ in range(times):
            self.now += seconds
            for context in self.cores.values():
                self.callbacks.bump()
                if context.host_data is not None:
                    context.run(context.host_data.tick, self.now)
            await self.settle()

    async def stop(self):
        """Stop every strategy; executors that are open get no time to close: no test looks at what they would do."""
        for context in self.cores.values():
            strategy = None if context.host_data is None else context.host_data.strategy
            if isinstance(strategy, StrategyV2Base):
                strategy.max_executors_close_attempts = 0
            stopping = context.create_task(self.host.stop(context))
            while not stopping.done():
                await self.settle(3)
            await stopping


def start_recorder(host_config, folder):
    """Run the fleet's recorder on this loop; returns it and its task."""
    settings = RecorderSettings(
        run="stage",
        epoch=1,
        run_dir=folder,
        log_file=None,
        log_level="INFO",
        journals={"binance": folder / "journal"},
        data=Path(host_config["data"]),
        owners=folder / "strategies.json",
    )
    recorder = Recorder(settings)
    return recorder, asyncio.get_running_loop().create_task(recorder.run())


@pytest.fixture
async def stage(host_config, tmp_path):
    run = secrets.token_hex(4)
    make = {
        "books": books_size(len(PAIRS), 20),
        "trades": broadcast_size(64),
        "counters": counters_size(2000, 200),
    }
    segments = [Segment.create(segment_name(run, kind, 1), size, kind=kind, epoch=1) for kind, size in make.items()]
    queues = [OrderQueue.create(segment_name(run, f"queue.{way}", 1), 1) for way in ("in", "out")]
    recorder, recording = start_recorder(host_config, tmp_path)
    made = Stage(host_config, [*segments, *queues], tmp_path)
    await made.settle()
    yield made
    await made.stop()
    recording.cancel()
    await recorder.finish(1)
    for queue in queues:
        queue.unlink()
    for segment in segments:
        with contextlib.suppress(BufferError):
            segment.close()
        segment.unlink()
