"""The matching engine: price-time priority over the books of all symbols, with exact balances.

- An arriving order trades against the best opposite level first and within a level against the oldest order, at
  the resting order's price. Its fate is decided before `place` returns.
- A limit order locks what it may spend (quote of a buy, base of a sell); a fill at a better price than its own
  gives the difference back at once. Market orders lock nothing, they are checked against the book beforehand.
- Commission is taken from the asset received, truncated to 1e-8, and credited to the exchange's fees account.
- Orders of the same account do trade with each other (the venue's self-trade prevention mode NONE).

The engine tells what happens, in order, to one `Listener`. Time is a parameter: wall ms of the exchange's clock.
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from hive.sim import errors
from hive.sim.accounts import Account, Accounts
from hive.sim.book import Book, Level
from hive.sim.decimals import UNIT, notional
from hive.sim.errors import VenueError
from hive.sim.orders import (
    BUY,
    CANCELED,
    EXPIRED,
    FILLED,
    FOK,
    GTC,
    LIMIT_MAKER,
    MARKET,
    NEW,
    PARTIALLY_FILLED,
    SELL,
    TRADE,
    Fill,
    Order,
    Trade,
)
from hive.sim.symbols import HALT, TRADING, Symbol

INSUFFICIENT = "Account has insufficient balance for requested action."


@dataclass(frozen=True, slots=True)
class Commission:
    """Commission rates in millionths of the amount received; 1000 is 0.1 %."""

    maker_ppm: int = 1000
    taker_ppm: int = 1000

    def __post_init__(self) -> None:
        for field in ("maker_ppm", "taker_ppm"):
            if not 0 <= getattr(self, field) < 1_000_000:
                raise ValueError(f"{field} must be >= 0 and < 1000000, was {getattr(self, field)}")


class Listener(Protocol):
    """Who is told of everything that the engine does, within the call that does it."""

    def on_trade(self, trade: Trade) -> None:
        """Note a public trade."""

    def on_report(self, order: Order, execution: str, fill: Fill | None, now_ms: int) -> None:
        """Note a change of a user's order; execution is NEW, TRADE, CANCELED or EXPIRED."""

    def on_done(self, account: Account, symbol: Symbol, now_ms: int) -> None:
        """Note that an account's balances of a symbol's two assets may have changed, after its reports."""


