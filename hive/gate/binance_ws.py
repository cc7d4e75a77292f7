"""One connection to Binance's WebSocket API: requests matched with their answers, events passed on, reconnects.

    write(method, params) -> on the wire when it returns -> answer(request): the venue's, or Unanswered

What happens to a request tells what its sender may do (hive.gate.errors): while the connection is down nothing is
written and the request is NotSent; once it has been handed to the connection, only an answer ends the doubt, and a
lost connection or no answer in time is Unanswered. Messages are taken in the loop iteration in which they were read.
"""

import asyncio
import functools
import json
import logging
import math
import ssl
import time
from collections.abc import Awaitable, Callable

from picows import WSCloseCode, WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from hive.gate.binance_messages import Answer, answer_of_ws
from hive.gate.errors import NotSent, Unanswered, VenueError
from hive.gate.server_time import ServerClock

PING_S = 15.0  # our own pings, when nothing comes: a half-open connection is noticed within 1.5 times this
PONG_S = 7.5
CONNECT_TIMEOUT_S = 10.0
UPGRADE_TIMEOUT_S = 5.0  # a connection that is given up before its upgrade frees itself then
RETRY_S = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
STEADY_S = 30.0  # a connection that lasted this long starts the retries afresh
MESSAGE_MAX = 16 << 20

_TEXT = WSMsgType.TEXT
_json = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps() would make one for every request
_scan = json.JSONDecoder().scan_once  # what json.loads() comes to, in the end


class Request:
    """A request that was written.

    Attributes:
        ready_ns, sent_ns: monotonic; just before and after that
        timeout_s, due_s: how long its answer is waited for, and until when on the loop's clock
    """

    __slots__ = ("answer", "due_s", "method", "number", "ready_ns", "sent_ns", "timeout_s", "transport")

    def __init__(
        self,
        number: int,
        method: str,
        answer: asyncio.Future[Answer],
        transport: WSTransport,
        ready_ns: int,
        sent_ns: int,
    ) -> None:
        self.number = number
        self.method = method
        self.answer = answer
        self.transport = transport
        self.ready_ns = ready_ns
        self.sent_ns = sent_ns
        self.timeout_s = self.due_s = math.inf


