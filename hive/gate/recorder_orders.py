"""Records of one strategy's orders, as the rows that stock Hummingbot's recorder would have written.

    record                        Order            OrderStatus             TradeFill   MarketState
    SENT, ADOPTED, UNSENT         -                -                       -           tracked when it lives, or no more
    ACKED, UNKNOWN                new              (Buy|Sell)OrderCreated  -           open
    FILL                          last_status      OrderFilled             new         executed, fills
    ENDED, lived                  last_status      (Buy|Sell)OrderCompleted, OrderCancelled, OrderFailure   gone
    ENDED, rejected at once       -                -                       -           gone

Each record may come any number of times, as a journal repeats them: a row is made once, by the order's id, by the
trade's, and by status and time; and what follows from a row follows from its making. What is needed of an order while
it lives is its entry in MarketState, written in the same transaction; after that it is its Order row.

Columns that the journal does not have: `leverage` and `position` are those of every spot order; `trade_fee_in_quote` of
a fee in a third asset is 0, as upstream stores it when it finds no rate.
"""

import json
import sqlite3
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from hive.gate.journal_format import KIND_AT, Kind, read_id, read_state, read_trade, rebuild, when
from hive.gate.order import Order, State
from hive.gate.recorder_owners import Owner
from hive.gate.venue import Trade

UNKNOWN_EXCHANGE_ID = "UNKNOWN"
SCALE = 10**6  # of a decimal in an integer column
NO_POSITION = "NIL"
PENDING_CREATE, OPEN = "0", "1"  # of an order that is tracked
ID_IN_TAIL = slice(22, 58)

SEEN_NS = "hive_seen_ns"
"""A key of a tracked order of Hive's own: when the record was made that last showed it to live; others ignore it."""

_DEDUCTED = "DeductedFromReturns"
_MS = 10**6  # ns
_S = 10**9  # an integer: the quotient is the nearest float then, as of a time that was read as text

Entry = dict[str, Any]


