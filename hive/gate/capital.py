"""What each strategy was given of an account: virtual sub-accounts, moved by own fills and fees only.

    total = given + what own fills and fees have moved         free = total - what own open orders reserve

A strategy with capital is held in every asset: what it was not given it has only once it has bought it. A buy reserves
price times amount of the quote asset, a market buy the best ask and a margin, a sell the amount. Fees are charged when
they come, to the asset in which they come; that may make a total negative, and is shown so.

What the account has otherwise (what was not given out, dust, deposits, trades by hand) belongs to nobody: `drift`
shows it, and nothing spreads it. `over_given` tells when more was given out than there is.

`news` tells what has changed, so that each strategy can be shown what it has.

Notes, for the journal ("" deletes one); totals are exact over restarts, see hive.gate.tally:

    given/TAG/ASSET   -> what the configuration gave when it was last read
    capital/TAG[/...] -> what fills have moved since the strategy was first given something
"""

from collections.abc import Mapping
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
from hive.gate.order import Order
from hive.gate.tally import Tally
from hive.gate.venue import Trade
from hive.shm.messages import Side
from hive.shm.refusals import Refusal

MARKET_MARGIN = Decimal("0.05")  # a market buy takes more than the best ask


@dataclass(slots=True)
class _Reserve:
    """What an open order reserves: `size` of an asset per unit that is not filled."""

    account: "_Account"
    asset: str
    size: Decimal
    booked: Decimal = ZERO


class _Account:
    """One strategy's sub-account."""

    def __init__(self, tag: str, given: Mapping[str, Decimal]) -> None:
        self.tag = tag
        self.given = dict(given)
        self.moved = Tally(f"capital/{tag}")
        self.reserved: dict[str, Decimal] = {}

    def total(self, asset: str) -> Decimal:
        return add(self.given.get(asset, ZERO), self.moved.sum((asset,)))

    def free(self, asset: str) -> Decimal:
        return subtract(self.total(asset), self.reserved.get(asset, ZERO))

    def assets(self) -> set[str]:
        return {*self.given, *self.reserved, *(key[0] for key, _ in self.moved.items())}


