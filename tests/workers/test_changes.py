"""Strategies that come to a running worker and leave it, over a real clock and order router, and a host of the test."""

import asyncio
from decimal import Decimal
from time import monotonic_ns

import pytest

from hive.shm.errors import TableFull
from hive.shm.ids import order_prefix, strategy_tag
from hive.shm.link import Link
from hive.shm.messages import Intent, IntentKind, OrderType, ReplyKind, Side
from hive.shm.order_queue import OrderQueue
from hive.workers.changes import StrategyChanges
from hive.workers.clock import CallbackCounter, MultiStrategyClock
from hive.workers.host import StrategySpec
from hive.workers.market import MarketData
from hive.workers.orders import OrderRouter
from hive.workers.scheduler import StrategyScheduler
from hive.workers.strategies import Strategies as WorkerStrategies
from tests.workers.venue import ScriptedGate, TinyFeed

INTERVAL_NS = 5_000_000
PATIENCE_S = 20.0
PAIR = "BTC-USDT"


class Ticked:
    """Counts its ticks."""

    def __init__(self) -> None:
        self.ticks = 0

    def tick(self, wall_timestamp: float) -> None:
        self.ticks += 1


class TestHost:
    """Makes strategies that count; one named `fails` does not start, one named `stays` does not end."""

    __test__ = False

    def __init__(self) -> None:
        self.started: list[str] = []
        self.stopped: list[tuple[str, bool]] = []
        self.made: dict[str, Ticked] = {}

    async def start(self, spec, context):
        self.started.append(spec.id)
        if spec.name == "fails":
            raise LookupError("no such pair")
        self.made[spec.id] = context.host_data = Ticked()
        return self.made[spec.id]

    async def stop(self, context):
        self.stopped.append((context.id, context.keeps_orders))
        if context.id == "stays":
            await asyncio.Event().wait()


class Stage:
    """A worker without a process: its strategies, and what it tells the supervisor."""

    def __init__(self, contexts) -> None:
        loop = asyncio.get_running_loop()
        self.told: list[dict] = []
        self.contexts = contexts
        self.room = True
        self.host = TestHost()
        self.scheduler = StrategyScheduler(
            MultiStrategyClock(CallbackCounter()),
            loop=loop,
            interval_ns=INTERVAL_NS,
            report=lambda context, state, text: self.told.append(
                {"type": "strategy", "id": context.id, "state": state.value, "message": text}
            ),
        )
        self.market = MarketData(boot_ns=monotonic_ns, want=lambda *_: None, stale_after_ms=60_000)
        self.router = OrderRouter(loop=loop, now_ns=monotonic_ns, market=self.market)
        self.ended: list[str] = []
        self.strategies = WorkerStrategies(
            self.host, [], scheduler=self.scheduler, orders=self.router, on_end=self.ended.append
        )
        self.changes = StrategyChanges(self.strategies, self._context, self.router, self.told.append, loop)
        self.scheduler.start()

    def _context(self, spec: StrategySpec):
        if not self.room:
            raise TableFull("100 counters are in use: no room for ticks")
        return self.contexts.new(spec.id)

    def add(self, name: str, what: str = "ticks", **more) -> None:
        number = len(self.contexts.made)
        spec = {"id": name, "tag": strategy_tag(name), "index": number, "kind": "v1", "name": what, **more}
        self.changes.take({"type": "add", "strategy": spec})

    def states(self, name: str) -> list[str]:
        return [one["state"] for one in self.told if one["type"] == "strategy" and one["id"] == name]

    async def until(self, happened) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not happened():
                await asyncio.sleep(0.001)

    async def running(self, *names: str) -> None:
        for name in names:
            self.add(name)
            self.changes.take({"type": "go", "id": name})
        await self.until(lambda: all("running" in self.states(name) for name in names))

    async def idle(self, name: str) -> dict:
        """Return what is said of a strategy that is to leave only when it has nothing in the market."""
        self.told.clear()
        self.changes.take({"type": "idle", "id": name, "change": 7})
        (answer,) = self.told
        assert (answer["type"], answer["id"], answer["change"]) == ("idle", name, 7)
        return answer

    async def leaves_if(self, name: str, submitted: int) -> str:
        """Ask it to leave if it has made so many orders; return what the worker says then."""
        self.told.clear()
        self.changes.take({"type": "remove", "id": name, "change": 8, "deadline_s": 10.0, "submitted": submitted})
        await self.until(lambda: any(one.get("change") == 8 for one in self.told))
        return next(one["type"] for one in self.told if one.get("change") == 8)

    async def removed(self, name: str, **more) -> dict:
        self.changes.take({"type": "remove", "id": name, "deadline_s": 10.0, **more})
        await self.until(lambda: any((one["type"], one.get("id")) == ("removed", name) for one in self.told))
        return next(one for one in self.told if (one["type"], one.get("id")) == ("removed", name))


