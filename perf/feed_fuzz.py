"""Feeds the feed with bad messages: real shapes, mutated, through its own connection, pool, instruments and books.

    Source (true books, true diffs) --mutate--> MarketConnection -> parse -> StreamPool -> Instrument -> shared memory
       |                                                                                                     |
       +--> Client: a plain reading of the documentation, with json and dictionaries ----- must agree -------+

Nothing here knows how the feed reads a message. The Client reads what was really sent, mutated or not, as the venue's
documentation says, strictly. A book that readers see LIVE must be the Client's at the same update id, level by level.
Where the feed is more careful than the Client (it gives a book up that the Client would keep), the Client follows.

Everything is drawn from one seed. Used by feed_faults.py, and in short by tests/feed/test_fuzz.py.
"""

import asyncio
import json
import random
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from fuzz_client import Client, read, read_snapshot
from fuzz_corpus import ANSWERS, ENDINGS, MESSAGES, SHUTDOWN, mutate, mutated_json
from fuzz_source import Source
from hive.feed.errors import MalformedMessage, VenueRefused
from hive.feed.instruments import Instrument
from hive.feed.market import VenueFeed
from hive.feed.metrics import HISTOGRAMS_PER_VENUE, METRICS_PER_VENUE, VenueMetrics
from hive.feed.settings import VenueConfig
from hive.feed.sync import Phase
from hive.feed.venue import HttpAnswer
from hive.shm.book import LIVE, BookDirectory, BookTable, books_size
from hive.shm.broadcast import BroadcastWriter, TopWriter, broadcast_size
from hive.shm.counters import Counters, counters_size
from hive.shm.instruments import InstrumentRules
from hive.shm.segment import Segment, segment_name

DEPTH = 20
SYMBOLS = (("BTC-USDT", 6_425_000, 0.01), ("ETH-USDT", 312_050, 0.01), ("DOGE-USDT", 12_450, 0.00001))
YIELD_EVERY = 256  # messages between two turns of the event loop
PAUSE_NS = 6_000_000_000  # so that a connection that is lost did not fail at once, and is opened again at once


