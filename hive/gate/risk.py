"""Pre-trade risk: what an order must pass before it waits, and again when it is sent.

    check    ORDER_NOTIONAL -> OPEN_ORDERS -> PRICE_BAND -> POSITION -> SELF_TRADE     for strategy, account and fleet
    recheck                                   PRICE_BAND             -> SELF_TRADE     against the book of now

Counters go along with the orders, so that a check costs the same however many are open: `admitted` once an order is
accepted, `filled` for each fill, `ended` when it is final. Every limit allows its own value.

The price band holds what takes: a buy may not be above the best ask by more, a sell not below the best bid. Where
there is no live price to judge by, such an order is refused. A market order is worth what it would take first.

Self-trades are prevented between strategies only: see hive.gate.own_orders for what counts as one, and what does not.

A strategy's counters are shared by all accounts, as the fleet's are: it may trade at several venues.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from hive.gate.exact import (
    ONE,
    ZERO,
    TouchOf,
    add,
    assets_of,
    limit_price,
    moves,
    multiply,
    plain,
    subtract,
    taken_price,
    unfilled,
)
from hive.gate.exposure import Exposure, FleetRisk, RiskLimits
from hive.gate.order import Order
from hive.gate.own_orders import OwnOrders, Place
from hive.gate.tally import Tally
from hive.gate.venue import Trade
from hive.shm.messages import Side
from hive.shm.refusals import Refusal

Refused = tuple[Refusal, str]


@dataclass(slots=True)
class _Terms:
    """What holds for one strategy's orders of one pair: whose limits, and the tightest of those without a counter."""

    base: str
    quote: str
    holders: tuple[Exposure, ...]
    counting: tuple[Exposure, ...]  # those with a limit of open orders
    in_base: tuple[Exposure, ...]  # those with a limit of the position in it
    in_quote: tuple[Exposure, ...]
    notional: tuple[Decimal, str] | None
    band: tuple[Decimal, str] | None
    limited: bool = False  # there is any

    def __post_init__(self) -> None:
        self.limited = any((self.counting, self.in_base, self.in_quote, self.notional, self.band))


@dataclass(slots=True)
class _Open:
    """An open order as it is booked: `worth` quote for each unit, `booked` units."""

    terms: _Terms
    buys: bool
    worth: Decimal
    booked: Decimal
    place: Place | None


