"""The market streams' endpoints: /ws, /ws/<stream>, /stream?streams=<a>/<b>."""
from __future__ import annotations

import json
from typing import Any

from aiohttp import WSMsgType, web

from hive.sim.connection import MARKET, Connection
from hive.sim.exchange import Exchange
from hive.sim.limits import Window
from hive.sim.sockets import serve

_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class _BadRequest(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class MarketEndpoint:
    """Serves market stream connections of an exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [web.get("/ws", self._raw), web.get("/ws/{streams:.*}", self._raw), web.get("/stream", self._combined)]

    async def _raw(self, http: web.Request) -> web.StreamResponse:
        return await self._serve(http, http.match_info.get("streams", ""), False)

    async def _combined(self, http: web.Request) -> web.StreamResponse:
        return await self._serve(http, http.query.get("streams", ""), True)

    async def _serve(self, http: web.Request, streams: str, combined: bool) -> web.StreamResponse:
        incoming = Window(self._exchange.settings.limits.messages, 1000)

        def on_open(connection: Connection) -> None:
            connection.combined = combined
            for stream in filter(None, streams.split("/")):
                self._exchange.streams.subscribe(connection, stream, self._exchange.clock.wall_ms())

        def on_frame(connection: Connection, kind: WSMsgType, text: str) -> None:
            # Pongs answer our own pings and are not held against the client.
            if kind is not WSMsgType.PONG and incoming.add(1, self._exchange.clock.wall_ms()) > incoming.limit:
                connection.close()
            elif kind is WSMsgType.TEXT:
                connection.send(json.dumps(self._answer(connection, text), separators=(",", ":")).encode())

        return await serve(http, self._exchange, MARKET, on_open, on_frame)

    def _answer(self, connection: Connection, text: str) -> dict[str, Any]:
        request_id = None
        try:
            try:
                message = json.loads(text)
            except ValueError as error:
                raise _BadRequest(3, f"Invalid JSON: {error}") from None
            if not isinstance(message, dict):
                raise _BadRequest(2, "Invalid request: request must be an object")
            request_id = message.get("id")
            if isinstance(request_id, bool) or not isinstance(request_id, (int, str, type(None))):
                request_id = None
                raise _BadRequest(2, "Invalid request: request ID must be an unsigned integer")
            return {"result": self._do(connection, message), "id": request_id}
        except _BadRequest as error:
            return {"error": {"code": error.code, "msg": error.message}, "id": request_id}

    def _do(self, connection: Connection, message: dict[str, Any]) -> Any:
        if "method" not in message:
            raise _BadRequest(2, "Invalid request: missing field `method`")
        method, params = message["method"], message.get("params", [])
        if method not in _METHODS:
            expected = ", ".join(f"`{name}`" for name in _METHODS)
            raise _BadRequest(2, f"Invalid request: unknown variant `{method}`, expected one of {expected}")
        if not isinstance(params, list):
            raise _BadRequest(2, "Invalid request: params must be a list")
        if method == "LIST_SUBSCRIPTIONS":
            return sorted(connection.subscriptions)
        if method.endswith("PROPERTY"):
            return self._property(connection, method, params)
        if not params or not all(isinstance(stream, str) for stream in params):
            raise _BadRequest(2, "Invalid request: params must be stream names")
        for stream in params:
            if method == "UNSUBSCRIBE":
                self._exchange.streams.unsubscribe(connection, stream)
                continue
            try:
                # The venue answers success for a name that it does not know, and sends nothing.
                self._exchange.streams.subscribe(connection, stream, self._exchange.clock.wall_ms())
            except OverflowError as error:
                raise _BadRequest(2, f"Invalid request: {error}") from None
        return None

    @staticmethod
    def _property(connection: Connection, method: str, params: list[Any]) -> Any:
        if not params or not isinstance(params[0], str):
            raise _BadRequest(2, "Invalid request: property name must be a string")
        if params[0] != "combined":
            raise _BadRequest(0, "Unknown property")
        if method == "GET_PROPERTY":
            return connection.combined
        if len(params) != 2 or not isinstance(params[1], bool):
            raise _BadRequest(1, "Invalid value type: expected Boolean")
        connection.combined = params[1]
        return None
