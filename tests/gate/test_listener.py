"""What a listener makes of the user stream, and of what it asks."""

import asyncio
import logging
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from gate.fake_venue import FLEET_ID, SECOND, TAG, AccountBench, FakeClock, FakeVenue, live, trade
from gate.model_worker import strategy_counters
from gate.model_world import World
from hive.gate.listener import Listener
from hive.gate.order import Order, State
from hive.gate.venue import Balance, OrderStatus, Trade, VenueEvents
from hive.shm.ids import order_prefix
from hive.shm.messages import Reply, unpack
from hive.workers.accounts import Accounts
from hive.workers.accounts import Balance as Told

BY_HAND = "x9ah3kd02kd9a2nd0q2nd9d1a2k9fk3d9a2a"  # 36 characters, as a venue makes them
QUARTER = Decimal("0.25")


class StreamVenue(FakeVenue):
    """Can be listened to; what `balances` answers can be held back."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.events: VenueEvents | None = None
        self.account = [Balance("USDT", Decimal(100), Decimal(0))]
        self.reading: asyncio.Future | None = None

    async def open(self, events: VenueEvents) -> None:
        self.events = events

    async def run(self) -> None:
        self.events.on_stream(True)
        await asyncio.get_running_loop().create_future()

    async def close(self) -> None:
        pass

    async def balances(self) -> list[Balance]:
        found = list(self.account)
        if self.reading is not None:
            await self.reading
        return found


class Ear:
    """A listener over a fake venue, and what it tells the workers."""

    def __init__(self, folder: Path, cancel_unknown: bool = True) -> None:
        self.clock = FakeClock()
        self.venue = StreamVenue(self.clock)
        self.bench = AccountBench(folder, clock=self.clock, venue=self.venue, ready=False)
        self.told: list[Reply] = []
        self.listener = Listener(
            self.bench.account,
            FLEET_ID,
            cancel_unknown=cancel_unknown,
            cancel_lost=True,
            alive={TAG: (1,)},
            broadcast=self.told.append,
            log=logging.getLogger("test"),
            now_ns=self.clock,
        )

    async def start(self) -> None:
        self.task = asyncio.create_task(self.listener.run())
        await self.bench.settle()
        assert self.listener.ready.is_set()

    async def resting(self) -> Order:
        """Return an order of 1 that rests at the venue."""
        await self.start()
        name = self.bench.place("1")
        await self.bench.settle()
        return self.bench.account.ledger.get(name)

    def story(self, order: Order) -> list[tuple[str, Decimal]]:
        """Return what a strategy was told of an order, each with how much of it was filled by then."""
        mine = [reply for _, reply in self.bench.told if reply.client_order_id == order.client_order_id]
        return [(reply.kind.name, reply.cumulative) for reply in mine]

    def balance(self, asset: str) -> Told | None:
        accounts = Accounts()
        for reply in self.told:
            accounts.take(unpack(reply.pack()))
        return accounts[0].balances.get(asset)


@pytest.fixture
async def ears(tmp_path):
    made: list[Ear] = []

    def make(**options: bool) -> Ear:
        made.append(Ear(tmp_path, **options))
        return made[-1]

    yield make
    for ear in made:
        ear.task.cancel()
        ear.bench.close()
    await asyncio.sleep(0)


async def test_a_balance_of_more_digits_than_fit_a_number_is_told_exactly(ears):
    ear = ears()
    ear.venue.account = [Balance("PEPE", Decimal("250000000000.12345678"), Decimal("123456789012.87654321"))]
    await ear.start()
    found = ear.balance("PEPE")
    assert (found.free, found.locked) == (Decimal("250000000000.12345678"), Decimal("123456789012.87654321"))


async def test_a_balance_that_was_read_before_the_stream_told_it_does_not_undo_what_the_stream_told(ears):
    ear = ears()
    await ear.start()
    ear.venue.reading = asyncio.get_running_loop().create_future()
    ear.clock.now += SECOND
    ear.venue.events.on_stream(True)
    await ear.bench.settle()
    ear.clock.now += SECOND
    ear.venue.events.on_balances([Balance("USDT", Decimal(60), Decimal(40))])
    ear.venue.reading.set_result(None)
    await ear.bench.settle()
    assert ear.balance("USDT").free == 60


@pytest.mark.parametrize("cancel", [True, False])
async def test_an_order_of_the_fleet_that_nobody_knows_is_treated_by_policy_whenever_it_appears(ears, cancel):
    ear = ears(cancel_unknown=cancel)
    await ear.start()
    name = order_prefix(FLEET_ID, TAG) + "stray"
    ear.venue.events.on_order(live(name), None)
    await ear.bench.settle()
    assert ear.bench.account.ledger.get(name).state is (State.CANCELLED if cancel else State.ACKED)


@pytest.mark.parametrize("cancel", [True, False])
async def test_an_order_of_the_fleet_that_nobody_knows_is_found_whenever_open_orders_are_read(ears, cancel):
    ear = ears(cancel_unknown=cancel)
    await ear.resting()
    names = [order_prefix(FLEET_ID, TAG) + name for name in ("at-a-new-stream", "in-silence")]
    ear.venue.orders[names[0]] = live(names[0])
    ear.clock.now += SECOND
    ear.venue.events.on_stream(True)
    await ear.bench.settle()
    ear.venue.orders[names[1]] = live(names[1])
    ear.clock.now += 10 * SECOND
    async with asyncio.timeout(60):
        while ear.bench.account.ledger.get(names[1]) is None:  # the listener looks a few times a second
            await asyncio.sleep(0.01)
    await ear.bench.settle()
    states = {ear.bench.account.ledger.get(name).state for name in names}
    assert states == {State.CANCELLED if cancel else State.ACKED}


async def test_orders_that_are_handed_over_before_the_account_is_ready_are_not_lost(ears, tmp_path):
    first = AccountBench(tmp_path)
    name = first.place("1")
    await first.settle()
    first.kill()
    ear = ears()
    ear.venue.orders = first.venue.orders
    ear.bench.account.lives.hand_over(TAG, 2)  # to a life that began after this gate had been told who lives
    await ear.start()
    assert ear.bench.account.ledger.get(name).state is State.ACKED
    assert ("cancel", name) not in ear.venue.calls


def test_an_order_that_a_stream_which_was_just_made_anew_does_not_speak_of_is_asked_for(tmp_path):
    world = World(tmp_path, strategy_counters(), cancel_lost=True)
    exchange, worker = world.exchange, world.workers[0]
    try:
        world.advance(SECOND)
        exchange.mute = True
        for _ in range(2):
            world.pump()
            worker.place()
            world.pump()
            (request,) = exchange.requests
            exchange.requests.clear()
            exchange.take(request)
            request.future.set_result(request.answer)
            exchange.fill(request.name, Decimal(1))
            world.advance(5 * SECOND)
        assert [reply.kind.name for reply in worker.heard[worker.placed[1]]] == ["ACKED", "FILL", "FILLED"]
    finally:
        world.close()


async def test_an_order_that_a_person_made_smaller_is_filled_when_that_much_is(ears, caplog):
    ear = ears()
    order = await ear.resting()
    smaller = replace(live(order.client_order_id), amount=2 * QUARTER)
    ear.venue.events.on_order(smaller, None)
    assert (order.amount, order.state) == (2 * QUARTER, State.ACKED)
    assert f"order {order.client_order_id} was made smaller at the venue, by hand: 0.5 instead of 1" in caplog.text
    ear.venue.events.on_order(replace(smaller, executed=QUARTER), trade(1, "0.25"))
    filled = replace(smaller, executed=2 * QUARTER, status=OrderStatus.FILLED)
    ear.venue.events.on_order(filled, trade(2, "0.25"))
    assert ear.story(order) == [("ACKED", 0), ("FILL", QUARTER), ("FILL", 2 * QUARTER), ("FILLED", 2 * QUARTER)]


async def test_an_order_that_a_person_gave_another_id_ends_with_the_fills_that_it_had(ears, caplog):
    ear = ears()
    order = await ear.resting()
    ear.venue.fills[order.exchange_order_id] = [trade(1, "0.25")]
    replaced = replace(live(order.client_order_id, executed="0.25"), client_order_id=BY_HAND, amount=2 * QUARTER)
    for _ in range(2):
        ear.venue.events.on_order(replaced, None)
    async with asyncio.timeout(60):
        while not order.final:  # its fills are asked for in a moment
            await asyncio.sleep(0.01)
    assert ear.story(order) == [("ACKED", 0), ("FILL", QUARTER), ("CANCELLED", QUARTER)]
    assert f"goes on as {BY_HAND}, which is not the fleet's" in caplog.text
    assert ear.bench.count("foreign_orders") == 1
    filled = replace(replaced, executed=2 * QUARTER, status=OrderStatus.FILLED)
    ear.venue.events.on_order(filled, trade(2, "0.25"))
    assert len(ear.story(order)) == 3  # what becomes of it under that id is not the strategy's


async def test_an_order_that_was_given_another_id_while_nobody_listened_is_found_by_the_exchanges_own(ears, caplog):
    ear = ears()
    order = await ear.resting()
    ear.clock.now += SECOND
    state = ear.venue.orders.pop(order.client_order_id)
    ear.venue.orders[BY_HAND] = replace(state, client_order_id=BY_HAND)
    ear.venue.events.on_stream(True)
    await ear.bench.settle()
    assert ear.story(order) == [("ACKED", 0), ("CANCELLED", 0)]
    assert f"goes on as {BY_HAND}" in caplog.text


async def test_anothers_order_with_the_same_number_on_another_symbol_ends_none(ears):
    ear = ears()
    order = await ear.resting()
    same = replace(live(BY_HAND), exchange_order_id=order.exchange_order_id, symbol="ETHUSDT")
    ear.venue.events.on_order(same, None)
    assert order.state is State.ACKED


async def test_what_was_filled_of_an_order_that_the_venue_no_longer_knows_is_told_before_its_end(ears):
    ear = ears()
    order = await ear.resting()
    ear.venue.fills[order.exchange_order_id] = [trade(1, "0.25")]
    ear.venue.orders.clear()
    order.suspect, order.denials = True, 4
    ear.clock.now += 60 * SECOND
    ear.bench.account.inquiry.ask(order, at_once=True)
    await ear.bench.settle()
    assert ear.story(order) == [("ACKED", 0), ("FILL", QUARTER), ("EXPIRED", QUARTER)]


def test_balances_that_something_else_has_moved_are_read_again_once(tmp_path):
    world = World(tmp_path, strategy_counters(), cancel_lost=True)
    gate = world.gate
    try:
        world.advance(SECOND)
        world.exchange.balances = [Balance("USDT", Decimal(500), Decimal(0))]
        for _ in range(3):
            gate.enter(gate.listener.on_transfer)
        assert gate.bench.account.balances["USDT"] == 100
        world.advance(2 * SECOND)
        assert gate.bench.account.balances["USDT"] == 500
    finally:
        world.close()


async def test_an_order_event_that_breaks_the_ledger_is_told_as_our_error_and_the_order_asked_for(ears, caplog):
    ear = ears()
    order = await ear.resting()
    ear.venue.orders[order.client_order_id] = live(order.client_order_id, OrderStatus.FILLED, "1")
    ear.venue.fills[order.exchange_order_id] = [trade(1)]
    ear.venue.events.on_order(live(order.client_order_id, executed="NaN"), None)
    assert f"order {order.client_order_id}: an error in the gate" in caplog.text
    await ear.bench.settle()
    assert ear.story(order) == [("ACKED", 0), ("FILL", 1), ("FILLED", 1)]


async def test_a_fill_that_cannot_be_counted_is_told_all_the_same(ears, caplog):
    ear = ears()
    order = await ear.resting()
    strange = Trade(1, Decimal(10), Decimal(1), Decimal("sNaN"), "BTC", True, 5)
    ear.venue.events.on_order(live(order.client_order_id, OrderStatus.FILLED, "1"), strange)
    assert f"order {order.client_order_id}: its FILL cannot be counted" in caplog.text
    assert ear.story(order) == [("ACKED", 0), ("FILL", 1), ("FILLED", 1)]
