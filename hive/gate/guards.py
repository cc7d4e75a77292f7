"""What stands between a strategy and the venue: risk limits, sub-accounts, loss limits; and what they remember.

    check     when an order arrives     Risk, Capital
    recheck   when it is sent           Risk against the book of now
    admitted, filled, ended             what happens to it
    tick      changed sums into the journal as notes; the account's balances against what was given out

FleetGuards makes one AccountGuards per venue account; limits of the fleet and of strategies count over all of them.
A loss limit that cannot be judged, for want of a price, is an alarm once that has lasted for a minute.
"""

import logging
from collections.abc import Collection, Hashable, Mapping
from decimal import Decimal

from hive.gate.books import FeedBooks
from hive.gate.capital import Capital
from hive.gate.capital_drift import CapitalDrift
from hive.gate.exact import ZERO, plain
from hive.gate.exposure import FleetRisk
from hive.gate.journal import Journal
from hive.gate.losses import LossWatch, Trip
from hive.gate.order import Order
from hive.gate.profit import Profit, window_name
from hive.gate.risk import Risk
from hive.gate.settings import GateSettings, OwnerSettings, VenueSettings
from hive.gate.tally import last_serial
from hive.gate.venue import Trade
from hive.shm.messages import Reply, ReplyKind
from hive.shm.refusals import Refusal

BLIND_NS = 60_000_000_000  # so long a price may be missing before anybody is told
BALANCE_EVERY_NS = 5_000_000_000  # balances and fills are told apart from each other: one look proves nothing


class AccountGuards:
    """The guards of one venue account.

    Args:
        risk, capital, profit: of the account
        journal: takes their notes
    """

    def __init__(
        self, risk: Risk, capital: Capital, profit: Profit, journal: Journal, log: logging.Logger
    ) -> None:
        self.capital = capital
        self.profit = profit
        self.last_fill = last_serial(journal.recovered.orders, journal.recovered.notes)
        self._risk = risk
        self._journal = journal
        self._log = log
        self._over = ""
        self._over_before: dict[str, Decimal] = {}
        self._looked_ns = 0
        notes = journal.recovered.notes
        risk.restore(notes)
        profit.restore(notes, self.last_fill)
        changes = capital.restore(notes, self.last_fill)
        for line in changes:
            log.warning("%s", line)
        self.drift = CapitalDrift(capital.assets(), notes, anew=bool(changes))

    def check(self, order: Order) -> tuple[Refusal, str] | None:
        """Return why an order may not wait to be sent, None when it may."""
        if self._over and self.capital.holds(order.tag):
            return Refusal.CAPITAL, self._over
        return self._risk.check(order) or self.capital.check(order)

    def recheck(self, order: Order) -> tuple[Refusal, str] | None:
        """Return why an order may not be sent now, None when it may."""
        return self._risk.recheck(order)

    def told(self, order: Order, reply: Reply) -> None:
        """Count what a strategy is about to be told: a fill, an order's end, or that it lives after all."""
        if reply.kind is ReplyKind.FILL:
            self.filled(order, order.trades[reply.trade_id])
        elif reply.final and order.guarded:
            self.ended(order)
        elif reply.kind is ReplyKind.ACKED and not order.guarded:
            self.admitted(order)

    def admitted(self, order: Order) -> None:
        """Count an order as open."""
        order.guarded = True
        self._risk.admitted(order)
        self.capital.admitted(order)

    def filled(self, order: Order, trade: Trade) -> None:
        """Take a fill, once."""
        self._risk.filled(order, trade)
        self.capital.filled(order, trade)
        self.profit.filled(order, trade)

    def ended(self, order: Order) -> None:
        """Count an order as open no longer."""
        order.guarded = False
        self._risk.ended(order)
        self.capital.ended(order)

    def restored(self, order: Order) -> None:
        """Take an order that the journal gave back, with its fills."""
        order.guarded = not order.final
        self._risk.restored(order)
        self.capital.restored(order)
        self.profit.restored(order)

    def set_owner(self, owner: OwnerSettings, last_fill: int) -> None:
        """Take a strategy that is new, or whose limits or capital have changed; none of its orders may count as open.

        Args:
            last_fill: the number of the account's latest fill
        """
        self._risk.forget_terms(owner.tag)
        before = self.capital.assets()
        given = given_at(owner, self.profit.venue)
        if self.capital.given(owner.tag) != given:
            self.capital.give(owner.tag, given, last_fill)
            self.drift.begin(self.capital.assets() | before)

    def tick(self, balances: Mapping[str, Decimal], now_ns: int) -> None:
        """Write what has changed, and look whether the account has what was given out.

        Args:
            balances: free plus locked by asset; empty while they are not known
        """
        for notes in (self._risk.snapshot(), self.capital.snapshot(), self.profit.snapshot()):
            for key, value in notes.items():
                self._journal.note(key, value)
        if self.capital.assets() and balances and now_ns - self._looked_ns >= BALANCE_EVERY_NS:
            first = not self._looked_ns
            self._looked_ns = now_ns
            self._look_at(balances, first)

    def _look_at(self, balances: Mapping[str, Decimal], first: bool) -> None:
        for key, value in self.drift.look(self.capital.drift(balances)).items():
            self._journal.note(key, value)
        over = self.capital.over_given(balances)
        lasting = over if first else {asset: beyond for asset, beyond in over.items() if asset in self._over_before}
        self._over_before = over
        missing = ", ".join(f"{plain(beyond)} {asset}" for asset, beyond in sorted(lasting.items()))
        text = f"capital: the account lacks {missing} of what was given out" if missing else ""
        if bool(text) != bool(self._over):
            if text:
                self._log.critical("%s: strategies with capital place nothing", text)
            else:
                self._log.warning("capital: the account has what was given out")
        self._over = text


