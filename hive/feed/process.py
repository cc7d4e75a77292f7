"""The feed process: `python -m hive.feed.process --channel-fd N`, started by the supervisor.

    boot (down) -> segments books.<venue>, trades.<venue>, tops.<venue>, counters.feed -> ready (up)
    want (down) -> books come alive, and go when nobody wants them any more
    reread_rules (down) -> the venue's rules are read again
    stop (down) or SIGTERM -> books STALE, segments unlinked, stopped (up), exit 0
    end of the channel -> the same at once

Exit codes: 0 asked to stop, 3 cannot boot (restarting would not help), anything else is a death to be restarted from.
"""

import argparse
import asyncio
import gc
import logging
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hive.feed.candle_desk import CandleDesk
from hive.feed.errors import BootError
from hive.feed.heart import Heart
from hive.feed.lag import SUSPENDED_NS, Beat, judge
from hive.feed.market import VENUES, VenueFeed
from hive.feed.metrics import HISTOGRAMS_PER_VENUE, METRICS_PER_VENUE, VenueMetrics
from hive.feed.recorder import Recorder
from hive.feed.recording import Header
from hive.feed.replay import ReplayFeed
from hive.feed.selector import WakeupSelector
from hive.feed.settings import VenueConfig
from hive.shm.atomics import boottime_ns
from hive.shm.book import BookTable, books_size
from hive.shm.broadcast import BroadcastWriter, TopWriter, broadcast_size
from hive.shm.channel import Channel, connect_fd
from hive.shm.counters import Counters, counters_size
from hive.shm.errors import ShmError
from hive.shm.heap import give_back
from hive.shm.segment import Segment, segment_name
from hive.shm.tracing import allow_tracing

BEAT_NS = 30_000_000
BEATS_IN_TIME = 3  # at least, before readers take the feed for silent
BOOT_WITHIN_S = 30.0
STALE_AFTER_MS = 80.0
CANDLES = 1_000
EXIT_STOPPED = 0
EXIT_DIED = 1
EXIT_CANNOT_BOOT = 3
YOUNG_OBJECTS = 50_000  # a message makes a list per level and frees it by count: nothing for the collector to find

log = logging.getLogger("hive.feed")


@dataclass(frozen=True, slots=True)
class FeedBoot:
    """The boot message, checked."""

    run: str
    epoch: int
    depth: int
    versions: int
    capacity: int
    trades_capacity: int
    venues: tuple[VenueConfig, ...]
    stale_after_ms: float
    candles: int
    lock_memory: str
    huge_pages: str
    log_file: str
    log_level: str

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> "FeedBoot":
        """Read a boot message. Raises BootError naming what is missing or wrong."""
        try:
            venues = tuple(
                VenueConfig(**{name: one[name] for name in VenueConfig.__slots__ if name in one})
                for one in message["venues"]
            )
            if not venues:
                raise BootError("boot: venues must name at least one")
            return cls(
                run=message["run"],
                epoch=int(message["epoch"]),
                depth=int(message["depth"]),
                versions=int(message["versions"]),
                capacity=int(message["capacity"]),
                trades_capacity=int(message["trades_capacity"]),
                venues=venues,
                stale_after_ms=float(message.get("stale_after_ms", STALE_AFTER_MS)),
                candles=int(message.get("candles", CANDLES)),
                lock_memory=str(message.get("lock_memory", "off")),
                huge_pages=str(message.get("huge_pages", "off")),
                log_file=message.get("log_file") or "",
                log_level=str(message.get("log_level") or "INFO").upper(),
            )
        except KeyError as missing:
            raise BootError(f"boot: {missing} is missing") from None
        except (TypeError, ValueError) as error:
            raise BootError(f"boot: {error}") from None


