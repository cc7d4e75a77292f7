"""What a listener makes of the user stream, and of what it asks."""

import asyncio
import logging
from decimal import Decimal
from pathlib import Path

import pytest

from gate.fake_venue import FLEET_ID, SECOND, TAG, AccountBench, FakeClock, FakeVenue, live
from gate.model_world import World, strategy_counters
from hive.gate.listener import Listener
from hive.gate.order import State
from hive.gate.venue import Balance, VenueEvents
from hive.shm.ids import order_prefix
from hive.shm.messages import Reply, unpack
from hive.workers.accounts import Accounts
from hive.workers.accounts import Balance as Told


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
