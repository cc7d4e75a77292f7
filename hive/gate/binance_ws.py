"""One connection to Binance's WebSocket API: requests matched with their answers, events passed on, reconnects.

What happens to a request tells what its sender may do (hive.gate.errors): while the connection is down nothing is
written and the request is NotSent; once it has been handed to the connection, only an answer ends the doubt, and a
lost connection or no answer in time is Unanswered.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable

import aiohttp

from hive.gate.binance_messages import Answer, answer_of_ws
from hive.gate.errors import NotSent, Unanswered, VenueError
from hive.gate.server_time import ServerClock

PING_S = 15.0  # our own pings: a half-open connection is noticed within 1.5 times this
CONNECT_TIMEOUT_S = 10.0
RETRY_S = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
STEADY_S = 30.0  # a connection that lasted this long starts the retries afresh
MESSAGE_MAX = 16 << 20

_json = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps() would make one for every request


class WsApi:
    """A connection that is kept up while `run` runs.

    Args:
        session: makes the connections
        url: of the WebSocket API
        clock: the venue's time
        log: named for the venue
        on_up: awaited after each connect, with requests possible; the connection is up when it returns
        on_down: called when an up connection is lost
        on_event: called with each event (the payload inside the envelope)
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        clock: ServerClock,
        log: logging.Logger,
        on_up: Callable[["WsApi"], Awaitable[None]] | None = None,
        on_down: Callable[[], None] | None = None,
        on_event: Callable[[dict], None] | None = None,
    ) -> None:
        self._session = session
        self._url = url
        self._clock = clock
        self._log = log
        self._on_up = on_up
        self._on_down = on_down
        self._on_event = on_event
        self._ws: aiohttp.ClientWebSocketResponse | None = None
        self._pending: dict[int, asyncio.Future[Answer]] = {}
        self._next_id = 0
        self._heard_ns = 0
        self.up = False
        self.connects = 0

    async def run(self) -> None:
        """Connect and reconnect until cancelled."""
        failures = 0
        while True:
            await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
            failures += 1
            started_ns = time.monotonic_ns()
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    ws = await self._session.ws_connect(
                        self._url,
                        heartbeat=PING_S,
                        max_msg_size=MESSAGE_MAX,
                        timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
                    )
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                self._log.warning("WebSocket API: connecting failed: %s", type(error).__name__)
                continue
            try:
                await self._serve(ws)
            finally:
                await ws.close()
            if time.monotonic_ns() - started_ns > STEADY_S * 1e9:
                failures = 0

    async def request(
        self,
        method: str,
        params: dict[str, str | int],
        timeout_s: float,
        on_sent: Callable[[int], None] | None = None,
    ) -> Answer:
        """Send a request and return its answer.

        Args:
            on_sent: called with the monotonic time right after the request was written

        Raises:
            NotSent: the connection is down, nothing was written.
            Unanswered: no answer in time, or the connection was lost; it may have been executed.
        """
        ws = self._ws
        if ws is None or ws.closed:
            raise NotSent("the WebSocket API is not connected")
        self._next_id += 1
        request_id = self._next_id
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._pending[request_id] = answer
        text = _json({"id": request_id, "method": method, "params": params})
        sent_ns = time.monotonic_ns()
        try:
            async with asyncio.timeout(timeout_s):
                await ws.send_str(text)
                sent_ns = time.monotonic_ns()
                if on_sent is not None:
                    on_sent(sent_ns)
                return await answer
        except TimeoutError:
            if self._heard_ns < sent_ns and self._ws is ws:
                self._log.warning("WebSocket API: silent for %.1f s with a request on its way: reconnecting", timeout_s)
                self.drop()
            raise Unanswered(f"no answer to {method} within {timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unanswered(f"connection lost while sending {method}: {type(error).__name__}") from None
        finally:
            self._pending.pop(request_id, None)

    def drop(self) -> None:
        """Close the connection; `run` makes a new one."""
        if self._ws is not None:
            ws, self._ws = self._ws, None
            self._fail_pending()
            closing = asyncio.ensure_future(ws.close())
            closing.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _serve(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._ws = ws
        self.connects += 1
        setup = asyncio.ensure_future(self._set_up(ws))
        try:
            async for message in ws:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._heard_ns = time.monotonic_ns()
                    self._receive(message.data)
        except asyncio.CancelledError:
            self.up = False  # closed by this side: nobody need be told
            raise
        finally:
            setup.cancel()
            if self._ws is ws:
                self._ws = None
                self._fail_pending()
            if self.up:
                self.up = False
                if self._on_down is not None:
                    self._on_down()

    async def _set_up(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        try:
            if self._on_up is not None:
                await self._on_up(self)
            self.up = True
        except VenueError as error:
            self._log.warning("WebSocket API: setting up the connection failed: %s", error)
            await ws.close()

    def _receive(self, text: str) -> None:
        try:
            message = json.loads(text)
        except ValueError:
            self._log.error("WebSocket API: a message that is not JSON, %d characters", len(text))
            return
        if "event" in message:
            if self._on_event is not None:
                self._on_event(message["event"])
            return
        answer = self._pending.get(message.get("id"))
        if answer is not None and not answer.done():
            answer.set_result(answer_of_ws(message, self._clock.timestamp_ms()))

    def _fail_pending(self) -> None:
        pending, self._pending = self._pending, {}
        for answer in pending.values():
            if not answer.done():
                answer.set_exception(Unanswered("connection lost before the answer"))