class Risk:
    """The limits of one venue account.

    Args:
        limits: of the account
        fleet: shared by all accounts
        touch: of this venue's books
    """

    def __init__(self, limits: RiskLimits, fleet: FleetRisk, touch: TouchOf) -> None:
        self.account = Exposure("account", limits)
        self._fleet = fleet
        self._touch = touch
        self._refuses_self_trade = (limits.self_trade or fleet.limits.self_trade) != "allow"
        self._terms: dict[tuple[str, str], _Terms] = {}
        self._looked_up_for: Order | None = None
        self._looked_up: _Terms
        self._open: dict[str, _Open] = {}
        self._own = OwnOrders()
        self._tally = Tally("position")

    def check(self, order: Order) -> Refused | None:
        """Return why an order may not wait to be sent, None when it may; its amount and a limit order's price are > 0.

        Returns:
            the code, and a text that names limit, rule and value.
        """
        terms = self._terms_of(order)
        if terms.limited:
            refused = (
                self._notional(order, terms)
                or self._count(terms)
                or self._band(order, terms)
                or self._position(order, terms)
            )
            if refused is not None:
                return refused
        return self._self_trade(order) if self._refuses_self_trade else None

    def recheck(self, order: Order) -> Refused | None:
        """Return why an order may not be sent now, None when it may."""
        terms = self._terms_of(order)
        refused = None if terms.band is None else self._band(order, terms)
        if refused is None and self._refuses_self_trade:
            refused = self._self_trade(order)
        return refused

    def admitted(self, order: Order) -> None:
        """Count an order as open until `ended`; once more when it lives again, or when its facts have changed."""
        if order.client_order_id in self._open:
            self.ended(order)
        terms = self._terms_of(order)
        for holder in terms.holders:
            holder.open_orders += 1
        worth = (self._worth(order) or ZERO) if terms.in_quote else ZERO
        entry = _Open(terms, order.side is Side.BUY, worth, ZERO, self._own.add(order))
        self._open[order.client_order_id] = entry
        self._book(entry, order)

    def filled(self, order: Order, trade: Trade) -> None:
        """Take a fill, once, after the ledger has; also of an order that has ended."""
        terms = self._terms_of(order)
        for asset, amount in moves(order, trade):
            if self._tally.add((order.tag, asset), amount, trade.serial):
                for holder in terms.holders:
                    holder.move(asset, amount)
        entry = self._open.get(order.client_order_id)
        if entry is not None:
            self._book(entry, order)

    def ended(self, order: Order) -> None:
        """Count an order as open no longer; no effect on one that is not."""
        entry = self._open.pop(order.client_order_id, None)
        if entry is None:
            return
        self._book(entry, None)
        for holder in entry.terms.holders:
            holder.open_orders -= 1
        if entry.place is not None:
            self._own.remove(entry.place)

    def forget_terms(self, tag: str) -> None:
        """Look a strategy's limits up again from now on; none of its orders may count as open meanwhile."""
        self._looked_up_for = None
        for key in [key for key in self._terms if key[0] == tag]:
            del self._terms[key]

    def restored(self, order: Order) -> None:
        """Take an order that the journal gave back, with its fills; after `restore`."""
        for trade in order.trades.values():
            self.filled(order, trade)
        if not order.final:
            self.admitted(order)

    def restore(self, notes: Mapping[str, str]) -> None:
        """Take the positions that the journal gave back, once at the start, before `restored` and `snapshot`."""
        if not self._tally.restore(notes):
            self._tally.begin(0)
        for (tag, asset), amount in self._tally.items():
            for holder in self._holders(tag):
                holder.move(asset, amount)

    def snapshot(self) -> dict[str, str]:
        """Return the notes for the journal that have changed since the last call."""
        return self._tally.snapshot()

    def position(self, tag: str, asset: str) -> Decimal:
        """Return a strategy's position at this account."""
        return self._tally.sum((tag, asset))

    def _notional(self, order: Order, terms: _Terms) -> Refused | None:
        if terms.notional is None:
            return None
        limit, name = terms.notional
        price = self._worth(order)
        if price is None:
            return Refusal.ORDER_NOTIONAL, self._unpriced(order, f"{name} max_order_notional")
        notional = multiply(price, order.amount)
        if notional <= limit:
            return None
        rule = f"must be <= {plain(limit)} {terms.quote}, was {plain(notional)}"
        return Refusal.ORDER_NOTIONAL, f"{name} max_order_notional {rule}"

    @staticmethod
    def _count(terms: _Terms) -> Refused | None:
        for holder in terms.counting:
            most = holder.limits.max_open_orders
            if holder.open_orders >= most:
                text = f"{holder.name} max_open_orders must be <= {most}, would be {holder.open_orders + 1}"
                return Refusal.OPEN_ORDERS, text
        return None

    def _band(self, order: Order, terms: _Terms) -> Refused | None:
        if terms.band is None:
            return None
        band, name = terms.band
        best = taken_price(order, self._touch)
        if best is None:
            return Refusal.PRICE_BAND, self._unpriced(order, f"{name} price_band")
        price = limit_price(order)
        if price is None:
            return None
        if order.side is Side.BUY:
            bound, rule = multiply(best, add(ONE, band)), "a buy must be <="
            beyond = price > bound
        else:
            bound, rule = multiply(best, subtract(ONE, band)), "a sell must be >="
            beyond = price < bound
        if not beyond:
            return None
        return Refusal.PRICE_BAND, f"{name} price_band: {rule} {plain(bound)}, was {plain(price)}"

    def _position(self, order: Order, terms: _Terms) -> Refused | None:
        buys = order.side is Side.BUY
        for holder in terms.in_base:
            text = holder.fault(terms.base, buys, order.amount)
            if text:
                return Refusal.POSITION, text
        if not terms.in_quote:
            return None
        price = self._worth(order)
        if price is None:
            return Refusal.POSITION, self._unpriced(order, f"{terms.in_quote[0].name} max_position")
        cost = multiply(price, order.amount)
        for holder in terms.in_quote:
            text = holder.fault(terms.quote, not buys, cost)
            if text:
                return Refusal.POSITION, text
        return None

    def _self_trade(self, order: Order) -> Refused | None:
        other = self._own.met_by(order, self._touch)
        if other is None:
            return None
        price = limit_price(order)
        at = "market" if price is None else plain(price)
        resting = f"{other.side.name.lower()} at {plain(other.price)}"
        return Refusal.SELF_TRADE, f"self_trade: {order.pair} {at} meets another strategy's {resting}"

    def _worth(self, order: Order) -> Decimal | None:
        return limit_price(order) or taken_price(order, self._touch)

    @staticmethod
    def _unpriced(order: Order, limit: str) -> str:
        side = "ask" if order.side is Side.BUY else "bid"
        return f"{limit} needs a best {side} of {order.pair}, there is none"

    @staticmethod
    def _book(entry: _Open, order: Order | None) -> None:
        """Book what is left of an order, None: nothing."""
        terms = entry.terms
        if not terms.in_base and not terms.in_quote:
            return
        left = ZERO if order is None else unfilled(order)
        change = subtract(left, entry.booked)
        entry.booked = left
        for holder in terms.in_base:
            holder.book(terms.base, entry.buys, change)
        if terms.in_quote:
            cost = multiply(entry.worth, change)
            for holder in terms.in_quote:
                holder.book(terms.quote, not entry.buys, cost)

    def _terms_of(self, order: Order) -> _Terms:
        if order is not self._looked_up_for:  # an order is checked, counted and checked again in a row
            self._looked_up_for, self._looked_up = order, self._look_up_terms(order)
        return self._looked_up

    def _look_up_terms(self, order: Order) -> _Terms:
        terms = self._terms.get((order.tag, order.pair))
        if terms is None:
            base, quote = assets_of(order.pair)
            holders = self._holders(order.tag)
            terms = self._terms[order.tag, order.pair] = _Terms(
                base,
                quote,
                holders,
                tuple(holder for holder in holders if holder.limits.max_open_orders is not None),
                tuple(holder for holder in holders if base in holder.limits.max_position),
                tuple(holder for holder in holders if quote in holder.limits.max_position),
                _tightest((holder.limits.max_order_notional, holder.name) for holder in holders),
                _tightest((holder.limits.price_band, holder.name) for holder in holders),
            )
        return terms

    def _holders(self, tag: str) -> tuple[Exposure, ...]:
        return self._fleet.strategy(tag), self.account, self._fleet


def _tightest(limits: Iterable[tuple[Decimal | None, str]]) -> tuple[Decimal, str] | None:
    return min(((limit, name) for limit, name in limits if limit is not None), key=lambda pair: pair[0], default=None)
