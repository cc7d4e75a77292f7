"""The kill switch: which strategy, account, or the fleet itself has lost more than it may.

    Profit (one per account) -> results -> summed for each scope that has a limit -> Trip

A scope is (strategy's tag or None, venue or None): (tag, None) is a strategy over all venues, (None, venue) an account,
(None, None) the fleet. Each trips once, when its loss is above the limit, and again only after `reset`, from which on
its loss counts anew, or in a new window. A scope of which some result is not known is not judged: it never trips for
want of a price, and `blind` names the pair. `unvalued` are the fees that no result contains, for the same reason.

Notes, for the journal: forgiven/TAG/VENUE/ASSET -> AMOUNT|WINDOW, with "*" for None.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from hive.gate.errors import BootError
from hive.gate.exact import ZERO, add, plain, subtract
from hive.gate.profit import Profit, window_name

Scope = tuple[str | None, str | None]
Limits = Mapping[Scope, Mapping[str, Decimal]]


@dataclass(frozen=True, slots=True)
class Trip:
    """A loss above its limit, in units of a quote asset; strategy and venue both None: the fleet's."""

    strategy: str | None
    venue: str | None
    asset: str
    loss: Decimal
    limit: Decimal

    @property
    def text(self) -> str:
        """What to tell people: name, rule, value."""
        rule = f"must be <= {plain(self.limit)} {self.asset}, was {plain(self.loss)}"
        return f"{_who(self.strategy, self.venue)} loss_limit {rule}"


class LossWatch:
    """Holds the results of all accounts against the limits.

    Args:
        profits: of all accounts
        limits: by scope and quote asset; a limit is >= 0
        kind: of the window, run or day
        run: the run's name
    """

    def __init__(self, profits: Sequence[Profit], limits: Limits, kind: str, run: str) -> None:
        for scope, amounts in limits.items():
            _check(scope, amounts)
        self.blind: dict[tuple[Scope, str], str] = {}  # (scope, asset) with a limit -> a pair without a price
        self.unvalued: dict[tuple[str, str], Decimal] = {}  # (tag, asset) -> fees
        self._profits = profits
        self._limits = dict(limits)
        self._kind = kind
        self._run = run
        self._window = ""
        self._losses: dict[tuple[Scope, str], Decimal] = {}
        self._forgiven: dict[tuple[Scope, str], Decimal] = {}
        self._tripped: set[tuple[Scope, str]] = set()
        self._news: dict[str, str] = {}

    @property
    def watches(self) -> bool:
        """Whether anybody has a limit."""
        return bool(self._limits)

    def set_limits(self, scope: Scope, amounts: Mapping[str, Decimal]) -> None:
        """Give a scope other limits, {}: none. One that has tripped, and stays as it was, trips only after `reset`."""
        _check(scope, amounts)
        before = self._limits.pop(scope, {})
        if amounts:
            self._limits[scope] = amounts
        self._tripped -= {(scope, asset) for asset in {*before, *amounts} if before.get(asset) != amounts.get(asset)}

    def check(self, venue_ns: int) -> list[Trip]:
        """Return which limits have been passed since the last call."""
        self._enter(window_name(self._kind, self._run, venue_ns))
        won = self._results()
        self._losses.clear()
        trips = []
        for scope, amounts in self._limits.items():
            for asset, limit in amounts.items():
                of = (scope, asset)
                if of in self.blind:
                    continue
                loss = self._losses[of] = won.get(of, ZERO).copy_negate()
                counted = subtract(loss, self._forgiven.get(of, ZERO))
                if counted > limit and of not in self._tripped:
                    self._tripped.add(of)
                    trips.append(Trip(*scope, asset, counted, limit))
        return trips

    def reset(self, strategy: str | None, venue: str | None) -> None:
        """Forgive a scope what it has lost until the last check, and watch it again."""
        scope = (strategy, venue)
        for asset in self._limits.get(scope, ()):
            of = (scope, asset)
            self._tripped.discard(of)
            if of in self._losses:
                self._forgive(of, max(ZERO, self._losses[of]))

    def restore(self, notes: Mapping[str, str], venue_ns: int) -> None:
        """Take what the journal gave back, once at the start; what was forgiven in an earlier window is dropped."""
        self._window = window_name(self._kind, self._run, venue_ns)
        for name, value in notes.items():
            word, *words = name.split("/")
            if word == "forgiven":
                tag, venue, asset = (None if text == "*" else text for text in words)
                amount, _, window = value.partition("|")
                if window == self._window:
                    self._forgiven[(tag, venue), asset] = Decimal(amount)
                else:
                    self._news[name] = ""

    def snapshot(self) -> dict[str, str]:
        """Return the notes for the journal that have changed since the last call."""
        notes, self._news = self._news, {}
        return notes

    def _enter(self, window: str) -> None:
        for profit in self._profits:
            profit.enter(window)
        if window > self._window:
            for of in self._forgiven:
                self._news[_name(of)] = ""
            self._forgiven.clear()
            self._tripped.clear()
            self._window = window

    def _results(self) -> dict[tuple[Scope, str], Decimal]:
        """Return what every scope has won, and note who cannot be judged, and which fees are left out."""
        won: dict[tuple[Scope, str], Decimal] = {}
        self.blind.clear()
        self.unvalued.clear()
        for profit in self._profits:
            results = profit.results()
            for (tag, asset), amount in results.won.items():
                for scope in _scopes(tag, profit.venue):
                    won[scope, asset] = add(won.get((scope, asset), ZERO), amount)
            for (tag, asset), pair in results.unknown.items():
                for scope in _scopes(tag, profit.venue):
                    if asset in self._limits.get(scope, ()):
                        self.blind[scope, asset] = pair
            for of, amount in results.unvalued.items():
                self.unvalued[of] = add(self.unvalued.get(of, ZERO), amount)
        return won

    def _forgive(self, of: tuple[Scope, str], loss: Decimal) -> None:
        self._forgiven[of] = loss
        self._news[_name(of)] = f"{loss}|{self._window}"


def _check(scope: Scope, amounts: Mapping[str, Decimal]) -> None:
    for asset, limit in amounts.items():
        if not (limit.is_finite() and limit >= 0):
            raise BootError(f"{_who(*scope)} loss_limit of {asset} must be a number >= 0, was {limit}")


def _scopes(tag: str, venue: str) -> tuple[Scope, ...]:
    return (tag, None), (None, venue), (None, None)


def _name(of: tuple[Scope, str]) -> str:
    (tag, venue), asset = of
    return f"forgiven/{tag or '*'}/{venue or '*'}/{asset}"


def _who(strategy: str | None, venue: str | None) -> str:
    if strategy is not None:
        return f"strategy {strategy}"
    return "fleet" if venue is None else f"venue {venue}"
