"""One market WebSocket connection: kept open, kept subscribed, noticed when it goes mute.

    connect -> on_up -> SUBSCRIBE in packs -> on_subscribed ... on_event ... -> lost -> on_down -> back-off -> connect

Lost means: closed by either side, a message too big for the socket, a subscription refused or unanswered, or silence:
no market message for `silence_s` while something is subscribed. A quiet market looks the same as a mute connection, so
every silence in a row doubles the time allowed, up to 16 times.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import aiohttp

from hive.feed.errors import FeedError, MalformedMessage
from hive.feed.metrics import VenueMetrics
from hive.feed.venue import Answer, Diff, TradeEvent, Venue

STREAMS_PER_REQUEST = 200
ANSWER_WITHIN_S = 5.0
CONNECT_WITHIN_S = 10.0
CLOSE_WITHIN_S = 0.5
LARGEST_FRAME = 16 << 20  # more than the parser takes: what is between is counted and skipped, what is above reconnects
FIRST_BACKOFF_S = 0.1
LONGEST_BACKOFF_S = 30.0
STEADY_S = 10.0  # a connection that lived so long did not fail at once
LONGEST_SILENCE_DOUBLINGS = 4
MESSAGES_THAT_END_SILENCE = 1_000
MESSAGES_PER_TURN = 64  # then everybody else on the loop has a turn


class ConnectionLost(FeedError):
    """Why a connection ended; it is opened again."""


class Listener(Protocol):
    """Who is told what happens on a connection."""

    def on_up(self, connection: "MarketConnection") -> None:
        """The connection is open; its streams are about to be subscribed."""

    def on_down(self, connection: "MarketConnection", reason: str) -> None:
        """Nothing arrives any more."""

    def on_subscribed(self, streams: Iterable[str]) -> None:
        """The venue sends these streams from now on."""

    def on_event(self, event: Diff | TradeEvent, read_ns: int) -> None:
        """A market message, read off the socket at `read_ns`."""


def backoff_s(failures: int, rng: random.Random) -> float:
    """Return how long to wait after `failures` >= 1 failures in a row: doubling, up to half of it left to chance."""
    return min(FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 16), LONGEST_BACKOFF_S) * rng.uniform(0.5, 1.0)


class MarketConnection:
    """Keeps one connection of `venue` at `ws_url` open while run() runs.

    `read_ns` tells when the message that was just received was read off the socket; `clock` is the monotonic clock.
    """

    def __init__(
        self,
        venue: Venue,
        ws_url: str,
        session: aiohttp.ClientSession,
        listener: Listener,
        metrics: VenueMetrics,
        silence_s: float,
        *,
        answer_within_s: float = ANSWER_WITHIN_S,
        clock: Callable[[], int] = time.monotonic_ns,
        read_ns: Callable[[], int] = time.monotonic_ns,
        rng: random.Random | None = None,
    ) -> None:
        self._venue = venue
        self._ws_url = ws_url
        self._session = session
        self._listener = listener
        self._metrics = metrics
        self._silence_ns = int(silence_s * 1e9)
        self._answer_within_s = answer_within_s
        self._clock = clock
        self._read_ns = read_ns
        self._rng = rng or random.Random()
        self._wanted: dict[str, None] = {}
        self._unwanted: dict[str, None] = {}
        self._sent: set[str] = set()  # on this connection
        self._asked: dict[int, tuple[Sequence[str], int]] = {}  # request id -> streams subscribed by it, deadline
        self._next_id = 1
        self._changed = asyncio.Event()
        self._message_ns = 0
        self._messages = 0
        self._silences = 0
        self._closing: set[asyncio.Task[bool]] = set()

    @property
    def room(self) -> int:
        """How many more streams the venue lets this connection carry."""
        return self._venue.streams_per_connection - len(self._wanted)

    def subscribe(self, streams: Iterable[str]) -> None:
        """Want `streams`, now and after every reconnect."""
        for stream in streams:
            self._wanted[stream] = None
            self._unwanted.pop(stream, None)
        self._changed.set()

    def unsubscribe(self, streams: Iterable[str]) -> None:
        """Want `streams` no more."""
        for stream in streams:
            self._wanted.pop(stream, None)
            if stream in self._sent:
                self._unwanted[stream] = None
        self._changed.set()

    async def run(self) -> None:
        """Connect, serve and reconnect until cancelled."""
        failures = 0
        while True:
            started_ns = self._clock()
            try:
                await self._live()
            except ConnectionLost as lost:
                reason = str(lost)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                reason = f"{type(error).__name__} {error}".rstrip()
            steady = self._clock() - started_ns >= STEADY_S * 1e9
            failures = 1 if steady else failures + 1
            self._listener.on_down(self, reason)
            await asyncio.sleep(backoff_s(failures, self._rng))

    async def _live(self) -> None:
        """Serve one connection; ends by ConnectionLost or an error of the network."""
        async with asyncio.timeout(CONNECT_WITHIN_S):
            ws = await self._session.ws_connect(
                self._ws_url,
                max_msg_size=LARGEST_FRAME,
                decode_text=False,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_WITHIN_S),
            )
        self._metrics.market_connections.inc()
        self._sent.clear()
        self._unwanted.clear()
        self._asked.clear()
        self._messages = 0
        self._message_ns = self._clock()
        self._listener.on_up(self)
        tasks = [
            asyncio.create_task(step) for step in (self._receive(ws), self._control(ws), self._listen_for_silence())
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._metrics.market_connections.inc(-1)
            self._metrics.reconnects.inc()
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            self._close(ws)
        for error in ended:
            if isinstance(error, Exception):
                raise error

    async def _receive(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        """Hand every message on; a bad one is counted and skipped."""
        metrics = self._metrics
        while True:
            for _ in range(MESSAGES_PER_TURN):
                message = await ws.receive()
                read_ns = self._read_ns()
                if message.type is aiohttp.WSMsgType.TEXT or message.type is aiohttp.WSMsgType.BINARY:
                    metrics.messages.inc()
                    metrics.bytes_received.inc(len(message.data))
                    try:
                        self._dispatch(message.data, read_ns)
                    except MalformedMessage:
                        metrics.malformed.inc()
                elif message.type is aiohttp.WSMsgType.ERROR:
                    metrics.malformed.inc()
                    raise ConnectionLost(f"unreadable frame: {message.data}")
                else:
                    raise ConnectionLost(f"closed by the venue (code {ws.close_code})")
            await asyncio.sleep(0)

    def _dispatch(self, raw: bytes, read_ns: int) -> None:
        event = self._venue.parse(raw)
        if event is None:
            return
        if type(event) is Answer:
            self._answered(event)
            return
        self._message_ns = read_ns
        self._messages += 1
        if self._messages == MESSAGES_THAT_END_SILENCE:
            self._silences = 0
        self._listener.on_event(event, read_ns)

    def _answered(self, answer: Answer) -> None:
        streams, _ = self._asked.pop(answer.id, ((), 0))
        if answer.error:
            raise ConnectionLost(f"subscription refused: {answer.error}")
        if streams:
            self._listener.on_subscribed(streams)

    async def _control(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        """Send what is to be subscribed and unsubscribed, in packs, no faster than the venue allows."""
        while True:
            self._changed.clear()
            fresh = [stream for stream in self._wanted if stream not in self._sent][:STREAMS_PER_REQUEST]
            if fresh:
                self._message_ns = self._clock()  # silence counts from here
                await ws.send_str(self._venue.subscribe(self._ask(fresh), fresh))
                self._sent.update(fresh)
            elif self._unwanted:
                gone = list(self._unwanted)[:STREAMS_PER_REQUEST]
                await ws.send_str(self._venue.unsubscribe(self._ask(()), gone))
                for stream in gone:
                    self._unwanted.pop(stream, None)
                    self._sent.discard(stream)
            else:
                await self._pause()
                continue
            await asyncio.sleep(self._venue.control_interval_s)

    def _ask(self, streams: Sequence[str]) -> int:
        request_id = self._next_id
        self._next_id += 1
        self._asked[request_id] = (streams, self._clock() + int(self._answer_within_s * 1e9))
        return request_id

    async def _pause(self) -> None:
        """Wait for a change of what is wanted, or for the deadline of an answer."""
        now_ns = self._clock()
        first_ns = min((deadline_ns for _, deadline_ns in self._asked.values()), default=None)
        if first_ns is not None and first_ns <= now_ns:
            raise ConnectionLost(f"no answer to a subscription within {self._answer_within_s:g} s")
        try:
            async with asyncio.timeout(None if first_ns is None else (first_ns - now_ns) / 1e9 + 0.001):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _listen_for_silence(self) -> None:
        allowed_ns = self._silence_ns << min(self._silences, LONGEST_SILENCE_DOUBLINGS)
        while True:
            silent_ns = self._clock() - self._message_ns if self._sent else 0
            if silent_ns >= allowed_ns:
                self._silences += 1
                raise ConnectionLost(f"silent for {allowed_ns / 1e9:g} s")
            await asyncio.sleep((allowed_ns - silent_ns) / 1e9 + 0.001)

    def _close(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        """Close without waiting for the venue's goodbye."""
        closing = asyncio.create_task(ws.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closed)

    def _closed(self, closing: asyncio.Task[bool]) -> None:
        self._closing.discard(closing)
        if not closing.cancelled():
            closing.exception()  # the connection is lost however its close ends
