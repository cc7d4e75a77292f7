"""Which connection of a recording an instrument is heard on: what StreamPool is to live connections.

    up, subscribed, down -> sinks are connected, subscribed, disconnected, as they were when it was recorded
    event(connection)    -> handed on, or held while another connection still brings the same streams

A second connection that subscribes what a first one carries is going to replace it: its events are held until the first
one is down, and then follow in order; what is known already is dropped by its id.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hive.feed.pool import StreamSink


@dataclass(slots=True)
class _Link:
    streams: dict[str, None] = field(default_factory=dict)  # confirmed since it is up
    before: dict[str, None] = field(default_factory=dict)  # confirmed in its last life
    held: list[tuple[Any, int]] | None = None
    up: bool = True


class Links:
    """The connections of a recording.

    Args:
        on_event: is given what is handed on, with its time.
        on_streams: called with streams that are heard from now on.
    """

    def __init__(self, on_event: Callable[[Any, int], None], on_streams: Callable[[Iterable[str]], None]) -> None:
        self._on_event = on_event
        self._on_streams = on_streams
        self._links: dict[int, _Link] = {}
        self._carrier: dict[str, int] = {}  # of streams that are heard, or waited for on an open connection
        self._confirmed: set[str] = set()
        self._sinks: dict[str, StreamSink] = {}

    @property
    def streams(self) -> list[str]:
        """What is heard now."""
        return list(self._carrier)

    @property
    def count(self) -> int:
        """How many connections are open."""
        return sum(link.up for link in self._links.values())

    # --- as StreamPool

    def carry(self, streams: Sequence[str], sink: StreamSink) -> None:
        """Hand what comes of `streams` to `sink`'s owner, and tell it how they stand."""
        self._sinks.update(dict.fromkeys(streams, sink))
        if any(stream in self._carrier for stream in streams):
            sink.connected()
        if any(stream in self._confirmed for stream in streams):
            sink.subscribed()

    def drop(self, streams: Iterable[str]) -> None:
        """Tell nobody about `streams` any more."""
        for stream in streams:
            self._sinks.pop(stream, None)

    # --- what the recording says

    def up(self, number: int) -> None:
        """A connection opened; one that was open already lost something meanwhile, and begins anew."""
        if number in self._links and self._links[number].up:
            self.down(number)
        others = any(link.up and link.streams for link in self._links.values())
        link = self._links.get(number, _Link())
        self._links[number] = _Link(before=link.before, held=[] if others else None)
        mine = [stream for stream in link.before if stream not in self._carrier]
        self._carrier.update(dict.fromkeys(mine, number))
        for sink in self._sinks_of(mine):
            sink.connected()

    def subscribed(self, number: int, streams: Sequence[str]) -> None:
        """The venue confirmed streams on a connection."""
        link = self._links.get(number)
        if link is None or not link.up:
            return
        link.streams.update(dict.fromkeys(streams))
        link.before = dict(link.streams)
        free = [stream for stream in streams if self._carrier.get(stream, number) == number]
        fresh = [stream for stream in free if stream not in self._carrier]
        self._carrier.update(dict.fromkeys(fresh, number))
        for sink in self._sinks_of(fresh):
            sink.connected()
        self._confirmed.update(free)
        for sink in self._sinks_of(free):
            sink.subscribed()
        self._on_streams(free)
        if len(free) == len(streams):
            self._release(link)

    def unsubscribed(self, number: int, streams: Iterable[str]) -> None:
        """Nobody wanted streams on a connection any more: they moved to another one, or ended."""
        link = self._links.get(number)
        if link is None or not link.up:
            return
        for stream in streams:
            link.streams.pop(stream, None)
            link.before.pop(stream, None)
        self._bequeath(number, streams)

    def down(self, number: int) -> None:
        """A connection closed; another one that has subscribed the same streams takes over."""
        link = self._links.get(number)
        if link is None or not link.up:
            return
        link.up = False
        link.held = None
        self._bequeath(number, list(self._carrier))

    def _bequeath(self, number: int, streams: Iterable[str]) -> None:
        """Let those of `streams` that a connection carried be heard on another one that has them, or end."""
        heirs: dict[int, None] = {}
        lost = []
        for stream in [one for one in streams if self._carrier.get(one) == number]:
            heir = next((n for n, one in self._links.items() if one.up and stream in one.streams), None)
            if heir is None:
                del self._carrier[stream]
                self._confirmed.discard(stream)
                lost.append(stream)
            else:
                self._carrier[stream] = heir
                heirs[heir] = None
        for sink in self._sinks_of(lost):
            sink.disconnected()
        for heir in heirs:
            self._release(self._links[heir])

    def event(self, number: int, event: Any, read_ns: int) -> None:
        """An event came on a connection."""
        link = self._links.get(number)
        if link is not None and link.held is not None:
            link.held.append((event, read_ns))
        else:
            self._on_event(event, read_ns)

    def doubted(self, number: int) -> None:
        """A message on a connection could not be read, nor said whose it was."""
        for sink in self._sinks_of([one for one, carrier in self._carrier.items() if carrier == number]):
            sink.doubted()

    def close(self) -> None:
        """Nothing comes any more."""
        for number in list(self._links):
            self.down(number)

    def _release(self, link: _Link) -> None:
        held, link.held = link.held, None
        for event, read_ns in held or ():
            self._on_event(event, read_ns)

    def _sinks_of(self, streams: Iterable[str]) -> list[StreamSink]:
        """Return whose streams these are, each once."""
        found = (self._sinks[stream] for stream in streams if stream in self._sinks)
        return list({id(sink): sink for sink in found}.values())
