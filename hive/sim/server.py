"""Serves an exchange on loopback: one application for REST, streams, WebSocket API and control, and its timers."""
from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from aiohttp import web

from hive.sim.arrival import Arrival
from hive.sim.control import ControlEndpoint
from hive.sim.exchange import Exchange
from hive.sim.rest import RestApi
from hive.sim.ws_api import WsApiEndpoint
from hive.sim.ws_market import MarketEndpoint

HOST = "127.0.0.1"
_DIFF_SECONDS = 0.1
_SLOW_TURNS = 10  # diffs of 1000 ms go out with every tenth turn of 100 ms
_SHORTEST_STEP_SECONDS = 0.01
_LONGEST_BACKLOG_SECONDS = 0.5  # a flow that is later than this skips steps instead of bursting


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a running exchange is reached."""

    rest_url: str
    ws_url: str
    ws_api_url: str


class Server:
    """A listening exchange: `start`, then `stop`."""

    def __init__(self, exchange: Exchange, port: int = 0) -> None:
        self._exchange = exchange
        self._port = port
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> Endpoints:
        """Listen, start the timers and return where. Raises OSError when the port is taken."""
        application = web.Application(client_max_size=1 << 20)
        for endpoint in (RestApi, MarketEndpoint, WsApiEndpoint, ControlEndpoint):
            application.add_routes(endpoint(self._exchange).routes())
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        make = self._runner.server
        try:
            self._listener = await asyncio.get_running_loop().create_server(lambda: Arrival(make()), HOST, self._port)
        except OSError:
            await self._runner.cleanup()
            raise
        port = self._listener.sockets[0].getsockname()[1]
        self._tasks = [asyncio.create_task(self._run_flow()), asyncio.create_task(self._run_timers())]
        return Endpoints(
            f"http://{HOST}:{port}", f"ws://{HOST}:{port}/ws", f"ws://{HOST}:{port}/ws-api/v3"
        )

    async def stop(self) -> None:
        """End the timers and all connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._listener is not None:
            self._listener.close()
        for connection in list(self._exchange.connections):
            connection.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def join(self) -> None:
        """Wait until a timer fails, which none should, and raise its error."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def _run_flow(self) -> None:
        exchange, rate = self._exchange, self._exchange.settings.rate
        if not rate:
            await asyncio.Event().wait()
        pause = max(_SHORTEST_STEP_SECONDS, 1 / rate)
        most = max(1, int(rate * _LONGEST_BACKLOG_SECONDS))
        began, done = time.monotonic(), 0
        while True:
            await asyncio.sleep(pause)
            due = int((time.monotonic() - began) * rate) - done
            if due > most:
                exchange.skipped_steps += due - most
                done += due - most
                due = most
            now_ms = exchange.clock.wall_ms()
            for _ in range(due):
                exchange.flow.step(now_ms)
            done += due
            exchange.streams.publish(now_ms)

    async def _run_timers(self) -> None:
        exchange, turn = self._exchange, 0
        loop = asyncio.get_running_loop()
        next_at = loop.time()
        while True:
            # Aligned to its own beat: a late turn is not followed by a burst.
            next_at = max(next_at + _DIFF_SECONDS, loop.time())
            await asyncio.sleep(next_at - loop.time())
            turn += 1
            exchange.turn_faults()
            now_ms = exchange.clock.wall_ms()
            exchange.streams.publish_diffs(now_ms)
            exchange.streams.publish_klines(now_ms)
            if turn % _SLOW_TURNS == 0:
                exchange.streams.publish_slow_diffs(now_ms)
                now_ns = time.monotonic_ns()
                for connection in list(exchange.connections):
                    connection.keep_alive(now_ns)
