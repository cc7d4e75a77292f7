"""The REST API under /api/v3."""
from __future__ import annotations

import asyncio
import json
import math
import re
import time
from urllib.parse import parse_qsl

from aiohttp import web

from hive.sim import account_operations as account
from hive.sim import errors
from hive.sim import public_operations as public
from hive.sim.arrival import read_ns
from hive.sim.errors import VenueError
from hive.sim.exchange import Exchange
from hive.sim.requests import REST, Operation, Request, execute

_POLL_SECONDS = 0.02
_SIGNATURE = re.compile(rb"(?:^|(?<=&))signature=[^&]*&?")

ROUTES: dict[tuple[str, str], Operation] = {
    ("GET", "ping"): public.PING,
    ("GET", "time"): public.TIME,
    ("GET", "exchangeInfo"): public.EXCHANGE_INFO,
    ("GET", "depth"): public.DEPTH,
    ("GET", "trades"): public.TRADES,
    ("GET", "klines"): public.KLINES,
    ("GET", "uiKlines"): public.KLINES,
    ("GET", "ticker/price"): public.PRICE,
    ("GET", "ticker/bookTicker"): public.BOOK_TICKER,
    ("GET", "ticker/24hr"): public.DAY_TICKER,
    ("POST", "order"): account.ORDER_PLACE,
    ("POST", "order/test"): account.ORDER_TEST,
    ("DELETE", "order"): account.ORDER_CANCEL,
    ("GET", "order"): account.ORDER_STATUS,
    ("GET", "openOrders"): account.OPEN_ORDERS,
    ("DELETE", "openOrders"): account.CANCEL_ALL,
    ("GET", "allOrders"): account.ALL_ORDERS,
    ("GET", "myTrades"): account.MY_TRADES,
    ("GET", "account"): account.ACCOUNT,
    ("GET", "account/commission"): account.COMMISSION,
    ("GET", "rateLimit/order"): account.ORDER_COUNTS,
}


def signed_payload(query: bytes, body: bytes) -> bytes:
    """Return what a REST request's signature covers: query and body as sent, each without the signature itself."""
    return _SIGNATURE.sub(b"", query).rstrip(b"&") + _SIGNATURE.sub(b"", body).rstrip(b"&")


class RestApi:
    """Answers REST requests from an exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [web.route("*", "/api/v3/{path:.*}", self.handle)]

    async def handle(self, http: web.Request) -> web.Response:
        """Answer one request."""
        operation = ROUTES.get((http.method, http.match_info["path"]))
        if operation is None:
            return web.Response(status=404, text="Not Found")
        exchange = self._exchange
        if exchange.faults.until_ns("maintenance", time.monotonic_ns(), REST):
            exchange.count_refusal(errors.SERVICE_UNAVAILABLE)
            return web.Response(status=errors.SERVICE_UNAVAILABLE, text="Service Unavailable")
        arrived_ns = read_ns(http.transport)
        query = http.raw_path.partition("?")[2].encode()
        body = await http.read() if http.can_read_body else b""
        now_ms = exchange.clock.wall_ms()
        request = Request(
            exchange=exchange, params={}, peer=http.remote or "", channel=REST, now_ms=now_ms,
            read_ns=arrived_ns, api_key=http.headers.get("X-MBX-APIKEY"), signed_payload=signed_payload(query, body),
        )
        try:
            request.params = _parameters(query, body)
            response = web.Response(body=execute(operation, request), content_type="application/json")
        except VenueError as error:
            response = self._refuse(error, now_ms)
        self._add_headers(response, request)
        await self._hold(operation)
        return response

    def _refuse(self, error: VenueError, now_ms: int) -> web.Response:
        self._exchange.count_refusal(error.status)
        response = web.Response(
            status=error.status, content_type="application/json",
            body=json.dumps({"code": error.code, "msg": error.message}, separators=(",", ":")).encode(),
        )
        if error.retry_at_ms:
            response.headers["Retry-After"] = str(max(1, math.ceil((error.retry_at_ms - now_ms) / 1000)))
        return response

    def _add_headers(self, response: web.Response, request: Request) -> None:
        used = str(self._exchange.limits.used_weight(request.peer, request.now_ms))
        response.headers["X-MBX-USED-WEIGHT"] = used
        response.headers["X-MBX-USED-WEIGHT-1M"] = used
        if request.order_counts is not None:
            response.headers["X-MBX-ORDER-COUNT-10S"] = str(request.order_counts[0])
            response.headers["X-MBX-ORDER-COUNT-1D"] = str(request.order_counts[1])

    async def _hold(self, operation: Operation) -> None:
        faults = self._exchange.faults
        delay = faults.take("delay", time.monotonic_ns(), channel=REST, operation=operation.target)
        if delay is not None:
            await asyncio.sleep(delay.ms / 1000)
        while faults.until_ns("stall", time.monotonic_ns(), REST):
            await asyncio.sleep(_POLL_SECONDS)


def _parameters(query: bytes, body: bytes) -> dict[str, str]:
    params: dict[str, str] = {}
    # A parameter sent in both is taken from the query string.
    for part in (body, query):
        pairs = parse_qsl(part.decode("utf-8", "replace"), keep_blank_values=True)
        if len({name for name, _ in pairs}) != len(pairs):
            raise VenueError(errors.TOO_MANY_PARAMETERS, "Duplicate values for a parameter detected.")
        params.update(pairs)
    return params