class Engine:
    """Books, balances and order ids of the whole exchange.

    keep_orders bounds how many closed orders each account remembers.
    """

    def __init__(self, symbols: dict[str, Symbol], accounts: Accounts, listener: Listener,
                 commission: Commission | None = None, keep_orders: int = 200_000) -> None:
        self.symbols = symbols
        self.accounts = accounts
        self.listener = listener
        self.commission = commission or Commission()
        self.books = {name: Book() for name in symbols}
        self.status = dict.fromkeys(symbols, TRADING)
        self.last_price = {name: symbol.start_price for name, symbol in symbols.items()}
        self.trade_ids = dict.fromkeys(symbols, 0)
        self.keep_orders = keep_orders
        self._next_order_id = 1

    def place(self, order: Order, now_ms: int) -> None:
        """Accept an order, match it and let what remains rest or expire, as its type says.

        Raises VenueError, with nothing changed, when the market is halted, the funds do not suffice, a LIMIT_MAKER
        order would take, or the book cannot serve a market order by quote amount.
        """
        symbol, account = order.symbol, order.account
        name = symbol.name
        if self.status[name] == HALT:
            raise VenueError(errors.INVALID_MESSAGE, "Market is closed.")
        book = self.books[name]
        opposite = book.asks if order.side == BUY else book.bids
        is_market = order.type == MARKET
        if not is_market and not account.is_house:
            self._check_limit_funds(order)
        if order.type == LIMIT_MAKER and self._would_take(order, opposite.best_price()):
            raise VenueError(errors.ORDER_REJECTED, "Order would immediately match and take.")
        if is_market:
            self._prepare_market(order, book)

        order.order_id = self._next_order_id
        self._next_order_id += 1
        order.created_ms = order.updated_ms = now_ms
        is_user = not account.is_house
        if is_user:
            account.remember(order, self.keep_orders)
            if not is_market:
                self._lock(order)
            self.listener.on_report(order, NEW, None, now_ms)
        touched = self._match(order, book, now_ms) if self._may_match(order, book) else None
        if order.remaining:
            if order.tif == GTC and not is_market:
                book.add(order)
            else:
                self._end(order, EXPIRED, now_ms)
        if is_user:
            self.listener.on_done(account, symbol, now_ms)
        if touched:
            for other in touched:
                if other is not account:
                    self.listener.on_done(other, symbol, now_ms)

    def cancel(self, order: Order, now_ms: int, cancel_id: str = "") -> None:
        """Take an open order out of its book and unlock its funds. Raises VenueError when it is not open."""
        if not order.is_open:
            raise VenueError(errors.CANCEL_REJECTED, "Unknown order sent.")
        self.books[order.symbol.name].remove(order)
        order.cancel_id = cancel_id
        self._end(order, CANCELED, now_ms)
        if not order.account.is_house:
            self.listener.on_done(order.account, order.symbol, now_ms)

    def set_halted(self, name: str, halted: bool) -> None:
        """Halt or resume trading of a symbol. Raises VenueError when it is not listed."""
        if name not in self.status:
            raise errors.bad_symbol()
        self.status[name] = HALT if halted else TRADING

    # --- matching

    @staticmethod
    def _would_take(order: Order, best: int) -> bool:
        return bool(best) and (best <= order.price if order.side == BUY else best >= order.price)

    def _may_match(self, order: Order, book: Book) -> bool:
        if order.tif != FOK:
            return True
        wanted = order.quantity
        for level in self._levels_within(order, book):
            wanted -= level.quantity
            if wanted <= 0:
                return True
        return False

    @staticmethod
    def _levels_within(order: Order, book: Book) -> Iterable[Level]:
        side = book.asks if order.side == BUY else book.bids
        limit = order.price * side.sign if order.price else None
        for key in reversed(side.keys):
            if limit is not None and key < limit:
                return
            yield side.levels[key * side.sign]

    def _match(self, order: Order, book: Book, now_ms: int) -> list[Account] | None:
        """Trade an arriving order; return the users whose resting orders it met, or None."""
        touched: list[Account] | None = None
        opposite = book.asks if order.side == BUY else book.bids
        keys, sign, levels = opposite.keys, opposite.sign, opposite.levels
        # A market order has price 0 and takes any price.
        limit = order.price * sign if order.price else None
        while order.remaining and keys:
            key = keys[-1]
            if limit is not None and key < limit:
                break
            level = levels[key * sign]
            maker = next(iter(level.orders.values()))
            quantity = min(order.remaining, maker.remaining)
            order.remaining -= quantity
            book.fill(maker, quantity)
            self._trade(maker, order, level.price, quantity, now_ms)
            if not maker.account.is_house:
                if touched is None:
                    touched = [maker.account]
                elif maker.account not in touched:
                    touched.append(maker.account)
        return touched

    def _trade(self, maker: Order, taker: Order, price: int, quantity: int, now_ms: int) -> None:
        symbol = maker.symbol
        name = symbol.name
        trade_id = self.trade_ids[name] = self.trade_ids[name] + 1
        self.last_price[name] = price
        quote = notional(price, quantity)
        trade = Trade(symbol, trade_id, price, quantity, quote, maker, taker, now_ms)
        for order in (maker, taker):
            order.executed += quantity
            order.executed_quote += quote
            order.updated_ms = now_ms
            order.status = PARTIALLY_FILLED if order.remaining else FILLED
        self.listener.on_trade(trade)
        # The house buying from itself changes no balance.
        if maker.account.is_house and taker.account.is_house:
            return
        self._settle(maker, trade, True)
        self._settle(taker, trade, False)

    def _settle(self, order: Order, trade: Trade, is_maker: bool) -> None:
        account, symbol = order.account, order.symbol
        base, quote = account.balance(symbol.base), account.balance(symbol.quote)
        if order.side == BUY:
            got, got_asset = trade.quantity, symbol.base
            if order.type == MARKET or account.is_house:
                quote.free -= trade.quote
            else:
                locked = notional(order.price, trade.quantity)
                quote.locked -= locked
                quote.free += locked - trade.quote
        else:
            got, got_asset = trade.quote, symbol.quote
            if order.type == MARKET or account.is_house:
                base.free -= trade.quantity
            else:
                base.locked -= trade.quantity
        if account.is_house:
            account.balance(got_asset).free += got
            return
        ppm = self.commission.maker_ppm if is_maker else self.commission.taker_ppm
        commission = got * ppm // 1_000_000
        account.balance(got_asset).free += got - commission
        self.accounts.fees.balance(got_asset).free += commission
        account.updated_ms = trade.time_ms
        fill = Fill(trade, order, is_maker, commission, got_asset)
        order.fills.append(fill)
        account.fills.setdefault(symbol.name, {})[fill] = None
        if order.status == FILLED:
            account.close(order)
        self.listener.on_report(order, TRADE, fill, trade.time_ms)

    # --- funds

    @staticmethod
    def _check_limit_funds(order: Order) -> None:
        symbol = order.symbol
        if order.side == BUY:
            need, have = notional(order.price, order.quantity), order.account.balance(symbol.quote).free
        else:
            need, have = order.quantity, order.account.balance(symbol.base).free
        if need > have:
            raise VenueError(errors.ORDER_REJECTED, INSUFFICIENT)

    @staticmethod
    def _lock(order: Order) -> None:
        symbol, account = order.symbol, order.account
        if order.side == BUY:
            balance, amount = account.balance(symbol.quote), notional(order.price, order.quantity)
        else:
            balance, amount = account.balance(symbol.base), order.quantity
        balance.free -= amount
        balance.locked += amount

    def _prepare_market(self, order: Order, book: Book) -> None:
        """Turn a quote amount into a quantity, and check that the account can pay for what the book offers."""
        symbol, account = order.symbol, order.account
        if order.quote_quantity:
            order.quantity = order.remaining = self._quantity_for(order, book)
            if order.quantity < symbol.min_quantity:
                raise VenueError(
                    errors.ORDER_REJECTED, "Order book liquidity is less than LOT_SIZE filter minimum quantity."
                )
        if account.is_house:
            return
        if order.side == SELL:
            need, have = order.quantity, account.balance(symbol.base).free
        else:
            need, have = self._cost(order, book), account.balance(symbol.quote).free
        if need > have:
            raise VenueError(errors.ORDER_REJECTED, INSUFFICIENT)

    def _cost(self, order: Order, book: Book) -> int:
        wanted, cost = order.quantity, 0
        for level in self._levels_within(order, book):
            quantity = min(wanted, level.quantity)
            cost += notional(level.price, quantity)
            wanted -= quantity
            if not wanted:
                break
        return cost

    def _quantity_for(self, order: Order, book: Book) -> int:
        money, quantity, step = order.quote_quantity, 0, order.symbol.step
        for level in self._levels_within(order, book):
            affordable = money * UNIT // level.price // step * step
            taken = min(affordable, level.quantity)
            quantity += taken
            money -= notional(level.price, taken)
            if taken < level.quantity:
                break
        return quantity

    def _end(self, order: Order, status: str, now_ms: int) -> None:
        order.status = status
        order.updated_ms = now_ms
        account = order.account
        if account.is_house:
            return
        if order.type != MARKET:
            symbol = order.symbol
            if order.side == BUY:
                balance, amount = account.balance(symbol.quote), notional(order.price, order.remaining)
            else:
                balance, amount = account.balance(symbol.base), order.remaining
            balance.locked -= amount
            balance.free += amount
        account.updated_ms = now_ms
        account.close(order)
        self.listener.on_report(order, status, None, now_ms)
