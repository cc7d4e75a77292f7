"""The control endpoints under /sim, for tests and demonstrations; they need no key and cost no weight.

    POST /sim/fault        {"name": NAME, KEY: VALUE, ...} as in `hive.sim.faults` -> the fault
    POST /sim/clear        {} or {"name": NAME} -> {"cleared": N}; without a name bans are lifted too
    POST /sim/trade        {"symbol", "side", "quantity", "price"?} -> the house takes from the book as a taker
    GET  /sim/state        clock, flow, faults, counts of requests, refusals and events, CPU seconds
    GET  /sim/connections  {"market": [...], "ws_api": [...], "user": [...], "opened": {...}}
    GET  /sim/ledger       every order of every account with its fills, and all balances
    GET  /sim/book?symbol= the whole book of this instant: symbol, status, update_id, ns (monotonic), wall_ms,
                           bids, asks ([[price, quantity], ...], best first)
    POST /sim/tops         {"symbols": [NAME, ...] or "*", "levels": 20, "keep": 100000} -> keeps what the books
                           were, see `hive.sim.tops`; keep 0 ends it
    GET  /sim/tops?after=  {"next", "missed", "ns", "wall_ms", "records"}: what came since; or
        ?symbol=&update_id={"record": that moment, or null}
    POST /sim/received     {"keep": 100000} -> keeps the latest requests to place and cancel orders; keep 0 ends it
    GET  /sim/received?after= {"next", "missed", "ns", "wall_ms", "records"}: what came since, each [seq, "place" or
                           "cancel", client order id, monotonic ns when it was read off the socket, HTTP status of the
                           answer, the venue's error code or 0]
"""
from __future__ import annotations

import json
import time
from typing import Any

from aiohttp import web

from hive.sim import messages
from hive.sim.accounts import Account
from hive.sim.connection import MARKET, USER, WS_API
from hive.sim.decimals import format_units, parse_units
from hive.sim.errors import VenueError
from hive.sim.exchange import Exchange
from hive.sim.orders import BUY, IOC, LIMIT, SELL, Order


