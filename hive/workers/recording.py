"""A worker's line to the recorder: rows go over at once and are kept until they are committed; questions are answered.

    strategy ── row() ──▶ socket ──▶ recorder ──▶ database
                   ├─ kept until "ack"; all that is kept goes again to the next recorder
                   └─ in a file of this process (`hive.shm.row_log`), which a recorder reads when this process is dead

A row that is handed over is neither lost with this process nor with the recorder nor with both. The messages are
described in `hive.gate.recorder_server`, which this layer does not know; nothing of it is a database.
"""

import asyncio
import logging
import secrets
import socket
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hive.shm.channel import Channel
from hive.shm.row_log import RowLog

SOCKET = "rows.sock"
AGAIN_S = 0.2
REMIND_S = 10.0  # of a recorder that does not answer
LIVES_MAX = 16  # whose rows stand in the file; a database knows the last 32 of each strategy

log = logging.getLogger(__name__)

type Page = dict[str, Any]


class RecorderError(Exception):
    """The recorder answered that it cannot."""


@dataclass(eq=False)
class _Request:
    message: dict[str, Any]
    on_page: Callable[[Page], None]
    restart: Callable[[], None]
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class RecorderLine:
    """One worker's connection, made again whenever it breaks. Use it on the worker's loop, outside of all strategies.

    Args:
        run_dir: where the recorder listens
        rows: the folder of the files with rows that are not committed
    """

    def __init__(self, run_dir: Path, rows: Path) -> None:
        self._path = run_dir / SOCKET
        self._log = RowLog(rows)
        self._logged: set[str] = set()  # lives whose rows stand in the file
        self._fault = ""
        self._channel: Channel | None = None
        self._kept: dict[str, deque[tuple[int, dict[str, Any]]]] = {}  # by life
        self._requests: dict[int, _Request] = {}
        self._followed: set[str] = set()
        self._numbers = 0
        self._progress = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="recorder")

    def row(self, life: str, strategy: str, number: int, row: Mapping[str, Any]) -> None:
        """Hand a row over: it is in the file when this returns, and goes to the recorder."""
        message = {"type": "row", "id": strategy, "life": life, "number": number, "row": row}
        self._kept.setdefault(life, deque()).append((number, message))
        self._logged.add(life)
        self._log.add(message)
        self._tell()
        if self._channel is not None:
            self._channel.send(message)

    async def ask(
        self, message: Mapping[str, Any], on_page: Callable[[Page], None], restart: Callable[[], None]
    ) -> None:
        """Ask, and give each page of the answer to `on_page`; wait for a recorder as long as there is none.

        `restart` is called when the recorder died meanwhile and the pages come again from the first.

        Raises:
            RecorderError: it cannot answer.
        """
        self._numbers += 1
        number = self._numbers
        request = _Request({**message, "request": number}, on_page, restart)
        self._requests[number] = request
        if self._channel is not None:
            self._channel.send(request.message)
        try:
            while not request.done.done():
                await asyncio.wait({request.done}, timeout=REMIND_S)
                if not request.done.done():
                    log.warning("the recorder has not answered yet")
            request.done.result()
        finally:
            self._requests.pop(number, None)

    def follow(self, strategy: str, within_s: float) -> bool:
        """Have a strategy's database kept up to date, and wait for that, blocking; returns whether it is in time."""
        self._followed.add(strategy)
        channel = self._try_connect()
        if channel is None:
            return False
        try:
            channel.send(_follow(strategy))
            return channel.recv_blocking(within_s) is not None
        except TimeoutError:
            return False
        finally:
            channel.close()

    def leave(self, strategy: str) -> None:
        """Have a strategy's database kept up to date no longer, once it is opened anew; repeating is harmless."""
        self._followed.discard(strategy)

    async def written(self, life: str, within_s: float) -> bool:
        """Wait until every row of a life is committed; returns whether that is so in time."""
        try:
            async with asyncio.timeout(within_s):
                while self._kept.get(life):
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            return False
        return True

    def close(self) -> None:
        """End the connection; what is not committed is left to the next recorder. Repeating is harmless."""
        self._task.cancel()
        self._hang_up()
        self._log.close()

    async def _run(self) -> None:
        while True:
            try:
                channel = await self._connected()
                self._go_on(channel)
                while (message := await channel.recv()) is not None:
                    self._take(message)
            finally:
                self._hang_up()
            await asyncio.sleep(AGAIN_S)

    async def _connected(self) -> Channel:
        while (channel := self._try_connect()) is None:
            await asyncio.sleep(AGAIN_S)
        return channel

    def _try_connect(self) -> Channel | None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            connection.connect(str(self._path))
        except OSError:  # nobody listens (yet), or too many wait to be let in
            connection.close()
            return None
        return Channel(connection)

    def _go_on(self, channel: Channel) -> None:
        """Say again everything that has no answer; a strategy's opening goes before its rows."""
        self._channel = channel
        for request in self._requests.values():
            request.restart()
            channel.send(request.message)
        for strategy in self._followed:
            channel.send(_follow(strategy))
        for kept in self._kept.values():
            for _, message in kept:
                channel.send(message)

    def _hang_up(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _take(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "ack":
                kept = self._kept.get(message["life"])
                while kept and kept[0][0] <= message["number"]:
                    kept.popleft()
                if kept is not None and not kept:
                    del self._kept[message["life"]]
                    self._shorten()
                self._progress.set()
            case "page":
                request = self._requests.get(message["request"])
                if request is not None and not request.done.done():
                    request.on_page(message)
            case "answered":
                request = self._requests.get(message["request"])
                if request is not None and not request.done.done():
                    if message["error"]:
                        request.done.set_exception(RecorderError(message["error"]))
                    else:
                        request.done.set_result(None)

    def _shorten(self) -> None:
        """Drop from the file what is committed, when nothing else is there or much of it."""
        if not self._kept:
            self._log.clear()
        elif self._log.is_long or len(self._logged) > LIVES_MAX:
            self._log.keep(message for kept in self._kept.values() for _, message in kept)
        else:
            return
        self._logged = set(self._kept)
        self._tell()

    def _tell(self) -> None:
        if self._log.fault and not self._fault:
            log.error("rows would not outlive this process, only the recorder: %s", self._log.fault)
        self._fault = self._log.fault


def _follow(strategy: str) -> dict[str, Any]:
    return {"type": "follow", "request": 0, "id": strategy}


class StrategyLine:
    """What one life of a strategy says to the recorder.

    Args:
        line: of the worker
        strategy: its id
    """

    def __init__(self, line: RecorderLine, strategy: str) -> None:
        self._line = line
        self._strategy = strategy
        self._life = secrets.token_hex(8)
        self._number = 0

    async def open(
        self, tag: str, name: str, config_file_path: str, fees: Mapping[str, Mapping[str, str]]
    ) -> dict[str, list[dict[str, Any]]]:
        """Tell of the strategy and return what its earlier lives left, by table, each row by column.

        Args:
            tag: in its client order ids
            name, config_file_path: what its rows call it
            fees: how fees are treated, by market and side

        Raises:
            RecorderError: it cannot be read.
        """
        self._line.leave(self._strategy)
        return await self._tables(
            {
                "type": "open",
                "life": self._life,
                "id": self._strategy,
                "tag": tag,
                "strategy": name,
                "config_file_path": config_file_path,
                "fees": fees,
            }
        )

    async def trades(self, since_ms: int) -> list[dict[str, Any]]:
        """Return the strategy's fills from a time on, oldest first; raises RecorderError."""
        message = {"type": "trades", "id": self._strategy, "since_ms": since_ms}
        return (await self._tables(message)).get("TradeFill", [])

    def row(self, row: Mapping[str, Any]) -> None:
        """Hand over one row, as `hive.gate.recorder_rows` describes it."""
        self._number += 1
        self._line.row(self._life, self._strategy, self._number, row)

    def follow(self, within_s: float) -> bool:
        """Have the database kept up to date from now on, and wait for that, which blocks; returns whether it is."""
        return self._line.follow(self._strategy, within_s)

    async def written(self, within_s: float) -> bool:
        """Wait until every row is committed; returns whether that is so in time."""
        return await self._line.written(self._life, within_s)

    async def _tables(self, message: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
        tables: dict[str, list[dict[str, Any]]] = {}

        def on_page(page: Page) -> None:
            columns = page["columns"]
            rows = tables.setdefault(page["table"], [])
            rows += [dict(zip(columns, row, strict=True)) for row in page["rows"]]

        await self._line.ask(message, on_page, tables.clear)
        return tables
