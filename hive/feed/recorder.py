"""Writes a venue's raw market data to a file while it arrives: taps on connections and requests, a writing thread.

    tap -> block in memory --full, or FLUSH_S old--> queue, bounded --> thread: compress, write

The event loop appends bytes to a list and never waits: compressing and writing happen in the thread, which holds no
lock of Python's while it does. When the thread is behind by ROOM_BYTES, whole blocks are dropped and counted, and the
file says how many records are missing, and where; `on_incomplete` is called, so that what follows can be replayed.
"""

import asyncio
import json
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from hive.feed.recording import (
    CANDLES,
    HEAD_BYTES,
    OTHER,
    RULES,
    SNAPSHOT,
    Header,
    Kind,
    file_head,
    pack_answer,
    pack_block,
    record_head,
    target_of,
)
from hive.feed.venue import HttpAnswer, Request, Venue

BLOCK_BYTES = 256 << 10
ROOM_BYTES = 64 << 20
FLUSH_S = 0.5
LEVEL = 1
CLOSE_WITHIN_S = 10.0
_NAMES = 1_000

log = logging.getLogger(__name__)


class ConnectionTap(Protocol):
    """Who is given what one market connection brings."""

    def on_up(self) -> None:
        """It is open."""

    def on_down(self, reason: str) -> None:
        """It is closed."""

    def on_subscribed(self, streams: Iterable[str]) -> None:
        """The venue has confirmed these streams on it."""

    def on_unsubscribed(self, streams: Iterable[str]) -> None:
        """These streams, confirmed before, are not wanted on it any more."""

    def on_message(self, data: bytes, read_ns: int) -> None:
        """A whole message, read at `read_ns` (monotonic)."""


class Tap(Protocol):
    """Who is given all that a venue sends."""

    def connection(self) -> ConnectionTap:
        """Return the tap of one more connection."""

    def on_answer(self, request: Request, answer: HttpAnswer) -> None:
        """An HTTP answer, whatever its status."""