class ControlEndpoint:
    """Shows and disturbs an exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to add to the application."""
        return [
            web.post("/sim/fault", self._fault),
            web.post("/sim/clear", self._clear),
            web.post("/sim/trade", self._trade),
            web.get("/sim/state", self._state),
            web.get("/sim/connections", self._connections),
            web.get("/sim/ledger", self._ledger),
            web.get("/sim/book", self._book),
            web.get("/sim/tops", self._tops),
            web.post("/sim/tops", self._watch),
            web.get("/sim/received", self._received),
            web.post("/sim/received", self._receive),
        ]

    async def _fault(self, http: web.Request) -> web.Response:
        try:
            wanted = await _body(http)
            name = str(wanted.pop("name", ""))
            fault = self._exchange.add_fault(name, {key: str(value) for key, value in wanted.items()})
        except ValueError as error:
            return _refusal(error)
        return web.json_response(fault.describe())

    async def _clear(self, http: web.Request) -> web.Response:
        try:
            name = (await _body(http)).get("name")
        except ValueError as error:
            return _refusal(error)
        if name is None:
            self._exchange.limits.forget_bans()
        return web.json_response({"cleared": self._exchange.clear_faults(name)})

    async def _trade(self, http: web.Request) -> web.Response:
        exchange = self._exchange
        try:
            wanted = await _body(http)
            symbol = exchange.symbols.get(str(wanted.get("symbol", "")).upper().replace("-", ""))
            if symbol is None:
                raise ValueError(f"symbol must be a listed one, was {wanted.get('symbol')}")
            side = wanted.get("side")
            if side not in (BUY, SELL):
                raise ValueError(f"side must be BUY or SELL, was {side}")
            quantity = parse_units(str(wanted.get("quantity", "")))
            price = parse_units(str(wanted["price"])) if "price" in wanted else 0
            if quantity <= 0 or quantity % symbol.step or price % symbol.tick:
                raise ValueError("quantity and price must be multiples of the symbol's step and tick")
            price = price or (symbol.max_price if side == BUY else symbol.tick)
            order = Order(exchange.accounts.house, symbol, side, LIMIT, IOC, price, quantity)
            now_ms = exchange.clock.wall_ms()
            exchange.engine.place(order, now_ms)
            exchange.streams.publish(now_ms)
        except (ValueError, OverflowError, VenueError) as error:
            return _refusal(error)
        return web.json_response({"executed": format_units(order.executed)})

    async def _state(self, http: web.Request) -> web.Response:
        exchange = self._exchange
        return web.json_response({
            "wall_ms": exchange.clock.wall_ms(),
            "skew_ms": exchange.clock.skew_ms,
            "began_wall_ms": exchange.began_ms,
            "seed": exchange.flow.seed,
            "steps": exchange.flow.steps,
            "skipped_steps": exchange.skipped_steps,
            "symbols": len(exchange.symbols),
            "active": list(exchange.flow.symbols),
            "faults": exchange.faults.describe(),
            "requests": dict(exchange.requests),
            "refusals": {str(status): count for status, count in exchange.refusals.items()},
            "published": exchange.streams.published,
            "cpu_seconds": time.process_time(),
        })

    async def _connections(self, http: web.Request) -> web.Response:
        exchange = self._exchange
        shown: dict[str, Any] = {MARKET: [], WS_API: [], USER: [], "opened": dict(exchange.opened)}
        for connection in sorted(exchange.connections, key=lambda each: each.number):
            described = connection.describe()
            shown[connection.channel].append(described)
            if connection.users:
                shown[USER].append(described)
        return web.json_response(shown)

    async def _book(self, http: web.Request) -> web.Response:
        exchange = self._exchange
        name = http.query.get("symbol", "").upper().replace("-", "")
        book = exchange.engine.books.get(name)
        if book is None:
            return _refusal(ValueError(f"symbol must be a listed one, was {name}"))
        sides = {
            side: [[format_units(price), format_units(quantity)] for price, quantity in levels.top(len(levels.keys))]
            for side, levels in (("bids", book.bids), ("asks", book.asks))
        }
        return web.json_response({
            "symbol": name, "status": exchange.engine.status[name], "update_id": book.update_id,
            "ns": time.monotonic_ns(), "wall_ms": exchange.clock.wall_ms(), **sides,
        })

    async def _tops(self, http: web.Request) -> web.Response:
        exchange = self._exchange
        try:
            if "symbol" in http.query:
                record = exchange.tops.at(http.query["symbol"], int(http.query.get("update_id", "")))
                return web.json_response({"record": record})
            found = exchange.tops.since(int(http.query.get("after", "0")))
        except ValueError as error:
            return _refusal(error)
        return self._since(found)

    async def _watch(self, http: web.Request) -> web.Response:
        exchange = self._exchange
        try:
            wanted = await _body(http)
            names = wanted.get("symbols", "*")
            names = list(exchange.engine.books) if names == "*" else names
            if not isinstance(names, list) or not all(name in exchange.engine.books for name in names):
                raise ValueError(f"symbols must be a list of listed ones, was {names}")
            exchange.tops.watch(names, int(wanted.get("levels", 20)), int(wanted.get("keep", 100_000)))
        except (ValueError, TypeError) as error:
            return _refusal(error)
        for name in names:
            exchange.tops.note(name, exchange.engine.books[name], published=False)
        return web.json_response({"symbols": names})

    async def _received(self, http: web.Request) -> web.Response:
        try:
            found = self._exchange.received.since(int(http.query.get("after", "0")))
        except ValueError as error:
            return _refusal(error)
        return self._since(found)

    async def _receive(self, http: web.Request) -> web.Response:
        try:
            keep = int((await _body(http)).get("keep", 100_000))
            self._exchange.received.keep(keep)
        except (ValueError, TypeError) as error:
            return _refusal(error)
        return web.json_response({"keep": keep})

    def _since(self, found: dict[str, Any]) -> web.Response:
        now = {"ns": time.monotonic_ns(), "wall_ms": self._exchange.clock.wall_ms()}
        return web.json_response({**now, **found})

    async def _ledger(self, http: web.Request) -> web.Response:
        accounts = [_account(account) for account in self._exchange.accounts.users()]
        fees = {asset: format_units(balance.free) for asset, balance in self._exchange.accounts.fees.balances.items()}
        return web.json_response({"accounts": accounts, "fees": fees})


def _account(account: Account) -> dict[str, Any]:
    return {
        "name": account.name,
        "api_key": account.api_key,
        "forgotten_orders": account.forgotten_orders,
        "balances": {
            asset: {"free": format_units(balance.free), "locked": format_units(balance.locked)}
            for asset, balance in account.balances.items()
        },
        "orders": [
            {**messages.order_status(order), "fills": [messages.my_trade(fill) for fill in order.fills]}
            for order in account.orders.values()
        ],
    }


async def _body(http: web.Request) -> dict[str, Any]:
    text = await http.text()
    value = json.loads(text) if text.strip() else {}
    if not isinstance(value, dict):
        raise ValueError("body must be a JSON object")
    return value


def _refusal(error: Exception) -> web.Response:
    return web.json_response({"error": str(error)}, status=400)
