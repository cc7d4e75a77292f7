"""The market that feed_fuzz.py mutates: a symbol's true book, and the diffs and snapshots that a venue sends of it."""

import math
import random
from typing import Any

LEVELS = 40  # per side


class Source:
    """The true book of one symbol, and its diffs."""

    def __init__(self, rng: random.Random, pair: str, mid: int, tick: float) -> None:
        self.pair = pair
        self.symbol = pair.replace("-", "")
        self.id = rng.randrange(1, 10**9)
        self._rng = rng
        self._mid = mid
        self._places = max(0, round(-math.log10(tick)))
        self._levels: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for step in range(1, LEVELS):
            self._levels[0][mid - step] = rng.randrange(1, 10**6)
            self._levels[1][mid + step] = rng.randrange(1, 10**6)

    def diff(self) -> dict[str, Any]:
        """Change the book a little and return the depthUpdate that says so."""
        rng = self._rng
        first = self.id + 1
        changed: tuple[dict[int, int], dict[int, int]] = ({}, {})
        if rng.random() < 0.2:
            self._mid += rng.choice((-1, 1))
            for side, levels in enumerate(self._levels):
                crossed = [price for price in levels if (price >= self._mid if side == 0 else price <= self._mid)]
                far = [price for price in levels if abs(price - self._mid) > LEVELS]
                for price in crossed + far:
                    levels.pop(price, None)
                    changed[side][price] = 0
        for _ in range(rng.randrange(1, 5)):
            side = rng.randrange(2)
            price = self._mid + rng.randrange(1, LEVELS) * (1 if side else -1)
            quantity = 0 if rng.random() < 0.25 else rng.randrange(1, 10**6)
            if quantity:
                self._levels[side][price] = quantity
            else:
                self._levels[side].pop(price, None)
            changed[side][price] = quantity
        self.id += max(1, len(changed[0]) + len(changed[1]))
        sides = [[self._text(price, quantity) for price, quantity in one.items()] for one in changed]
        return {
            "e": "depthUpdate", "E": 1_760_000_000_000 + self.id % 10**9, "s": self.symbol, "U": first, "u": self.id,
            "b": sides[0], "a": sides[1],
        }

    def snapshot(self) -> dict[str, Any]:
        """Return the answer to GET depth."""
        bids = [self._text(*level) for level in sorted(self._levels[0].items(), reverse=True)]
        asks = [self._text(*level) for level in sorted(self._levels[1].items())]
        return {"lastUpdateId": self.id, "bids": bids, "asks": asks}

    def _text(self, price: int, quantity: int) -> list[str]:
        return [f"{price / 10**self._places:.8f}", f"{quantity / 1000:.8f}"]
