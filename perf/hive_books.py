"""Hive's way from market messages to books in shared memory, without the network: the feed's code from there on.

    recorded bytes -> MarketConnection -> Venue.parse -> VenueFeed -> BookSync, PriceLevelBook -> BookWriter, readers

Only what needs a network is replaced: the connection is given a socket that takes its pings and subscriptions and hands
in what was recorded, and the snapshots come from memory.
"""

import asyncio
import json
import os
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from hive.feed.connection import MarketConnection
from hive.feed.market import VenueFeed
from hive.feed.metrics import HISTOGRAMS_PER_VENUE, METRICS_PER_VENUE, VenueMetrics
from hive.feed.settings import VenueConfig
from hive.feed.venue import HttpAnswer
from hive.shm.book import BookDirectory, BookTable, books_size
from hive.shm.broadcast import BroadcastWriter, broadcast_size
from hive.shm.counters import Counters, counters_size
from hive.shm.instruments import InstrumentRules
from hive.shm.segment import Segment, segment_name

VERSIONS, TRADES = 4, 1 << 14
NOWHERE = "http://127.0.0.1:1"


class RecordedSocket:
    """Stands for a MarketSocket: every subscription is granted at once."""

    def __init__(self, on_message: Callable[[bytes, int], None]) -> None:
        self.on_message = on_message

    def send(self, text: str) -> None:
        """Grant a request."""
        answer = json.dumps({"result": None, "id": json.loads(text)["id"]}).encode()
        asyncio.get_running_loop().call_soon(self.on_message, answer, time.monotonic_ns())

    def ping(self, payload: bytes) -> None:
        """Take a ping."""

    def close(self) -> None:
        """End."""


class RecordedFeed(VenueFeed):
    """The feed of one venue whose connection is a RecordedSocket."""

    socket: RecordedSocket | None = None

    def follow(self, rules: InstrumentRules) -> None:
        """Follow the book and the trades of an instrument."""
        self._following.follow(rules, {"book", "trades"})

    def join(self, symbol: str, snapshot: dict[str, Any]) -> None:
        """Let a GET depth answer arrive."""
        body = json.dumps(snapshot).encode()
        answer = HttpAnswer(status=200, body=body, used_weight=-1, retry_after_s=0.0)
        instrument = self._books[symbol]
        levels = max(len(snapshot["bids"]), len(snapshot["asks"]))
        instrument.on_snapshot(instrument.sync.request(0), self.venue.snapshot(answer, levels), time.monotonic_ns())

    def _connection(self, pool: Any) -> MarketConnection:
        connection = super()._connection(pool)
        connection._open_socket = self._open
        return connection

    async def _open(self, url: str, on_message: Callable[[bytes, int], None], *_: Any, **__: Any) -> RecordedSocket:
        self.socket = RecordedSocket(on_message)
        return self.socket


class HiveBooks:
    """Books of `snapshots`, symbol -> (pair, GET depth's answer), kept by Hive's own classes."""

    def __init__(self, snapshots: dict[str, tuple[str, dict]], depth: int) -> None:
        capacity = len(snapshots)
        self._snapshots = snapshots
        self._segments: list[Segment] = []
        books = self._create("books.perf", books_size(capacity, depth, VERSIONS), "books")
        trades = self._create("trades.perf", broadcast_size(TRADES), "trades")
        counters_bytes = counters_size(METRICS_PER_VENUE, HISTOGRAMS_PER_VENUE)
        counters = Counters.create(self._create("counters.perf", counters_bytes, "counters"), METRICS_PER_VENUE)
        self.metrics = VenueMetrics(counters, "perf")
        table = BookTable(books, capacity, depth, VERSIONS)
        config = VenueConfig(0, "perf", "binance", NOWHERE, NOWHERE, silence_s=1e6, ping_interval_s=1e6)
        writer = BroadcastWriter(trades, TRADES)
        self._feed = RecordedFeed(config, table, writer, self.metrics, depth, self._told)
        self._directory = BookDirectory(books)
        self._task: asyncio.Task | None = None
        self.told: list[dict] = []

    async def start(self) -> None:
        """Follow every instrument, and join its snapshot."""
        self._task = asyncio.create_task(self._run())
        await asyncio.sleep(0)
        for symbol, (pair, _) in self._snapshots.items():
            base, quote = pair.split("-")
            numbers = (Decimal("0.00001"), Decimal("0.00001"), Decimal("0.00001"), None, Decimal(5))
            self._feed.follow(InstrumentRules(pair, symbol, base, quote, *numbers))
        while self._feed.socket is None:
            await asyncio.sleep(0)
        for symbol, (_, snapshot) in self._snapshots.items():
            self._feed.join(symbol, snapshot)

    def take(self, messages: Sequence[bytes]) -> float:
        """Process `messages`; return the CPU seconds that took."""
        on_message = self._feed.socket.on_message
        read_ns = time.monotonic_ns()  # a socket asks once for all messages of a read
        begun = time.process_time()
        for raw in messages:
            on_message(raw, read_ns)
        return time.process_time() - begun

    def top(self, pair: str) -> tuple[list, list]:
        """Return what a reader of shared memory sees, [(price, quantity), ...] of bids and of asks."""
        copy = self._directory.reader(self._directory.find(pair)).copy()
        bids = list(zip(copy.bid_px, copy.bid_qty, strict=True))
        return bids, list(zip(copy.ask_px, copy.ask_qty, strict=True))

    async def close(self) -> None:
        """End, and unlink the segments."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for segment in self._segments:
            segment.unlink()
            segment.close()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            self._feed._pool.start(group)
            await asyncio.Event().wait()

    def _told(self, message: dict) -> None:
        self.told.append(message)

    def _create(self, name: str, size: int, kind: str) -> Segment:
        segment = Segment.create(segment_name(f"{os.getpid():08x}", name, 1), size, kind=kind, epoch=1)
        self._segments.append(segment)
        return segment
