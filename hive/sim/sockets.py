"""What the two kinds of WebSocket endpoint share: accept, keep a writer task, read until the end, clean up."""
from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from aiohttp import WSMsgType, web

from hive.sim.connection import Connection
from hive.sim.exchange import Exchange


async def serve(http: web.Request, exchange: Exchange, channel: str,
                on_open: Callable[[Connection], None],
                on_frame: Callable[[Connection, WSMsgType, str], None]) -> web.StreamResponse:
    """Serve one connection until it ends.

    on_open is called once it is accepted, on_frame for every frame with its text (empty for control frames).
    """
    peer = http.remote or ""
    now_ns = time.monotonic_ns()
    for fault, status, text in (("maintenance", 503, "Service Unavailable"), ("ban", 418, "I'm a teapot")):
        if exchange.faults.until_ns(fault, now_ns, channel):
            exchange.count_refusal(status)
            return web.Response(status=status, text=text)
    if not exchange.limits.connect(peer, exchange.clock.wall_ms()):
        exchange.count_refusal(429)
        return web.Response(status=429, text="Too many connections")
    socket = web.WebSocketResponse(autoping=False, compress=False, timeout=1.0)
    await socket.prepare(http)
    exchange.opened[channel] += 1
    connection = Connection(socket, http.transport, channel, peer, exchange.opened.total(), exchange.faults)
    exchange.connections.add(connection)
    writer = asyncio.create_task(connection.write())
    try:
        on_open(connection)
        async for frame in socket:
            connection.received += 1
            if frame.type in (WSMsgType.PING, WSMsgType.PONG):
                connection.on_control(frame.type, frame.data)
                on_frame(connection, frame.type, "")
            elif frame.type is WSMsgType.TEXT:
                on_frame(connection, frame.type, frame.data)
            elif frame.type is WSMsgType.BINARY:
                on_frame(connection, frame.type, frame.data.decode("utf-8", "replace"))
    finally:
        exchange.forget(connection)
        connection.close()
        await writer
    return socket