def open_new(path: Path) -> tuple[Path, int]:
    """Create a file for its owner alone; return its path and descriptor.

    One that exists is kept: the new one has a number behind its name. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    for number in range(_NAMES):
        fresh = path.with_name(f"{path.name}.{number}") if number else path
        try:
            return fresh, os.open(fresh, flags, 0o600)
        except FileExistsError:
            continue
    raise FileExistsError(f"{path} and {_NAMES - 1} files named after it exist already")


def purpose_of(venue: Venue, url: str) -> str:
    """Return what a request of the feed is for."""
    path = urlsplit(url).path
    examples = {
        RULES: venue.all_rules_request(),
        SNAPSHOT: venue.snapshot_request("", venue.snapshot_limits(1)[0]),
        CANDLES: venue.klines_request("", min(venue.intervals), 1),
    }
    return next((purpose for purpose, request in examples.items() if urlsplit(request.url).path == path), OTHER)


@dataclass(slots=True)
class RecorderState:
    """What has become of a recording so far."""

    records: int = 0
    dropped: int = 0
    bytes: int = 0
    failure: str = ""


class Recorder:
    """Records one venue to `path`; a Tap.

    Args:
        path: where; see open_new().
        header: what the file says of itself.
        venue: tells what requests are for.
        room_bytes: what may wait for the thread.

    `on_incomplete` is called in the event loop after something was dropped, when there is room again; `tell` is given
    (level, text) of what the operator wants to know; `count` is given how many records went to the file, its bytes and
    how many were dropped, every FLUSH_S.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(
        self,
        path: Path,
        header: Header,
        venue: Venue,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        room_bytes: int = ROOM_BYTES,
    ) -> None:
        self.path, fd = open_new(path)
        self.state = RecorderState()
        self._file = os.fdopen(fd, "wb", buffering=0)
        self._venue = venue
        self._clock = clock
        self.on_incomplete: Callable[[], None] = _nothing
        self.tell: Callable[[str, str], None] = _nothing
        self.count: Callable[[int, int, int], None] = _nothing
        self._told_failure = False
        self._room_bytes = room_bytes
        self._started_ns = header.started_ns
        self._connections = 0
        self._streams: dict[int, dict[str, None]] = {}  # of the connections that are up
        self._lost = 0  # records that no block tells of yet
        self._queued = 0  # bytes that were given to the thread
        self._done = 0  # and that it has written
        self._queue: queue.SimpleQueue[tuple[list[bytes], int, int, int, int] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name=f"record {self.path.name}", daemon=True)
        self._fresh_block()
        self._file.write(file_head(header))
        self._thread.start()

    # --- what arrives

    def connection(self) -> "RecordedConnection":
        """Return the tap of one more connection."""
        self._connections += 1
        return RecordedConnection(self, self._connections)

    def on_answer(self, request: Request, answer: HttpAnswer) -> None:
        """Record an HTTP answer; the query of a request is kept when it says no more than what is asked for."""
        purpose = purpose_of(self._venue, request.url)
        target = urlsplit(request.url).path if purpose == OTHER else target_of(request.url)
        self.add(Kind.ANSWER, 0, self._clock(), pack_answer(purpose, target, answer))

    def add(self, kind: Kind, connection: int, at_ns: int, data: bytes) -> None:
        """Record something that happened at `at_ns` (monotonic)."""
        ns = at_ns - self._started_ns
        self._parts += (record_head(kind, connection, len(data), ns), data)
        self._size += len(data) + HEAD_BYTES
        self._count += 1
        self._kinds |= 1 << kind
        self._first_ns = min(self._first_ns, ns)
        self._last_ns = max(self._last_ns, ns)
        if self._size >= BLOCK_BYTES:
            self.flush()

    # --- its life

    async def run(self) -> None:
        """Hand over what is young as well, every FLUSH_S, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_S)
            self.flush()
            if self.state.failure and not self._told_failure:
                self._told_failure = True
                self.tell("error", f"the recording ended: {self.state.failure}")
            self.count(self.state.records, self.state.bytes, self.state.dropped)

    def flush(self) -> None:
        """Give what was recorded to the thread, or drop it when that is too far behind."""
        if not self._count:
            return
        if self.state.failure or self._queued - self._done + self._size > self._room_bytes:
            fresh = self._count - self._told
            self.state.dropped += fresh
            self._lost = self._announced + fresh
            self._fresh_block()
            return
        self.state.records += self._count
        self._queued += self._size
        self._queue.put((self._parts, self._count, self._kinds, self._first_ns, self._last_ns))
        lost = self._announced
        self._fresh_block()
        if lost:
            self.tell("warning", f"the recording lost {lost} records: its file could not be written fast enough")
            self.on_incomplete()

    def close(self) -> None:
        """Write what is left and an end mark; a thread that does not come to an end is left behind."""
        self.flush()
        total = {"records": self.state.records, "dropped": self.state.dropped}
        self.add(Kind.END, 0, self._clock(), json.dumps(total).encode())
        self.flush()
        self._queue.put(None)
        self._thread.join(CLOSE_WITHIN_S)
        if self._thread.is_alive():
            log.error("%s: the recording could not be finished within %g s", self.path, CLOSE_WITHIN_S)

    # --- inside

    def _fresh_block(self) -> None:
        """Begin a block; after a loss it says so first, and how connections stand."""
        self._parts: list[bytes] = []
        self._size = self._count = self._kinds = 0
        self._told = self._announced = 0  # records at its begin that tell of a loss; how many were lost
        self._first_ns, self._last_ns = 1 << 62, 0
        if self._lost:
            lost = self._announced = self._lost
            self._lost = 0
            now_ns = self._clock()
            self.add(Kind.DROPPED, 0, now_ns, json.dumps({"records": lost}).encode())
            for number, streams in self._streams.items():
                self.add(Kind.UP, number, now_ns, b"")
                self.add(Kind.SUBSCRIBED, number, now_ns, json.dumps(list(streams)).encode())
            self._told = self._count

    def _write(self) -> None:
        """Compress and write blocks until told to end; the thread's function."""
        while (block := self._queue.get()) is not None:
            parts, count, kinds, first_ns, last_ns = block
            raw = b"".join(parts)
            try:
                if not self.state.failure:
                    packed = pack_block(raw, count, kinds, first_ns, last_ns, LEVEL)
                    self._write_all(packed)
                    self.state.bytes += len(packed)
            except OSError as error:
                self.state.failure = f"{self.path}: {error.strerror}"
                log.error("the recording ends here: %s", self.state.failure)
            self._done += len(raw)
        self._file.close()

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]


def _nothing(*_: object) -> None:
    """What nobody wants to know."""


class RecordedConnection:
    """The tap of one connection; from Recorder.connection()."""

    def __init__(self, recorder: Recorder, number: int) -> None:
        self._recorder = recorder
        self._number = number

    def on_up(self) -> None:
        """Record that it is open."""
        self._recorder._streams[self._number] = {}
        self._recorder.add(Kind.UP, self._number, self._recorder._clock(), b"")

    def on_down(self, reason: str) -> None:
        """Record that it is closed."""
        self._recorder._streams.pop(self._number, None)
        self._recorder.add(Kind.DOWN, self._number, self._recorder._clock(), reason.encode())

    def on_subscribed(self, streams: Iterable[str]) -> None:
        """Record what the venue sends on it from now on."""
        streams = list(streams)
        self._recorder._streams[self._number].update(dict.fromkeys(streams))
        self._recorder.add(Kind.SUBSCRIBED, self._number, self._recorder._clock(), json.dumps(streams).encode())

    def on_unsubscribed(self, streams: Iterable[str]) -> None:
        """Record what nobody wants on it any more."""
        streams = list(streams)
        for stream in streams:
            self._recorder._streams[self._number].pop(stream, None)
        self._recorder.add(Kind.UNSUBSCRIBED, self._number, self._recorder._clock(), json.dumps(streams).encode())

    def on_message(self, data: bytes, read_ns: int) -> None:
        """Record a message."""
        self._recorder.add(Kind.MESSAGE, self._number, read_ns, data)
