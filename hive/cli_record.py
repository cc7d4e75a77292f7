"""`hive record`: a feed process of its own that writes what a venue sends to a file; `--info` shows what a file holds.

The public addresses of a venue serve market data without a key. Nothing is left when it ends: no process, no segment.
"""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import click

from hive.cli_errors import CONFIG, ERROR, NOT_FOUND, TIMEOUT, Failure
from hive.entries import PAIR
from hive.feed.demand import known_kind
from hive.feed.recording import Kind, Recording, RecordingError, Summary, replay_messages
from hive.shm.channel import Channel
from hive.shm.counters import CountersReader
from hive.shm.segment import Segment, sweep

# The addresses that serve nothing but public market data: developers.binance.com, general information on base endpoints
PUBLIC = {"binance": ("https://data-api.binance.vision", "wss://data-stream.binance.vision/ws")}
READY_WITHIN_S = 30.0
STOP_WITHIN_S = 30.0
TERMINAL_EVERY_S, PIPE_EVERY_S = 1.0, 10.0
TRADES_CAPACITY = 64  # nobody reads the segments: they are as small as may be
LOG_LINES, TAIL_BYTES = 20, 1 << 16


@dataclass(frozen=True, slots=True)
class RecordOptions:
    """The options of `hive record`; out None: a name made of venue and time."""

    venue: str
    pairs: tuple[str, ...]
    kinds: tuple[str, ...]
    depth: int = 50
    duration_s: float | None = None
    out: Path | None = None
    rest_url: str | None = None
    ws_url: str | None = None


def record(options: RecordOptions) -> None:
    """Record until the time is over, ctrl-C or SIGTERM. Raises Failure."""
    for kind in options.kinds:
        if not known_kind(kind) or kind == "tops":
            raise Failure(f"--kinds must be of book, trades and candles:INTERVAL, was {kind!r}", CONFIG)
    for pair in options.pairs:
        if not PAIR.fullmatch(pair):
            raise Failure(f"--pairs must be like BTC-USDT,ETH-USDT, was {pair!r}", CONFIG)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    out = (options.out or Path(f"{options.venue}-{stamp}.rec")).absolute()
    if out.exists():
        raise Failure(f"{out} exists: a recording is never written over")
    if not out.parent.is_dir():
        raise Failure(f"there is no folder {out.parent}")
    with tempfile.TemporaryFile() as log:  # it has no name, so that not even kill -9 leaves it
        session = _Session(options, out, log)
        try:
            asyncio.run(session.run())
        finally:
            session.close()
            messages = _messages(out)
    if not messages:
        raise Failure("nothing was recorded", ERROR)
    found = Recording(out).summary()
    click.echo(f"{out}: {messages} messages in {found.last_ns / 1e9:.1f} s, {_size(found.file_bytes)}")
    if not found.complete:
        click.echo(f"warning: it is not complete: {completeness(found).removeprefix('no: ')}", err=True)


