"""Slow, obvious answers that fast code is held against: fair splits, and the fluid that a fair order follows.

Exact where the argument is: fractions, no floats.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction


def max_min_fair(
    demand: Mapping[str, float], capacity: float, weights: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Split a capacity so that nobody gets more than it asked for, and nobody could get more (by weight) but from one
    that gets less.

    Args:
        demand: what each asks for
        weights: 1 for each when not given
    """
    weights = weights or {}
    granted: dict[str, float] = {}
    asking = set(demand)
    left = capacity
    while asking:
        per_weight = left / sum(weights.get(one, 1.0) for one in asking)
        content = {one for one in asking if demand[one] <= per_weight * weights.get(one, 1.0)}
        if not content:
            return granted | {one: per_weight * weights.get(one, 1.0) for one in asking}
        granted |= {one: demand[one] for one in content}
        left -= sum(demand[one] for one in content)
        asking -= content
    return granted


@dataclass(frozen=True, slots=True)
class Arrival:
    """An item of a flow that arrives before a slot."""

    flow: str
    slot: int
    cost: int = 1


def fluid_finishes(arrivals: Sequence[Arrival], weights: Mapping[str, Fraction]) -> list[Fraction]:
    """Return when each item would be out if one unit a slot were poured over all waiting flows at once, by weight.

    Args:
        arrivals: by slot; a flow's items leave in this order
        weights: of every flow
    """
    finishes = [Fraction(0)] * len(arrivals)
    waiting: dict[str, list[tuple[int, Fraction]]] = {}  # (index, what is left of it)
    now = Fraction(0)
    following = 0
    while following < len(arrivals) or waiting:
        if not waiting:
            now = max(now, Fraction(arrivals[following].slot))
        while following < len(arrivals) and arrivals[following].slot <= now:
            one = arrivals[following]
            waiting.setdefault(one.flow, []).append((following, Fraction(one.cost)))
            following += 1
        total = sum(weights[flow] for flow in waiting)
        step = min(queue[0][1] * total / weights[flow] for flow, queue in waiting.items())
        if following < len(arrivals):
            step = min(step, arrivals[following].slot - now)
        now += step
        for flow in list(waiting):
            index, left = waiting[flow][0]
            left -= step * weights[flow] / total
            waiting[flow][0] = (index, left)
            if left == 0:
                finishes[index] = now
                del waiting[flow][0]
                if not waiting[flow]:
                    del waiting[flow]
    return finishes
