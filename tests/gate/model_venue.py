"""A model exchange, and a gate's connection to it on which every request stops until somebody says what becomes of it.

    gate ── ModelVenue ── Request: connecting ─▶ written ─▶ answered ─▶ delivered        the exchange outlives gates,
                                     \\─▶ not sent   \\─▶ lost, and may still arrive     and so do requests in flight

The exchange keeps what is true. It takes a client order id once, refuses a request that arrives after its recvWindow,
and asserts that no gate ever writes an id again that it may have executed.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from gate.fake_venue import SECOND, FakeClock
from hive.gate.errors import ClockRefused, NotSent, Refused, Throttled, Unanswered
from hive.gate.limits import Operation
from hive.gate.venue import Balance, NewOrder, OrderState, OrderStatus, Trade, VenueEvents

RECV_WINDOW_NS = 5 * SECOND
LAG_NS = 900_000_000  # how far the venue's answers to questions may be behind; below the gate's margin of 1 s
PAIR, SYMBOL = "BTC-USDT", "BTCUSDT"
NOT_EXECUTED = (Throttled, ClockRefused)  # the answers after which a placement may be written again
ZERO = Decimal(0)


@dataclass(slots=True)
class Placed:
    """An order that exists, or existed."""

    order: NewOrder
    exchange_order_id: str
    born_ns: int
    status: OrderStatus = OrderStatus.LIVE
    trades: list[Trade] = field(default_factory=list)

    @property
    def executed(self) -> Decimal:
        return sum((trade.amount for trade in self.trades), ZERO)

    @property
    def left(self) -> Decimal:
        return self.order.amount - self.executed

    def state(self, now_ns: int) -> OrderState:
        order = self.order
        return OrderState(
            order.client_order_id,
            self.exchange_order_id,
            order.symbol,
            order.side,
            self.status,
            self.executed,
            order.price,
            order.amount,
            now_ns,
        )


@dataclass(eq=False, slots=True)
class Request:
    """One request; `future` is what its gate waits for, None when that one is gone or has given up."""

    kind: str
    name: str  # client order id, or for trades the exchange's
    stamp_ns: int
    future: asyncio.Future | None
    new: NewOrder | None = None
    stage: str = "written"
    answer: object = None
    delivered: object = None


class Exchange:
    """What is true, and what is on its way.

    Attributes:
        orders: by client order id
        requests: in flight, or answered and not delivered
        events: what the user stream has not delivered yet, by order; `told` what it has
        down: no request can be written; connecting: each waits for a connection first; closed: limits are empty
        hold_reads, fail_reads: how many of the next questions stop like requests do, or have no answer
        lag_ns: how far behind answers to questions are
        mute: the user stream says nothing
        fee: of each fill, amount and asset
        balances: what the account has
    """

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.orders: dict[str, Placed] = {}
        self.requests: list[Request] = []
        self.writings: dict[str, list[Request]] = {}
        self.events: dict[str, deque[tuple[OrderState, Trade | None]]] = {}
        self.told: list[tuple[OrderState, Trade | None]] = []
        self.subscribed = False
        self.down = self.connecting = self.closed = self.mute = False
        self.hold_reads = self.fail_reads = 0
        self.lag_ns = 0
        self.fee = (Decimal("0.001"), "BTC")
        self.balances = [Balance("USDT", Decimal(100), Decimal(0))]
        self._trade_id = 0

    # --- what happens to requests

    def write(self, request: Request) -> None:
        """Take a request onto the wire."""
        self.requests.append(request)
        if request.kind == "place":
            before = self.writings.setdefault(request.name, [])
            doubtful = [one for one in before if not isinstance(one.delivered, NOT_EXECUTED)]
            assert not doubtful, f"{request.name} was written again, its fate being {doubtful[-1].delivered!r}"
            before.append(request)

    def take(self, request: Request, how: str = "") -> None:
        """Let a request arrive, be executed, and be answered.

        Args:
            how: of a placement: "part" or "fill" at once, "expire" after a part, "reject"
        """
        request.stage = "answered"
        if request.kind in ("place", "cancel") and self.clock.now > request.stamp_ns + RECV_WINDOW_NS:
            request.answer = ClockRefused(-1021, "Timestamp for this request is outside of the recvWindow.")
        elif request.kind == "place":
            request.answer = self._place(request.new, how)
        elif request.kind == "cancel":
            request.answer = self._cancel(request.name)
        else:
            request.answer = self.read(request.kind, request.name)
        if request.future is None:
            self.requests.remove(request)

    def refuse(self, request: Request, answer: Exception) -> None:
        """Let a request arrive, not be executed, and be answered."""
        request.stage, request.answer = "answered", answer
        if request.future is None:
            self.requests.remove(request)

    def gate_died(self) -> None:
        """Drop what only a dead gate waits for; what it has written flies on."""
        for request in list(self.requests):
            request.future = None
            if request.stage != "written" or request.kind not in ("place", "cancel"):
                self.requests.remove(request)
        self.unsubscribe()

    def read(self, kind: str, name: str) -> object:
        """Answer a question."""
        now_ns = self.clock.now
        seen_ns = now_ns - self.lag_ns
        visible = [placed for placed in self.orders.values() if placed.born_ns <= seen_ns]
        if kind == "open_orders":
            return [placed.state(now_ns) for placed in visible if placed.status is OrderStatus.LIVE]
        if kind == "status":
            return next((p.state(now_ns) for p in visible if p.order.client_order_id == name), None)
        found = (placed.trades for placed in self.orders.values() if placed.exchange_order_id == name)
        return [trade for trades in found for trade in trades if trade.wall_ns <= seen_ns]

    # --- what happens to orders

    def fill(self, client_order_id: str, amount: Decimal) -> None:
        """Execute a part of an order."""
        placed = self.orders[client_order_id]
        self._trade(placed, amount)
        self._emit(placed, placed.trades[-1])

    def end(self, client_order_id: str, status: OrderStatus) -> None:
        """End an order by the venue's own will."""
        placed = self.orders[client_order_id]
        placed.status = status
        self._emit(placed)

    def live(self) -> list[str]:
        """Return the ids of open orders."""
        return [name for name, placed in self.orders.items() if placed.status is OrderStatus.LIVE]

    def flying(self) -> list[str]:
        """Return the ids of placements that may still be executed."""
        since_ns = self.clock.now - RECV_WINDOW_NS
        on_way = (one for one in self.requests if one.kind == "place" and one.stage == "written")
        return [request.name for request in on_way if request.stamp_ns >= since_ns]

    # --- the user stream

    def subscribe(self) -> None:
        self.unsubscribe()
        self.subscribed = True

    def unsubscribe(self) -> None:
        self.subscribed = False
        self.events.clear()
        self.told.clear()

    def _emit(self, placed: Placed, trade: Trade | None = None) -> None:
        if self.subscribed and not self.mute:
            event = (placed.state(self.clock.now), trade)
            self.events.setdefault(placed.order.client_order_id, deque()).append(event)

    def _place(self, order: NewOrder, how: str) -> object:
        name = order.client_order_id
        assert name not in self.orders, f"the venue has seen {name} twice"
        if how == "reject":
            return Refused(-2010, "Account has insufficient balance for requested action.")
        placed = self.orders[name] = Placed(order, f"x{len(self.orders) + 1}", self.clock.now)
        self._emit(placed)
        if how:
            self._trade(placed, order.amount if how == "fill" else order.amount / 4)
            self._emit(placed, placed.trades[-1])
        if how == "expire":
            self.end(name, OrderStatus.EXPIRED)
        return placed.state(self.clock.now), list(placed.trades)

    def _cancel(self, name: str) -> object:
        placed = self.orders.get(name)
        if placed is None or placed.status is not OrderStatus.LIVE:
            return Refused(-2011, "Unknown order sent.")
        self.end(name, OrderStatus.CANCELLED)
        return placed.state(self.clock.now)

    def _trade(self, placed: Placed, amount: Decimal) -> None:
        self._trade_id += 1
        price = placed.order.price
        placed.trades.append(Trade(self._trade_id, price, amount, *self.fee, True, self.clock.now))
        if placed.left == ZERO:
            placed.status = OrderStatus.FILLED


