"""Limits of one holder, and what counts against them: a strategy, an account, or the fleet.

A position in an asset is what own fills and fees have added to it; both assets of a pair count. It starts at 0 with
the journal, not with the account's balance, and goes on over restarts. An order counts in full on the side that it
moves: what is bought, plus all that is open to buy, plus the next order must not be above the limit, so that no
sequence of fills can lead past it, but for what a better price and fees move of a quote asset.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from hive.gate.errors import BootError
from hive.gate.exact import ZERO, add, plain, subtract


@dataclass(frozen=True, slots=True)
class RiskLimits:
    """What one holder's orders must keep to; None and what is missing: no limit.

    Attributes:
        max_order_notional: price times amount of one order, in its pair's quote asset
        max_position: by asset, in its units; how far from 0 it may go
        max_open_orders: how many may not have ended, those that wait included
        price_band: how far beyond the best opposite price an order may go, as a fraction of that
        self_trade: "refuse" or "allow" orders that would trade with another strategy's; None: as the fleet
    """

    max_order_notional: Decimal | None = None
    max_position: Mapping[str, Decimal] = field(default_factory=dict)
    max_open_orders: int | None = None
    price_band: Decimal | None = None
    self_trade: str | None = None

    def __post_init__(self) -> None:
        numbers = {
            "max_order_notional": self.max_order_notional,
            "max_open_orders": self.max_open_orders,
            "price_band": self.price_band,
            **{f"max_position of {asset}": limit for asset, limit in self.max_position.items()},
        }
        for name, value in numbers.items():
            if value is not None and not (Decimal(value).is_finite() and value >= 0):
                raise BootError(f"risk: {name} must be a number >= 0, was {value}")
        if self.self_trade not in (None, "refuse", "allow"):
            raise BootError(f"risk: self_trade must be refuse or allow, was {self.self_trade!r}")

    @classmethod
    def from_boot(cls, section: Mapping | None) -> "RiskLimits":
        """Read a `risk` section of the boot message, whose decimals are texts; keys of other parts are left alone."""
        section = section or {}
        return cls(
            max_order_notional=_decimal(section.get("max_order_notional")),
            max_position={asset: Decimal(limit) for asset, limit in (section.get("max_position") or {}).items()},
            max_open_orders=section.get("max_open_orders"),
            price_band=_decimal(section.get("price_band")),
            self_trade=section.get("self_trade"),
        )


class Exposure:
    """What one holder has at stake.

    Args:
        name: in refusals: strategy, account or fleet
        limits: that it must keep to
    """

    __slots__ = ("_high", "_low", "_net", "limits", "name", "open_orders")

    def __init__(self, name: str, limits: RiskLimits) -> None:
        self.name = name
        self.limits = limits
        self.open_orders = 0
        self._net: dict[str, Decimal] = {}
        self._high = dict.fromkeys(limits.max_position, ZERO)  # with all that is open to add to it
        self._low = dict.fromkeys(limits.max_position, ZERO)  # with all that is open to take from it

    def take_positions(self, other: "Exposure") -> None:
        """Go on from another's positions; nothing is open."""
        for asset, amount in other._net.items():
            self.move(asset, amount)

    def position(self, asset: str) -> Decimal:
        """Return what fills and fees have added to an asset."""
        return self._net.get(asset, ZERO)

    def positions(self) -> dict[str, Decimal]:
        """Return every position by asset."""
        return dict(self._net)

    def reach(self, asset: str) -> tuple[Decimal, Decimal]:
        """Return how low and how high open orders may bring the position in an asset that has a limit."""
        return self._low[asset], self._high[asset]

    def fault(self, asset: str, up: bool, size: Decimal) -> str:
        """Return why an order may not move an asset that has a limit by `size`, "" when it may."""
        limit = self.limits.max_position[asset]
        after = add(self._high[asset], size) if up else subtract(self._low[asset], size)
        if after <= limit if up else after >= limit.copy_negate():
            return ""
        return f"{self.name} max_position: {asset} must stay within {plain(limit)}, would be {plain(after)}"

    def book(self, asset: str, up: bool, size: Decimal) -> None:
        """Take what open orders may move of an asset that has a limit, more (> 0) or less (< 0) than before."""
        if up:
            self._high[asset] = add(self._high[asset], size)
        else:
            self._low[asset] = subtract(self._low[asset], size)

    def move(self, asset: str, amount: Decimal) -> None:
        """Take what a fill moved."""
        self._net[asset] = add(self._net.get(asset, ZERO), amount)
        if asset in self._high:
            self._high[asset] = add(self._high[asset], amount)
            self._low[asset] = add(self._low[asset], amount)


class FleetRisk(Exposure):
    """The fleet over all accounts, and each of its strategies over all accounts.

    Args:
        limits: of the fleet
        strategies: limits by tag
    """

    __slots__ = ("_strategies",)

    def __init__(self, limits: RiskLimits, strategies: Mapping[str, RiskLimits]) -> None:
        super().__init__("fleet", limits)
        self._strategies = {tag: Exposure("strategy", own) for tag, own in strategies.items()}

    def strategy(self, tag: str) -> Exposure:
        """Return a strategy's exposure; one that is not configured has no limits."""
        found = self._strategies.get(tag)
        if found is None:
            found = self._strategies[tag] = Exposure("strategy", RiskLimits())
        return found

    def set_limits(self, tag: str, limits: RiskLimits) -> None:
        """Give a strategy other limits; none of its orders may count as open meanwhile."""
        old = self.strategy(tag)
        if old.limits != limits:
            new = self._strategies[tag] = Exposure("strategy", limits)
            new.take_positions(old)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
