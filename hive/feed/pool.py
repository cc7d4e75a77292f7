"""The market connections of one venue: streams packed onto few of them, moved when one dies, renewed without a gap.

    carry(streams, sink) -> the first connection with room, a new one when all are full and more are allowed
    one dies             -> the others take its streams as far as they have room; what is left waits for its reconnect
    one is old           -> a second one is opened beside it, subscribes the same streams and takes over

Taking over: both deliver, the new one's events are held. When the venue has confirmed all its streams and the old one
has answered a ping that was sent after that, everything older has been handled; the held events follow, what is known
already is dropped by its id, and the old one goes. Should the new one be ahead of the old by then (they may be served
by different machines), it waits until the old one has caught up, HANDOVER_WITHIN_S at most: then the diffs show the
gap. So for a moment there is one connection more than `max_connections`.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from hive.feed.connection import MarketConnection
from hive.feed.venue import Notice

LOOK_S = 0.05  # how often a handover is looked at
HANDOVER_WITHIN_S = 10.0
CONFIRMED_WITHIN_S = 60.0  # a replacement that is not subscribed by then is given up, and tried again
ROTATE_AGAIN_S = 30.0  # after one that failed

log = logging.getLogger(__name__)


class PoolFull(Exception):
    """No connection has room, and no more may be opened."""


class StreamSink(Protocol):
    """Who a stream belongs to, and is told what becomes of it."""

    def connected(self) -> None:
        """It is being subscribed: what arrives from now on is wanted."""

    def subscribed(self) -> None:
        """The venue sends everything of it from now on."""

    def disconnected(self) -> None:
        """Nothing of it arrives any more."""

    def lagging(self) -> None:
        """What arrives may be old."""

    def proven(self) -> None:
        """What arrives is current again."""

    def doubted(self) -> None:
        """A message of it may have been lost."""


class PoolListener(Protocol):
    """Who is told what concerns the whole venue."""

    def on_event(self, event: Any, read_ns: int) -> None:
        """A market message."""

    def on_malformed(self, raw: bytes) -> bool:
        """A message that could not be read; returns False when any stream may have lost by it."""

    def follows(self, event: Any) -> bool:
        """Return whether `event` can be handed on now without a hole before it."""

    def on_banned(self, seconds: float) -> None:
        """The venue refuses this address for so long."""

    def tell(self, level: str, text: str) -> None:
        """Something that the operator wants to know."""


class StreamPool:
    """Connections that carry streams.

    Args:
        make: makes a connection that tells this pool.
        rotate_after_ns: at what age a connection is replaced; rotated: called when one was.
    """

    def __init__(
        self,
        make: Callable[["StreamPool"], MarketConnection],
        listener: PoolListener,
        max_connections: int,
        rotate_after_ns: int,
        clock: Callable[[], int],
        rotated: Callable[[], None],
        *,
        confirmed_within_s: float = CONFIRMED_WITHIN_S,
        handover_within_s: float = HANDOVER_WITHIN_S,
    ) -> None:
        self._make = make
        self._listener = listener
        self._max = max_connections
        self._rotate_after_ns = rotate_after_ns
        self._clock = clock
        self._rotated = rotated
        self._confirmed_within_s = confirmed_within_s
        self._handover_within_s = handover_within_s
        self._sinks: dict[str, StreamSink] = {}
        self._carrier: dict[str, MarketConnection] = {}
        self._tasks: dict[MarketConnection, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._replacement: MarketConnection | None = None
        self._leaving: MarketConnection | None = None  # what the replacement replaces
        self._rotate_at_ns: dict[MarketConnection, int] = {}
        self._old = asyncio.Event()
        self.on_event = listener.on_event

    def __iter__(self) -> Iterator[MarketConnection]:
        """The connections, a replacement that has not taken over yet left out."""
        return (one for one in self._tasks if one is not self._replacement)

    def __len__(self) -> int:
        return len(self._tasks) - (self._replacement is not None)

    def start(self, group: asyncio.TaskGroup) -> None:
        """Keep connections alive in tasks of `group` from now on; carry() may be called."""
        self._group = group
        group.create_task(self._rotate_for_ever())

    # --- streams

    def carry(self, streams: Sequence[str], sink: StreamSink) -> None:
        """Subscribe `streams` for `sink`, all on one connection. Raises PoolFull."""
        connection = self._with_room(len(streams))
        if connection is None:
            raise PoolFull(f"{len(self)} connections are full")
        self._put(streams, sink, connection)

    def drop(self, streams: Iterable[str]) -> None:
        """Unsubscribe `streams`; a connection that carries nothing any more is closed."""
        for stream in streams:
            self._sinks.pop(stream, None)
            connection = self._carrier.pop(stream, None)
            if connection is None:
                continue
            connection.unsubscribe((stream,))
            if connection is self._leaving:
                self._replacement.unsubscribe((stream,))
            if not connection.carries:
                self._retire(connection)

    def sinks(self, connection: MarketConnection) -> list[StreamSink]:
        """Return whom a connection carries something for, each once; none for a replacement before it took over."""
        return self._sinks_of(connection, connection.streams)

    def _sinks_of(self, connection: MarketConnection, streams: Iterable[str]) -> list[StreamSink]:
        mine = (stream for stream in streams if self._carrier.get(stream) is connection)
        return list({id(sink): sink for sink in map(self._sinks.__getitem__, mine)}.values())

    def reset(self, reason: str) -> None:
        """Open every connection anew: what they carry cannot be trusted."""
        self.silence()
        for connection in self._tasks:
            connection.drop(reason)

    def silence(self) -> None:
        """Let nobody believe that anything arrives."""
        for connection in self:
            for sink in self.sinks(connection):
                sink.disconnected()

    def prove(self) -> None:
        """Mark every stream as lagging until its connection has proven that it is not."""
        for connection in self._tasks:
            self.on_late(connection)
            connection.prove()

    def rotate(self) -> None:
        """Replace every connection soon."""
        for connection in self._rotate_at_ns:
            self._rotate_at_ns[connection] = self._clock()
        self._old.set()

    # --- what connections tell

    def on_up(self, connection: MarketConnection) -> None:
        """Let the streams of a connection that has just been opened be waited for."""
        self._rotate_at_ns.setdefault(connection, self._clock() + self._rotate_after_ns)
        for sink in self.sinks(connection):
            sink.connected()
        self._old.set()

    def on_down(self, connection: MarketConnection, reason: str, was_up: bool) -> None:
        """Move what a lost connection carried to others, as far as they have room."""
        self._rotate_at_ns.pop(connection, None)
        if connection is self._leaving and self._replacement.complete:
            self._take_over()
        elif connection is not self._replacement:
            for sink in self.sinks(connection):
                sink.disconnected()
            if connection is self._leaving:
                self._give_up_replacement()
            self._move(connection)
        what = "lost" if was_up else "not opened"
        self._listener.tell("warning", f"market connection {what}: {reason}")

    def on_subscribed(self, connection: MarketConnection, streams: Iterable[str]) -> None:
        """Tell whose streams arrive from now on."""
        for sink in self._sinks_of(connection, streams):
            if connection.late:
                sink.lagging()
            sink.subscribed()

    def on_malformed(self, connection: MarketConnection, raw: bytes) -> None:
        """Let every stream of the connection be doubted when nobody can say whose message it was."""
        if not self._listener.on_malformed(raw):
            for sink in self.sinks(connection):
                sink.doubted()

    def on_notice(self, connection: MarketConnection, notice: Notice) -> None:
        """Replace a connection that the venue is going to close."""
        self._listener.tell("info", f"the venue says {notice.kind}: {notice.text}")
        if notice.kind == "shutdown" and connection in self._tasks:
            self._rotate_at_ns[connection] = self._clock()
            self._old.set()

    def on_late(self, connection: MarketConnection) -> None:
        """Mark what a connection carries as lagging."""
        for sink in self.sinks(connection):
            sink.lagging()

    def on_proven(self, connection: MarketConnection) -> None:
        """What a connection carries is current again."""
        for sink in self.sinks(connection):
            sink.proven()

    def on_banned(self, seconds: float) -> None:
        """Pass it on."""
        self._listener.on_banned(seconds)

    # --- packing

    def _with_room(self, needed: int) -> MarketConnection | None:
        """Return an open connection with room, else one that is being opened, else a new one if it is allowed."""
        fits = [one for one in self if one.room >= needed and one is not self._leaving]
        fits += [self._leaving] if self._leaving is not None and self._leaving.room >= needed else []
        for connection in fits:
            if connection.up:
                return connection
        if fits:
            return fits[0]
        return self._open() if len(self) < self._max else None

    def _open(self) -> MarketConnection:
        connection = self._make(self)
        self._tasks[connection] = self._group.create_task(connection.run())
        return connection

    def _put(self, streams: Sequence[str], sink: StreamSink, connection: MarketConnection) -> None:
        for stream in streams:
            self._sinks[stream] = sink
            self._carrier[stream] = connection
        if connection.up:
            sink.connected()  # what comes before the venue's answer is wanted too
        connection.subscribe(streams)
        if connection is self._leaving:
            self._replacement.subscribe(streams)

    def _move(self, lost: MarketConnection) -> None:
        """Give the streams of a lost connection to open ones with room, each sink's together."""
        together: dict[int, list[str]] = {}
        for stream in lost.streams:
            if self._carrier.get(stream) is lost:
                together.setdefault(id(self._sinks[stream]), []).append(stream)
        for streams in together.values():
            other = next((one for one in self if one.up and one is not lost and one.room >= len(streams)), None)
            if other is not None:
                lost.unsubscribe(streams)
                self._put(streams, self._sinks[streams[0]], other)
        if not lost.carries:
            self._retire(lost)

    def _retire(self, connection: MarketConnection) -> None:
        self._rotate_at_ns.pop(connection, None)
        task = self._tasks.pop(connection, None)
        if task is not None:
            task.cancel()
        if connection is self._leaving:
            self._give_up_replacement()

    def _give_up_replacement(self) -> None:
        replacement, self._replacement, self._leaving = self._replacement, None, None
        self._retire(replacement)

    # --- rotation

    async def _rotate_for_ever(self) -> None:
        """Replace connections as they become old, one at a time."""
        while True:
            self._old.clear()
            now_ns = self._clock()
            oldest = min(self._rotate_at_ns, key=self._rotate_at_ns.get, default=None)
            wait_ns = None if oldest is None else self._rotate_at_ns[oldest] - now_ns
            if wait_ns is not None and wait_ns <= 0:
                await self._rotate(oldest)
                continue
            try:
                async with asyncio.timeout(None if wait_ns is None else wait_ns / 1e9):
                    await self._old.wait()
            except TimeoutError:
                pass

    async def _rotate(self, old: MarketConnection) -> None:
        self._rotate_at_ns.pop(old)
        self._leaving = old
        self._replacement = replacement = self._open()
        replacement.hold()
        replacement.subscribe(old.streams)
        if await self._ready_to_take_over(old, replacement):
            self._take_over()
        elif self._replacement is replacement:
            self._give_up_replacement()
            self._rotate_at_ns[old] = self._clock() + int(ROTATE_AGAIN_S * 1e9)
            self._listener.tell("warning", "a market connection could not be replaced; tried again")

    async def _ready_to_take_over(self, old: MarketConnection, replacement: MarketConnection) -> bool:
        """Wait until the replacement may take over; False when it did so already, or cannot."""
        try:
            async with asyncio.timeout(self._confirmed_within_s):
                while not replacement.complete:
                    await asyncio.sleep(LOOK_S)
                    if self._replacement is not replacement:
                        return False
        except TimeoutError:
            return False
        ping = old.ping()
        deadline_ns = self._clock() + int(self._handover_within_s * 1e9)
        while self._replacement is replacement and replacement.complete and self._clock() < deadline_ns:
            if old.answered(ping) and self._continues(replacement.held):
                return True
            await asyncio.sleep(LOOK_S)
        return self._replacement is replacement and replacement.complete

    def _continues(self, held: list[tuple[Any, int]]) -> bool:
        """Return whether the first held event of every instrument follows what is known of it."""
        seen = set()
        for event, _ in held:
            key = (type(event), event.symbol)
            if key not in seen:
                seen.add(key)
                if not self._listener.follows(event):
                    return False
        return True

    def _take_over(self) -> None:
        """Let the replacement take the place of the connection that leaves."""
        old, replacement = self._leaving, self._replacement
        self._replacement = self._leaving = None
        for stream in replacement.streams:
            self._carrier[stream] = replacement
        self._rotated()
        self._retire(old)
        for sink in self.sinks(replacement):
            (sink.lagging if replacement.late else sink.proven)()
        replacement.release()
