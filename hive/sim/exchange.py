"""The exchange as one object: engine, accounts, flow, limits, faults and streams, wired together.

It listens to the engine and turns what happens into market events, user events, candles and the ledger's records.
Events of a request leave before its answer does, as can happen on the venue too.
"""
from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hive.sim import messages
from hive.sim.accounts import Account, Accounts
from hive.sim.candles import SymbolCandles
from hive.sim.clock import ExchangeClock
from hive.sim.connection import USER, WS_API, Connection
from hive.sim.decimals import parse_units
from hive.sim.engine import Commission, Engine
from hive.sim.errors import VenueError
from hive.sim.faults import Fault, Faults
from hive.sim.flow import Flow
from hive.sim.history import History
from hive.sim.limits import Limits, LimitSettings
from hive.sim.orders import NEW, TRADE, Fill, Order, Trade
from hive.sim.streams import MarketStreams
from hive.sim.symbols import MOST_SYMBOLS, RATE_MAX, Symbol, list_symbols
from hive.sim.tops import TopHistory

RECENT_TRADES = 1000
_KEPT_LEVELS = 5000  # the most that a depth request may ask for


@dataclass(frozen=True, slots=True)
class ExchangeSettings:
    """What an exchange is made of.

    seed: of the flow; rate: flow steps per second, 0 leaves the books as they open; symbols: how many are listed;
    active: how many of them the flow trades; keep_orders: closed orders remembered per account; open_orders: most
    open ones per account and pair.
    """

    seed: int = 1
    rate: float = 200.0
    symbols: int = 30
    active: int = 20
    commission: Commission = field(default_factory=Commission)
    limits: LimitSettings = field(default_factory=LimitSettings)
    keep_orders: int = 200_000
    open_orders: int = 200

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= RATE_MAX:
            raise ValueError(f"rate must be from 0 to {RATE_MAX}, was {self.rate}")
        if not 1 <= self.symbols <= MOST_SYMBOLS:
            raise ValueError(f"symbols must be from 1 to {MOST_SYMBOLS}, was {self.symbols}")
        if not 1 <= self.active <= self.symbols:
            raise ValueError(f"active must be from 1 to symbols ({self.symbols}), was {self.active}")
        for name in ("keep_orders", "open_orders"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, was {getattr(self, name)}")


class Exchange:
    """Everything that the servers (REST, market streams, WebSocket API, control) work on."""

    def __init__(self, settings: ExchangeSettings, accounts: Accounts, now_ms: int) -> None:
        self.settings = settings
        self.accounts = accounts
        self.clock = ExchangeClock()
        self.symbols: dict[str, Symbol] = {
            name: replace(symbol, max_orders=settings.open_orders)
            for name, symbol in list_symbols(settings.symbols).items()
        }
        self.engine = Engine(self.symbols, accounts, self, settings.commission, settings.keep_orders)
        self.faults = Faults()
        self.limits = Limits(settings.limits)
        self.candles = {
            name: SymbolCandles(symbol, settings.seed, now_ms) for name, symbol in self.symbols.items()
        }
        self.recent_trades: dict[str, deque[Trade]] = {
            name: deque(maxlen=RECENT_TRADES) for name in self.symbols
        }
        self.tops = TopHistory()
        self.received = History()
        self.streams = MarketStreams(self.engine, self.candles, self.faults, self.tops)
        self.flow = Flow(self.engine, settings.seed, list(self.symbols)[: settings.active])
        self.connections: set[Connection] = set()
        self.opened: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.refusals: Counter[int] = Counter()
        self.user_streams: dict[str, dict[tuple[Connection, int], None]] = {}
        self.began_ms = now_ms
        self.skipped_steps = 0
        self._execution_id = 0
        self._symbol_texts: dict[str, str] = {}
        self.flow.open(now_ms)

    # --- the engine's listener

    def on_trade(self, trade: Trade) -> None:
        """Record and publish a trade."""
        name = trade.symbol.name
        self.recent_trades[name].append(trade)
        self.candles[name].on_trade(trade)
        self.streams.on_trade(trade, trade.time_ms)

    def on_report(self, order: Order, execution: str, fill: Fill | None, now_ms: int) -> None:
        """Send an execution report to the account's user streams."""
        account = order.account
        if execution == TRADE and len(order.fills) == 1:
            self.limits.drop_order(account.name, now_ms)
        self._execution_id += 1
        if execution == NEW:
            fault = self.faults.take("expire", time.monotonic_ns(), symbol=order.symbol.name)
            if fault is not None:
                asyncio.get_running_loop().call_later(fault.age, self._expire, order)
        if self.user_streams.get(account.name):
            event = messages.execution_report(
                order, execution, fill, self._execution_id, now_ms, self.clock.wall_ms()
            )
            self._send_user(account, event)

    def on_done(self, account: Account, symbol: Symbol, now_ms: int) -> None:
        """Send an account's balances to its user streams."""
        if self.user_streams.get(account.name):
            event = messages.account_position(account, (symbol.base, symbol.quote), self.clock.wall_ms())
            self._send_user(account, event)

    def _send_user(self, account: Account, event: dict[str, Any]) -> None:
        text = json.dumps(event, separators=(",", ":"))
        for connection, subscription_id in self.user_streams[account.name]:
            connection.send(f'{{"subscriptionId":{subscription_id},"event":{text}}}'.encode(), USER)

    # --- connections

    def subscribe_user(self, account: Account, connection: Connection, subscription_id: int) -> None:
        """Send an account's events to a connection from now on."""
        self.user_streams.setdefault(account.name, {})[connection, subscription_id] = None
        connection.users += 1

    def unsubscribe_user(self, connection: Connection, subscription_id: int | None = None) -> int:
        """End one user stream of a connection, or all; return how many ended."""
        ended = 0
        for streams in self.user_streams.values():
            for key in [key for key in streams if key[0] is connection]:
                if subscription_id is None or key[1] == subscription_id:
                    del streams[key]
                    connection.users -= 1
                    ended += 1
        return ended

    def forget(self, connection: Connection) -> None:
        """Drop all that a connection that ended had."""
        self.connections.discard(connection)
        self.streams.forget(connection)
        self.unsubscribe_user(connection)

    def count_refusal(self, status: int) -> None:
        """Count an answer of status >= 400."""
        self.refusals[status] += 1

    # --- symbols

    def symbol_text(self, name: str) -> str:
        """Return a symbol's entry of exchangeInfo as JSON text, encoded once per status."""
        key = f"{name} {self.engine.status[name]}"
        text = self._symbol_texts.get(key)
        if text is None:
            info = messages.symbol_info(self.symbols[name], self.engine.status[name])
            text = self._symbol_texts[key] = json.dumps(info, separators=(",", ":"))
        return text

    # --- faults that act by themselves

    def add_fault(self, name: str, arguments: dict[str, str]) -> Fault:
        """Add a fault and let it begin if it is time. Raises ValueError when an argument does not fit."""
        symbol = arguments.get("symbol", "*").upper().replace("-", "")
        if symbol != "*" and symbol not in self.symbols:
            raise ValueError(f"{name}: symbol must be a listed one, was {symbol}")
        if name in ("delist", "filters") and symbol == "*":
            raise ValueError(f"{name}: symbol must be one, was *")
        if name == "filters":
            self._with_filters(symbol, arguments)
        fault = self.faults.add(name, arguments, time.monotonic_ns())
        self.turn_faults()
        return fault

    def turn_faults(self) -> None:
        """Begin and end the faults whose time has come."""
        now_ns = time.monotonic_ns()
        for fault in self.faults.of("lifetime", now_ns):
            for connection in self._reached(fault):
                if now_ns - connection.opened_ns >= fault.age * 1e9:
                    fault.struck += 1
                    connection.close()
        begun, ended = self.faults.turn(now_ns)
        for fault in begun:
            if fault.name == "drop":
                self.faults.remove(fault)
                fault.struck += 1
                self._drop(fault)
            elif fault.name == "shutdown":
                self.faults.remove(fault)
                fault.struck += 1
                self._shut_down(fault)
            elif fault.name == "halt":
                self._halt(fault, True)
            elif fault.name == "delist":
                self._delist(fault)
            elif fault.name == "filters":
                fault.before[fault.symbol] = self.symbols[fault.symbol]
                self._list_as(self._with_filters(fault.symbol, fault.texts))
            elif fault.name == "lag":
                self._keep_books(fault)
            elif fault.name == "skew":
                self.clock.skew_ms = fault.ms
            elif fault.name == "limit":
                self.limits.allow_secretly(fault.orders_10s, fault.weight)
        self._undo(ended)

    def clear_faults(self, name: str | None = None) -> int:
        """End all faults, or all of one name; return how many there were."""
        gone = self.faults.clear(name)
        self._undo(gone)
        return len(gone)

    def _undo(self, faults: list[Fault]) -> None:
        for fault in faults:
            if fault.name == "halt":
                self._halt(fault, False)
            elif fault.name in ("delist", "filters"):
                for symbol in fault.before.values():
                    self._list_as(symbol)
                    self.engine.set_halted(symbol.name, False)
            elif fault.name == "skew":
                self.clock.skew_ms = 0
            elif fault.name == "limit":
                self.limits.allow_secretly()

    def _halt(self, fault: Fault, halted: bool) -> None:
        for name in self.symbols if fault.symbol == "*" else (fault.symbol,):
            self.engine.set_halted(name, halted)

    def _drop(self, fault: Fault) -> None:
        for connection in self._reached(fault):
            connection.close(fault.abort)

    def _shut_down(self, fault: Fault) -> None:
        event = f'{{"e":"serverShutdown","E":{self.clock.wall_ms()}}}'
        for connection in self._reached(fault):
            if connection.channel == WS_API:
                text = f'{{"event":{event}}}'
            else:
                text = f'{{"stream":"serverShutdown","data":{event}}}' if connection.combined else event
            connection.send(text.encode())
            asyncio.get_running_loop().call_later(fault.ms / 1000, connection.close)

    def _reached(self, fault: Fault) -> list[Connection]:
        """Return the connections that a fault is meant for."""
        return [
            connection for connection in self.connections
            if fault.matches(connection.channel, None, None) or (connection.users and fault.matches(USER, None, None))
        ]

    def place_later(self, order: Order, seconds: float) -> None:
        """Place an order after a while, as a venue does whose matching hangs; it is forgotten if it is refused then."""
        asyncio.get_running_loop().call_later(seconds, self._place_late, order)

    def _place_late(self, order: Order) -> None:
        now_ms = self.clock.wall_ms()
        try:
            self.engine.place(order, now_ms)
        except VenueError:
            self.limits.drop_order(order.account.name, now_ms)
            return
        self.streams.publish(now_ms)

    def _expire(self, order: Order) -> None:
        if order.is_open:
            now_ms = self.clock.wall_ms()
            self.engine.cancel(order, now_ms)
            self.streams.publish(now_ms)

    def _keep_books(self, fault: Fault) -> None:
        """Keep the books as they are, for the snapshots that lag."""
        for name in self.symbols if fault.symbol == "*" else (fault.symbol,):
            book = self.engine.books[name]
            fault.before[name] = (book.update_id, book.bids.top(_KEPT_LEVELS), book.asks.top(_KEPT_LEVELS))
            self.tops.note(name, book, published=False)

    def _delist(self, fault: Fault) -> None:
        name, now_ms = fault.symbol, self.clock.wall_ms()
        if name not in self.symbols:
            return
        self.engine.set_halted(name, True)
        for account in self.accounts.users():
            for order in [order for order in account.open_orders.values() if order.symbol.name == name]:
                self.engine.cancel(order, now_ms)
        fault.before[name] = self.symbols.pop(name)

    def _list_as(self, symbol: Symbol) -> None:
        """List a symbol with these filters from now on; the flow quotes by them."""
        name = symbol.name
        self.symbols[name] = symbol
        self.flow.list_as(symbol)
        for key in [key for key in self._symbol_texts if key.startswith(f"{name} ")]:
            del self._symbol_texts[key]

    def _with_filters(self, name: str, texts: Mapping[str, str]) -> Symbol:
        """Return a symbol with the filters that are given. Raises ValueError when they do not fit together."""
        symbol = self.symbols[name]
        given = {key: parse_units(texts[key]) for key in ("tick", "step", "min_notional") if texts.get(key, "0") != "0"}
        tick, step = given.get("tick", symbol.tick), given.get("step", symbol.step)
        start_price = max(tick, symbol.start_price // tick * tick)
        return replace(
            symbol, tick=tick, step=step, min_notional=given.get("min_notional", symbol.min_notional),
            min_price=tick, min_quantity=step, start_price=start_price,
        )
