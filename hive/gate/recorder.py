"""The recorder: `python -m hive.gate.recorder --channel-fd N`. It keeps what strategies did in Hummingbot's own tables.

    gate's journals ─▶ tails ──┐  every ROUND_S; every BATCH_S for few strategies, or one that is followed
                               ├─▶ batches ─▶ data/STRATEGY.sqlite, one transaction each ─▶ acks ─▶ workers
    workers' rows ─▶ socket ───┤  within BATCH_S        every SETTLE_S: onto the disk, then the journals' positions
    dead workers' rows, files ─┘

It has no keys and asks no venue. Killed at any time, nothing is lost or doubled: records are read again from the last
position and make no row twice; rows that were not acknowledged are sent again, or found in a file, and are numbered.
While a database cannot be written to (a full disk, another program's lock) that is an alarm; the rest goes on, the
journals keep their files and the workers their rows. It beats no heartbeat: a slow disk is no reason to replace it.
Exit codes: 0 asked to stop or left alone by the supervisor, 3 cannot boot, 1 it broke.
"""

import argparse
import asyncio
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from hive.gate.errors import BootError, GateError
from hive.gate.journal_tail import JournalTail
from hive.gate.log import report_errors
from hive.gate.recorder_batches import Batches
from hive.gate.recorder_database import Databases
from hive.gate.recorder_history import Page, history, trades
from hive.gate.recorder_kept import KeptRows
from hive.gate.recorder_owners import Owner, Owners
from hive.gate.recorder_server import RowServer
from hive.gate.recorder_settings import RecorderSettings
from hive.shm.channel import Channel, connect_fd
from hive.shm.counters import Counters, counters_size
from hive.shm.errors import ShmError
from hive.shm.heap import give_back
from hive.shm.segment import Segment, segment_name
from hive.shm.tracing import allow_tracing

BOOT_TIMEOUT_S = 30.0
BATCH_S = 0.5
SETTLE_S = 20.0
ROUND_S = 60.0
RETRY_S = 0.5  # between two tries of what cannot be written
STOP_S = 5.0  # without a deadline from the supervisor
EXIT_BROKE = 1
EXIT_CANNOT_BOOT = 3
GIVES_WAY = 10  # niceness: a batch may wait, orders may not
COUNTERS = ("records", "rows", "waiting", "failing")
_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"

log = logging.getLogger("recorder")


class Recorder:
    """Writes in batches and answers workers.

    Args:
        settings: where everything is
        counted: is called with the figures after each batch
    """

    def __init__(
        self, settings: RecorderSettings, counted: Callable[[dict[str, int]], None] = lambda figures: None
    ) -> None:
        settings.owners.parent.mkdir(parents=True, exist_ok=True)
        self._data = settings.data
        self._counted = counted
        self._owners = Owners(settings.owners)
        journals = [JournalTail(folder, venue) for venue, folder in settings.journals.items()]
        self._batches = Batches(Databases(settings.data), self._owners, journals, lambda text: log.critical("%s", text))
        self._kept = KeptRows(settings.data, self._take)
        self._server = RowServer(settings.run_dir, self._take, self._answer)
        self._wanted = asyncio.Event()  # a batch, now
        self._soon: asyncio.TimerHandle | None = None  # wants one
        self._done = asyncio.Event()  # a batch; made anew by each
        self._told = ""
        self._unread = ""
        self._held: set[str] = set()  # strategies that wait for their database

    async def run(self) -> None:
        """Write and answer until cancelled.

        Raises:
            JournalError: a journal is of another version.
        """
        await self._listen()
        next_round = next_settling = time.monotonic()
        while True:
            now = time.monotonic()
            full = now >= next_round
            await self._batch(full)
            if full or now >= next_settling:
                self._batches.settle()
                next_settling = now + SETTLE_S
            if full:
                self._batches.retire()
                give_back()
                next_round = now + ROUND_S
            self._tell()
            if self._batches.fault:
                wait_s = RETRY_S
            elif self._batches.are_prompt:
                wait_s = BATCH_S
            else:
                wait_s = min(next_round, next_settling) - time.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wanted.wait()

    async def finish(self, within_s: float) -> None:
        """Write what there is, put it on the disk and close everything; what cannot be written is told."""
        until = time.monotonic() + within_s
        await self._batch()
        while self._batches.fault and time.monotonic() < until:
            await asyncio.sleep(RETRY_S)
            await self._batch()
        self._batches.settle()
        self._tell()
        if self._batches.waiting:
            log.error("%d records and rows wait for the next run: %s", self._batches.waiting, self._batches.fault)
        await self._server.close()
        self._kept.close()
        self._batches.close()

    async def _listen(self) -> None:
        while True:
            try:
                self._server.open()
                return
            except OSError as error:
                self._tell(f"workers cannot reach it: {error}")
                await asyncio.sleep(RETRY_S)

    async def _batch(self, everything: bool = True) -> None:
        """Read what is there and write it, or what of it is not better left for a full round."""
        self._wanted.clear()
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        if everything:
            self._collect()
        while self._batches.step(everything):
            await asyncio.sleep(0)
        self._done.set()
        self._done = asyncio.Event()
        batches = self._batches
        self._counted(
            {
                "records": batches.records,
                "rows": batches.rows,
                "waiting": batches.waiting,
                "failing": int(bool(batches.fault)),
            }
        )

    def _collect(self) -> None:
        """Take the rows of dead workers: before anything that came after their death is answered."""
        try:
            self._kept.collect()
            self._unread = ""
        except OSError as error:
            if str(error) != self._unread:
                self._unread = str(error)
                log.critical("rows of a dead worker cannot be read: %s", error)

    def _tell(self, fault: str | None = None) -> None:
        """Alarm when something begins to fail, and say when it is over."""
        fault = self._batches.fault if fault is None else fault
        if fault and not self._told:
            log.critical("rows wait, nothing is lost: %s", fault)
        elif self._told and not fault:
            log.warning("rows are written again")
        self._told = fault

    def _take(self, message: dict[str, Any], written: Callable[[], None]) -> None:
        owner = self._owners.of(message["id"])
        self._batches.take_row(owner, message["life"], int(message["number"]), message["row"], written)
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(BATCH_S, self._wanted.set)

    async def _answer(self, message: dict[str, Any], page: Callable[[Page], Awaitable[None]]) -> None:
        if message["type"] == "open":
            owner = self._owners.tell(message)
            pages = await self._read(owner, True, lambda path: history(path))
        elif message["type"] == "trades":
            owner = self._owners.of(message["id"])
            since_ms = int(message["since_ms"])
            pages = await self._read(owner, False, lambda path: trades(path, owner.config_file_path, since_ms))
        elif message["type"] == "follow":
            owner = self._owners.of(message["id"])
            self._batches.follow(owner)
            pages = await self._read(owner, False, lambda path: iter(()))
        else:
            raise ValueError(f"a request must be of type open, trades or follow, was {message['type']}")
        for one in pages:
            await page(one)

    async def _read(self, owner: Owner, begins: bool, read: Callable[[Path], Iterator[Page]]) -> Iterator[Page]:
        """Return the pages of a strategy's database as it is with all that is there now."""
        while True:
            done = self._done
            self._collect()
            self._batches.hurry(owner)
            self._wanted.set()
            await done.wait()
            if self._batches.is_waiting(owner):
                await asyncio.sleep(RETRY_S)
                continue
            problem = self._batches.begin_life(owner) if begins else ""
            if not problem:
                self._held.discard(owner.id)
                return read(self._data / f"{owner.id}.sqlite")
            if owner.id not in self._held:
                self._held.add(owner.id)
                log.critical("strategy %s waits for its database: %s", owner.id, problem)
            await asyncio.sleep(RETRY_S)


