"""A Binance spot account: WebSocket API first, signed REST as fallback, a user data stream of its own.

    orders   order.place and order.cancel over one WebSocket API connection; over REST while that one is down
    stream   userDataStream.subscribe.signature over a second one, so that neither can hide the other's silence
    REST     the clock, exchangeInfo, and questions that must not depend on the connection in doubt

Sources: github.com/binance/binance-spot-api-docs: web-socket-api.md, rest-api.md, user-data-stream.md, errors.md.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

import aiohttp

from hive.gate import binance_messages as wire
from hive.gate.binance_limits import BinanceLimits
from hive.gate.binance_messages import Answer
from hive.gate.binance_rest import CheckedRequest, RestApi, sent_trace
from hive.gate.binance_ws import WsApi
from hive.gate.errors import BootError, ClockRefused, NotSent, Refused, Throttled, Unanswered, VenueError, Withheld
from hive.gate.limits import Charge, Operation
from hive.gate.server_time import ServerClock
from hive.gate.settings import VenueSettings
from hive.gate.signing import Signer
from hive.gate.venue import Balance, NewOrder, OrderState, Trade, VenueEvents, check_endpoint
from hive.shm.budget import Budget

TRADES_PAGE = 1000  # the most that one answer brings
CLOCK_EVERY_S = 30.0
CLOCK_SAMPLES = 5
EXCHANGE_INFO_TIMEOUT_S = 30.0
KEEP_ALIVE_S = 1.0  # of REST, for requests in a row; orders have a connection of their own


class BinanceVenue:
    """One Binance spot account.

    Args:
        settings: URLs, keys, recvWindow
        log: named for the venue
        budget: of the request weight at its REST address
        adaptive: whether the limits give way when the venue allows less than it states

    Raises:
        EndpointRefused: a URL is not on loopback, a testnet or a demo host.
    """

    def __init__(
        self, settings: VenueSettings, log: logging.Logger, budget: Budget, adaptive: bool = True
    ) -> None:
        for url in (settings.rest_url, settings.ws_api_url):
            check_endpoint(url, settings.production)
        self.name = settings.name
        self._settings = settings
        self._log = log
        self._clock = ServerClock()
        self._signer = Signer(settings.api_key, settings.api_secret)
        self._budget = budget
        self._limits = BinanceLimits(self._clock, budget, adaptive, log, self._on_throttled)
        self._symbols: dict[str, str] = {}
        self._pairs: dict[str, str] = {}
        self._session: aiohttp.ClientSession | None = None
        self._events: VenueEvents | None = None
        self._doubtful = False  # the last request over the orders' connection had no answer

    async def open(self, events: VenueEvents) -> None:
        """Read clock, limits and instruments; see `Venue.open`."""
        self._events = events
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(keepalive_timeout=KEEP_ALIVE_S),
                trace_configs=[sent_trace()],
                request_class=CheckedRequest,
            )
            self._rest = RestApi(self._session, self._settings.rest_url, self._signer)
            api = self._settings.ws_api_url
            self._orders = WsApi(api, self._clock, self._log, self._may_connect, self._connected)
            self._stream = WsApi(
                api,
                self._clock,
                self._log,
                self._may_connect,
                self._subscribe,
                self._stream_down,
                self._on_event,
            )
        await self.sync_clock()
        await self._granted(Operation.RULES)
        info = await self._public("/api/v3/exchangeInfo", Operation.RULES, EXCHANGE_INFO_TIMEOUT_S)
        body = info.body
        self._symbols = wire.pairs(body["symbols"])
        self._pairs = {symbol: pair for pair, symbol in self._symbols.items()}
        self._limits.take_rules(body, info.counts)
        await self._prove_keys()
        await self._read_order_counts()

    async def run(self) -> None:
        """Keep both connections, the subscription and the clock; see `Venue.run`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._orders.run())
            group.create_task(self._stream.run())
            group.create_task(self._keep_clock())
            group.create_task(self._limits.watch_drift())

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    def venue_ns(self) -> int:
        """Return the venue's wall time."""
        return self._clock.venue_ns()

    def symbol(self, pair: str) -> str | None:
        """Return the venue's name of a pair."""
        return self._symbols.get(pair)

    def pair(self, symbol: str) -> str | None:
        """Return the pair of a symbol."""
        return self._pairs.get(symbol)

    def wait_ns(self, operation: Operation, symbol: str, now_ns: int, age_ns: int = 0) -> int:
        """Return when to ask again for a request, 0 when it may go now; see `Venue.wait_ns`."""
        return self._limits.wait_ns(operation, symbol, now_ns, age_ns)

    def pair_wait_ns(self, operation: Operation, symbol: str, now_ns: int, age_ns: int = 0) -> int:
        """Return when to ask again for a request as far as its pair's own limits go; see `Venue.pair_wait_ns`."""
        return self._limits.pair_wait_ns(operation, symbol, now_ns, age_ns)

    def closed_ns(self, now_ns: int) -> int:
        """Return how much longer the venue takes no new orders because it said so, 0 when it does."""
        return self._limits.closed_ns(now_ns)

    def order_limit(self) -> tuple[float, int]:
        """Return how many orders the window that binds allows at present, and its length in ns."""
        return self._limits.order_limit()

    def assume_sent(self, times_venue_ns: Sequence[int]) -> None:
        """Take it that an earlier gate sent orders at these times; see `Venue.assume_sent`."""
        self._limits.sent_before = times_venue_ns

    def restart_stream(self) -> None:
        """Make the user stream anew."""
        self._stream.drop()

    def figures(self) -> dict[str, int]:
        """Return the venue's figures by counter name."""
        if self._session is None:
            return {}
        return {
            "user_connections": self._orders.up + self._stream.up,
            "user_reconnects": max(0, self._orders.connects - 1) + max(0, self._stream.connects - 1),
            "clock_offset_ms": self._clock.ahead_of_host_ms(),
            **self._limits.figures(),
        }

    async def place(
        self, order: NewOrder, on_sent: Callable[[int, int], None], may_send: Callable[[], None]
    ) -> tuple[OrderState, list[Trade]]:
        """Place an order; see `Venue.place`."""
        symbol, order_id = order.symbol, order.client_order_id
        place = self._place_by_ws if self._orders.up else self._place_by_rest
        try:
            body = await place(order, on_sent, may_send)
        except (NotSent, Withheld, Refused, Throttled):
            self._limits.ended(symbol, order_id)
            raise
        state, trades = self._read(lambda: (wire.order_state(body, order_id), wire.placed_trades(body)))
        self._limits.track(state)
        return state, trades

    async def cancel(self, symbol: str, client_order_id: str) -> OrderState:
        """Cancel an order; see `Venue.cancel`."""
        params = {"symbol": symbol, "origClientOrderId": client_order_id}
        await self._granted(Operation.CANCEL, symbol)
        body = await self._trade("order.cancel", "DELETE", params, Operation.CANCEL, symbol)
        return self._limits.track(self._read(lambda: wire.order_state(body, client_order_id)))

    async def status(self, symbol: str, client_order_id: str) -> OrderState | None:
        """Return an order's state, None when the venue says that it does not exist."""
        params = {"symbol": symbol, "origClientOrderId": client_order_id}
        try:
            if self._orders.up and not self._doubtful:
                await self._granted(Operation.ORDER_STATUS, symbol)
                body = await self._trade("order.status", "GET", params, Operation.ORDER_STATUS, symbol)
            else:
                body = await self._ask("/api/v3/order", params, Operation.ORDER_STATUS)
        except Refused as refused:
            if refused.code == wire.NO_SUCH_ORDER:
                self._limits.ended(symbol, client_order_id)
                return None
            raise
        return self._limits.track(self._read(lambda: wire.order_state(body, client_order_id)))

    async def trades(self, symbol: str, exchange_order_id: str) -> list[Trade]:
        """Return an order's fills, page by page."""
        params = {"symbol": symbol, "orderId": exchange_order_id, "fromId": 0, "limit": TRADES_PAGE}  # the oldest first
        found: list[Trade] = []
        while True:
            body = await self._ask("/api/v3/myTrades", params, Operation.TRADES)
            page = self._read(lambda body=body: [wire.account_trade(entry) for entry in body])
            found += page
            if len(page) < TRADES_PAGE:
                return found
            params = {**params, "fromId": max(trade.trade_id for trade in page) + 1}

    async def open_orders(self) -> list[OrderState]:
        """Return every open order of the account."""
        asked_ns = time.monotonic_ns()
        body = await self._ask("/api/v3/openOrders", {}, Operation.OPEN_ORDERS)
        states = self._read(lambda: [wire.order_state(entry) for entry in body])
        self._limits.only_open(states, asked_ns)
        return states

    async def balances(self) -> list[Balance]:
        """Return every balance that is not zero."""
        body = await self._ask("/api/v3/account", {"omitZeroBalances": "true"}, Operation.ACCOUNT)
        return self._read(lambda: wire.account_balances(body))

    async def sync_clock(self) -> None:
        """Ask the venue for its time, several times, and keep the median."""
        samples = []
        for _ in range(CLOCK_SAMPLES):
            await self._granted(Operation.TIME)
            before_ns = time.monotonic_ns()
            body = (await self._public("/api/v3/time", Operation.TIME, self._settings.request_timeout_s)).body
            samples.append((before_ns, int(body["serverTime"]), time.monotonic_ns()))
        self._clock.set_round(samples)
        self._budget.offset_ns = self.venue_ns() - time.time_ns()

    async def _keep_clock(self) -> None:
        while True:
            await asyncio.sleep(CLOCK_EVERY_S)
            try:
                await self.sync_clock()
            except VenueError as error:
                self._log.warning("the venue's clock could not be read: %s", error)

    async def _prove_keys(self) -> None:
        try:
            await self.balances()
        except Refused as refused:
            if refused.code in wire.BAD_KEYS:
                raise BootError(f"venue {self.name} refuses the API key: {refused}") from None
            raise

    async def _read_order_counts(self) -> None:
        try:
            body = await self._ask("/api/v3/rateLimit/order", {}, Operation.ORDER_COUNTS)
        except Refused as refused:
            self._log.warning("the venue does not tell its order counts (%s): the first order's answer will", refused)
            return
        self._limits.assume(wire.limit_counts(body))

    async def _may_connect(self) -> None:
        await self._granted(Operation.CONNECT)

    async def _connected(self, ws: WsApi) -> None:
        self._limits.spend(Operation.CONNECT)

    async def _subscribe(self, ws: WsApi) -> None:
        await self._connected(ws)
        charge = self._limits.charge(Operation.CONNECT)
        params = self._signer.params({"timestamp": self._clock.timestamp_ms()})
        try:
            answer = await ws.request("userDataStream.subscribe.signature", params, self._settings.request_timeout_s)
        except BaseException as error:
            self._limits.unanswered(charge, error)
            raise
        try:
            self._limits.answered(charge, answer)
        except ClockRefused:
            await self.sync_clock()
            raise
        self._events.on_stream(True)

    def _stream_down(self) -> None:
        self._events.on_stream(False)

    def _on_event(self, event: dict) -> None:
        kind = event.get("e")
        try:
            if kind == "executionReport":
                report = wire.execution_report(event)
            elif kind == "outboundAccountPosition":
                balances = wire.account_position(event)
        except (KeyError, ValueError, TypeError, ArithmeticError) as error:
            # what cannot be read must not be lost: the new stream starts with questions about every open order
            self._log.error("a %s event could not be read (%r): the stream is made anew", kind, error)
            self._stream.drop()
            return
        try:
            if kind == "executionReport":
                self._on_report(*report)
            elif kind == "outboundAccountPosition":
                self._events.on_balances(balances)
            elif kind in ("balanceUpdate", "externalLockUpdate"):  # by how much, and not to what
                self._events.on_transfer()
            elif kind == "eventStreamTerminated":
                self._stream.drop()
        except Exception:  # noqa: BLE001 - as above; and a restart of the account would not know more
            self._log.critical("an error in the gate at a %s event: the stream is made anew", kind, exc_info=True)
            self._stream.drop()

    def _on_report(self, state: OrderState, trade: Trade | None) -> None:
        self._limits.track(state, trade)
        self._events.on_order(state, trade)

    def _on_throttled(self, wait_s: float, text: str) -> None:
        self._events.on_throttled(wait_s, text)

    async def _place_by_ws(
        self, order: NewOrder, on_sent: Callable[[int, int], None], may_send: Callable[[], None]
    ) -> dict:
        may_send()
        settings = self._settings
        params = wire.signed_order(order, settings.recv_window_ms, self._clock.timestamp_ms(), self._signer)
        request = self._orders.write("order.place", params)
        on_sent(request.ready_ns, request.sent_ns)
        # Nothing has been awaited since the limits were asked: who asks next finds it paid, as if before the write.
        charge = self._limits.charge(Operation.PLACE, order.symbol)
        self._limits.opened(order.symbol, order.client_order_id)
        return await self._settled(charge, self._orders.answer(request, settings.request_timeout_s))

    async def _place_by_rest(
        self, order: NewOrder, on_sent: Callable[[int, int], None], may_send: Callable[[], None]
    ) -> dict:
        charge = self._limits.charge(Operation.PLACE, order.symbol)
        self._limits.opened(order.symbol, order.client_order_id)
        params, timeout_s = self._stamped(wire.order_params(order)), self._settings.request_timeout_s
        answer = self._rest.request("POST", "/api/v3/order", params, timeout_s, on_sent=on_sent, may_send=may_send)
        return await self._settled(charge, answer)

    async def _trade(
        self, method: str, verb: str, params: dict[str, str | int], operation: Operation, symbol: str
    ) -> dict:
        """Send one request by one way; never by the other once the first may have written it."""
        stamped, timeout_s = self._stamped(params), self._settings.request_timeout_s
        if self._orders.up:
            answer = self._orders.request(method, self._signer.params(stamped), timeout_s)
        else:
            answer = self._rest.request(verb, "/api/v3/order", stamped, timeout_s)
        return await self._settled(self._limits.charge(operation, symbol), answer)

    async def _settled(self, charge: Charge, answer: Awaitable[Answer]) -> dict:
        """Return an answer's result, and settle what its request was charged whatever becomes of it."""
        try:
            found = await answer
        except BaseException as error:
            self._doubtful = self._doubtful or isinstance(error, Unanswered)
            self._limits.unanswered(charge, error)
            raise
        self._doubtful = False
        return self._limits.answered(charge, found)

    async def _ask(self, path: str, params: dict[str, str | int], operation: Operation) -> object:
        """Ask by REST."""
        await self._granted(operation)
        try:
            return (await self._asked(path, self._stamped(params), operation, self._settings.request_timeout_s)).body
        except ClockRefused:
            await self.sync_clock()
            raise

    async def _public(self, path: str, operation: Operation, timeout_s: float) -> Answer:
        return await self._asked(path, {}, operation, timeout_s, signed=False)

    async def _asked(
        self, path: str, params: dict[str, str | int], operation: Operation, timeout_s: float, signed: bool = True
    ) -> Answer:
        charge = self._limits.charge(operation)
        try:
            answer = await self._rest.request("GET", path, params, timeout_s, signed=signed)
        except BaseException as error:
            self._limits.unanswered(charge, error)
            raise
        self._limits.answered(charge, answer)
        return answer

    async def _granted(self, operation: Operation, symbol: str = "") -> None:
        while wait_ns := self.wait_ns(operation, symbol, time.monotonic_ns()):
            await asyncio.sleep(wait_ns * 1e-9)

    def _stamped(self, params: dict[str, str | int]) -> dict[str, str | int]:
        return {**params, "recvWindow": self._settings.recv_window_ms, "timestamp": self._clock.timestamp_ms()}

    def _read[T](self, reader: Callable[[], T]) -> T:
        try:
            return reader()
        except (KeyError, ValueError, TypeError, ArithmeticError) as error:
            raise Unanswered(f"the venue's answer could not be read: {error!r}") from None