class Capital:
    """The sub-accounts of one venue account.

    Args:
        given: by tag and asset; a strategy that is missing is not held
        touch: of this venue's books
    """

    def __init__(self, given: Mapping[str, Mapping[str, Decimal]], touch: TouchOf) -> None:
        self._accounts = {tag: _Account(tag, amounts) for tag, amounts in given.items() if amounts}
        self._touch = touch
        self._reserves: dict[str, _Reserve] = {}
        self._changed: dict[tuple[str, str], None] = {}  # (tag, asset), oldest first
        self._news = {
            f"given/{tag}/{asset}": str(amount)
            for tag, account in self._accounts.items()
            for asset, amount in account.given.items()
        }

    def check(self, order: Order) -> tuple[Refusal, str] | None:
        """Return why a strategy cannot pay for an order, None when it can; see `Risk.check`."""
        account = self._accounts.get(order.tag)
        if account is None:
            return None
        asset, size = self._need(order)
        if size is None:
            return Refusal.CAPITAL, f"capital: a market buy needs a best ask of {order.pair}, there is none"
        need, free = multiply(size, order.amount), account.free(asset)
        if need <= free:
            return None
        rule = f"must be <= {plain(free)} (free of {plain(account.total(asset))})"
        return Refusal.CAPITAL, f"capital: {asset} needed {rule}, was {plain(need)}"

    def admitted(self, order: Order) -> None:
        """Reserve what an order needs until `ended`; once more when it lives again, or when its facts have changed."""
        account = self._accounts.get(order.tag)
        if account is not None:
            self.ended(order)
            asset, size = self._need(order)
            reserve = self._reserves[order.client_order_id] = _Reserve(account, asset, size or ZERO)
            self._book(reserve, unfilled(order))

    def filled(self, order: Order, trade: Trade) -> None:
        """Take a fill, once, after the ledger has; also of an order that has ended."""
        account = self._accounts.get(order.tag)
        if account is None:
            return
        for asset, amount in moves(order, trade):
            account.moved.add((asset,), amount, trade.serial)
            self._changed[order.tag, asset] = None
        reserve = self._reserves.get(order.client_order_id)
        if reserve is not None:
            self._book(reserve, unfilled(order))

    def ended(self, order: Order) -> None:
        """Release what an order reserved; no effect on one that reserves nothing."""
        reserve = self._reserves.pop(order.client_order_id, None)
        if reserve is not None:
            self._book(reserve, ZERO)

    def give(self, tag: str, given: Mapping[str, Decimal], start: int) -> None:
        """Give a strategy other amounts while the gate runs; none of its orders may be reserved for meanwhile.

        Args:
            given: by asset; {}: it is not held any more
            start: the last fill's number, see hive.gate.tally.last_serial; who had nothing begins there
        """
        account = self._accounts.get(tag)
        if not given:
            if account is not None:
                del self._accounts[tag]
                self._changed = {key: None for key in self._changed if key[0] != tag}
                gone = [*(f"given/{tag}/{asset}" for asset in account.given), *account.moved.names()]
                self._news |= dict.fromkeys(gone, "")
            return
        if account is None:
            account = self._accounts[tag] = _Account(tag, {})
            account.moved.begin(start)
        self._news |= {f"given/{tag}/{asset}": "" for asset in account.given.keys() - given.keys()}
        self._news |= {f"given/{tag}/{asset}": str(amount) for asset, amount in given.items()}
        before = account.assets()
        account.given = dict(given)
        account.reserved.clear()
        self._changed |= {(tag, asset): None for asset in sorted(before | account.assets())}

    def given(self, tag: str) -> dict[str, Decimal]:
        """Return what a strategy was given, {} when it shares the account."""
        account = self._accounts.get(tag)
        return {} if account is None else dict(account.given)

    def holds(self, tag: str) -> bool:
        """Return whether a strategy is held to what it was given."""
        return tag in self._accounts

    def total(self, tag: str, asset: str) -> Decimal | None:
        """Return what a strategy has of an asset, None when it is not held."""
        account = self._accounts.get(tag)
        return None if account is None else account.total(asset)

    def free(self, tag: str, asset: str) -> Decimal | None:
        """Return what a strategy has of an asset and has not reserved, None when it is not held."""
        account = self._accounts.get(tag)
        return None if account is None else account.free(asset)

    def accounts(self, tag: str) -> dict[str, tuple[Decimal, Decimal]]:
        """Return (total, free) by asset of a strategy; empty when it is not held."""
        account = self._accounts.get(tag)
        if account is None:
            return {}
        return {asset: (account.total(asset), account.free(asset)) for asset in sorted(account.assets())}

    def news(self) -> list[tuple[str, str, Decimal, Decimal]]:
        """Return (tag, asset, total, free) of what has changed since the last call."""
        if not self._changed:
            return []
        changed, self._changed = self._changed, {}
        return [(tag, asset, *self._both(tag, asset)) for tag, asset in changed]

    def assets(self) -> set[str]:
        """Return the assets that strategies were given."""
        return {asset for account in self._accounts.values() for asset in account.given}

    def over_given(self, balances: Mapping[str, Decimal]) -> dict[str, Decimal]:
        """Return by asset what strategies have beyond the account; empty when it has all that was given out.

        One strategy's debt (a fee in an asset that it was not given) does not lend anything to another.

        Args:
            balances: free plus locked, by asset
        """
        over = {}
        for asset, amounts in self._totals().items():
            claimed = ZERO
            for amount in amounts:
                claimed = add(claimed, max(ZERO, amount))
            beyond = subtract(claimed, balances.get(asset, ZERO))
            if beyond > 0:
                over[asset] = beyond
        return over

    def drift(self, balances: Mapping[str, Decimal]) -> dict[str, Decimal]:
        """Return by asset what the account has and no strategy (negative: the other way), of all that is anyone's.

        Args:
            balances: free plus locked, by asset
        """
        rest = dict(balances)
        for asset, amounts in self._totals().items():
            for amount in amounts:
                rest[asset] = subtract(rest.get(asset, ZERO), amount)
        return rest

    def restored(self, order: Order) -> None:
        """Take an order that the journal gave back, with its fills; after `restore`."""
        for trade in order.trades.values():
            self.filled(order, trade)
        if not order.final:
            self.admitted(order)

    def restore(self, notes: Mapping[str, str], start: int) -> list[str]:
        """Take what the journal gave back, once at the start, before `restored` and `snapshot`.

        What is configured counts: a strategy's totals change by as much as its configuration did since.

        Args:
            notes: all of the journal's
            start: the last fill's number, see hive.gate.tally.last_serial; who is given something now begins there

        Returns:
            a line for people about every such change.
        """
        held = set()
        for tag, account in self._accounts.items():
            if account.moved.restore(notes):
                held.add(tag)
            else:
                account.moved.begin(start)
        before: dict[tuple[str, str], Decimal] = {}
        for name, value in notes.items():
            kind, *words = name.split("/")
            if kind == "given":
                before[words[0], words[1]] = Decimal(value)
            if kind in ("given", "capital") and words[0] not in held:
                self._news.setdefault(name, "")  # or it would go on where it ended, should it be given something again
        configured = {(tag, asset) for tag in held for asset in self._accounts[tag].given}
        return [line for key in sorted({*before, *configured}) if (line := self._change(*key, before.get(key, ZERO)))]

    def snapshot(self) -> dict[str, str]:
        """Return the notes for the journal that have changed since the last call."""
        notes, self._news = self._news, {}
        for account in self._accounts.values():
            notes.update(account.moved.snapshot())
        return notes

    def _change(self, tag: str, asset: str, before: Decimal) -> str:
        account = self._accounts.get(tag)
        if account is None:
            return f"capital of {tag}: {plain(before)} {asset} taken back, it is not held any more"
        if asset not in account.given:
            self._news[f"given/{tag}/{asset}"] = ""
        now = account.given.get(asset, ZERO)
        if now == before:
            return ""
        return f"capital of {tag}: {plain(now)} {asset} instead of {plain(before)}, the difference is added"

    def _need(self, order: Order) -> tuple[str, Decimal | None]:
        base, quote = assets_of(order.pair)
        if order.side is Side.SELL:
            return base, ONE
        price = limit_price(order)
        if price is None:
            best = taken_price(order, self._touch)
            price = None if best is None else multiply(best, add(ONE, MARKET_MARGIN))
        return quote, price

    def _totals(self) -> dict[str, list[Decimal]]:
        totals: dict[str, list[Decimal]] = {}
        for account in self._accounts.values():
            for asset in account.assets():
                totals.setdefault(asset, []).append(account.total(asset))
        return totals

    def _both(self, tag: str, asset: str) -> tuple[Decimal, Decimal]:
        account = self._accounts[tag]
        return account.total(asset), account.free(asset)

    def _book(self, reserve: _Reserve, amount: Decimal) -> None:
        change = subtract(amount, reserve.booked)
        if change:
            reserve.booked = amount
            table = reserve.account.reserved
            table[reserve.asset] = add(table.get(reserve.asset, ZERO), multiply(reserve.size, change))
            self._changed[reserve.account.tag, reserve.asset] = None
