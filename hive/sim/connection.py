"""One WebSocket connection of a client: an outbox in order, written by one task, on which faults can act.

Whoever sends never waits; a client that does not read is cut off when its outbox holds too much.
"""
from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any

from aiohttp import ClientConnectionResetError, WSMsgType, web

from hive.sim.arrival import read_ns
from hive.sim.faults import Faults

MARKET = "market"
USER = "user"
WS_API = "ws_api"
PING_SECONDS = 20.0
PONG_SECONDS = 60.0
OUTBOX_BYTES = 32 << 20
_POLL_SECONDS = 0.02


class Connection:
    """A client's connection; `channel` is market or ws_api, and `users` how many user streams run over it."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.BaseTransport | None, channel: str, peer: str,
                 number: int, faults: Faults) -> None:
        self.socket = socket
        self._transport = transport
        self.channel = channel
        self.peer = peer
        self.number = number
        self.users = 0
        self.opened_wall_ms = time.time_ns() // 1_000_000
        self.opened_ns = time.monotonic_ns()
        self.sent = 0
        self.received = 0
        self.subscriptions: set[str] = set()
        self.combined = False
        self._faults = faults
        self._outbox: deque[tuple[bytes, WSMsgType]] = deque()
        self._outbox_bytes = 0
        self._wake = asyncio.Event()
        self._closing = False
        self._aborted = False
        self._ping_ns = self._pong_ns = time.monotonic_ns()

    def send(self, data: bytes, channel: str | None = None, *, binary: bool = False) -> None:
        """Queue a text frame; `channel` says what it carries when that differs from the connection's (user events)."""
        if self._closing or self._faults.until_ns("mute", time.monotonic_ns(), channel or self.channel):
            return
        self._put(data, WSMsgType.BINARY if binary else WSMsgType.TEXT)

    def read_ns(self) -> int:
        """Return when the frame that is handled now was read (monotonic ns)."""
        return read_ns(self._transport)

    def on_control(self, kind: WSMsgType, data: bytes) -> None:
        """Answer a ping frame, note a pong frame."""
        if kind is WSMsgType.PING:
            self._put(bytes(data), WSMsgType.PONG)
        else:
            self._pong_ns = time.monotonic_ns()

    def close(self, abort: bool = False) -> None:
        """End the connection after what is queued, or at once and without a closing frame when abort is set."""
        self._closing = True
        self._wake.set()
        if abort:
            self._aborted = True
            if self._transport is not None:
                self._transport.abort()

    async def write(self) -> None:
        """Write the outbox until the connection ends. Runs as a task of its own."""
        while not self._closing:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._drain()
            except (ClientConnectionResetError, ConnectionError):
                break
        await self.socket.close()

    def keep_alive(self, now_ns: int) -> None:
        """Ping the client when it is time; end the connection when it has not answered for long (monotonic ns)."""
        if now_ns - self._pong_ns > PONG_SECONDS * 1e9:
            self.close(abort=True)
        elif now_ns - self._ping_ns >= PING_SECONDS * 1e9:
            self._ping_ns = now_ns
            self._put(str(time.time_ns() // 1_000_000).encode(), WSMsgType.PING)

    async def _drain(self) -> None:
        outbox, socket = self._outbox, self.socket
        while outbox and not self._aborted:
            while self._stalled() and not self._closing:
                await asyncio.sleep(_POLL_SECONDS)
            data, kind = outbox.popleft()
            self._outbox_bytes -= len(data)
            self.sent += 1
            await socket.send_frame(data, kind)

    def _stalled(self) -> bool:
        now_ns = time.monotonic_ns()
        return bool(
            self._faults.until_ns("stall", now_ns, self.channel)
            or (self.users and self._faults.until_ns("stall", now_ns, USER))
        )

    def _put(self, data: bytes, kind: WSMsgType) -> None:
        self._outbox.append((data, kind))
        self._outbox_bytes += len(data)
        if self._outbox_bytes > OUTBOX_BYTES:
            self.close(abort=True)
        self._wake.set()

    def describe(self) -> dict[str, Any]:
        """Return the connection as the control endpoint shows it."""
        return {
            "id": self.number, "channel": self.channel, "peer": self.peer, "opened_wall_ms": self.opened_wall_ms,
            "streams": sorted(self.subscriptions), "user_streams": self.users, "sent": self.sent,
            "received": self.received,
        }
