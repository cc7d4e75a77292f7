"""A venue that answers what a test scripts, and a clock that the test moves. Only the venue and the clock are fake."""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path

from hive.gate.account import Account, AccountRules
from hive.gate.capital import Capital
from hive.gate.exposure import FleetRisk, RiskLimits
from hive.gate.figures import AccountFigures, room
from hive.gate.guards import AccountGuards
from hive.gate.journal import Journal
from hive.gate.limits import Operation
from hive.gate.profit import Profit
from hive.gate.quota import Quotas, StrategyQuota
from hive.gate.risk import Risk
from hive.gate.venue import Balance, NewOrder, OrderState, OrderStatus, Trade
from hive.shm.counters import Counters, counters_size
from hive.shm.ids import order_prefix, strategy_tag
from hive.shm.messages import Intent, IntentKind, OrderType, Reply, Side, TimeInForce
from hive.shm.segment import Segment, segment_name

SECOND = 1_000_000_000
FLEET_ID = "tests"
TAG = strategy_tag("one")
OTHER = strategy_tag("other")


class FakeClock:
    """Monotonic nanoseconds that move when told."""

    def __init__(self) -> None:
        self.now = 1_000 * SECOND

    def __call__(self) -> int:
        return self.now

    def wall_ns(self) -> int:
        return 1_700_000_000 * SECOND + self.now


class FakeVenue:
    """Implements `Venue`: each call takes the next scripted answer, an exception to raise or a value to return.

    Without a script, orders are acknowledged, cancels succeed and questions find what was placed. An answer that is a
    future is waited for.
    """

    name = "fake"

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.script: dict[str, deque] = {name: deque() for name in ("place", "cancel", "status", "trades")}
        self.calls: list[tuple[str, str]] = []
        self.orders: dict[str, OrderState] = {}
        self.fills: dict[str, list[Trade]] = {}
        self.waits: dict[Operation, int] = {}
        self.clock_reads = 0
        self.restarts = 0
        self.connecting: asyncio.Future | None = None  # what place() waits for before it can write
        self.before_write: Callable[[], None] = lambda: None  # what happens meanwhile without any waiting

    def placed(self) -> list[str]:
        return [order for name, order in self.calls if name == "place"]

    async def _next(self, name: str, order: str, default: object) -> object:
        self.calls.append((name, order))
        answer = self.script[name].popleft() if self.script[name] else default
        if isinstance(answer, asyncio.Future):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer

    def venue_ns(self) -> int:
        return self.clock.now

    def symbol(self, pair: str) -> str | None:
        return {"BTC-USDT": "BTCUSDT"}.get(pair)

    def pair(self, symbol: str) -> str | None:
        return {"BTCUSDT": "BTC-USDT"}.get(symbol)

    def wait_ns(self, operation: Operation, symbol: str, now_ns: int, age_ns: int = 0) -> int:
        return self.waits.get(operation, 0)

    def pair_wait_ns(self, operation: Operation, symbol: str, now_ns: int, age_ns: int = 0) -> int:
        return 0

    def assume_sent(self, times_venue_ns: list[int]) -> None:
        pass

    def closed_ns(self, now_ns: int) -> int:
        return 0

    def order_limit(self) -> tuple[float, int]:
        return 100, 10 * SECOND

    def figures(self) -> dict[str, int]:
        return {}

    def restart_stream(self) -> None:
        self.restarts += 1

    async def sync_clock(self) -> None:
        self.clock_reads += 1

    async def place(
        self, order: NewOrder, on_sent: Callable[[int, int], None], may_send: Callable[[], None]
    ) -> tuple[OrderState, list[Trade]]:
        def accept() -> tuple[OrderState, list[Trade]]:
            self.orders[order.client_order_id] = live(order.client_order_id)
            return self.orders[order.client_order_id], []

        if self.connecting is not None:
            await self.connecting
        self.before_write()
        may_send()
        on_sent(self.clock.now, self.clock.now)
        return await self._next("place", order.client_order_id, accept)

    async def cancel(self, symbol: str, client_order_id: str) -> OrderState:
        def accept() -> OrderState:
            self.orders[client_order_id] = live(client_order_id, OrderStatus.CANCELLED)
            return self.orders[client_order_id]

        return await self._next("cancel", client_order_id, accept)

    async def status(self, symbol: str, client_order_id: str) -> OrderState | None:
        return await self._next("status", client_order_id, lambda: self.orders.get(client_order_id))

    async def trades(self, symbol: str, exchange_order_id: str) -> list[Trade]:
        return await self._next("trades", exchange_order_id, lambda: self.fills.get(exchange_order_id, []))

    async def open_orders(self) -> list[OrderState]:
        return [state for state in self.orders.values() if state.status is OrderStatus.LIVE]

    async def balances(self) -> list[Balance]:
        return [Balance("USDT", Decimal(100), Decimal(0))]


