"""The recorder's socket: workers hand rows over here and ask for those of earlier lives.

    {"type": "open", "request": N, "life": L, "id", "tag", "strategy", "config_file_path", "fees"}
                                                 a strategy starts: its history follows, in pages
    {"type": "trades", "request": N, "id": S, "since_ms": T}              its fills from then on
    {"type": "follow", "request": N, "id": S}    its rows are to be no older than a batch for the rest of its life
    {"type": "row", "id": S, "life": L, "number": N, "row": {...}}        see `recorder_rows`

    {"type": "page", "request": N, "table": T, "columns": [...], "rows": [[...], ...]}
    {"type": "answered", "request": N, "error": ""}                       the last of a request
    {"type": "ack", "life": L, "number": N}                               this row, and those before it, are committed

One JSON object a line, both ways (`hive.shm.channel`). A request is answered after everything was written that the
gate's journals and the workers' rows hold at that time. What is not acknowledged, or answered, a worker sends again to
the next recorder. The socket lies in the run's folder, which only the fleet's user may enter.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from hive.shm.channel import Channel

NAME = "rows.sock"
BACKLOG = 64
TAKEN_MAX = 500  # rows of one connection that are not written yet
OUT_MAX = 4  # pages that a connection has not taken yet

log = logging.getLogger("recorder")


class RowServer:
    """Listens for workers.

    Args:
        folder: of the run
        take: is given a row's message and what to call when it is committed
        answer: answers a request: is given the message and what sends one page
    """

    def __init__(
        self,
        folder: Path,
        take: Callable[[dict[str, Any], Callable[[], None]], None],
        answer: Callable[[dict[str, Any], Callable[[dict[str, Any]], Awaitable[None]]], Awaitable[None]],
    ) -> None:
        self._path = folder / NAME
        self._take = take
        self._answer = answer
        self._socket: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Listen; OSError when that cannot be done."""
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(self._path))
            listener.listen(BACKLOG)
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
        self._socket = listener
        self._spawn(self._accept(listener))

    async def close(self) -> None:
        """Listen no longer and end every connection; repeating is harmless."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._path.unlink(missing_ok=True)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(listener)
            self._spawn(self._serve(Channel(connection)))

    async def _serve(self, channel: Channel) -> None:
        waiting = _Waiting()
        answering: list[asyncio.Task[None]] = []
        try:
            while (message := await channel.recv()) is not None:
                if message.get("type") == "row":
                    await waiting.below(TAKEN_MAX)
                    waiting.count += 1
                    self._take(message, _Acknowledge(channel, waiting, message))
                else:
                    answering = [task for task in answering if not task.done()]
                    answering.append(self._spawn(self._reply(channel, message)))
        finally:
            for task in answering:
                task.cancel()
            channel.close()

    async def _reply(self, channel: Channel, message: dict[str, Any]) -> None:
        async def page(content: dict[str, Any]) -> None:
            while channel.pending > OUT_MAX:
                await asyncio.sleep(0.01)
            channel.send({"type": "page", "request": message["request"], **content})

        error = ""
        try:
            await self._answer(message, page)
        except asyncio.CancelledError:
            raise
        except Exception as problem:  # the worker must hear of it, whatever it is
            log.exception("a request of type %s", message.get("type"))
            error = f"{type(problem).__name__}: {problem}"
        channel.send({"type": "answered", "request": message.get("request"), "error": error})

    def _spawn(self, coroutine: Any) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        with suppress(asyncio.CancelledError):
            if task.exception() is not None:
                log.error("a connection broke", exc_info=task.exception())


class _Waiting:
    """How many rows of a connection are not written yet."""

    def __init__(self) -> None:
        self.count = 0
        self.fewer = asyncio.Event()

    async def below(self, limit: int) -> None:
        while self.count >= limit:
            self.fewer.clear()
            await self.fewer.wait()


class _Acknowledge:
    """What is called when a row is committed."""

    def __init__(self, channel: Channel, waiting: _Waiting, message: dict[str, Any]) -> None:
        self._channel = channel
        self._waiting = waiting
        self._head = {"life": message["life"], "number": message["number"]}

    def __call__(self) -> None:
        self._waiting.count -= 1
        self._waiting.fewer.set()
        self._channel.send({"type": "ack", **self._head})
