"""One account's risk over a book whose touch is set."""

from decimal import Decimal

from gate.made_orders import Desk
from hive.gate.exposure import FleetRisk, RiskLimits
from hive.gate.order import Order, State
from hive.gate.risk import Risk

ALLOW = RiskLimits(self_trade="allow")


def limits(**given: object) -> RiskLimits:
    """Return limits that do not mind self-trades unless told to."""
    return RiskLimits(**{"self_trade": "allow", **given})


class Bench(Desk):
    """One account's risk, and a book whose touch is set."""

    def __init__(
        self, account: RiskLimits = ALLOW, fleet: RiskLimits = ALLOW, strategies: dict[str, RiskLimits] | None = None
    ) -> None:
        super().__init__()
        self.touch: tuple[float | Decimal, float | Decimal] | None = (99.0, 101.0)
        self.fleet = FleetRisk(fleet, strategies or {})
        self.risk = Risk(account, self.fleet, lambda pair: self.touch)

    def admit(self, *what: object, **more: object) -> Order:
        order = self.order(*what, **more)
        assert self.risk.check(order) is None
        self.risk.admitted(order)
        return order

    def take(self, order: Order, amount: str | Decimal, price: str, *fee: str) -> None:
        self.risk.filled(order, self.fill(order, amount, price, *fee))

    def end(self, order: Order, state: State = State.CANCELLED) -> None:
        order.state = state
        self.risk.ended(order)