def info(path: Path) -> None:
    """Print what a recording holds. Raises Failure when it cannot be read."""
    if path.is_fifo():
        raise Failure(f"{path} must be a regular file")  # nobody may ever write to it
    try:
        recording = Recording(path)
        found = recording.summary()
    except RecordingError as error:
        raise Failure(str(error)) from None
    header = recording.header
    began = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(header.started_wall_ns // 1_000_000_000))
    answers = ", ".join(f"{count} {purpose}" for purpose, count in sorted(found.answers.items()))
    counts = {kind: found.counts.get(kind, 0) for kind in Kind}
    for name, text in (
        ("file", f"{path}, {_size(found.file_bytes)} ({_size(found.raw_bytes)} of data)"),
        ("venue", f"{header.kind} at {header.rest_url}, {header.ws_url}"),
        ("recorded", f"{began}, {found.last_ns / 1e9:.1f} s"),
        ("streams", f"{len(found.streams)}: {', '.join(found.streams)}"),
        ("messages", f"{counts[Kind.MESSAGE]} on connections opened {counts[Kind.UP]} times"),
        ("answers", f"{counts[Kind.ANSWER]}{f': {answers}' if answers else ''}"),
        ("complete", completeness(found)),
    ):
        click.echo(f"{name:<10}{text}")


def completeness(found: Summary) -> str:
    """Return in words whether anything is missing from a recording."""
    missing = []
    if found.dropped:
        missing.append(f"{found.dropped} records were dropped while it was recorded")
    if found.torn_bytes:
        missing.append(f"torn: {found.torn_bytes} bytes at the end cannot be read")
    if not found.ended:
        missing.append("the recorder was killed")
    return f"no: {'; '.join(missing)}" if missing else "yes"


class _Session:
    """A feed process that records, and what it says."""

    def __init__(self, options: RecordOptions, out: Path, log: BinaryIO) -> None:
        self._options = options
        self._out = out
        self._log = log
        self._run = secrets.token_hex(4)
        self._stop = asyncio.Event()
        self._counters: Segment | None = None
        self._channel, theirs = Channel.pair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "hive.feed.process", "--channel-fd", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,  # ctrl-C reaches this process alone, which tells the feed to stop
            )

    async def run(self) -> None:
        """Boot, wish, show progress, stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop.set)
        self._channel.send(self._boot())
        ready = await self._message("ready", READY_WITHIN_S)
        self._counters = Segment.open(ready["counters"], kind="counters")
        wants = [[pair, kind] for pair in self._options.pairs for kind in self._options.kinds]
        self._channel.send({"type": "want", "venue": self._options.venue, "who": "record", "wants": wants})
        listening = asyncio.create_task(self._listen())
        showing = asyncio.create_task(self._show())
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait(
                [listening, stopping], timeout=self._options.duration_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            showing.cancel()
            _clear_line()
        if listening.done():
            listening.result()
        listening.cancel()
        await asyncio.wait([listening, showing])
        self._channel.send({"type": "stop"})
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_WITHIN_S):
                await self._ended()

    def close(self) -> None:
        """End the process if it still lives, and let nothing of it stay."""
        if self._counters is not None:
            self._counters.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._channel.close()
        sweep(self._run)

    def _boot(self) -> dict[str, Any]:
        options = self._options
        rest_url, ws_url = PUBLIC[options.venue]
        rest_url, ws_url = options.rest_url or rest_url, options.ws_url or ws_url
        click.echo(f"recording {', '.join(options.kinds)} of {', '.join(options.pairs)} at {ws_url} to {self._out}")
        venue = {
            "index": 0,
            "name": options.venue,
            "kind": options.venue,
            "rest_url": rest_url,
            "ws_url": ws_url,
            "record": str(self._out),
            "pairs": list(options.pairs),
            "audit_interval_s": 0,
            "feed_share": 0.9,  # nobody else here spends from the limit
        }
        return {
            "type": "boot",
            "run": self._run,
            "epoch": 1,
            "depth": options.depth,
            "versions": 2,
            "capacity": len(options.pairs),
            "trades_capacity": TRADES_CAPACITY,
            "venues": [venue],
            "log_level": "WARNING",
        }

    async def _message(self, kind: str, within_s: float) -> Mapping[str, Any]:
        try:
            async with asyncio.timeout(within_s):
                while (message := await self._channel.recv()) is not None:
                    self._heed(message)
                    if message["type"] == kind:
                        return message
        except TimeoutError:
            raise Failure(f"the feed did not answer within {within_s:g} s", TIMEOUT) from None
        raise Failure(f"the feed ended:\n{self._tail()}")

    async def _listen(self) -> None:
        """Print what the feed says. Raises Failure when it ends, or nothing that was asked for exists."""
        unknown = set()
        while (message := await self._channel.recv()) is not None:
            self._heed(message)
            if message["type"] == "unknown":
                unknown.add(message["pair"])
                if unknown >= set(self._options.pairs):
                    raise Failure("nothing to record", NOT_FOUND)
        raise Failure(f"the feed ended:\n{self._tail()}")

    def _heed(self, message: Mapping[str, Any]) -> None:
        kind = message.get("type")
        if kind == "fatal":
            raise Failure(message["message"])
        if kind == "unknown":
            _clear_line()
            click.echo(f"warning: {message['reason']}", err=True)
        elif kind == "event" and message["level"] != "info":
            _clear_line()
            click.echo(f"{message['level']}: {message['text']}", err=True)

    async def _show(self) -> None:
        """Show how far it is, again and again."""
        terminal = sys.stdout.isatty()
        reader = CountersReader(self._counters)
        began = time.monotonic()
        while True:
            await asyncio.sleep(TERMINAL_EVERY_S if terminal else PIPE_EVERY_S)
            values = {name: value for (name, _), value in reader.read().values.items()}
            line = (
                f"{time.monotonic() - began:.0f} s: {values['messages']} messages, "
                f"{_size(values['bytes_received'])} received, {_size(values['recorded_bytes'])} written, "
                f"{values['record_dropped']} dropped, {values['reconnects']} reconnects"
            )
            click.echo(f"\r\x1b[K{line}" if terminal else line, nl=not terminal)

    async def _ended(self) -> None:
        while await self._channel.recv() is not None:
            pass
        while self._process.poll() is None:
            await asyncio.sleep(0.01)

    def _tail(self) -> str:
        file = self._log.fileno()
        last = os.pread(file, TAIL_BYTES, max(0, os.fstat(file).st_size - TAIL_BYTES))  # moves not where it is written
        return "\n".join(last.decode(errors="replace").splitlines()[-LOG_LINES:])


def _messages(out: Path) -> int:
    """Return how many messages were recorded; a file without any is removed."""
    try:
        count = sum(1 for _ in replay_messages(out))
    except RecordingError:
        return 0
    if not count:
        out.unlink()
    return count


def _clear_line() -> None:
    if sys.stdout.isatty():
        click.echo("\r\x1b[K", nl=False)


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1_000_000 else f"{count / 1e3:.0f} kB"
