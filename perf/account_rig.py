"""The gate's own objects in this process, for measurements: from a worker's queue to the journal, without a network.

    worker's link -> OrderQueue -> Intake: decode -> Account: ledger, guards -> Sender: classes, fair queue,
    quotas, the venue's limits -> Requests: journal, written -> InProcessVenue.place(), which keeps the order

The venue's limits are the real ones, with numbers that are never met. Answers are given when asked for, so that what
follows them can be left out of a measurement.
"""

import asyncio
import itertools
import logging
import secrets
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from gate_rig import EPOCH, VENUE, fleet_of
from hive.boots import Endpoint, Run, gate_boot
from hive.gate.account import Account, AccountRules
from hive.gate.binance_limits import BinanceLimits
from hive.gate.binance_messages import Answer
from hive.gate.budgets import VenueBudgets
from hive.gate.figures import AccountFigures, room
from hive.gate.guards import FleetGuards
from hive.gate.intake import Intake
from hive.gate.journal import Journal
from hive.gate.limits import LimitCount, LimitKind, Operation
from hive.gate.quota import Quotas
from hive.gate.server_time import ServerClock
from hive.gate.settings import GateSettings
from hive.gate.venue import NewOrder, OrderState, OrderStatus, Trade
from hive.plan import WorkerPlan
from hive.shm.budget import MINUTE_NS
from hive.shm.counters import Counters, counters_size
from hive.shm.ids import order_prefix, strategy_tag
from hive.shm.link import Link
from hive.shm.messages import Intent, IntentKind, OrderType, Side, unpack
from hive.shm.order_queue import OrderQueue
from hive.shm.segment import Segment, list_segments, segment_name, unlink
from hive.shm.wake import WakeReceiver

WORKERS = 4
NOWHERE = {"rest_url": "http://127.0.0.1:9", "ws_url": "ws://127.0.0.1:9/ws", "ws_api_url": "ws://127.0.0.1:9/api"}
PAIR, SYMBOL = "BTC-USDT", "BTCUSDT"
PRICE, AMOUNT = Decimal("32000.00"), Decimal("0.001")
MUCH = 1_000_000  # of every limit
SECOND_NS, LONG_NS, DAY_NS = 10**9, 3600 * 10**9, 86_400 * 10**9
EXCHANGE_INFO: dict[str, Any] = {
    "rateLimits": [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": MUCH},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": MUCH},
        {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 100 * MUCH},
        {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 10 * MUCH},
    ],
    "symbols": [{
        "symbol": SYMBOL, "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT",
        "filters": [{"filterType": "MAX_NUM_ORDERS", "maxNumOrders": MUCH}],
    }],
}  # fmt: skip
NOTHING_USED = [LimitCount(LimitKind.WEIGHT, MINUTE_NS, 0)]


class InProcessVenue:
    """Implements what an account needs of a `Venue`; `closed` lets every order wait."""

    name = VENUE

    def __init__(self, limits: BinanceLimits, clock: ServerClock) -> None:
        self.closed = False
        self.placed = 0
        self.inside_ns = 0  # spent within place() before it waits for the answer
        self._limits = limits
        self._clock = clock
        self._waiting: list[tuple[asyncio.Future[None], Callable[[], None]]] = []

    def venue_ns(self) -> int:
        """Return the venue's wall time."""
        return self._clock.venue_ns()

    def symbol(self, pair: str) -> str | None:
        """Return the only pair's symbol."""
        return SYMBOL if pair == PAIR else None

    def wait_ns(self, operation: Operation, symbol: str, now_ns: int, age_ns: int = 0) -> int:
        """Return what the limits say."""
        return LONG_NS if self.closed else self._limits.wait_ns(operation, symbol, now_ns, age_ns)

    def pair_wait_ns(self, operation: Operation, symbol: str, now_ns: int, age_ns: int = 0) -> int:
        return self._limits.pair_wait_ns(operation, symbol, now_ns, age_ns)

    def closed_ns(self, now_ns: int) -> int:
        """Return what the limits say."""
        return self._limits.closed_ns(now_ns)

    def order_limit(self) -> tuple[float, int]:
        """Return what the limits say."""
        return self._limits.order_limit()

    async def place(
        self, order: NewOrder, on_sent: Callable[[int, int], None], may_send: Callable[[], None]
    ) -> tuple[OrderState, list[Trade]]:
        """Charge an order and keep it; it is answered, as expired, when `answer_all` is called."""
        begun_ns = time.perf_counter_ns()
        may_send()
        charge = self._limits.charge(Operation.PLACE, order.symbol)
        self.placed += 1
        now_ns = time.monotonic_ns()
        on_sent(now_ns, now_ns)
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((answer, lambda: self._limits.answered(charge, Answer(200, {}, counts=NOTHING_USED))))
        self.inside_ns += time.perf_counter_ns() - begun_ns
        await answer
        state = OrderState(
            order.client_order_id, str(self.placed), order.symbol, order.side, OrderStatus.EXPIRED, Decimal(0),
            order.price, order.amount, self.venue_ns(),
        )  # fmt: skip
        return state, []

    def answer_all(self) -> None:
        """Answer every order that was placed."""
        waiting, self._waiting = self._waiting, []
        for answer, settle in waiting:
            settle()
            answer.set_result(None)


