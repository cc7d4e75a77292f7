"""The WebSocket API: /ws-api/v3, with orders, queries and user data streams on one connection."""
from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from aiohttp import WSMsgType, web

from hive.sim import account_operations as account
from hive.sim import errors
from hive.sim import public_operations as public
from hive.sim.connection import WS_API, Connection
from hive.sim.errors import VenueError
from hive.sim.exchange import Exchange
from hive.sim.filters import integer, required
from hive.sim.requests import PUBLIC, QUERY, Operation, Request, execute
from hive.sim.sockets import serve

_CONNECT_WEIGHT = 2
_MOST_USER_STREAMS = 1000


class _Session:
    """One connection's user streams and preferences."""

    def __init__(self, connection: Connection, rate_limits: bool) -> None:
        self.connection = connection
        self.rate_limits = rate_limits
        self.next_subscription = 0
        self.accounts: dict[int, str] = {}


class WsApiEndpoint:
    """Serves WebSocket API connections of an exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._methods: dict[str, Operation] = {
            operation.name: operation for operation in (
                public.PING, public.TIME, public.EXCHANGE_INFO, public.DEPTH, public.TRADES, public.KLINES,
                public.PRICE, public.BOOK_TICKER, public.DAY_TICKER, account.ORDER_PLACE, account.ORDER_TEST,
                account.ORDER_CANCEL, account.ORDER_STATUS, account.OPEN_ORDERS, account.CANCEL_ALL,
                account.ALL_ORDERS, account.MY_TRADES, account.ACCOUNT, account.COMMISSION, account.ORDER_COUNTS,
            )
        }

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [web.get("/ws-api/v3", self._serve)]

    async def _serve(self, http: web.Request) -> web.StreamResponse:
        sessions: list[_Session] = []

        def on_open(connection: Connection) -> None:
            sessions.append(_Session(connection, http.query.get("returnRateLimits") != "false"))
            try:
                self._exchange.limits.charge(connection.peer, _CONNECT_WEIGHT, self._exchange.clock.wall_ms())
            except VenueError as error:
                if error.status == errors.BANNED:
                    connection.close()

        def on_frame(connection: Connection, kind: WSMsgType, text: str) -> None:
            if kind in (WSMsgType.TEXT, WSMsgType.BINARY):
                self._answer(sessions[0], text)

        return await serve(http, self._exchange, WS_API, on_open, on_frame)

    def _answer(self, session: _Session, text: str) -> None:
        exchange, connection = self._exchange, session.connection
        now_ms = exchange.clock.wall_ms()
        request = Request(
            exchange=exchange, params={}, peer=connection.peer, channel=WS_API, now_ms=now_ms,
            read_ns=connection.read_ns(),
        )
        request_id: Any = None
        shown = session.rate_limits
        operation: Operation | None = None
        try:
            message = _parse(text)
            request_id = message.get("id")
            params = message.get("params") or {}
            if not isinstance(params, dict):
                raise VenueError(errors.INVALID_JSON, "Invalid JSON Request")
            shown = params.pop("returnRateLimits", shown) in (True, "true")
            operation = self._operation(session, message.get("method"))
            request.params = {name: _text(value) for name, value in params.items()}
            request.api_key = request.params.get("apiKey")
            if operation.is_signed:
                request.signed_payload = _signed_payload(request.params)
                request.params.pop("apiKey", None)
            status, key, value = 200, "result", execute(operation, request).decode()
        except VenueError as error:
            exchange.count_refusal(error.status)
            status, key, value = error.status, "error", _error_text(error, now_ms)
        limits = ""
        if shown:
            described = exchange.limits.order_status(request.order_counts) if request.order_counts else []
            described.append(exchange.limits.weight_status(connection.peer, now_ms))
            limits = f',"rateLimits":{json.dumps(described, separators=(",", ":"))}'
        data = f'{{"id":{json.dumps(request_id)},"status":{status},"{key}":{value}{limits}}}'.encode()
        kind = operation.target if operation else QUERY
        delay = exchange.faults.take("delay", time.monotonic_ns(), channel=WS_API, operation=kind)
        if delay is None:
            connection.send(data)
        else:
            asyncio.get_running_loop().call_later(delay.ms / 1000, connection.send, data)
        if status == errors.BANNED:
            connection.close()

    def _operation(self, session: _Session, method: Any) -> Operation:
        if not isinstance(method, str) or not method:
            raise VenueError(errors.MANDATORY_PARAMETER, "Mandatory parameter 'method' was not sent, was empty/null, "
                             "or malformed.")
        method = method.removeprefix("v3/")
        if method == "userDataStream.subscribe.signature":
            return Operation(method, QUERY, 2, frozenset(), lambda request: self._subscribe(session, request))
        if method == "userDataStream.unsubscribe":
            return Operation(
                method, PUBLIC, 2, frozenset({"subscriptionId"}),
                lambda request: self._unsubscribe(session, request),
            )
        if method == "session.subscriptions":
            return Operation(method, PUBLIC, 2, frozenset(), lambda request: [
                {"subscriptionId": subscription_id, "expirationTimestamp": None}
                for subscription_id in session.accounts
            ])
        operation = self._methods.get(method)
        if operation is None:
            raise VenueError(-1020, "This operation is not supported.")
        return operation

    def _subscribe(self, session: _Session, request: Request) -> dict[str, Any]:
        name = request.account.name
        if name in session.accounts.values():
            raise VenueError(-2035, "User Data Stream subscription already active.")
        if len(session.accounts) >= _MOST_USER_STREAMS:
            raise VenueError(-1191, f"Too many subscriptions. Connection may create up to '{_MOST_USER_STREAMS}' "
                             "subscriptions at a time.")
        subscription_id = session.next_subscription
        session.next_subscription += 1
        session.accounts[subscription_id] = name
        self._exchange.subscribe_user(request.account, session.connection, subscription_id)
        return {"subscriptionId": subscription_id}

    def _unsubscribe(self, session: _Session, request: Request) -> dict[str, Any]:
        subscription_id = None
        if "subscriptionId" in request.params:
            required(request.params, "subscriptionId")
            subscription_id = integer(request.params, "subscriptionId")
        gone = [subscription_id] if subscription_id is not None else list(session.accounts)
        if not gone or any(each not in session.accounts for each in gone):
            raise VenueError(-2036, "User Data Stream subscription not active.")
        for each in gone:
            del session.accounts[each]
            self._exchange.unsubscribe_user(session.connection, each)
        return {}


def _parse(text: str) -> dict[str, Any]:
    try:
        # Numbers with decimals stay as they were written: the signature covers their text.
        message = json.loads(text, parse_float=str)
    except ValueError:
        raise VenueError(errors.INVALID_JSON, "Invalid JSON Request") from None
    if not isinstance(message, dict):
        raise VenueError(errors.INVALID_JSON, "Invalid JSON Request")
    return message


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        return json.dumps(value, separators=(",", ":"))
    return "" if value is None else str(value)


def _signed_payload(params: dict[str, str]) -> bytes:
    return "&".join(f"{name}={params[name]}" for name in sorted(params) if name != "signature").encode()


def _error_text(error: VenueError, now_ms: int) -> str:
    shown: dict[str, Any] = {"code": error.code, "msg": error.message}
    if error.retry_at_ms:
        shown["data"] = {"serverTime": now_ms, "retryAfter": error.retry_at_ms}
    return json.dumps(shown, separators=(",", ":"))