@pytest.fixture
async def stage(strategies):
    made = Stage(strategies)
    await made.strategies.start()
    yield made
    await made.strategies.stop(0.1)
    made.scheduler.stop()


async def test_a_strategy_is_made_only_when_it_has_been_admitted(stage):
    stage.add("one")
    assert [one["type"] for one in stage.told if one["id"] == "one"] == ["strategy", "expecting"]
    for _ in range(20):
        await asyncio.sleep(0)
    assert stage.host.started == []
    stage.changes.take({"type": "go", "id": "one"})
    await stage.until(lambda: stage.host.made.get("one") and stage.host.made["one"].ticks > 2)
    assert stage.states("one") == ["starting", "running"]
    assert stage.host.started == ["one"]


async def test_one_leaves_while_the_others_tick_on_and_may_come_back(stage):
    await stage.running("one", "two")
    answer = await stage.removed("one", orders="keep")
    assert (answer["open_orders"], answer["late"]) == (0, False)
    assert stage.host.stopped == [("one", True)]
    assert stage.ended == ["one"]
    left = stage.host.made["one"].ticks
    ticks = stage.host.made["two"].ticks
    await stage.until(lambda: stage.host.made["two"].ticks > ticks + 3)
    assert stage.host.made["one"].ticks == left
    stage.told.clear()
    await stage.running("one")
    await stage.until(lambda: stage.host.made["one"].ticks > 0)
    assert "one" in stage.strategies


async def test_one_that_does_not_end_is_cut_off(stage):
    await stage.running("stays", "two")
    answer = await stage.removed("stays", deadline_s=0.05)
    assert answer["late"]
    assert stage.states("stays")[-1] == "stopped"
    assert "stays" not in stage.strategies


async def test_one_that_waits_to_be_admitted_and_one_that_failed_can_leave_too(stage):
    stage.add("waits")
    await stage.removed("waits")
    assert stage.host.started == []
    stage.add("broken", "fails")
    stage.changes.take({"type": "go", "id": "broken"})
    await stage.until(lambda: "failed" in stage.states("broken"))
    await stage.removed("broken")
    assert stage.host.started == ["broken"]
    answer = await stage.removed("nobody")  # the supervisor may ask twice
    assert answer["open_orders"] == 0


async def test_one_without_room_and_one_that_is_here_are_refused_and_change_nothing(stage):
    await stage.running("one")
    stage.add("one")
    assert (stage.told[-1]["state"], stage.told[-1]["message"]) == ("failed", "strategy one is here already")
    stage.room = False
    stage.add("two")
    assert stage.told[-1]["message"] == "100 counters are in use: no room for ticks"
    ticks = stage.host.made["one"].ticks
    await stage.until(lambda: stage.host.made["one"].ticks > ticks)


async def test_a_paused_one_is_not_ticked_until_it_is_resumed_also_when_it_comes_so(stage):
    await stage.running("one")
    stage.changes.take({"type": "pause", "id": "one", "reason": "look"})
    assert stage.told[-1] == {"type": "strategy", "id": "one", "state": "paused", "message": "look"}
    ticks = stage.host.made["one"].ticks
    stage.add("held", paused="since before")
    stage.changes.take({"type": "go", "id": "held"})
    await stage.until(lambda: stage.states("held")[-1:] == ["paused"])
    for _ in range(10):
        await asyncio.sleep(INTERVAL_NS / 1e9)
    assert stage.host.made["one"].ticks == ticks
    assert stage.host.made["held"].ticks == 0
    for name in ("one", "held"):
        stage.changes.take({"type": "resume", "id": name})
    await stage.until(lambda: stage.host.made["one"].ticks > ticks and stage.host.made["held"].ticks > 0)


async def test_a_pause_or_its_end_that_comes_while_a_strategy_is_being_made_counts(stage):
    stage.add("one")
    stage.changes.take({"type": "pause", "id": "one", "reason": "look"})
    stage.add("held", paused="since before")
    stage.changes.take({"type": "resume", "id": "held"})
    for name in ("one", "held"):
        stage.changes.take({"type": "go", "id": name})
    await stage.until(lambda: stage.host.made.get("held") and stage.host.made["held"].ticks > 3)
    await stage.until(lambda: stage.states("one")[-1:] == ["paused"])
    assert stage.host.made["one"].ticks == 0
    stage.changes.take({"type": "resume", "id": "one"})
    await stage.until(lambda: stage.host.made["one"].ticks > 0)