class FeedProcess:
    """The segments of one feed epoch and the venues that write them; `selector` is that of the loop that runs it."""

    def __init__(self, boot: FeedBoot, channel: Channel, selector: WakeupSelector) -> None:
        self._boot = boot
        self._channel = channel
        self._selector = selector
        self._segments: list[Segment] = []
        self._feeds: dict[str, VenueFeed] = {}
        self._recorders: list[Recorder] = []
        self._ready: dict[str, Any] = {}
        self._stopping = asyncio.Event()
        self._limit_ns = int(boot.stale_after_ms * 1e6)
        every_ns = min(BEAT_NS, self._limit_ns // BEATS_IN_TIME)
        self.heart = Heart(every_ns=every_ns, look_after_ns=min(self._limit_ns, SUSPENDED_NS))

    def open(self) -> None:
        """Create every segment. Raises ShmError (no room, name taken) or ValueError; then close() removes the rest."""
        boot = self._boot
        count = len(boot.venues)
        counters_capacity = METRICS_PER_VENUE * count
        counters_bytes = counters_size(counters_capacity, HISTOGRAMS_PER_VENUE * count)
        counters_segment = self._create("counters.feed", counters_bytes, "counters")
        counters = Counters.create(counters_segment, counters_capacity)
        self._ready = {"type": "ready", "counters": counters_segment.name, "venues": []}
        for venue in boot.venues:
            books_bytes = books_size(boot.capacity, boot.depth, boot.versions, venue.depths.values())
            books = self._create(f"books.{venue.name}", books_bytes, "books")
            trades = self._create(f"trades.{venue.name}", broadcast_size(boot.trades_capacity), "trades")
            tops = self._create(f"tops.{venue.name}", broadcast_size(boot.trades_capacity), "tops")
            metrics = VenueMetrics(counters, venue.name)
            recorder = _recorder(venue, metrics)
            feed = self._feeds[venue.name] = (ReplayFeed if venue.mode == "replay" else VenueFeed)(
                venue,
                BookTable(books, boot.capacity, boot.depth, boot.versions),
                BroadcastWriter(trades, boot.trades_capacity),
                metrics,
                boot.depth,
                self._channel.send,
                tops=TopWriter(tops, boot.trades_capacity),
                woke_ns=self._selector.last_ns,
                read_ns=self._selector.read_ns,
                tap=recorder,
            )
            feed.candles = CandleDesk(
                venue.name, feed.venue, boot.candles, self._create, self._remove, self._channel.send, metrics,
                wall_ns=feed.wall_ns,
            )  # fmt: skip
            if recorder is not None:
                recorder.tell, recorder.on_incomplete = feed.tell, feed.refresh
                self._recorders.append(recorder)
            names = {"books": books.name, "trades": trades.name, "tops": tops.name}
            self._ready["venues"].append({"name": venue.name, **names})

    async def run(self) -> None:
        """Serve until asked to stop, or the supervisor is gone. A bug in a venue's tasks ends the process."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        self._selector.beat(self.heart, self._beat_late, loop)
        self.heart.beat(time.monotonic_ns(), boottime_ns())
        self._channel.send(self._ready)
        tasks = [asyncio.create_task(feed.run(), name=name) for name, feed in self._feeds.items()]
        for recorder in self._recorders:
            recorder.tell("info", f"recording to {recorder.path}")
            tasks.append(asyncio.create_task(recorder.run()))
        stopping = asyncio.create_task(self._stopping.wait())
        tasks += [stopping, asyncio.create_task(self._obey())]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for feed in self._feeds.values():
            feed.disconnect()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in done:
            task.result()
        self._channel.send({"type": "stopped"})

    def close(self) -> None:
        """Finish recordings and unlink every segment of this epoch."""
        self._selector.beat(None)
        self.heart.keep(())
        for recorder in self._recorders:
            recorder.close()
        self._recorders.clear()
        self._feeds.clear()
        for segment in self._segments:
            segment.unlink()
            segment.close()
        self._segments.clear()

    async def _obey(self) -> None:
        """Follow the supervisor's messages until it says stop, or is gone."""
        while (message := await self._channel.recv()) is not None:
            kind = message.get("type")
            if kind == "stop":
                return
            if kind == "want":
                self._want(message)
            elif kind == "reread_rules":
                self._feeds[message["venue"]].reread_rules()
            elif kind == "budget":
                self._feeds[message["venue"]].use_budget(message["segment"])
            else:
                log.warning("message ignored: type %r", kind)

    def _want(self, message: dict[str, Any]) -> None:
        """Pass a wish list on."""
        name = message["venue"]
        feed = self._feeds.get(name)
        if feed is None:
            self._channel.send({"type": "event", "level": "error", "text": f"feed: no venue is named {name!r}"})
        else:
            feed.want(message["who"], [(pair, kind) for pair, kind in message["wants"]])

    def _beat_late(self) -> None:
        """Beat after a long time without; if readers took the feed for dead, first mark all books as not live."""
        now_ns, boot_ns = time.monotonic_ns(), boottime_ns()
        mono, boot = now_ns - self.heart.last_ns, boot_ns - self.heart.last_boot_ns
        beat = judge(mono, boot, self._limit_ns)
        if beat is not Beat.ON_TIME:
            for feed in self._feeds.values():
                feed.late(beat)
            log.warning("the loop came %.0f ms late (%s)", max(mono, boot) / 1e6, beat.name)
        self.heart.beat(now_ns, boot_ns)

    def _create(self, name: str, size: int, kind: str) -> Segment:
        boot = self._boot
        segment = Segment.create(
            segment_name(boot.run, name, boot.epoch),
            size,
            kind=kind,
            epoch=boot.epoch,
            lock=boot.lock_memory,
            huge=boot.huge_pages,
        )
        self._segments.append(segment)
        self.heart.keep([*self.heart.memories, segment.memory()])
        log.info("segment %s: %d kB, memory %s", segment.name, segment.size >> 10, segment.memory_report)
        return segment

    def _remove(self, segment: Segment) -> None:
        at = self._segments.index(segment)
        del self._segments[at]
        self.heart.keep([*self.heart.memories[:at], *self.heart.memories[at + 1 :]])
        segment.unlink()
        segment.close()


def _recorder(venue: VenueConfig, metrics: VenueMetrics) -> Recorder | None:
    """Return a venue's recorder, None when it is not to be recorded. Raises OSError."""
    if not venue.record:
        return None
    header = Header(
        venue.kind, venue.rest_url, venue.ws_url, time.time_ns(), time.monotonic_ns(), tuple(venue.pairs)
    )
    recorder = Recorder(Path(venue.record), header, VENUES[venue.kind](venue.rest_url))
    recorder.count = metrics.set_recording
    return recorder


def main(arguments: list[str] | None = None) -> int:
    """Run the feed on an inherited control channel; return the exit code."""
    parser = argparse.ArgumentParser(prog="hive.feed.process", description="Hive's market data process")
    parser.add_argument("--channel-fd", type=int, required=True, help="the control channel's descriptor")
    channel = connect_fd(parser.parse_args(arguments).channel_fd)
    try:
        message = channel.recv_blocking(BOOT_WITHIN_S)
    except TimeoutError:
        return EXIT_CANNOT_BOOT
    if message is None:
        return EXIT_STOPPED
    selector = WakeupSelector()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        return runner.run(_serve(message, channel, selector))


async def _serve(message: dict[str, Any], channel: Channel, selector: WakeupSelector) -> int:
    process = None
    try:
        boot = FeedBoot.from_message(message)
        _log_to(boot)
        if message.get("profiling"):
            allow_tracing()
        process = FeedProcess(boot, channel, selector)
        process.open()
    except (BootError, ShmError, ValueError, OSError) as error:
        channel.send({"type": "fatal", "message": f"feed: {error}"})
        if process is not None:
            process.close()
        return EXIT_CANNOT_BOOT
    gc.collect()
    gc.freeze()
    give_back()
    gc.set_threshold(YOUNG_OBJECTS)
    try:
        await process.run()
    except Exception:
        log.exception("the feed failed")
        return EXIT_DIED
    finally:
        process.close()
    return EXIT_STOPPED


def _log_to(boot: FeedBoot) -> None:
    if boot.log_file:
        Path(boot.log_file).parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        filename=boot.log_file or None,
        level=boot.log_level,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )


if __name__ == "__main__":
    sys.exit(main())
