"""Binance's venue object against a server on loopback that says what a test wants said."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from gate.test_binance_messages import EXECUTION
from hive.gate.binance import BinanceVenue
from hive.gate.errors import Throttled
from hive.gate.settings import VenueSettings
from hive.gate.venue import Balance, OrderState, Trade
from hive.shm.budget import BUDGET_BYTES, Budget
from hive.shm.segment import Segment, segment_name

BAN_S = 1
INFO = {
    "rateLimits": [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
    ],
    "symbols": [{"symbol": "BTCUSDT", "baseAsset": "BTC", "quoteAsset": "USDT", "filters": []}],
}


class Server:
    """Binance's REST and WebSocket API as far as a start needs them; bans whoever asks while `bans` is set."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, float]] = []  # path, when
        self.bans = False
        self.banned_at = 0.0
        self._sockets: set[web.WebSocketResponse] = set()
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/api/v3/{name:.*}", self._rest)
        app.router.add_get("/ws", self._ws)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        await self._runner.cleanup()

    def during_the_ban(self) -> list[str]:
        return [path for path, at in self.asked if self.banned_at < at < self.banned_at + 0.9 * BAN_S]

    async def tell(self, event: dict) -> None:
        """Send an event over every connection; only that of the user stream takes it."""
        for socket in list(self._sockets):
            await socket.send_json({"subscriptionId": 0, "event": event})

    async def _rest(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, time.monotonic()))
        if self.bans:
            self.bans = False
            self.banned_at = time.monotonic()
            for socket in list(self._sockets):
                await socket.close()
            banned = {"code": -1003, "msg": "Way too much request weight used; IP banned."}
            return web.json_response(banned, status=418, headers={"retry-after": str(BAN_S)})
        answers = {
            "time": {"serverTime": time.time_ns() // 1_000_000},
            "exchangeInfo": INFO,
            "account": {"balances": []},
            "rateLimit/order": [],
        }
        return web.json_response(answers[request.match_info["name"]], headers={"x-mbx-used-weight-1m": "20"})

    async def _ws(self, request: web.Request) -> web.WebSocketResponse:
        self.asked.append((request.path, time.monotonic()))
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets.add(socket)
        try:
            async for message in socket:
                await socket.send_json({"id": message.json()["id"], "status": 200, "result": {}, "rateLimits": []})
        finally:
            self._sockets.discard(socket)
        return socket


class Events:
    """What the venue tells of its stream."""

    def __init__(self) -> None:
        self.ups = self.transfers = 0

    def on_order(self, state: OrderState, trade: Trade | None) -> None:
        raise RuntimeError(f"no room for {state.client_order_id}")

    def on_transfer(self) -> None:
        self.transfers += 1

    def on_balances(self, balances: list[Balance]) -> None: ...

    def on_throttled(self, wait_s: float, text: str) -> None: ...

    def on_stream(self, up: bool) -> None:
        self.ups += up


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def venue(server: Server) -> AsyncIterator[BinanceVenue]:
    segment = Segment.create(segment_name("venuetest", "budget.binance", 1), BUDGET_BYTES, kind="budget", epoch=1)
    segment.unlink()
    budget = Budget.create(segment, 6_000, 0.4, time.time_ns())
    url = f"127.0.0.1:{server.port}"
    settings = VenueSettings(0, "binance", f"http://{url}", f"ws://{url}/ws", "key", "secret")
    made = BinanceVenue(settings, logging.getLogger("test"), budget)
    yield made
    await made.close()


@pytest.fixture
async def running(venue: BinanceVenue) -> AsyncIterator[tuple[BinanceVenue, Events]]:
    events = Events()
    await venue.open(events)
    task = asyncio.create_task(venue.run())
    await _until(lambda: events.ups == 1 and venue.figures()["user_connections"] == 2)
    yield venue, events
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_gate_that_is_banned_at_its_start_asks_again_when_the_ban_is_over(server: Server, venue: BinanceVenue):
    server.bans = True
    with pytest.raises(Throttled) as throttled:
        await venue.open(Events())
    assert throttled.value.wait_s == BAN_S
    await venue.open(Events())
    assert server.during_the_ban() == []
    assert server.asked[-1][0] == "/api/v3/rateLimit/order"


async def test_a_banned_gate_makes_no_connection_until_the_ban_is_over(server: Server, venue: BinanceVenue):
    events = Events()
    await venue.open(events)
    running = asyncio.create_task(venue.run())
    await _until(lambda: events.ups == 1 and venue.figures()["user_connections"] == 2)
    server.bans = True
    with pytest.raises(Throttled):
        await venue.balances()
    await _until(lambda: events.ups == 2 and venue.figures()["user_connections"] == 2)
    assert server.during_the_ban() == []
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_what_moves_balances_from_outside_is_told_and_what_is_about_lists_of_orders_is_not(server, running):
    _, events = running
    for kind in ("listStatus", "balanceUpdate", "externalLockUpdate"):
        await server.tell({"e": kind, "E": 1573200697110, "a": "BTC", "d": "100.00000000", "T": 1573200697068})
    await _until(lambda: events.transfers == 2)
    assert events.ups == 1


@pytest.mark.parametrize("event", [EXECUTION, {"e": "executionReport"}, {"e": "eventStreamTerminated", "E": 1}])
async def test_after_an_event_that_may_be_lost_the_stream_is_made_anew(server, running, event, caplog):
    venue, events = running
    await server.tell(event)
    await _until(lambda: events.ups == 2 and venue.figures()["user_connections"] == 2)
    said = [record.getMessage() for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]
    ours = ["an error in the gate at a executionReport event: the stream is made anew"]
    assert said == ours if event is EXECUTION else ours not in said


async def _until(condition) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)