async def test_one_that_may_leave_only_idle_stays_for_an_executor_an_order_and_one_made_meanwhile(stage, run):
    feed, gate = TinyFeed(run), ScriptedGate(run, 1, 3)
    feed.add(PAIR)
    feed.beat()
    stage.market.attach(0, 1, feed.books.name, feed.trades.name)

    def make_link(inbound: str, outbound: str) -> Link:
        return Link(OrderQueue.attach(inbound), OrderQueue.attach(outbound), None, 3)

    def said(kind: ReplyKind, **more) -> None:
        gate.say(kind, **more)
        gate.flush()
        stage.router.pump()

    stage.router.attach_gate(1, *gate.names, make_link)
    said(ReplyKind.OPENED)
    await stage.running("one")
    (context,) = stage.contexts.made
    nothing = {"type": "idle", "id": "one", "change": 7, "exposed": "", "submitted": 0}
    assert await stage.idle("one") == nothing
    context.executors = lambda: [{"id": "e"}]
    assert (await stage.idle("one"))["exposed"] == "1 executors"
    assert await stage.leaves_if("one", 0) == "idle"
    context.executors = list
    limit = {"side": Side.BUY, "order_type": OrderType.LIMIT, "price": Decimal(99), "amount": Decimal(1)}
    order = order_prefix("abcde", context.tag) + "a"
    placed = stage.router.place(Intent(IntentKind.PLACE, 0, PAIR, order, **limit))
    assert (await stage.idle("one"))["exposed"] == "1 orders"
    assert await stage.leaves_if("one", 1) == "idle"
    said(ReplyKind.REJECTED, client_order_id=order)
    await placed
    assert await stage.idle("one") == {**nothing, "submitted": 1}
    assert await stage.leaves_if("one", 0) == "idle"  # asked before it made that order
    assert stage.host.stopped == []
    ticks = stage.host.made["one"].ticks
    await stage.until(lambda: stage.host.made["one"].ticks > ticks)
    assert await stage.leaves_if("one", 1) == "removed"
    assert stage.host.stopped == [("one", False)]
    assert (await stage.idle("one"))["exposed"] == "it is not here"
    stage.router.detach_gate()
    feed.close()
    gate.close()


async def test_of_one_that_leaves_only_the_order_without_an_answer_is_cancelled(run, strategies):
    feed, gate = TinyFeed(run), ScriptedGate(run, 1, 3)
    feed.add(PAIR)
    feed.beat()
    loop = asyncio.get_running_loop()
    market = MarketData(want=lambda *_: None, stale_after_ms=60_000)
    market.attach(0, 1, feed.books.name, feed.trades.name)
    router = OrderRouter(loop=loop, now_ns=monotonic_ns, market=market)
    context = strategies.new("leaver")
    heard = []
    context.on_reply = heard.append
    router.register(context)

    def make_link(inbound: str, outbound: str) -> Link:
        return Link(OrderQueue.attach(inbound), OrderQueue.attach(outbound), None, 3)

    router.attach_gate(1, *gate.names, make_link)
    gate.say(ReplyKind.OPENED)
    gate.flush()
    router.pump()
    order_ids = [order_prefix("abcde", context.tag) + name for name in ("rests", "asks")]
    limit = {"side": Side.BUY, "order_type": OrderType.LIMIT, "price": Decimal(99), "amount": Decimal(1)}
    places = [router.place(Intent(IntentKind.PLACE, 0, PAIR, one, **limit)) for one in order_ids]
    gate.say(ReplyKind.ACKED, order_ids[0])
    gate.flush()
    router.pump()
    await asyncio.sleep(0.01)
    assert router.release(context) == 2
    sent = [(one.kind, one.client_order_id) for one in gate.intents()]
    assert sent[2:] == [(IntentKind.CANCEL, order_ids[1])]  # its records cannot have it
    gate.say(ReplyKind.FILL, order_ids[0], trade_id=7, amount=Decimal(1))
    gate.flush()
    router.pump()
    await asyncio.sleep(0.01)
    assert heard == []  # it is its next life's, to whom the gate tells it
    assert router.open_orders() == []
    assert [one.done() for one in places] == [True, False]
    router.detach_gate()
    feed.close()
    gate.close()
