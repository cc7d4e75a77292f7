"""When a request was read off its socket: a protocol around the server's own that notes the time.

    socket --> Arrival.data_received: read_ns = now --> the server's protocol --> parser --> handler

A handler that asks before it first waits finds the time of the read that brought its request: it is woken in the turn
of the loop that follows the read, ahead of that turn's own reads. A request that needs two reads has the time of the
second, which on loopback takes more than 64 KB.
"""
from __future__ import annotations

import asyncio
import time


class Arrival(asyncio.Protocol):
    """Passes everything on to `inner`; `read_ns` is the monotonic time of the last read."""

    __slots__ = ("_inner", "read_ns")

    def __init__(self, inner: asyncio.Protocol) -> None:
        self._inner = inner
        self.read_ns = 0

    def data_received(self, data: bytes) -> None:
        """Note the time before anything looks at the bytes."""
        self.read_ns = time.monotonic_ns()
        self._inner.data_received(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pass it on."""
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass it on."""
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass it on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._inner.resume_writing()

    def eof_received(self) -> bool | None:
        """Pass it on."""
        return self._inner.eof_received()


def read_ns(transport: asyncio.BaseTransport | None) -> int:
    """Return when a connection was last read (monotonic ns), 0 when it is gone."""
    arrival = None if transport is None else transport.get_protocol()
    return arrival.read_ns if isinstance(arrival, Arrival) else 0