class WsApi:
    """A connection that is kept up while `run` runs.

    Args:
        url: of the WebSocket API
        clock: the venue's time
        log: named for the venue
        may_connect: awaited before each try to connect: returns when the address may
        on_up: awaited after each connect, with requests possible; the connection is up when it returns
        on_down: called when an up connection is lost
        on_event: called with each event (the payload inside the envelope)
    """

    def __init__(
        self,
        url: str,
        clock: ServerClock,
        log: logging.Logger,
        may_connect: Callable[[], Awaitable[None]],
        on_up: Callable[["WsApi"], Awaitable[None]] | None = None,
        on_down: Callable[[], None] | None = None,
        on_event: Callable[[dict], None] | None = None,
    ) -> None:
        self._url = url
        self._clock = clock
        self._log = log
        self._may_connect = may_connect
        self._on_up = on_up
        self._on_down = on_down
        self._on_event = on_event
        self._transport: WSTransport | None = None
        self._pending: dict[int, Request] = {}
        self._alarm: asyncio.TimerHandle | None = None  # one for all requests: most are answered long before it
        self._number = 0
        self._heard_ns = 0
        self.up = False
        self.connects = 0

    async def run(self) -> None:
        """Connect and reconnect until cancelled."""
        failures = 0
        while True:
            await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
            await self._may_connect()
            failures += 1
            started_ns = time.monotonic_ns()
            listener = _Listener(self)
            try:
                transport = await self._connect(listener)
            except (WSError, OSError, TimeoutError) as error:
                self._log.warning("WebSocket API: connecting failed: %s", type(error).__name__)
                continue
            try:
                await self._serve(transport)
            finally:
                listener.over = True
                transport.send_close(WSCloseCode.OK)
                transport.disconnect(graceful=False)
            if time.monotonic_ns() - started_ns > STEADY_S * 1e9:
                failures = 0

    def write(self, method: str, params: str) -> Request:
        """Write a request now; `params` is the JSON of its parameters.

        Raises:
            NotSent: the connection is down, nothing was written.
        """
        transport = self._transport
        if transport is None or transport.is_disconnected or transport.is_close_frame_sent:
            raise NotSent("the WebSocket API is not connected")
        self._number = number = self._number + 1
        text = f'{{"id":{number},"method":"{method}","params":{params}}}'
        ready_ns = time.monotonic_ns()
        transport.send(_TEXT, text)
        sent_ns = time.monotonic_ns()
        answer = asyncio.get_running_loop().create_future()
        request = self._pending[number] = Request(number, method, answer, transport, ready_ns, sent_ns)
        return request

    async def answer(self, request: Request, timeout_s: float) -> Answer:
        """Return the answer to a request that was written, at most `timeout_s` from now.

        Raises:
            Unanswered: no answer in time, or the connection was lost; it may have been executed.
        """
        loop = asyncio.get_running_loop()
        request.timeout_s, request.due_s = timeout_s, loop.time() + timeout_s
        if self._alarm is None or self._alarm.when() > request.due_s:
            self._set_alarm(loop, request.due_s)
        try:
            return await request.answer
        finally:
            self._pending.pop(request.number, None)

    async def request(self, method: str, params: dict[str, str | int], timeout_s: float) -> Answer:
        """Write a request and return its answer; see `write` and `answer`."""
        return await self.answer(self.write(method, _json(params)), timeout_s)

    def drop(self) -> None:
        """Close the connection; `run` makes a new one."""
        if self._transport is not None:
            transport, self._transport = self._transport, None
            self._fail_pending()
            transport.disconnect(graceful=False)

    async def _connect(self, listener: "_Listener") -> WSTransport:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            transport, made = await ws_connect(
                lambda: listener,
                self._url,
                ssl_context=_verifying() if self._url.startswith("wss:") else None,
                websocket_handshake_timeout=UPGRADE_TIMEOUT_S,
                logger_name="gate",
                enable_auto_ping=True,
                auto_ping_idle_timeout=PING_S,
                auto_ping_reply_timeout=PONG_S,
                max_frame_size=MESSAGE_MAX,
                max_redirects=0,
            )
        if made is None:
            raise ConnectionResetError("closed instead of upgraded")
        return transport

    async def _serve(self, transport: WSTransport) -> None:
        self._transport = transport
        self.connects += 1
        setup = asyncio.ensure_future(self._set_up(transport))
        try:
            await transport.wait_disconnected()
        except asyncio.CancelledError:
            self.up = False  # closed by this side: nobody need be told
            raise
        except WSError as error:
            self._log.warning("WebSocket API: the connection was given up: %s", error)
        finally:
            setup.cancel()
            if self._transport is transport:
                self._transport = None
                self._fail_pending()
            if self.up:
                self.up = False
                if self._on_down is not None:
                    self._on_down()

    async def _set_up(self, transport: WSTransport) -> None:
        try:
            if self._on_up is not None:
                await self._on_up(self)
            self.up = True
        except VenueError as error:
            self._log.warning("WebSocket API: setting up the connection failed: %s", error)
            transport.disconnect(graceful=False)

    def heard(self, text: bytes) -> None:
        """Take a message; its connection calls this."""
        self._heard_ns = time.monotonic_ns()
        try:
            message = _read(text.decode())
        except ValueError:
            self._log.error("WebSocket API: a message that is not JSON, %d bytes", len(text))
            return
        if "event" in message:
            if self._on_event is not None:
                self._on_event(message["event"])
            return
        request = self._pending.get(message.get("id"))
        if request is None or request.answer.done():
            return
        answer = request.answer
        try:
            answer.set_result(answer_of_ws(message, self._clock.timestamp_ms()))
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            answer.set_exception(Unanswered(f"the venue's answer could not be read: {error!r}"))

    def lost(self, transport: WSTransport) -> None:
        """Take it that a connection is over: what has no answer will have none."""
        if self._transport is transport:
            self._transport = None
            self._fail_pending()

    def _fail_pending(self) -> None:
        pending, self._pending = self._pending, {}
        for request in pending.values():
            if not request.answer.done():
                request.answer.set_exception(Unanswered("connection lost before the answer"))

    def _set_alarm(self, loop: asyncio.AbstractEventLoop, due_s: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = loop.call_at(due_s, self._look_for_overdue, loop, due_s)

    def _look_for_overdue(self, loop: asyncio.AbstractEventLoop, due_s: float) -> None:
        """Give up the requests whose answers are due by now, and come back when the next one is."""
        self._alarm = None
        now_s = max(loop.time(), due_s)  # a loop's timers may come a moment early
        for request in list(self._pending.values()):
            if request.due_s <= now_s and not request.answer.done():
                self._give_up(request)
        next_s = min((request.due_s for request in self._pending.values() if request.due_s > now_s), default=math.inf)
        if next_s < math.inf:
            self._set_alarm(loop, next_s)

    def _give_up(self, request: Request) -> None:
        timeout_s = request.timeout_s
        request.answer.set_exception(Unanswered(f"no answer to {request.method} within {timeout_s:g} s"))
        if self._heard_ns < request.sent_ns and self._transport is request.transport:
            self._log.warning("WebSocket API: silent for %.1f s with a request on its way: reconnecting", timeout_s)
            self.drop()


class _Listener(WSListener):
    """Joins the frames of one connection to messages; after `over` it hears nothing any more."""

    def __init__(self, api: WsApi) -> None:
        self.over = False
        self._api = api
        self._parts: list[bytes] = []
        self._parts_bytes = 0

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if self.over:
            return
        kind = frame.msg_type
        if kind is WSMsgType.CLOSE:
            self._end(transport, WSCloseCode.OK)
        elif kind is _TEXT or kind is WSMsgType.CONTINUATION:
            self._take(transport, frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._api.lost(transport)

    def _take(self, transport: WSTransport, frame: WSFrame) -> None:
        payload = frame.get_payload_as_bytes()
        if frame.fin and not self._parts:
            self._api.heard(payload)
            return
        self._parts.append(payload)
        self._parts_bytes += len(payload)
        if self._parts_bytes > MESSAGE_MAX:
            self._end(transport, WSCloseCode.MESSAGE_TOO_BIG)
        elif frame.fin:
            message = b"".join(self._parts)
            self._parts, self._parts_bytes = [], 0
            self._api.heard(message)

    def _end(self, transport: WSTransport, code: WSCloseCode) -> None:
        self.over = True
        self._api.lost(transport)
        transport.send_close(code)
        transport.disconnect(graceful=False)


def _read(text: str) -> dict:
    """Return a message; ValueError when it is not JSON."""
    try:
        message, end = _scan(text, 0)
    except StopIteration:
        end = -1
    return message if end == len(text) else json.loads(text)  # with space around it, or an error to be raised


@functools.cache
def _verifying() -> ssl.SSLContext:
    """Return the context that checks certificates against the system's authorities; reading those takes long."""
    return ssl.create_default_context()