@dataclass(slots=True)
class Tally:
    """What came of a run."""

    messages: int = 0
    crashes: int = 0
    wrong_live: int = 0
    uncounted: int = 0
    live_checks: int = 0
    malformed: int = 0
    resyncs: int = 0
    reconnects: int = 0
    lies: int = 0
    details: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Keep the first few descriptions."""
        if len(self.details) < 20:
            self.details.append(text)


class FakeSocket:
    """A market socket that answers what it is asked, and lets messages be handed in."""

    def __init__(self, on_message: Callable[[bytes, int], None], on_pong: Callable[[bytes], None]) -> None:
        self.on_message = on_message
        self.open = True
        self._on_pong = on_pong

    def send(self, text: str) -> None:
        """Grant a subscription."""
        request = json.loads(text)
        loop = asyncio.get_running_loop()
        loop.call_soon(self._answer, b'{"result":null,"id":%d}' % request["id"])

    def ping(self, payload: bytes) -> None:
        """Answer a ping."""
        asyncio.get_running_loop().call_soon(self._on_pong, payload)

    def close(self) -> None:
        """End."""
        self.open = False

    def _answer(self, raw: bytes) -> None:
        if self.open:
            self.on_message(raw, 0)


class Rig:
    """A venue's feed on real segments, its sources, and the clients that it must agree with."""

    def __init__(self, run: str, seed: int) -> None:
        self.rng = random.Random(seed)
        self.tally = Tally()
        self.sockets: list[FakeSocket] = []
        self._segments: list[Segment] = []
        self._now_ns = 10**12
        books = self._create(run, "books.fuzz", books_size(8, DEPTH, 8), "books")
        size = counters_size(METRICS_PER_VENUE, HISTOGRAMS_PER_VENUE)
        counters = self._create(run, "counters.fuzz", size, "counters")
        trades = self._create(run, "trades.fuzz", broadcast_size(1024), "trades")
        tops = self._create(run, "tops.fuzz", broadcast_size(1024), "tops")
        self.metrics = VenueMetrics(Counters.create(counters, METRICS_PER_VENUE), "fuzz")
        config = VenueConfig(0, "fuzz", "binance", "http://127.0.0.1:9", "ws://127.0.0.1:9/ws")
        self.feed = VenueFeed(
            config, BookTable(books, 8, DEPTH, 8), BroadcastWriter(trades, 1024), self.metrics, DEPTH,
            lambda message: None, tops=TopWriter(tops, 1024), clock=self._clock, open_socket=self._open,
        )
        self.directory = BookDirectory(books)
        self.sources = {source.symbol: source for source in (Source(self.rng, *one) for one in SYMBOLS)}
        self.clients = {symbol: Client() for symbol in self.sources}
        self.symbols = frozenset(self.sources)
        self._readers: dict[str, Any] = {}
        self._instruments: dict[str, Instrument] = {}
        self._seen = dict.fromkeys(self.sources, -1)
        self._trails: dict[str, deque[str]] = {symbol: deque(maxlen=6) for symbol in self.sources}

    async def fuzz(self, messages: int) -> Tally:
        """Hand in so many messages."""
        async with asyncio.TaskGroup() as group:
            self._start(group)
            await self._until_subscribed()
            last = b"{}"
            while self.tally.messages < messages:
                if self.tally.messages % YIELD_EVERY == 0:
                    await self._breathe()
                source = self.rng.choice(list(self.sources.values()))
                last = self._step(source, last)
            self.tally.malformed = self.metrics.malformed.value
            self.tally.resyncs = self.metrics.resyncs.value
            for task in self._tasks:
                task.cancel()
        return self.tally

    def _trail(self, symbol: str, text: str) -> None:
        """Keep what happened to a book lately, for a description."""
        sync, client = self._instruments[symbol].sync, self.clients[symbol]
        where = f"feed {sync.phase.name} {sync.last_id}, client {client.live} {client.last}"
        self._trails[symbol].append(f"{where}, source {self.sources[symbol].id}: {text}")

    def close(self) -> None:
        """Give the memory back."""
        self._readers.clear()
        for segment in self._segments:
            segment.unlink()
            segment.close()

    # --- one step

    def _step(self, source: Source, last: bytes) -> bytes:
        """Hand in one message, or one answer; return the message."""
        rng, chance = self.rng, self.rng.random()
        if chance < 0.45:
            raw = _encoded(source.diff())
        elif chance < 0.70:
            raw = mutate(rng, source.diff())  # in its place
        elif chance < 0.86:
            raw = mutate(rng, self._addressed(self._any(), source))
        elif chance < 0.92:
            raw = _encoded(self._addressed(self._any(), source))
        elif chance < 0.94:
            raw = last
        elif chance < 0.95:
            source.diff()  # lost
            raw = _encoded(source.diff())
        else:
            self._answer(source)
            raw = _encoded(source.diff())
        self._hand_in(raw)
        return raw

    def _any(self) -> dict[str, Any]:
        """Return a message of the corpus; those that end a connection come seldom, because opening it takes time."""
        return self.rng.choice(ENDINGS if self.rng.random() < 0.002 else MESSAGES)

    def _addressed(self, message: dict[str, Any], source: Source) -> dict[str, Any]:
        """Return a message of the corpus as one of a followed symbol, sometimes."""
        if "s" in message and self.rng.random() < 0.7:
            message = {**message, "s": source.symbol}
            if message.get("e") == "depthUpdate":
                message |= {"U": source.id + 1, "u": source.id + 1, "b": [], "a": []}
                source.id += 1
        return message

    def _hand_in(self, raw: bytes) -> None:
        event = read(raw, self.symbols)
        for socket in [one for one in self.sockets if one.open]:
            before = self.metrics.messages.value
            self.tally.messages += 1
            try:
                socket.on_message(raw, self._now_ns)
            except Exception as error:  # noqa: BLE001  any is a failure of the feed
                self.tally.crashes += 1
                self.tally.note(f"crash: {error!r} by {raw[:200]!r}\n{traceback.format_exc(limit=-3)}")
            if self.metrics.messages.value != before + 1:
                self.tally.uncounted += 1
            if event is not None:
                self.clients[event["s"]].on_diff(event)
                self._trail(event["s"], f"{raw[:300]!r}")
            self._after(raw)

    def _answer(self, source: Source) -> None:
        """Let the venue's protocol read an answer that is not as it should be."""
        rng, venue = self.rng, self.feed.venue
        kind = rng.choice(("depth", "klines", "exchangeInfo", "error"))
        body = ANSWERS[kind] if kind != "depth" else source.snapshot()
        answer = HttpAnswer(rng.choice((200, 200, 200, 400, 418, 429, 503)), mutated_json(rng, body), -1, 0.0)
        notice = mutate(rng, SHUTDOWN)  # only read: obeyed, it would have the connection replaced each time
        for method in (
            lambda: venue.snapshot(answer, 100), lambda: venue.klines(answer), lambda: venue.rules(answer),
            lambda: venue.parse(notice),
        ):
            try:
                method()
            except (MalformedMessage, VenueRefused):
                pass
            except Exception as error:  # noqa: BLE001
                self.tally.crashes += 1
                self.tally.note(f"crash: {error!r} by answer {answer.body[:200]!r}\n{traceback.format_exc(limit=-3)}")

    def _after(self, raw: bytes) -> None:
        """Compare every book with its client's, and serve the snapshots that are due."""
        for symbol, client in self.clients.items():
            instrument = self._instruments[symbol]
            self._follow(client, instrument)
            if instrument.sync.snapshot_due_ns is not None:
                self._serve(symbol, instrument, client)
            self._compare(symbol, client, raw)
            if client.live and client.last > self.sources[symbol].id:
                self.tally.lies += 1  # a message that no client can tell from a true one took it into the future
                instrument.resync()
                client.give_up()
                self._serve(symbol, instrument, client)

    def _serve(self, symbol: str, instrument: Instrument, client: Client) -> None:
        source, venue = self.sources[symbol], self.feed.venue
        ticket = instrument.sync.request(self._clock())
        body = _encoded(source.snapshot())
        if self.rng.random() < 0.2:
            body = mutated_json(self.rng, source.snapshot())
        try:
            snapshot = venue.snapshot(HttpAnswer(200, body, -1, 0.0), 100)
            instrument.on_snapshot(ticket, snapshot, self._now_ns)
        except (MalformedMessage, VenueRefused):
            instrument.sync.snapshot_failed(ticket, self._clock())
            return
        except Exception as error:  # noqa: BLE001
            self.tally.crashes += 1
            self.tally.note(f"crash: {error!r} by snapshot {body[:200]!r}\n{traceback.format_exc(limit=-3)}")
            return
        self._trail(symbol, f"snapshot {body[:200]!r}")
        read_it = read_snapshot(body)
        if read_it is not None:
            client.on_snapshot(read_it)
        self._follow(client, instrument)

    @staticmethod
    def _follow(client: Client, instrument: Instrument) -> None:
        """Let the client forget what the feed, which is more careful, has given up."""
        sync = instrument.sync
        if sync.phase is not Phase.LIVE and (client.live or not sync._buffer):
            client.give_up()

    def _compare(self, symbol: str, client: Client, raw: bytes) -> None:
        """Count a LIVE book that is not the client's."""
        reader = self._readers[symbol]
        if reader.state != LIVE:
            return
        version = reader.version
        top = reader.top()
        right = client.live and top is not None and top[4] == client.last
        if right and version == self._seen[symbol]:
            return
        self._seen[symbol] = version
        self.tally.live_checks += 1
        if right:
            book = reader.copy()
            bids, asks = client.top(DEPTH)
            right = (
                list(zip(book.bid_px, book.bid_qty, strict=True)) == bids
                and list(zip(book.ask_px, book.ask_qty, strict=True)) == asks
            )
        if not right:
            self.tally.wrong_live += 1
            claim = f"wrong: {symbol} is LIVE at {top and top[4]}, client {client.last} live={client.live}"
            self.tally.note("\n   ".join([f"{claim}, by {raw[:300]!r}", *self._trails[symbol]]))
            self._instruments[symbol].resync()
            client.give_up()
            self._serve(symbol, self._instruments[symbol], client)

    # --- the feed around it

    def _start(self, group: asyncio.TaskGroup) -> None:
        feed = self.feed
        tasks: list[asyncio.Task[Any]] = []

        class Group:
            """Passes tasks on, and keeps them to be cancelled."""

            def create_task(self, work: Any) -> asyncio.Task[Any]:
                tasks.append(group.create_task(work))
                return tasks[-1]

        self._tasks = tasks
        feed._pool.start(Group())
        for source in self.sources.values():
            base, quote = source.pair.split("-")
            step = Decimal("0.001")
            rules = InstrumentRules(source.pair, source.symbol, base, quote, step, step, step, None, Decimal(5))
            feed._following.follow(rules, {"book", "trades", "tops"})
            self._instruments[source.symbol] = feed._books[source.symbol]
            self._readers[source.symbol] = self.directory.reader(self.directory.find(source.pair))

    async def _until_subscribed(self) -> None:
        while not all(one.sync.snapshot_due_ns is not None for one in self._instruments.values()):
            await asyncio.sleep(0.005)
        for symbol, instrument in self._instruments.items():
            self._serve(symbol, instrument, self.clients[symbol])

    async def _breathe(self) -> None:
        """Let the feed's tasks run: connections that a message ended or had replaced are opened."""
        self._now_ns += PAUSE_NS
        for _ in range(20):
            await asyncio.sleep(0)
        self.tally.reconnects += not any(one.open for one in self.sockets)
        while not any(one.open for one in self.sockets):
            await asyncio.sleep(0.005)
        self.sockets = [one for one in self.sockets if one.open]
        for symbol, client in self.clients.items():
            instrument = self._instruments[symbol]
            self._follow(client, instrument)
            if instrument.sync.snapshot_due_ns is not None:
                self._serve(symbol, instrument, client)

    async def _open(self, url: str, on_message: Any, on_closed: Any, *, on_pong: Any, **_: Any) -> FakeSocket:
        self.sockets.append(FakeSocket(on_message, on_pong))
        return self.sockets[-1]

    def _clock(self) -> int:
        self._now_ns += 1_000
        return self._now_ns

    def _create(self, run: str, name: str, size: int, kind: str) -> Segment:
        segment = Segment.create(segment_name(run, name, 1), size, kind=kind, epoch=1)
        self._segments.append(segment)
        return segment


def _encoded(message: Any) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()