class FleetGuards:
    """Makes the guards of all accounts, and watches the losses over all of them.

    Args:
        settings: the boot message
    """

    def __init__(self, settings: GateSettings, venue_ns: int, log: logging.Logger) -> None:
        self._settings = settings
        self._log = log
        self._fleet = FleetRisk(settings.risk.limits, {one.tag: one.risk.limits for one in settings.strategies})
        self._window = window_name(settings.risk.loss_window, settings.run, venue_ns)
        self._profits: list[Profit] = []
        self._journals: list[Journal] = []
        limits = {(one.tag, None): one.risk.loss_limit for one in settings.strategies if one.risk.loss_limit}
        limits |= {(None, one.name): one.risk.loss_limit for one in settings.venues if one.risk.loss_limit}
        if settings.risk.loss_limit:
            limits[None, None] = settings.risk.loss_limit
        self._watch = LossWatch(self._profits, limits, settings.risk.loss_window, settings.run)
        self._watching = bool(limits)
        self._ids = {one.tag: one.id for one in settings.strategies}
        self._blind = _Lasting(BLIND_NS)
        self._unvalued = _Lasting(BLIND_NS)
        self._told: set[tuple[str, str]] = set()  # (tag, asset) of fees

    def of(
        self, venue: VenueSettings, books: FeedBooks | None, journal: Journal, log: logging.Logger
    ) -> AccountGuards:
        """Return the guards of a venue's account."""

        def touch(pair: str) -> tuple[float, float] | None:
            return None if books is None else books.touch(pair)

        def mid(pair: str) -> float | None:
            found = touch(pair)
            return None if found is None else (found[0] + found[1]) / 2

        given = {one.tag: given_at(one, venue.name) for one in self._settings.strategies}
        profit = Profit(venue.name, mid, self._window)
        self._profits.append(profit)
        self._journals.append(journal)
        return AccountGuards(
            Risk(venue.risk.limits, self._fleet, touch),
            Capital(given, touch),
            profit,
            journal,
            log,
        )

    def begin(self, venue_ns: int) -> None:
        """Take back what was forgiven, once every account is made; the first account's journal remembers it."""
        if self._journals:
            self._watch.restore(self._journals[0].recovered.notes, venue_ns)

    def losses(self, venue_ns: int, now_ns: int) -> list[Trip]:
        """Return which loss limits have been passed since the last call; say which cannot be judged."""
        if not self._watching:
            return []
        trips = self._watch.check(venue_ns)
        self._tell_unpriced(now_ns)
        for key, value in self._watch.snapshot().items():
            self._journals[0].note(key, value)
        return trips

    def set_owner(self, owner: OwnerSettings) -> None:
        """Take a strategy's limits on the fleet's level; see `AccountGuards.set_owner` for the accounts'."""
        self._fleet.set_limits(owner.tag, owner.risk.limits)
        self._watch.set_limits((owner.tag, None), owner.risk.loss_limit)
        self._watching = self._watch.watches
        self._ids[owner.tag] = owner.id

    def positions(self, tag: str) -> dict[str, Decimal]:
        """Return a strategy's positions over all accounts, by asset."""
        return self._fleet.strategy(tag).positions()

    def forgive(self, tag: str | None, venue: str | None) -> None:
        """Count a strategy's, a venue's or the fleet's loss anew: its halt was lifted."""
        self._watch.reset(tag, venue)

    def _tell_unpriced(self, now_ns: int) -> None:
        pairs = {scope: pair for (scope, _), pair in self._watch.blind.items()}
        for tag, venue in self._blind.news(pairs, now_ns):
            who = f"strategy {self._ids.get(tag, tag)}" if tag else f"venue {venue}" if venue else "the fleet"
            text = "loss_limit of %s cannot be judged: there has been no price of %s for %g s"
            self._log.critical(text, who, pairs[tag, venue], BLIND_NS / 1e9)
        fees = self._unvalued.news(self._watch.unvalued.keys() - self._told, now_ns)
        self._told.update(fees)
        for tag, asset in fees:
            fee = plain(abs(self._watch.unvalued[tag, asset]))
            text = "strategy %s has paid fees of %s %s that no loss_limit counts: there is no price of %s"
            self._log.warning(text, self._ids.get(tag, tag), fee, asset, asset)


def given_at(owner: OwnerSettings, venue: str) -> Mapping[str, Decimal]:
    """Return what a strategy was given at a venue, {} when it shares the account: elsewhere it has 0 of each."""
    if not owner.capital:
        return {}
    return owner.capital if owner.capital_venue in (None, venue) else dict.fromkeys(owner.capital, ZERO)


class _Lasting[Key: Hashable]:
    """Tells what has been there without a break for longer than `least_ns`, once until it has been away."""

    def __init__(self, least_ns: int) -> None:
        self._least_ns = least_ns
        self._since: dict[Key, int] = {}
        self._told: set[Key] = set()

    def news(self, present: Collection[Key], now_ns: int) -> list[Key]:
        """Take what is there now; return what is to be told."""
        self._since = {key: self._since.get(key, now_ns) for key in present}
        self._told &= self._since.keys()
        news = [key for key, since in self._since.items() if now_ns - since > self._least_ns and key not in self._told]
        self._told.update(news)
        return news