async def serve(settings: RecorderSettings, channel: Channel, counted: Callable[[dict[str, int]], None]) -> None:
    """Record until the supervisor says so or is gone."""
    recorder = Recorder(settings, counted)
    running = asyncio.create_task(recorder.run())
    listening = asyncio.create_task(_until_stop(channel))
    try:
        await asyncio.wait({running, listening}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await recorder.finish(listening.result())
    finally:
        listening.cancel()
        channel.send({"type": "stopped"})


async def _until_stop(channel: Channel) -> float:
    """Return how long the end may take."""
    while (message := await channel.recv()) is not None:
        if message.get("type") == "stop":
            return float(message.get("deadline_s", STOP_S))
        log.debug("a message of type %s is not for the recorder", message.get("type"))
    return STOP_S


def main(arguments: list[str] | None = None) -> int:
    """Run the recorder; returns the exit code."""
    parser = argparse.ArgumentParser(prog="hive.gate.recorder")
    parser.add_argument("--channel-fd", type=int, required=True)
    channel = connect_fd(parser.parse_args(arguments).channel_fd)
    boot = channel.recv_blocking(BOOT_TIMEOUT_S)
    if boot is None:
        return 0
    segment = None
    try:
        settings = RecorderSettings.from_boot(boot)
        _open_log(settings, channel)
        if boot.get("profiling"):
            allow_tracing()
        os.nice(GIVES_WAY)
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))  # waking up it takes the CPU from nobody
        name = segment_name(settings.run, "counters.recorder", settings.epoch)
        segment = Segment.create(name, counters_size(len(COUNTERS), 0), kind="counters", epoch=settings.epoch)
        counters = Counters.create(segment, len(COUNTERS))
        gauges = {one: counters.counter(f"recorder_{one}") for one in COUNTERS}
        channel.send({"type": "ready", "counters": name})

        def counted(figures: dict[str, int]) -> None:
            for one, value in figures.items():
                gauges[one].set(value)

        asyncio.run(serve(settings, channel, counted))
    except (BootError, GateError, ShmError) as error:
        log.error("%s", error)
        channel.send({"type": "fatal", "message": str(error)})
        if segment is not None:
            segment.unlink()
        return EXIT_CANNOT_BOOT
    except Exception:
        log.exception("the recorder broke")
        return EXIT_BROKE
    return 0


def _open_log(settings: RecorderSettings, channel: Channel) -> None:
    handler = logging.FileHandler(settings.log_file) if settings.log_file else logging.StreamHandler()
    handler.setFormatter(logging.Formatter(_FORMAT))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    report_errors(log, channel)


if __name__ == "__main__":
    sys.exit(main())
