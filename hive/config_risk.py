"""The limits of a fleet file: what is not said of losses and self-trades is as outside, and what must be as outside."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from hive import fleet as values
from hive.config_models import Limits, Risk


def risk_of(own: Risk, outer: values.Risk) -> values.Risk:
    """Return the limits of the fleet (`outer`: the defaults) or of a venue (`outer`: the fleet's)."""
    return values.Risk(**_limits(own, outer), self_trade=own.self_trade or outer.self_trade)


def strategy_risk_of(own: Limits, outer: values.Risk) -> values.StrategyRisk:
    """Return the limits of a strategy in a fleet."""
    return values.StrategyRisk(**_limits(own, outer))


def check_window(own: Limits, outer: values.Risk, place: str, problem: Callable[[str, str], None]) -> None:
    """Report limits of a venue or strategy whose losses would be counted over another time than the fleet's."""
    if own.loss_window not in (None, outer.loss_window):
        problem(f"{place}.risk.loss_window", f"must be as for the fleet ({outer.loss_window}), was {own.loss_window}")


def _limits(own: Limits, outer: values.Risk) -> dict[str, Any]:
    given = {one.name: getattr(own, one.name) for one in fields(values.StrategyRisk)}
    return {**given, "loss_window": own.loss_window or outer.loss_window}
