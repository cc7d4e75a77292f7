"""One market WebSocket connection: kept open, kept subscribed, kept honest about whether its data is current.

    connect -> on_up -> SUBSCRIBE in packs -> on_subscribed ... on_event ... -> lost -> on_down -> back-off -> connect

Lost means: closed by either side, a message too big for the socket, a subscription refused or unanswered, no pong for
`lost_after_s`, or silence: no market message for `silence_s` while something is subscribed and pongs come. A quiet
market looks the same as a mute connection, so every silence in a row doubles the time allowed, up to 16 times.

A ping is sent about once a second; while its pong is overdue, what arrives may be old (pulse.py): on_late, on_proven.
Control frames (subscriptions and pings) are kept `venue.control_interval_s` apart, but for pings that prove something.
"""

import asyncio
import random
import ssl as tls
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from hive.feed.errors import FeedError, MalformedMessage
from hive.feed.inlet import Inlet, Shortcut
from hive.feed.listener import Listener
from hive.feed.metrics import VenueMetrics
from hive.feed.pacing import ConnectPace, backoff_s
from hive.feed.pulse import NEVER_NS, Patience, Pulse
from hive.feed.recorder import ConnectionTap
from hive.feed.socket import MarketSocket, SocketError, connect
from hive.feed.venue import Answer, Notice, Venue

STREAMS_PER_REQUEST = 200
STEADY_S = 10.0  # a connection that lived so long did not fail at once
LONGEST_SILENCE_DOUBLINGS = 4
MESSAGES_THAT_END_SILENCE = 1_000
TOO_MANY, BANNED = 429, 418
WITHOUT_RETRY_AFTER_S = 10.0


class ConnectionLost(FeedError):
    """Why a connection ended; it is opened again."""