def counters() -> Counters:
    """Return counters in a segment that has no name any more."""
    capacity, histograms = room(1, 2)
    name = segment_name(secrets.token_hex(4), "counters.test", 1)
    segment = Segment.create(name, counters_size(capacity, histograms), kind="counters", epoch=1)
    segment.unlink()
    return Counters.create(segment, capacity)


class AccountBench:
    """An account over a fake venue, and what it told its strategies; its journal lies in `folder`.

    A second bench on the folder of a first one, which was `kill`ed, is the gate that takes over.
    """

    def __init__(
        self,
        folder: Path,
        total: float | None = None,
        each: float | None = None,
        ready: bool = True,
        clock: FakeClock | None = None,
        venue: "FakeVenue | None" = None,
        quotas: dict[str, StrategyQuota] | None = None,
        max_age_ns: int | None = None,
        queue: int = 100,
        limits: RiskLimits | None = None,
        same_run: bool = True,
        file_bytes: int = 16 << 20,
        given: Mapping[str, Mapping[str, Decimal]] | None = None,
    ) -> None:
        self.clock = clock or FakeClock()
        self.venue = venue or FakeVenue(self.clock)
        self.told: list[tuple[str, Reply]] = []
        self.stale = ""  # why no order may be sent
        self.filtered = 0
        self.bad_keys: list[str] = []
        self.journal = Journal.open(
            folder,
            FLEET_ID,
            "fake",
            policy="none",
            file_bytes=file_bytes,
            now_ns=self.clock,
            wall_ns=self.clock.wall_ns,
        )
        self.figures = AccountFigures(counters(), "fake", {TAG: "one", OTHER: "other"})
        log = logging.getLogger("test")

        def touch(pair: str) -> None:
            return None

        fleet = FleetRisk(limits or RiskLimits(self_trade="allow"), {})
        guards = AccountGuards(
            Risk(RiskLimits(), fleet, touch),
            Capital(given or {}, touch),
            Profit("fake", touch, "run 1"),
            self.journal,
            log,
        )
        self.account = Account(
            0,
            self.venue,
            AccountRules(5 * SECOND, max_age_ns, queue),
            Quotas(total, each, quotas or {}),
            self.journal,
            guards,
            lambda tag, reply: self.told.append((tag, reply)),
            self.figures,
            log,
            self.clock,
            stale=lambda pair, book_epoch: self.stale,
            on_filter=self._on_filter,
            on_bad_key=self.bad_keys.append,
        )
        self.account.takeover.remember(self.journal.recovered.orders, same_run, new_run=not same_run)
        if ready:
            self.account.accept()

    def count(self, name: str) -> int:
        """Return the value of one of the account's counters."""
        return self.figures.value(name)

    def close(self) -> None:
        """Stop, as a gate that ends well."""
        self.account.stop()
        self.journal.close()

    def kill(self) -> None:
        """End as by SIGKILL: what was committed is in the file, and nothing more is written."""
        self.account.stop()

    def _on_filter(self) -> None:
        self.filtered += 1

    def kinds(self, order: str) -> list[str]:
        return [reply.kind.name for _, reply in self.told if reply.client_order_id == order]

    def place(self, name: str, flags: int = 0, tag: str = TAG, amount: str = "1") -> str:
        order = order_prefix(FLEET_ID, tag) + name
        self.account.handle(
            Intent(
                IntentKind.PLACE,
                0,
                "BTC-USDT",
                order,
                Side.BUY,
                OrderType.LIMIT,
                TimeInForce.GTC,
                Decimal(10),
                Decimal(amount),
                created_ns=self.clock.now,
                flags=flags,
            ),
            tag,
            1,
        )
        return order

    def ask(self, kind: IntentKind, order: str, worker_epoch: int = 1) -> None:
        self.account.handle(Intent(kind, 0, "BTC-USDT", order, created_ns=self.clock.now), TAG, worker_epoch)

    async def settle(self) -> None:
        """Let every task run that can, then write the journal as the gate does before replies leave."""
        for _ in range(20):
            await asyncio.sleep(0)
        self.journal.commit()


def live(order: str, status: OrderStatus = OrderStatus.LIVE, executed: str = "0") -> OrderState:
    return OrderState(
        order, f"x{order[-4:]}", "BTCUSDT", Side.BUY, status, Decimal(executed), Decimal(10), Decimal(1), 5
    )


def trade(number: int, amount: str = "1") -> Trade:
    return Trade(number, Decimal(10), Decimal(amount), Decimal("0.001"), "BTC", True, 5)