class OrderRows:
    """The orders of one strategy on one market. All methods work in the transaction that the caller has begun.

    Args:
        connection: to the strategy's database
        owner: the strategy
        market: the venue's name
        find: returns the tail that tells of a whole order by its id, from the journal's files
    """

    def __init__(
        self, connection: sqlite3.Connection, owner: Owner, market: str, find: Callable[[str], bytes | None]
    ) -> None:
        self._connection = connection
        self._owner = owner
        self._market = market
        self._find = find
        self._changed = False
        self._tracked: dict[str, Entry] = {}
        query = "SELECT saved_state FROM MarketState WHERE config_file_path = ? AND market = ?"
        for (state,) in connection.execute(query, (owner.config_file_path, market)):
            self._tracked.update(json.loads(state))

    def take(self, tail: bytes) -> str:
        """Make the rows that follow from one record; returns what is wrong with it, "" when nothing is."""
        try:
            return self._take(tail)
        except OverflowError:  # a column holds 64 bits, so 9 * 10**12 in millionths
            return f"order {read_id(tail[ID_IN_TAIL])}: a number is too large for its column"

    def _take(self, tail: bytes) -> str:
        client_order_id = read_id(tail[ID_IN_TAIL])
        kind = tail[KIND_AT]
        if kind in (Kind.SENT, Kind.ADOPTED):
            order = _whole_order(tail)
            if not order.final:  # else it is written down whole because no strategy has been told of its end
                self._track(order)
            return ""
        if kind == Kind.UNSENT:
            if not self._has_row(client_order_id):
                self._untrack(client_order_id)
            return ""
        if kind == Kind.FILL:
            exchange_order_id, trade = read_trade(tail)
            if not self._create(client_order_id, exchange_order_id, when(tail)):
                return _unknown(client_order_id)
            self._fill(client_order_id, exchange_order_id, trade)
            return ""
        state, exchange_order_id = read_state(tail)
        if kind == Kind.ENDED:
            return self._end(client_order_id, state, exchange_order_id, when(tail))
        known = exchange_order_id or UNKNOWN_EXCHANGE_ID
        return "" if self._create(client_order_id, known, when(tail)) else _unknown(client_order_id)

    def write_state(self, now_wall_ns: int) -> None:
        """Write what is tracked now, if that has changed; before the transaction ends."""
        if not self._changed:
            return
        self._changed = False
        key = (self._owner.config_file_path, self._market)
        values = (now_wall_ns // _MS, json.dumps(self._tracked), *key)
        query = "UPDATE MarketState SET timestamp = ?, saved_state = ? WHERE config_file_path = ? AND market = ?"
        if self._connection.execute(query, values).rowcount == 0:
            query = "INSERT INTO MarketState (timestamp, saved_state, config_file_path, market) VALUES (?, ?, ?, ?)"
            self._connection.execute(query, values)

    def _track(self, order: Order) -> None:
        if order.client_order_id not in self._tracked:
            self._tracked[order.client_order_id] = _entry(order)
            self._changed = True

    def _untrack(self, client_order_id: str) -> None:
        if self._tracked.pop(client_order_id, None) is not None:
            self._changed = True

    def _has_row(self, client_order_id: str) -> bool:
        return self._connection.execute('SELECT 1 FROM "Order" WHERE id = ?', (client_order_id,)).fetchone() is not None

    def _create(self, client_order_id: str, exchange_order_id: str, wall_ns: int) -> bool:
        """Make an order's row, or put the exchange's id into it; returns False when nothing tells what was ordered."""
        entry = self._tracked.get(client_order_id)
        if entry is not None:
            _note_life(entry, exchange_order_id, wall_ns)
            self._changed = True
        query = 'SELECT exchange_order_id FROM "Order" WHERE id = ?'
        row = self._connection.execute(query, (client_order_id,)).fetchone()
        if row is not None:
            if row[0] == UNKNOWN_EXCHANGE_ID and exchange_order_id not in ("", UNKNOWN_EXCHANGE_ID):
                query = 'UPDATE "Order" SET exchange_order_id = ? WHERE id = ?'
                self._connection.execute(query, (exchange_order_id, client_order_id))
            return True
        if entry is None:  # it was given up, and lives after all
            tail = self._find(client_order_id)
            if tail is None:
                return False
            entry = self._tracked[client_order_id] = _entry(_whole_order(tail))
            _note_life(entry, exchange_order_id, wall_ns)
            self._changed = True
        self._insert_order(entry, exchange_order_id or UNKNOWN_EXCHANGE_ID)
        return True

    def _insert_order(self, entry: Entry, exchange_order_id: str) -> None:
        created_ms = int(entry["creation_timestamp"] * 1000)
        status = "BuyOrderCreated" if entry["trade_type"] == "BUY" else "SellOrderCreated"
        base, quote = entry["trading_pair"].split("-")
        price = Decimal(entry["price"])
        self._insert(
            "Order",
            id=entry["client_order_id"],
            config_file_path=self._owner.config_file_path,
            strategy=self._owner.strategy,
            market=self._market,
            symbol=entry["trading_pair"],
            base_asset=base,
            quote_asset=quote,
            creation_timestamp=created_ms,
            order_type=entry["order_type"],
            amount=_scaled(Decimal(entry["amount"])),
            leverage=1,
            price=0 if price.is_nan() else _scaled(price),
            last_status=status,
            last_update_timestamp=created_ms,
            exchange_order_id=exchange_order_id,
            position=NO_POSITION,
        )
        self._insert("OrderStatus", order_id=entry["client_order_id"], timestamp=created_ms, status=status)

    def _fill(self, client_order_id: str, exchange_order_id: str, trade: Trade) -> None:
        pair, order_type, side = self._facts(client_order_id)
        base, quote = pair.split("-")
        fee = self._fee(side, trade)
        made = self._insert(
            "TradeFill",
            config_file_path=self._owner.config_file_path,
            strategy=self._owner.strategy,
            market=self._market,
            symbol=pair,
            base_asset=base,
            quote_asset=quote,
            timestamp=trade.wall_ns // _MS,
            order_id=client_order_id,
            trade_type=side,
            order_type=order_type,
            price=_scaled(trade.price),
            amount=_scaled(trade.amount),
            leverage=1,
            trade_fee=json.dumps(fee),
            trade_fee_in_quote=_scaled(_fee_in(quote, trade, base, quote)),
            exchange_trade_id=str(trade.trade_id),
            position=NO_POSITION,
        )
        if not made:
            return
        self._status(client_order_id, "OrderFilled", trade.wall_ns // _MS)
        entry = self._tracked.get(client_order_id)
        if entry is not None:
            _add_fill(entry, exchange_order_id, trade, fee)
            self._changed = True

    def _end(self, client_order_id: str, state: int, exchange_order_id: str, wall_ns: int) -> str:
        if state == State.REJECTED:
            if self._lived_after(client_order_id, wall_ns):
                return ""
            if self._has_row(client_order_id):
                self._status_once(client_order_id, "OrderFailure", wall_ns // _MS)
            self._untrack(client_order_id)
            return ""
        if not self._create(client_order_id, exchange_order_id, wall_ns):
            return _unknown(client_order_id)
        if state == State.FILLED:
            _, _, side = self._facts(client_order_id)
            status = "BuyOrderCompleted" if side == "BUY" else "SellOrderCompleted"
        else:
            status = "OrderCancelled"  # Hummingbot knows no other end for an order that the venue expired
        self._status_once(client_order_id, status, wall_ns // _MS)
        self._untrack(client_order_id)
        return ""

    def _lived_after(self, client_order_id: str, wall_ns: int) -> bool:
        """Return whether an order is known to have lived after it was rejected: the record of that comes again."""
        entry = self._tracked.get(client_order_id)
        if entry is not None and wall_ns < entry.get(SEEN_NS, 0):
            return True
        query = "SELECT 1 FROM OrderStatus WHERE order_id = ? AND timestamp > ?"
        return self._connection.execute(query, (client_order_id, wall_ns // _MS)).fetchone() is not None

    def _facts(self, client_order_id: str) -> tuple[str, str, str]:
        """Return pair, type and side of an order that has a row."""
        query = (
            'SELECT o.symbol, o.order_type, s.status FROM "Order" o JOIN OrderStatus s ON s.order_id = o.id '
            "WHERE o.id = ? AND s.status IN ('BuyOrderCreated', 'SellOrderCreated')"
        )
        pair, order_type, status = self._connection.execute(query, (client_order_id,)).fetchone()
        return pair, order_type, "BUY" if status == "BuyOrderCreated" else "SELL"

    def _status(self, client_order_id: str, status: str, timestamp_ms: int) -> None:
        self._insert("OrderStatus", order_id=client_order_id, timestamp=timestamp_ms, status=status)
        query = 'UPDATE "Order" SET last_status = ?, last_update_timestamp = ? WHERE id = ?'
        self._connection.execute(query, (status, timestamp_ms, client_order_id))

    def _status_once(self, client_order_id: str, status: str, timestamp_ms: int) -> None:
        query = "SELECT 1 FROM OrderStatus WHERE order_id = ? AND timestamp = ? AND status = ?"
        if self._connection.execute(query, (client_order_id, timestamp_ms, status)).fetchone() is None:
            self._status(client_order_id, status, timestamp_ms)

    def _insert(self, table: str, **values: object) -> bool:
        """Insert a row unless one with its key is there; returns whether it was made."""
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        query = f'INSERT INTO "{table}" ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING'
        return self._connection.execute(query, tuple(values.values())).rowcount == 1

    def _fee(self, side: str, trade: Trade) -> dict[str, Any]:
        return {
            "fee_type": self._owner.fees.get(self._market, {}).get(side, _DEDUCTED),
            "percent": "0",
            "percent_token": trade.fee_asset,
            "flat_fees": [{"token": trade.fee_asset, "amount": str(trade.fee)}] if trade.fee else [],
        }


def _whole_order(tail: bytes) -> Order:
    return rebuild([tail], int)  # its "monotonic" times are the wall's


def _entry(order: Order) -> Entry:
    """Return an order as Hummingbot saves one that it tracks."""
    created_s = order.created_ns / _S
    return {
        "client_order_id": order.client_order_id,
        "exchange_order_id": order.exchange_order_id or None,
        "trading_pair": order.pair,
        "order_type": order.order_type.name,
        "trade_type": order.side.name,
        "price": "NaN" if order.price is None else str(order.price),
        "amount": str(order.amount),
        "executed_amount_base": "0",
        "executed_amount_quote": "0",
        "last_state": OPEN if order.exchange_order_id else PENDING_CREATE,
        "leverage": "1",
        "position": NO_POSITION,
        "creation_timestamp": created_s,
        "last_update_timestamp": created_s,
        "order_fills": {},
        "cumulative_fee_paid_base": 0.0,
        "cumulative_fee_paid_quote": 0.0,
    }


def _note_life(entry: Entry, exchange_order_id: str, wall_ns: int) -> None:
    if entry["exchange_order_id"] in (None, UNKNOWN_EXCHANGE_ID):
        entry["exchange_order_id"] = exchange_order_id or UNKNOWN_EXCHANGE_ID
    entry["last_state"] = OPEN
    entry["last_update_timestamp"] = max(entry["last_update_timestamp"], wall_ns / _S)
    entry[SEEN_NS] = max(wall_ns, entry.get(SEEN_NS, 0))


def _add_fill(entry: Entry, exchange_order_id: str, trade: Trade, fee: dict[str, Any]) -> None:
    base, quote = entry["trading_pair"].split("-")
    entry["order_fills"][str(trade.trade_id)] = {
        "trade_id": str(trade.trade_id),
        "client_order_id": entry["client_order_id"],
        "exchange_order_id": exchange_order_id or entry["exchange_order_id"],
        "trading_pair": entry["trading_pair"],
        "fill_timestamp": trade.wall_ns / _S,
        "fill_price": str(trade.price),
        "fill_base_amount": str(trade.amount),
        "fill_quote_amount": str(trade.price * trade.amount),
        "fee": fee,
        "is_taker": not trade.maker,
    }
    entry["executed_amount_base"] = str(Decimal(entry["executed_amount_base"]) + trade.amount)
    entry["executed_amount_quote"] = str(Decimal(entry["executed_amount_quote"]) + trade.price * trade.amount)
    entry["last_update_timestamp"] = trade.wall_ns / _S
    entry["cumulative_fee_paid_base"] += float(_fee_in(base, trade, base, quote))
    entry["cumulative_fee_paid_quote"] += float(_fee_in(quote, trade, base, quote))


def _fee_in(asset: str, trade: Trade, base: str, quote: str) -> Decimal:
    """Return a fee in base or quote, 0 when it was paid in a third asset."""
    if trade.fee_asset == asset:
        return trade.fee
    if trade.fee_asset == base:
        return trade.fee * trade.price
    return trade.fee / trade.price if trade.fee_asset == quote and trade.price else Decimal(0)


def _scaled(value: Decimal) -> int:
    return int(value * SCALE)


def _unknown(client_order_id: str) -> str:
    return f"order {client_order_id}: no record tells what was ordered"