class MarketConnection:
    """Keeps one connection of `venue` at `ws_url` open while run() runs; see the module.

    Args:
        streams: how many it may carry; 0: as many as the venue allows.
        pace: shared by all connections of the venue.
        woke_ns: when the loop woke up for what it reads now; clock: monotonic.
        shortcut: takes usual messages instead of the venue's parse() and the listener's on_event(), if not None.
        tap: is given every whole message as it was read, and what becomes of the connection, if not None.
        ssl: for wss://; None verifies against the system's authorities.
    """

    def __init__(
        self,
        venue: Venue,
        ws_url: str,
        listener: Listener,
        metrics: VenueMetrics,
        patience: Patience,
        *,
        streams: int = 0,
        pace: ConnectPace | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        woke_ns: Callable[[], int] = time.monotonic_ns,
        rng: random.Random | None = None,
        shortcut: Shortcut | None = None,
        tap: ConnectionTap | None = None,
        ssl: tls.SSLContext | None = None,
        open_socket: Callable[..., Awaitable[MarketSocket]] = connect,
    ) -> None:
        self._venue = venue
        self._ws_url = ws_url
        self._listener = listener
        self._metrics = metrics
        self._inlet = Inlet(
            shortcut,
            metrics.messages,
            metrics.bytes_received,
            self._on_unusual,
            None if tap is None else tap.on_message,
        )
        self._parse = venue.parse
        self._on_event = listener.on_event
        self._patience = patience
        self._most = streams or venue.streams_per_connection
        self._pace = pace or ConnectPace()
        self._clock = clock
        self._woke_ns = woke_ns
        self._rng = rng or random.Random()
        self._tap = tap
        self._ssl = ssl
        self._open_socket = open_socket
        self._wanted: dict[str, None] = {}
        self._unwanted: dict[str, None] = {}
        self._sent: set[str] = set()  # on this connection
        self._confirmed: set[str] = set()
        self._asked: dict[int, tuple[Sequence[str], int]] = {}  # request id -> streams subscribed by it, deadline
        self._next_id = 1
        self._changed = asyncio.Event()
        self._socket: MarketSocket | None = None
        self._lost: str | None = None
        self._held: list[tuple[Any, int]] | None = None
        self._silences = 0
        self._control_ns = -NEVER_NS
        self._pulse = Pulse(patience)

    # --- what it carries

    @property
    def room(self) -> int:
        """How many more streams this connection may carry."""
        return self._most - len(self._wanted)

    @property
    def carries(self) -> int:
        """How many streams it is to carry."""
        return len(self._wanted)

    @property
    def streams(self) -> list[str]:
        """What it is to carry, in the order in which it was told."""
        return list(self._wanted)

    @property
    def up(self) -> bool:
        """Whether it is open."""
        return self._socket is not None and self._lost is None

    @property
    def complete(self) -> bool:
        """Whether the venue has confirmed every stream."""
        return self.up and len(self._confirmed) == len(self._wanted)

    @property
    def late(self) -> bool:
        """Whether what arrives may be old."""
        return self._pulse.late

    def subscribe(self, streams: Iterable[str]) -> None:
        """Want `streams`, now and after every reconnect."""
        for stream in streams:
            self._wanted[stream] = None
            self._unwanted.pop(stream, None)
        self._changed.set()

    def unsubscribe(self, streams: Iterable[str]) -> None:
        """Want `streams` no more."""
        streams = list(streams)
        confirmed = [stream for stream in streams if stream in self._confirmed]
        if confirmed and self._socket is not None and self._tap is not None:
            self._tap.on_unsubscribed(confirmed)
        for stream in streams:
            self._wanted.pop(stream, None)
            self._confirmed.discard(stream)
            if stream in self._sent:
                self._sent.discard(stream)  # wanted again before this is told, it is subscribed again and confirmed
                self._unwanted[stream] = None
        self._changed.set()

    # --- handing over

    def hold(self) -> None:
        """Keep events in `held` instead of handing them on, until release()."""
        self._held = []
        self._inlet.holding = True

    @property
    def held(self) -> list[tuple[Any, int]]:
        """The events of this connection that wait to be handed on, with their times."""
        return self._held or []

    def release(self) -> None:
        """Hand on what was held, in order, and everything after it at once."""
        held, self._held = self.held, None
        self._inlet.holding = False
        for event, read_ns in held:
            self._listener.on_event(event, read_ns)

    def ping(self) -> int:
        """Send a ping now and return its number for answered(); 0 when the connection is not up."""
        return self._ping(self._pulse.ping, self._clock()) if self.up else 0

    def answered(self, number: int) -> bool:
        """Return whether the ping was answered, and so everything that was sent before it has been handled."""
        return self._pulse.answered(number)

    def prove(self) -> None:
        """Ask for proof that everything sent until now has been handled: on_proven will follow.

        For a loop that was stopped: what the venue answered meanwhile waits in the socket, so every wait begins anew.
        """
        if self._socket is None:
            return
        now_ns = self._clock()
        self._inlet.read_ns = now_ns
        deadline_ns = now_ns + int(self._patience.answer_within_s * 1e9)
        self._asked = {number: (streams, deadline_ns) for number, (streams, _) in self._asked.items()}
        self._ping(self._pulse.doubt, now_ns)
        self._changed.set()

    def drop(self, reason: str) -> None:
        """Give the connection up; it is opened again."""
        if self._socket is not None and self._lost is None:
            self._lost = reason
            self._changed.set()

    # --- its life

    async def run(self) -> None:
        """Connect, serve and reconnect until cancelled."""
        failures = 0
        while True:
            while wait_ns := self._pace.reserve(self._clock()):
                await asyncio.sleep(wait_ns / 1e9)
            started_ns = self._clock()
            was_up = False
            try:
                await self._live()
            except ConnectionLost as lost:
                was_up = True
                reason = str(lost)
            except SocketError as error:
                reason = str(error)
                if error.status in (TOO_MANY, BANNED):
                    self._refused(error.status, error.retry_after_s or WITHOUT_RETRY_AFTER_S)
            except (OSError, TimeoutError) as error:
                reason = f"{type(error).__name__} {error}".rstrip()
            steady = self._clock() - started_ns >= STEADY_S * 1e9
            failures = 1 if steady else failures + 1
            self._listener.on_down(self, reason, was_up)  # before all else: what it carries is not live any more
            self._metrics.reconnects.inc(was_up)
            await asyncio.sleep(backoff_s(failures, self._rng))

    async def _live(self) -> None:
        """Serve one connection; ends by ConnectionLost or an error of the network."""
        self._lost = None
        socket = await self._open_socket(
            self._ws_url,
            self._inlet.on_message,
            self._on_closed,
            on_pong=self._on_pong,
            within_s=self._patience.connect_within_s,
            ssl=self._ssl,
            woke_ns=self._woke_ns,
        )
        self._opened(socket)
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._changed.clear()
                wait_ns = self._turn(self._clock()) - self._clock()
                timer = loop.call_later(max(0.0, wait_ns / 1e9), self._changed.set)
                try:
                    await self._changed.wait()
                finally:
                    timer.cancel()
        finally:
            self._socket = None
            self.held.clear()
            self._metrics.market_connections.inc(-1)
            if self._tap is not None:
                self._tap.on_down(self._lost or "given up")
            socket.close()

    def _opened(self, socket: MarketSocket) -> None:
        now_ns = self._clock()
        self._sent.clear()
        self._confirmed.clear()
        self._unwanted.clear()
        self._asked.clear()
        self._pulse.reset(now_ns)
        self._inlet.begin(now_ns)
        self._socket = socket
        self._metrics.market_connections.inc()
        if self._tap is not None:
            self._tap.on_up()
        self._listener.on_up(self)

    def _turn(self, now_ns: int) -> int:
        """Do what is due and return when to look again; raises ConnectionLost."""
        if self._lost is not None:
            raise ConnectionLost(self._lost)
        looks = (self._look_at_answers, self._look_at_pongs, self._look_at_silence, self._send)
        return min([look(now_ns) for look in looks])

    def _look_at_answers(self, now_ns: int) -> int:
        first_ns = min((deadline_ns for _, deadline_ns in self._asked.values()), default=NEVER_NS)
        if first_ns <= now_ns:
            raise ConnectionLost(f"no answer to a subscription within {self._patience.answer_within_s:g} s")
        return first_ns

    def _look_at_pongs(self, now_ns: int) -> int:
        was_late = self._pulse.late
        next_ns = self._pulse.look(now_ns)
        if next_ns is None:
            raise ConnectionLost(f"no pong for {self._patience.lost_after_s:g} s")
        if self._pulse.late and not was_late:
            self._listener.on_late(self)
        return next_ns

    def _look_at_silence(self, now_ns: int) -> int:
        if not self._sent:
            return NEVER_NS
        if self._inlet.events >= MESSAGES_THAT_END_SILENCE:
            self._silences = 0
        allowed_ns = int(self._patience.silence_s * 1e9) << min(self._silences, LONGEST_SILENCE_DOUBLINGS)
        if now_ns - self._inlet.read_ns >= allowed_ns:
            self._silences += 1
            raise ConnectionLost(f"silent for {allowed_ns / 1e9:g} s")
        return self._inlet.read_ns + allowed_ns

    def _send(self, now_ns: int) -> int:
        """Send a ping or a pack of subscriptions when one is due; return when the next may be."""
        free_ns = self._control_ns + int(self._venue.control_interval_s * 1e9)
        ping_ns = max(self._pulse.due_ns, free_ns)
        if ping_ns <= now_ns:
            self._ping(self._pulse.ping, now_ns)
            return now_ns
        fresh = [stream for stream in self._wanted if stream not in self._sent][:STREAMS_PER_REQUEST]
        if not fresh and not self._unwanted:
            return ping_ns
        if free_ns > now_ns:
            return min(ping_ns, free_ns)
        self._control_ns = now_ns
        if fresh:
            self._inlet.read_ns = now_ns  # silence counts from here
            self._socket.send(self._venue.subscribe(self._ask(fresh, now_ns), fresh))
            self._sent.update(fresh)
        else:
            gone = list(self._unwanted)[:STREAMS_PER_REQUEST]
            self._socket.send(self._venue.unsubscribe(self._ask((), now_ns), gone))
            for stream in gone:
                del self._unwanted[stream]
        return now_ns

    def _ask(self, streams: Sequence[str], now_ns: int) -> int:
        request_id = self._next_id
        self._next_id += 1
        self._asked[request_id] = (streams, now_ns + int(self._patience.answer_within_s * 1e9))
        return request_id

    def _ping(self, number: Callable[[int], int], now_ns: int) -> int:
        sent = number(now_ns)
        self._control_ns = now_ns
        self._socket.ping(b"%d" % sent)
        return sent

    def _refused(self, status: int, seconds: float) -> None:
        """Leave the venue alone for as long as it asks."""
        self._metrics.http_429.inc()
        self._pace.close(seconds, self._clock())
        if status == BANNED:
            self._listener.on_banned(seconds)

    # --- what arrives

    def _on_unusual(self, raw: bytes, read_ns: int) -> None:
        """Take what went through no shortcut."""
        try:
            event = self._parse(raw)
        except MalformedMessage:
            self._metrics.malformed.inc()
            self._listener.on_malformed(self, raw)
            return
        if event is None:
            return
        kind = type(event)
        if kind is Answer:
            self._answered(event)
        elif kind is Notice:
            self._listener.on_notice(self, event)
        else:
            self._inlet.came(read_ns)
            if self._held is None:
                self._on_event(event, read_ns)
            else:
                self._held.append((event, read_ns))

    def _answered(self, answer: Answer) -> None:
        streams, _ = self._asked.pop(answer.id, ((), 0))
        if answer.error:
            self.drop(f"subscription refused: {answer.error}")
            return
        still = [stream for stream in streams if stream in self._wanted]
        if still:
            self._confirmed.update(still)
            if self._tap is not None:
                self._tap.on_subscribed(still)
            self._listener.on_subscribed(self, still)

    def _on_pong(self, payload: bytes) -> None:
        was_late = self._pulse.late
        took_ns = self._pulse.pong(int(payload) if payload.isdigit() else 0, self._clock())
        if took_ns is None:
            return
        self._metrics.pong_ns.record(took_ns)
        if was_late and not self._pulse.late:
            self._listener.on_proven(self)

    def _on_closed(self, reason: str) -> None:
        self.drop(reason)