class AccountRig:
    """An account of `strategies` strategies on 4 workers, with its journal at the default policy in `folder`."""

    def __init__(self, strategies: int, folder: Path, queue_per_strategy: int) -> None:
        self._log = logging.getLogger("perf")
        self.settings = self._settings(strategies, folder)
        run, (venue,) = self.settings.run, self.settings.venues
        self._budgets = VenueBudgets(run, EPOCH, self.settings.venues, self.settings.feed_share, time.time_ns())
        capacity, histograms = room(1, strategies)
        name = segment_name(run, "counters.gate", EPOCH)
        self._segment = Segment.create(name, counters_size(capacity, histograms), kind="counters", epoch=EPOCH)
        counters = Counters.create(self._segment, capacity)
        clock = ServerClock()
        budget = self._budgets.of(venue.name)
        self.limits = BinanceLimits(clock, budget, True, self._log, on_throttled=lambda wait_s, text: None)
        self.limits.take_rules(EXCHANGE_INFO, NOTHING_USED)
        self.limits.assume([LimitCount(LimitKind.ORDERS, length_ns, 0) for length_ns in (10 * SECOND_NS, DAY_NS)])
        self.venue = InProcessVenue(self.limits, clock)
        self._journal_folder = folder / "journal"
        self.journal = Journal.open(self._journal_folder, self.settings.fleet_id, venue.name)
        self._syncing = asyncio.create_task(self.journal.run())
        ids = {one.tag: one.id for one in self.settings.strategies}
        self.account = Account(
            0,
            self.venue,
            AccountRules(venue.recv_window_ms * 1_000_000, LONG_NS, queue_per_strategy),
            Quotas(None, None, {one.tag: one.quota for one in self.settings.strategies}),
            self.journal,
            FleetGuards(self.settings, time.time_ns(), self._log).of(venue, None, self.journal, self._log),
            lambda tag, reply: self.intake.reply(tag, reply),
            AccountFigures(counters, venue.name, ids),
            self._log,
        )
        self.account.takeover.remember([], complete=True)
        self.account.accept()
        self.intake = Intake(
            self.settings.fleet_id,
            self.settings.strategies,
            self.account.handle,
            on_wedged=lambda index, epoch: None,
            on_pending=lambda: None,
            on_taken=lambda _, order: self.account.taken(order),
            log=self._log,
        )
        self._wake = WakeReceiver(folder / "wake")
        self._queues: list[OrderQueue] = []
        self._links = [self._connect(index) for index in range(WORKERS)]
        owners = sorted(self.settings.strategies, key=lambda one: int(one.id.removeprefix("strategy-")))
        self._owners = [(order_prefix(self.settings.fleet_id, one.tag), one.worker) for one in owners]
        self._number = 0

    def put(self, count: int) -> None:
        """Put intents of all strategies in turn into the queues of their workers."""
        for _ in range(count):
            prefix, worker = self._owners[self._number % len(self._owners)]
            order = f"{prefix}{self._number:x}"
            self._number += 1
            intent = Intent(
                IntentKind.PLACE, 0, PAIR, order, Side.BUY, OrderType.LIMIT, price=PRICE, amount=AMOUNT,
                created_ns=time.monotonic_ns(),
            )  # fmt: skip
            self._links[worker].send(intent.pack())
        for link in self._links:
            if not link.flush():
                raise RuntimeError("a queue must take all intents of a batch")

    async def settle(self) -> None:
        """Let every order that was placed be answered, told and taken."""
        self.venue.answer_all()
        for _ in range(3):
            await asyncio.sleep(0)
        told = True
        while told:
            self.intake.flush()
            told = [payload for link in self._links for payload in link.poll()]
            for link in self._links:
                link.flush()
            for payload in told:
                unpack(payload)
        self.intake.poll()

    def close(self) -> int:
        """End everything; return how many sent orders the next gate would find in the journal."""
        self.account.stop()
        self._syncing.cancel()
        self.journal.close()
        self.intake.close()
        for queue in self._queues:
            queue.close()
        self._wake.close()
        for info in list_segments(self.settings.run):
            unlink(info.name)
        reopened = Journal.open(self._journal_folder, self.settings.fleet_id, VENUE)
        reopened.close()
        return len(reopened.recovered.sent_wall_ns)

    def _settings(self, strategies: int, folder: Path) -> GateSettings:
        """Return the settings of a gate with so many strategies, whose tags all differ."""
        names: dict[str, str] = {}
        for number in itertools.count():
            if len(names) == strategies:
                break
            names.setdefault(strategy_tag(f"strategy-{number}"), f"strategy-{number}")
        fleet = fleet_of(names.values(), {VENUE: NOWHERE}, folder)
        run = Run(secrets.token_hex(4), fleet, folder, folder, 1)
        plans = tuple(WorkerPlan(index, None, fleet.strategies[index::WORKERS]) for index in range(WORKERS))
        endpoint = Endpoint(0, VENUE, VENUE, "live", *NOWHERE.values(), fleet.venues[0].recv_window_ms, None)
        boot = gate_boot(run, EPOCH, [endpoint], plans)
        boot["venues"][0] |= {"api_key": "key", "api_secret": "secret"}
        return GateSettings.from_boot(boot)

    def _connect(self, index: int) -> Link:
        """Return the worker's end of a link whose other end the intake has."""
        names = [segment_name(self.settings.run, f"queue.{way}.worker{index}.1", EPOCH) for way in ("up", "down")]
        up, down = (OrderQueue.create(name, EPOCH) for name in names)
        self._queues += [up, down]
        self.intake.attach(index, EPOCH, up.name, down.name, str(self._wake.path))
        return Link(down, up, None, EPOCH)