class ModelVenue:
    """One gate's connection to the exchange; implements `Venue`."""

    name = "fake"

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.events: VenueEvents | None = None

    def venue_ns(self) -> int:
        return self.exchange.clock.now

    def symbol(self, pair: str) -> str | None:
        return {PAIR: SYMBOL}.get(pair)

    def pair(self, symbol: str) -> str | None:
        return {SYMBOL: PAIR}.get(symbol)

    def wait_ns(self, operation: Operation, symbol: str, now_ns: int, age_ns: int = 0) -> int:
        return SECOND if self.exchange.closed and operation is Operation.PLACE else 0

    def pair_wait_ns(self, operation: Operation, symbol: str, now_ns: int, age_ns: int = 0) -> int:
        return 0

    def closed_ns(self, now_ns: int) -> int:
        return 0

    def order_limit(self) -> tuple[float, int]:
        return 100, 10 * SECOND

    def figures(self) -> dict[str, int]:
        return {}

    async def sync_clock(self) -> None:
        pass

    async def open(self, events: VenueEvents) -> None:
        self.events = events

    async def run(self) -> None:
        self._up()
        await asyncio.get_running_loop().create_future()

    def restart_stream(self) -> None:
        asyncio.get_running_loop().call_soon(self.break_stream)

    def break_stream(self) -> None:
        """Lose the user stream and what it had not delivered; it comes back."""
        if self.exchange.subscribed:
            self.exchange.unsubscribe()
            self.events.on_stream(False)
            asyncio.get_running_loop().call_later(0.1, self._up)

    def _up(self) -> None:
        self.exchange.subscribe()
        self.events.on_stream(True)

    async def place(
        self, order: NewOrder, on_sent: Callable[[int, int], None], may_send: Callable[[], None]
    ) -> tuple[OrderState, list[Trade]]:
        await self._connected("place", order.client_order_id)
        may_send()
        request = self._written("place", order.client_order_id, order)
        on_sent(request.stamp_ns, request.stamp_ns)
        return await request.future

    async def cancel(self, symbol: str, client_order_id: str) -> OrderState:
        await self._connected("cancel", client_order_id)
        return await self._written("cancel", client_order_id).future

    async def status(self, symbol: str, client_order_id: str) -> OrderState | None:
        return await self._read("status", client_order_id)

    async def trades(self, symbol: str, exchange_order_id: str) -> list[Trade]:
        return await self._read("trades", exchange_order_id)

    async def open_orders(self) -> list[OrderState]:
        return await self._read("open_orders", "")

    async def balances(self) -> list[Balance]:
        return list(self.exchange.balances)

    async def _connected(self, kind: str, name: str) -> None:
        if self.exchange.down:
            raise NotSent("the connection is down")
        if self.exchange.connecting:
            request = self._request(kind, name)
            request.stage = "connecting"
            self.exchange.requests.append(request)
            await request.future

    async def _read(self, kind: str, name: str) -> object:
        exchange = self.exchange
        if exchange.fail_reads:
            exchange.fail_reads -= 1
            raise Unanswered("no answer to a question")
        if not exchange.hold_reads:
            return exchange.read(kind, name)
        exchange.hold_reads -= 1
        return await self._written(kind, name).future

    def _written(self, kind: str, name: str, new: NewOrder | None = None) -> Request:
        request = self._request(kind, name, new)
        self.exchange.write(request)
        return request

    def _request(self, kind: str, name: str, new: NewOrder | None = None) -> Request:
        return Request(kind, name, self.exchange.clock.now, asyncio.get_running_loop().create_future(), new)
